//! Which repositories may be pulled at all: `allow` and `deny` of an upstream, also for what is cached.

use forebay_loadtest::origin::{ImageSpec, Origin};
use http::{Method, StatusCode};

use crate::harness::{Forebay, Setup, plain_origin};

const NAMES: [&str; 3] = ["library/app", "team/app", "team/secret-app"];

async fn origin() -> Origin {
    let builder = NAMES.iter().fold(plain_origin(), |builder, name| {
        builder.repository(name, |repository| {
            repository.image("v1", &ImageSpec::default());
        })
    });
    builder.start().await.expect("the origin starts")
}

/// Every question about a repository, by every name of what it holds.
fn questions(origin: &Origin, name: &str) -> Vec<String> {
    let image = origin.image(name, "v1");
    let manifest = &image.manifests[0].descriptor.digest;
    let blob = &image.manifests[0].config.digest;
    vec![
        format!("/v2/{name}/manifests/v1"),
        format!("/v2/{name}/manifests/{manifest}"),
        format!("/v2/{name}/blobs/{blob}"),
        format!("/v2/{name}/tags/list"),
        format!("/v2/{name}/referrers/{manifest}"),
    ]
}

async fn statuses(forebay: &Forebay, paths: &[String]) -> Vec<StatusCode> {
    let mut statuses = Vec::new();
    for path in paths {
        for method in [Method::GET, Method::HEAD] {
            let answer = forebay.client().ask(method.clone(), path, &[]).await;
            if method == Method::GET && answer.status == StatusCode::FORBIDDEN {
                assert_eq!(answer.code(), "DENIED", "{path}");
            }
            statuses.push(answer.status);
        }
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_allowed_and_not_denied_is_pulled_cached_or_not() {
    let origin = origin().await;
    let forebay = Setup::new(&origin).start().await;
    for name in NAMES {
        let paths = questions(&origin, name);
        let all = statuses(&forebay, &paths[..4]).await;
        assert!(
            all.iter().all(|status| *status == StatusCode::OK),
            "{name}: {all:?}"
        );
    }
    let (status, setup) = forebay.stop().await;
    assert!(status.success());
    origin.reset();
    let forebay = setup
        .upstream("allow = [\"team/*\"]\ndeny = [\"team/secret-*\"]")
        .start()
        .await;
    for name in ["library/app", "team/secret-app", "library/new"] {
        let name_of_content = if name == "library/new" {
            "library/app"
        } else {
            name
        };
        let paths: Vec<_> = questions(&origin, name_of_content)
            .iter()
            .map(|path| path.replace(name_of_content, name))
            .collect();
        let all = statuses(&forebay, &paths).await;
        assert!(
            all.iter().all(|status| *status == StatusCode::FORBIDDEN),
            "{name}: {all:?}"
        );
    }
    assert_eq!(origin.counts().total(), 0, "nobody is asked about it");
    let told = forebay
        .client()
        .get("/v2/library/app/manifests/v1")
        .await
        .text();
    assert!(told.contains("see `allow` under"), "{told}");
    let told = forebay
        .client()
        .get("/v2/team/secret-app/manifests/v1")
        .await
        .text();
    assert!(told.contains("see `deny` under"), "{told}");
    let listed = forebay.client().get("/v2/_catalog").await.text();
    assert!(listed.contains("team/app"), "{listed}");
    assert!(
        !listed.contains("secret") && !listed.contains("library"),
        "{listed}"
    );
    let paths = questions(&origin, "team/app");
    let all = statuses(&forebay, &paths[..4]).await;
    assert!(
        all.iter().all(|status| *status == StatusCode::OK),
        "{all:?}"
    );
}

/// `deny = ["nginx"]` was taken for Docker Hub, and matched nothing: by the time it was asked, the name was
/// `library/nginx`.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_slash_denies_docker_hubs_own_image() {
    let origin = origin().await;
    let forebay = Setup::new(&origin)
        .upstream("deny = [\"app\"]")
        .start()
        .await;
    let client = forebay.client();
    for path in ["/v2/app/manifests/v1", "/v2/library/app/manifests/v1"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.text().contains("see `deny` under"), "{path}");
    }
    assert_eq!(origin.counts().total(), 0);
    let other = client.get("/v2/team/app/manifests/v1").await;
    assert_eq!(other.status, StatusCode::OK);
}

/// Another name of the same registry fell under the table for all of Amazon's, which denies nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_denies_is_denied_by_each_name_of_its_registry() {
    const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    const OTHER: &str = "123456789012.dkr-ecr.eu-west-1.on.aws";
    let origin = origin().await;
    let forebay = Setup::new(&origin)
        .also(HOST, &origin, "deny = [\"team/secret-*\"]")
        .start()
        .await;
    let client = forebay.client();
    for host in [HOST, OTHER] {
        for (name, wanted) in [
            ("team/secret-app", StatusCode::FORBIDDEN),
            ("team/app", StatusCode::OK),
        ] {
            for path in [
                format!("/v2/{host}/{name}/manifests/v1"),
                format!("/v2/{name}/manifests/v1?ns={host}"),
            ] {
                let answer = client.get(&path).await;
                assert_eq!(answer.status, wanted, "{path}: {}", answer.text());
            }
        }
    }
}
