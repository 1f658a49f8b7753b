//! Lists: tags, referrers, and what is cached. What they cost, and when they may be old.

mod restart;

use std::time::Duration;

use forebay_loadtest::origin::{Digest, Fault, Gate, ImageSpec, Kind, Origin, Reply};
use http::StatusCode;
use serde_json::{Value, json};

use super::content::SBOM;
use crate::harness::{Answer, Client, Forebay, Setup, mirror_of, plain_origin};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const TAGS: &str = "/v2/library/app/tags/list";

/// An origin whose `library/app` has an image under some tags.
async fn origin_with(tags: &[&str]) -> Origin {
    let builder = plain_origin().repository("library/app", |repository| {
        let image = repository.image("v1", &ImageSpec::default());
        for tag in tags {
            repository.tag(tag, &image.digest);
        }
    });
    builder.start().await.unwrap()
}

async fn always_due(origin: &Origin) -> Forebay {
    let config = "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"";
    Setup::new(origin).config(config).start().await
}

fn names(answer: &Answer, field: &str) -> Vec<String> {
    let list: Value = serde_json::from_slice(&answer.body).unwrap();
    serde_json::from_value(list[field].clone()).unwrap_or_else(|_| panic!("{}", answer.text()))
}

/// The path in `Link`, where there is one.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    let path = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    assert!(path.starts_with('/'), "{link} is relative");
    Some(path.to_owned())
}

