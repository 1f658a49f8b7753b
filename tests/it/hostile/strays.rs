//! Places that are named where nobody goes: descriptors' `urls`, the links of lists, headers that are no business of the
//! mirror's clients.

use forebay_loadtest::origin::{Fault, Kind, Origin, Reply};
use http::{Method, StatusCode};
use serde_json::json;

use super::canary::Canary;
use super::stage::{
    ELSEWHERE, UPSTREAM, apart, ask, at, challenge, kept_home, mirror, misled, names, open,
    questions, upstream,
};
use crate::harness::{Setup, plain_origin};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// An image whose first two layers are at the registry, and whose others are where their `urls` say. All have `urls`.
async fn with_urls(port: u16) -> (Origin, Vec<(String, bool)>) {
    let mut layers = Vec::new();
    let builder = plain_origin().repository("library/app", |repository| {
        let mut listed = Vec::new();
        for (number, media_type) in [FOREIGN, NONDISTRIBUTABLE, FOREIGN, NONDISTRIBUTABLE]
            .iter()
            .enumerate()
        {
            let layer = repository.blob(format!("layer {number}"));
            if number > 1 {
                repository.remove_blob(&layer.digest);
            }
            let urls = ["127.0.0.1", ELSEWHERE].map(|host| format!("http://{host}:{port}/layer"));
            listed.push(json!({
                "mediaType": media_type, "digest": layer.digest.as_str(), "size": layer.size, "urls": urls,
            }));
            layers.push((layer.digest.to_string(), number < 2));
        }
        let config = repository.blob("{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": listed,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config.digest.as_str(), "size": config.size,
                "urls": [format!("http://{ELSEWHERE}:{port}/config")],
            },
        });
        let manifest = repository.manifest(MANIFEST, manifest.to_string());
        repository.tag("v1", &manifest.digest);
    });
    let origin = at(UPSTREAM, builder).start().await.unwrap();
    (origin, layers)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_from_the_urls_of_a_descriptor() {
    let test = "strays::nothing_is_fetched_from_the_urls_of_a_descriptor";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let (origin, layers) = with_urls(canary.port()).await;
    // Not even where any address is allowed.
    let forebay = Setup::new(&origin).start().await;
    let manifest = forebay.client().manifest("library/app", "v1").await;
    assert_eq!(manifest.status, StatusCode::OK, "{}", manifest.text());
    assert!(
        manifest.text().contains("/layer"),
        "it is served as it came"
    );
    for (digest, is_here) in &layers {
        let answer = forebay.client().blob("library/app", digest).await;
        if *is_here {
            assert!(answer.is_exactly(digest), "{}", answer.text());
        } else {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
            assert_eq!(answer.code(), "BLOB_UNKNOWN");
        }
    }
    assert_eq!(canary.caught(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_links_of_lists_are_read_and_not_dialled() {
    let test = "strays::the_links_of_lists_are_read_and_not_dialled";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let hosts = ["127.0.0.1", "169.254.169.254", ELSEWHERE];
    let names = names(hosts.len());
    let origin = open(UPSTREAM, &names).await;
    for (host, name) in hosts.iter().zip(&names) {
        let url = format!(
            "http://{host}:{}/v2/{name}/tags/list?last=v0",
            canary.port()
        );
        for kind in [Kind::Tags, Kind::Referrers] {
            let link = format!("<{url}>; rel=\"next\"");
            let fault = Fault::Header("link", Some(link));
            origin.on(kind).repository(name).once(fault);
        }
    }
    let forebay = mirror(&origin).start().await;
    for name in &names {
        for path in &questions(&origin, name)[3..] {
            let answer = ask(&forebay, Method::GET, path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
            assert_eq!(answer.header("link"), "", "{path}");
        }
    }
    // The next pages were asked for at home.
    let pages = origin.requests_for(Kind::Tags);
    let next = pages.iter().filter(|page| page.target.contains("last=v0"));
    assert_eq!(next.count(), names.len());
    kept_home(&origin, &[], &canary);
}

/// A host of any length went into the error, and with it into the log and to the client.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_longer_than_a_name_can_be_is_not_repeated() {
    let test = "strays::a_host_that_is_longer_than_a_name_can_be_is_not_repeated";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let names = names(3);
    let origin = upstream(&names).await;
    let url = format!("http://{}localhost/x", "a.".repeat(20_000));
    misled(&origin, "row/0", &Fault::redirect_to(&url));
    misled(&origin, "row/1", &challenge(&url));
    let on = origin.on(Kind::Token).repository("row/2");
    on.always(Fault::redirect_to(&url));
    let forebay = mirror(&origin).start().await;
    for (name, status) in names.iter().zip([502, 403, 502]) {
        let answer = ask(&forebay, Method::GET, &format!("/v2/{name}/manifests/v1")).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.body.len() < 1_000, "{name}: {}", answer.text());
    }
    assert!(forebay.log().lines().all(|line| line.len() < 2_000));
    kept_home(&origin, &[], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_lead_elsewhere_are_not_passed_on() {
    let test = "strays::headers_that_lead_elsewhere_are_not_passed_on";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let names = names(2);
    let origin = open(UPSTREAM, &names).await;
    let url = format!("http://{ELSEWHERE}:{}/x", canary.port());
    let headers = [
        ("location", url.clone()),
        ("content-location", url.clone()),
        ("refresh", format!("0; url={url}")),
        (
            "alt-svc",
            format!("http/1.1=\"{ELSEWHERE}:{}\"", canary.port()),
        ),
        ("docker-upload-uuid", "1".to_owned()),
        ("set-cookie", "session=1".to_owned()),
        ("www-authenticate", format!("Bearer realm=\"{url}\"")),
        ("proxy-authenticate", "Basic realm=x".to_owned()),
        ("x-forwarded-host", "a.io".to_owned()),
    ];
    for kind in Kind::OF_REPOSITORIES {
        for (name, value) in &headers {
            let fault = Fault::Header(name, Some(value.clone()));
            origin.on(kind).repository("row/0").always(fault);
        }
        let refusal = Reply::error(403, "DENIED", "no");
        let refusal = headers.iter().fold(refusal, |refusal, (name, value)| {
            refusal.header(name, value)
        });
        let on = origin.on(kind).repository("row/1");
        on.always(Fault::Answer(refusal));
    }
    let forebay = mirror(&origin).start().await;
    for (name, status) in [("row/0", StatusCode::OK), ("row/1", StatusCode::FORBIDDEN)] {
        for path in questions(&origin, name) {
            for method in [Method::GET, Method::HEAD] {
                let answer = ask(&forebay, method, &path).await;
                assert_eq!(answer.status, status, "{path}: {}", answer.text());
                for (name, _) in &headers {
                    assert_eq!(answer.header(name), "", "{path}: {name}");
                }
            }
        }
    }
    kept_home(&origin, &[], &canary);
}
