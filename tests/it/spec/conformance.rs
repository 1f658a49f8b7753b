//! The read-only assertions of the specification's conformance suite, in the words of this house: cold, warm,
//! and with the upstream gone.

use forebay_loadtest::origin::{Algorithm, Descriptor, Digest, Origin, random_bytes};
use http::{Method, StatusCode};
use serde_json::Value;

use super::content::{self, Kind, SBOM};
use crate::harness::{Answer, Client, Setup, blob_path, manifest_path, mirror_of, plain_origin};

/// Everything of one kind can be pulled, byte by byte, with the headers that it must have.
async fn assert_pulls(client: &Client, origin: &Origin, kind: &Kind, state: &str) {
    let repository = &kind.repository;
    let tags = kind.tags.iter();
    let by_tag = tags.map(|(tag, manifest)| (manifest_path(repository, tag), manifest));
    let manifests = kind.manifests.iter();
    let by_digest =
        manifests.map(|manifest| (manifest_path(repository, &manifest.digest), manifest));
    for (path, manifest) in by_tag.chain(by_digest) {
        let answers = both(client, &path).await;
        for answer in &answers {
            assert_described(answer, manifest, &format!("{state} {path}"));
            assert_eq!(
                answer.header("content-type"),
                manifest.media_type,
                "{state} {path}"
            );
        }
        assert_content(&answers, origin, repository, manifest);
    }
    for blob in &kind.blobs {
        let path = blob_path(repository, &blob.digest);
        let answers = both(client, &path).await;
        for answer in &answers {
            assert_described(answer, blob, &format!("{state} {path}"));
            assert_eq!(answer.header("accept-ranges"), "bytes");
        }
        assert_content(&answers, origin, repository, blob);
    }
}

/// HEAD first, as a client that looks before it pulls.
async fn both(client: &Client, path: &str) -> [Answer; 2] {
    [client.head(path).await, client.get(path).await]
}

fn assert_described(answer: &Answer, content: &Descriptor, what: &str) {
    assert_eq!(answer.status, StatusCode::OK, "{what}: {}", answer.text());
    assert_eq!(
        answer.header("docker-content-digest"),
        content.digest.as_str(),
        "{what}"
    );
    assert_eq!(
        answer.header("content-length"),
        content.size.to_string(),
        "{what}"
    );
}