/// All pages from `path` on, as a client follows them.
async fn pages(client: &Client, path: &str, field: &str) -> Vec<Vec<String>> {
    let (mut pages, mut path) = (Vec::new(), Some(path.to_owned()));
    while let Some(here) = path {
        let answer = client.get(&here).await;
        assert_eq!(answer.status, StatusCode::OK, "{here}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/json");
        pages.push(names(&answer, field));
        path = next(&answer);
    }
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_sorted_and_in_pages_whatever_the_upstream_does() {
    let origin = origin_with(&[]).await;
    // Its own order, its own page marks, and no regard for `n`.
    let answer = |tags: &[&str], link: Option<&str>| {
        let reply = Reply::status(200).json(&json!({"name": "x", "tags": tags}));
        let reply = match link {
            Some(link) => reply.header("link", format!("<{link}>; rel=\"next\"")),
            None => reply,
        };
        origin.on(Kind::Tags).once(Fault::Answer(reply));
    };
    answer(
        &["v2", "latest", "V1"],
        Some("/v2/library/app/tags/list?mark=x"),
    );
    answer(&["a", "v1", "0"], None);
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let sorted = ["0", "V1", "a", "latest", "v1", "v2"];
    let whole = client.get(TAGS).await;
    assert_eq!(names(&whole, "tags"), sorted);
    assert_eq!(next(&whole), None);
    for (query, expected, more) in [
        (
            "?n=2",
            &sorted[..2],
            Some("/v2/library/app/tags/list?n=2&last=V1"),
        ),
        (
            "?n=2&last=V1",
            &sorted[2..4],
            Some("/v2/library/app/tags/list?n=2&last=latest"),
        ),
        ("?n=2&last=latest", &sorted[4..], None),
        ("?n=6", &sorted[..], None),
        ("?n=60", &sorted[..], None),
        ("?last=b", &sorted[3..], None),
        (
            "?n=1&last=aa",
            &sorted[3..4],
            Some("/v2/library/app/tags/list?n=1&last=latest"),
        ),
        ("?last=v2", &[], None),
        ("?n=0", &[], None),
        ("?n=0&last=a", &[], None),
    ] {
        let answer = client.get(&format!("{TAGS}{query}")).await;
        assert_eq!(names(&answer, "tags"), expected, "{query}");
        assert_eq!(next(&answer).as_deref(), more, "{query}");
        assert_eq!(answer.header("cache-status"), "forebay; hit", "{query}");
    }
    let asked = origin.requests_for(Kind::Tags);
    assert_eq!(asked.len(), 2, "one for each page");
    assert!(asked[1].target.ends_with("?mark=x"), "{}", asked[1].target);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_tags_lead_on_the_way_the_client_came() {
    let origin = origin_with(&["a", "b", "c"]).await;
    let setup = Setup::new(&origin).also("other.example", &origin, "alias = \"other\"");
    let forebay = setup.start().await;
    for (name, query) in [
        ("/v2/library/app", ""),
        ("/v2/app", ""),
        ("/v2/docker.io/app", ""),
        ("/docker.io/v2/library/app", ""),
        ("/v2/library/app", "&ns=docker.io"),
        ("/v2/library/app", "&ns=other.example"),
        ("/v2/_/other/library/app", ""),
        ("/other/v2/library/app", ""),
    ] {
        let path = format!("{name}/tags/list?n=3{query}");
        let pages = pages(&forebay.client(), &path, "tags").await;
        assert_eq!(pages, [&["a", "b", "c"][..], &["v1"]], "{path}");
        let body = forebay.client().get(&path).await;
        let body: Value = serde_json::from_slice(&body.body).unwrap();
        let written = name.split_once("v2/").unwrap().1;
        assert_eq!(body["name"], written, "the name is the client's");
    }
    assert_eq!(
        origin.counts().requests(Kind::Tags),
        2,
        "one for each registry"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_ask_for_tags_the_upstream_is_asked_once() {
    let origin = origin_with(&["a"]).await;
    let gate = Gate::new();
    origin.on(Kind::Tags).always(Fault::HoldHead(gate.clone()));
    let forebay = mirror_of(&origin).await;
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let client = forebay.client();
            tokio::spawn(async move { client.get(TAGS).await })
        })
        .collect();
    forebay
        .until_metric("forebay_requests_running", "", |running| running >= 20.0)
        .await;
    gate.reached(1).await;
    gate.release();
    for client in clients {
        assert_eq!(names(&client.await.unwrap(), "tags"), ["a", "v1"]);
    }
    assert_eq!(origin.counts().requests(Kind::Tags), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_stale_while_the_upstream_is_in_trouble_and_gone_when_it_says_so() {
    let origin = origin_with(&["a"]).await;
    let image = origin.image("library/app", "v1").root;
    origin.edit("library/app", |repository| {
        repository.artifact(&image, SBOM, "an sbom");
    });
    let referrers = format!("/v2/library/app/referrers/{}", image.digest);
    for path in [TAGS, &referrers] {
        for (refusal, status) in [(401, 403), (403, 403), (404, 404)] {
            let forebay = always_due(&origin).await;
            let client = forebay.client();
            let first = client.get(path).await;
            assert_eq!(first.status, StatusCode::OK, "{path}");
            for (trouble, detail) in [(503, "upstream-unavailable"), (429, "upstream-quota")] {
                origin.on(Kind::Tags).always(Fault::status(trouble));
                origin.on(Kind::Referrers).always(Fault::status(trouble));
                let stale = client.get(path).await;
                assert_eq!(stale.body, first.body, "{path} {trouble}");
                let status = format!("forebay; fwd=stale; detail={detail}");
                assert_eq!(stale.header("cache-status"), status, "{path}");
                assert!(!stale.header("age").is_empty(), "{path}");
                origin.clear_faults();
                // The trouble is over when the upstream has answered.
                until_fresh(&client, path).await;
            }
            origin.on(Kind::Tags).always(Fault::status(refusal));
            origin.on(Kind::Referrers).always(Fault::status(refusal));
            let refused = client.get(path).await;
            assert_eq!(refused.status, status, "{path} {refusal}");
            // Nor does trouble bring it back after that.
            origin.clear_faults();
            origin.on(Kind::Tags).always(Fault::status(500));
            origin.on(Kind::Referrers).always(Fault::status(500));
            let gone = client.get(path).await;
            assert!(gone.status.is_server_error(), "{path}: {}", gone.status);
            origin.clear_faults();
        }
    }
}

/// An upstream that was in trouble a moment ago is asked in the background.
async fn until_fresh(client: &Client, path: &str) {
    let fresh = async {
        while client.get(path).await.header("cache-status") != "forebay; fwd=miss" {
            tokio::task::yield_now().await;
        }
    };
    let fresh = tokio::time::timeout(PATIENCE, fresh).await;
    assert!(fresh.is_ok(), "{path} stays stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_too_many_pages_is_passed_through_as_it_is() {
    let origin = origin_with(&[]).await;
    let page = Reply::status(200)
        .json(&json!({"tags": ["z", "a"]}))
        .header("link", "<?last=mark&n=2>; rel=\"next\"");
    origin.on(Kind::Tags).always(Fault::Answer(page));
    let forebay = mirror_of(&origin).await;
    for query in ["?n=2&last=b", "?n=2"] {
        let answer = forebay.client().get(&format!("{TAGS}{query}")).await;
        assert_eq!(names(&answer, "tags"), ["z", "a"]);
        assert_eq!(answer.header("cache-status"), "forebay; fwd=bypass");
        let link = "/v2/library/app/tags/list?n=2&last=mark";
        assert_eq!(next(&answer).as_deref(), Some(link));
    }
    let none = forebay.client().get(&format!("{TAGS}?n=0")).await;
    assert_eq!((names(&none, "tags").len(), next(&none)), (0, None));
    // The whole list was tried once; after that a page is one question.
    assert_eq!(origin.counts().requests(Kind::Tags), 100 + 2);
    let last = origin.requests_for(Kind::Tags).pop().unwrap();
    assert!(last.target.ends_with("tags/list?n=2"), "{}", last.target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referrers_api_that_is_absent_stays_absent() {
    let subject = Digest::sha256(b"subject");
    let path = format!("/v2/library/app/referrers/{subject}");
    let origin = plain_origin()
        .without_referrers()
        .repository("library/app", |_| {})
        .start()
        .await
        .unwrap();
    let forebay = mirror_of(&origin).await;
    for _ in 0..3 {
        let answer = forebay.client().get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        // With `NAME_UNKNOWN` oras would not look for the tag that stands in for it.
        assert_eq!(answer.code(), "MANIFEST_UNKNOWN");
    }
    assert_eq!(origin.counts().requests(Kind::Referrers), 1, "remembered");
    let unknown = format!("/v2/library/unknown/referrers/{subject}");
    let answer = forebay.client().get(&unknown).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (404, "NAME_UNKNOWN")
    );
    for refusal in [405, 501] {
        let forebay = mirror_of(&origin).await;
        let scripted = origin.on(Kind::Referrers).always(Fault::status(refusal));
        let answer = forebay.client().get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{refusal}");
        assert_eq!(answer.code(), "MANIFEST_UNKNOWN", "{refusal}");
        scripted.remove();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_asked_for_once_and_an_empty_list_is_soon_forgotten() {
    let origin = origin_with(&[]).await;
    let config = "[tags]\nfresh_for = \"1h\"\nnegative_for = \"0s\"";
    let forebay = Setup::new(&origin).config(config).start().await;
    let image = origin.image("library/app", "v1").root;
    let path = format!("/v2/library/app/referrers/{}", image.digest);
    let manifests = |answer: &Answer| {
        let index: Value = serde_json::from_slice(&answer.body).unwrap();
        index["manifests"].as_array().unwrap().len()
    };
    assert_eq!(manifests(&forebay.client().get(&path).await), 0);
    // Signed in the meantime: the signature is not hidden by what was known.
    origin.edit("library/app", |repository| {
        repository.artifact(&image, SBOM, "an sbom");
    });
    for _ in 0..3 {
        assert_eq!(manifests(&forebay.client().get(&path).await), 1);
    }
    assert_eq!(origin.counts().requests(Kind::Referrers), 2);
}

/// Repositories of two registries, pulled through by tag.
async fn pulled_through(client: &Client) {
    for path in [
        "/v2/library/zoo/manifests/v1",
        "/v2/app/manifests/v1",
        "/v2/org/app/manifests/v1",
        "/v2/a.example/org/app/manifests/v1",
        "/v2/z.example/app/manifests/v1",
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    }
}

const CACHED: [&str; 6] = [
    "a.example/org/app",
    "by/digest",
    "library/app",
    "library/zoo",
    "org/app",
    "z.example/app",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_is_what_is_cached_as_a_client_writes_it() {
    let mut builder = plain_origin();
    for name in [
        "library/zoo",
        "library/app",
        "org/app",
        "app",
        "by/digest",
        "library/other",
    ] {
        builder = builder.repository(name, |repository| {
            drop(repository.image("v1", &ImageSpec::default()));
            repository.random_blob(1, 10);
        });
    }
    let origin = builder.start().await.unwrap();
    let setup = Setup::new(&origin)
        .also("a.example", &origin, "alias = \"a\"")
        .also("z.example", &origin, "hosts = [\"z.mirror.example\"]");
    let forebay = setup.start().await;
    let client = forebay.client();
    assert_eq!(
        names(&client.get("/v2/_catalog").await, "repositories").len(),
        0
    );
    pulled_through(&client).await;
    // Only by digest: nothing of it has a tag here.
    let by_digest = origin.image("by/digest", "v1").root.digest;
    let pulled = client.manifest("by/digest", &by_digest).await;
    assert_eq!(pulled.status, StatusCode::OK);
    let blob = Digest::sha256(&forebay_loadtest::origin::random_bytes(1, 10));
    assert_eq!(
        client.blob("library/other", &blob).await.status,
        StatusCode::OK
    );
    // Records are written behind the answers; a stop writes what is left.
    let (_, setup) = forebay.stop().await;
    origin.stop().await;
    origin.reset();
    let forebay = setup.start().await;
    let client = forebay.client();
    assert_eq!(
        pages(&client, "/v2/_catalog", "repositories").await,
        [CACHED]
    );
    for n in [1, 2, 3, 6] {
        let pages = pages(&client, &format!("/v2/_catalog?n={n}"), "repositories").await;
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == n));
        assert_eq!(pages.concat(), CACHED, "n={n}");
    }
    for (path, expected) in [
        ("/v2/_catalog?n=0", &[][..]),
        ("/v2/_catalog?last=library/b", &CACHED[3..]),
        ("/v2/_catalog?last=zzz", &[]),
        (
            "/v2/_catalog?ns=docker.io&n=2&last=library/app",
            &["library/zoo", "org/app"],
        ),
        ("/v2/_catalog?ns=a.example", &["org/app"]),
        ("/a/v2/_catalog", &["org/app"]),
        ("/v2/z.example/_catalog", &["app"]),
        ("/v2/_/z.example/_catalog", &["app"]),
        ("/v2/_catalog?ns=ghcr.io", &[]),
    ] {
        let answer = client.get(path).await;
        assert_eq!(names(&answer, "repositories"), expected, "{path}");
        assert_eq!(answer.header("cache-status"), "forebay; hit");
        assert_eq!(next(&answer), None, "{path}");
    }
    assert_eq!(origin.counts().total(), 0);
}