fn assert_content(
    [head, get]: &[Answer; 2],
    origin: &Origin,
    repository: &str,
    content: &Descriptor,
) {
    assert!(head.body.is_empty());
    assert_eq!(
        get.body,
        origin.content(repository, &content.digest),
        "{}",
        content.digest
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn content_of_every_kind_is_pulled_by_tag_and_digest_in_every_state() {
    let (builder, kinds) = content::of_every_kind(plain_origin());
    let origin = builder.start().await.unwrap();
    let setup = Setup::new(&origin).config("[tags]\nfresh_for = \"0s\"");
    let forebay = setup.start().await;
    let client = forebay.client();
    for state in ["cold", "warm"] {
        for kind in &kinds {
            assert_pulls(&client, &origin, kind, state).await;
        }
    }
    origin.stop().await;
    for kind in &kinds {
        assert_pulls(&client, &origin, kind, "stale").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_by_sha512_is_pulled_through_and_through() {
    let origin = content::by_sha512(plain_origin(), "library/app")
        .start()
        .await
        .unwrap();
    let image = origin.image("library/app", "v1");
    assert!(image.root.digest.as_str().starts_with("sha512:"));
    let mut kind = Kind {
        repository: "library/app".to_owned(),
        blobs: image.blobs(),
        ..Kind::default()
    };
    kind.tags.insert("v1".to_owned(), image.root.clone());
    let images = image.manifests.iter().map(|image| image.descriptor.clone());
    kind.manifests = images.chain([image.root.clone()]).collect();
    let forebay = mirror_of(&origin).await;
    for state in ["cold", "warm"] {
        assert_pulls(&forebay.client(), &origin, &kind, state).await;
    }
    origin.stop().await;
    assert_pulls(&forebay.client(), &origin, &kind, "cached").await;
    let blob = &kind.blobs[1];
    let path = blob_path("library/app", &blob.digest);
    let part = forebay.client().range(&path, "bytes=10-19").await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        part.body,
        origin.content("library/app", &blob.digest).slice(10..20)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_those_of_rfc_9110_whatever_the_digest() {
    const SIZE: u64 = 2048;
    let mut blobs = Vec::new();
    let builder = plain_origin().repository("library/app", |repository| {
        for (algorithm, seed) in [(Algorithm::Sha256, 1), (Algorithm::Sha512, 2)] {
            blobs.push(repository.blob_by(algorithm, random_bytes(seed, SIZE)));
        }
    });
    let origin = builder.start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    for blob in &blobs {
        let path = blob_path("library/app", &blob.digest);
        let whole = origin.content("library/app", &blob.digest);
        for (range, expected) in [
            ("bytes=500-1499", 500..1500),
            ("bytes=500-", 500..2048),
            ("bytes=-500", 1548..2048),
            ("bytes=2000-5000", 2000..2048),
            ("bytes=-5000", 0..2048),
            ("bytes=0-0", 0..1),
        ] {
            let answer = client.range(&path, range).await;
            assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(answer.body, whole.slice(expected.clone()), "{range}");
            let length = (expected.end - expected.start).to_string();
            assert_eq!(answer.header("content-length"), length, "{range}");
            let content_range = format!("bytes {}-{}/{SIZE}", expected.start, expected.end - 1);
            assert_eq!(answer.header("content-range"), content_range, "{range}");
        }
        for range in ["bytes=500-0", "bytes=5000-10000", "bytes=2048-"] {
            let answer = client.range(&path, range).await;
            assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes */{SIZE}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unknown_is_404_and_what_is_malformed_is_400() {
    let (builder, _) = content::of_every_kind(plain_origin());
    let origin = builder.start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let unknown = Digest::sha256(b"unknown");
    let unknown512 = Digest::of(Algorithm::Sha512, b"unknown");
    for (path, status, code) in [
        (
            format!("kinds/image/manifests/{unknown}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            format!("kinds/image/manifests/{unknown512}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            "kinds/image/manifests/unknown".to_owned(),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (format!("kinds/image/blobs/{unknown}"), 404, "BLOB_UNKNOWN"),
        (
            format!("kinds/image/blobs/{unknown512}"),
            404,
            "BLOB_UNKNOWN",
        ),
        ("kinds/unknown/tags/list".to_owned(), 404, "NAME_UNKNOWN"),
        (
            "kinds/unknown/tags/list?n=0".to_owned(),
            404,
            "NAME_UNKNOWN",
        ),
        ("kinds/unknown/manifests/v1".to_owned(), 404, "NAME_UNKNOWN"),
        (
            format!("kinds/unknown/blobs/{unknown}"),
            404,
            "NAME_UNKNOWN",
        ),
        (
            "kinds/image/manifests/sha256:baddigeststring".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "kinds/image/blobs/sha256:baddigeststring".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "kinds/image/referrers/sha256:baddigeststring".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        (
            format!(
                "kinds/image/blobs/{}",
                unknown512.as_str().replace("sha512", "sha256")
            ),
            400,
            "DIGEST_INVALID",
        ),
        (
            "kinds/image/referrers/latest".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        ("kinds/image/manifests/.bad".to_owned(), 400, "TAG_INVALID"),
        ("Kinds/image/tags/list".to_owned(), 400, "NAME_INVALID"),
        (
            "kinds/image/tags/list?n=x".to_owned(),
            400,
            "PAGINATION_NUMBER_INVALID",
        ),
    ] {
        let answer = client.get(&format!("/v2/{path}")).await;
        let found = (answer.status.as_u16(), answer.code());
        assert_eq!(found, (status, code.to_owned()), "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ping_says_that_this_is_a_registry() {
    let origin = plain_origin().start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let answer = forebay.client().get("/v2/").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.header("docker-distribution-api-version"),
        "registry/2.0"
    );
    assert_eq!(answer.text(), "{}");
    assert_eq!(origin.counts().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_405_on_every_route() {
    let origin = plain_origin().start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let digest = Digest::sha256(b"x");
    for path in [
        "/v2/".to_owned(),
        "/v2/_catalog".to_owned(),
        "/v2/library/app/manifests/v1".to_owned(),
        format!("/v2/library/app/manifests/{digest}"),
        format!("/v2/library/app/blobs/{digest}"),
        "/v2/library/app/blobs/uploads/".to_owned(),
        format!("/v2/library/app/blobs/uploads/?digest={digest}"),
        format!("/v2/library/app/blobs/uploads/?mount={digest}&from=library/other"),
        "/v2/library/app/blobs/uploads/some-session".to_owned(),
        "/v2/library/app/tags/list".to_owned(),
        format!("/v2/library/app/referrers/{digest}"),
        "/v2/Not/a-name".to_owned(),
        "/".to_owned(),
    ] {
        for method in [
            "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "BREW",
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = forebay.client().ask(method.clone(), &path, &[]).await;
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(answer.code(), "UNSUPPORTED", "{method} {path}");
            assert_eq!(answer.header("allow"), "GET, HEAD", "{method} {path}");
        }
    }
    assert_eq!(origin.counts().total(), 0);
}

async fn referrers(
    client: &Client,
    repository: &str,
    subject: &Digest,
    query: &str,
) -> (Answer, Vec<Value>) {
    let path = format!("/v2/{repository}/referrers/{subject}{query}");
    let answer = client.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    let index_type = "application/vnd.oci.image.index.v1+json";
    assert_eq!(answer.header("content-type"), index_type, "{path}");
    let index: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(index["mediaType"], index_type, "{path}");
    assert_eq!(index["schemaVersion"], 2, "{path}");
    let manifests = index["manifests"].as_array().unwrap().clone();
    (answer, manifests)
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_listed_whole_and_by_type() {
    let (builder, kinds) = content::of_every_kind(plain_origin());
    let origin = builder.start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let mut subjects = 0;
    for kind in &kinds {
        for (subject, expected) in &kind.referrers {
            subjects += 1;
            let described: Vec<Value> = expected
                .iter()
                .map(|d| serde_json::to_value(d).unwrap())
                .collect();
            let (answer, all) = referrers(&client, &kind.repository, subject, "").await;
            assert_eq!(answer.header("oci-filters-applied"), "");
            assert_eq!(all.len(), described.len());
            assert!(
                described.iter().all(|referrer| all.contains(referrer)),
                "{all:?}"
            );

            let query = format!("?artifactType={SBOM}");
            let (answer, some) = referrers(&client, &kind.repository, subject, &query).await;
            assert_eq!(answer.header("oci-filters-applied"), "artifactType");
            let of_type: Vec<_> = described
                .iter()
                .filter(|d| d["artifactType"] == SBOM)
                .collect();
            assert_eq!(some.iter().collect::<Vec<_>>(), of_type);
        }
    }
    assert_eq!(subjects, 3);
    let (_, none) = referrers(
        &client,
        "kinds/image",
        &Digest::sha256(b"nobody's subject"),
        "",
    )
    .await;
    assert!(none.is_empty());
}
