//! Bad input gets a clear answer and costs nothing.

use forebay_loadtest::origin::{Fault, Kind};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Forebay, Setup, mirror_of, origin_with_blob, plain_origin};

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_by_the_spec_and_never_reach_an_upstream() {
    let (origin, blob) = origin_with_blob(1, 1000).await;
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let digest = blob.digest.as_str();
    for (path, status, code) in [
        ("/v2/UPPER/app/manifests/v1".to_owned(), 400, "NAME_INVALID"),
        (
            "/v2/library/app/blobs/sha256:short".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "/v2/library/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        (
            format!("/v2/library/app/manifests/{}", "x".repeat(129)),
            400,
            "",
        ),
        (
            format!("/v2/library/app/blobs/{digest}?ns=not%20a%20host"),
            400,
            "",
        ),
        (
            format!("/v2/library/app/blobs/{digest}?ns=unknown.example"),
            404,
            "NAME_UNKNOWN",
        ),
        (
            format!("/v2/unknown.example/app/blobs/{digest}"),
            404,
            "NAME_UNKNOWN",
        ),
        ("/v2/library/app/tags/list?n=many".to_owned(), 400, ""),
        ("/nothing/here".to_owned(), 404, ""),
    ] {
        let answer = client.get(&path).await;
        assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
        if !code.is_empty() {
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (status, code),
                "{path}"
            );
        }
    }
    // Written by hand: a client library would tidy these paths up before it sends them.
    for path in [
        "/v2/library/../app",
        "/v2/library/%2e%2e/app",
        "/v2//app",
        "/v2/library\\app",
    ] {
        let answer = raw(&forebay, &format!("{path}/blobs/{digest}")).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    assert_eq!(origin.counts().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ranges_get_the_whole_blob_or_a_416() {
    let (origin, blob) = origin_with_blob(3, 100_000).await;
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let path = crate::harness::blob_path("library/app", &blob.digest);
    let whole = client.get(&path).await;
    for range in ["bytes=0-1,-6", "lines=1-2", "bytes=abc", "bytes=-", "bytes"] {
        let answer = client.range(&path, range).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (StatusCode::OK, whole.body.len()),
            "{range}"
        );
    }
    for range in [
        "bytes=500-0",
        "bytes=100000-",
        "bytes=100000-100001",
        "bytes=-0",
    ] {
        let answer = client.range(&path, range).await;
        assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(answer.header("content-range"), "bytes */100000", "{range}");
    }
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=500-1499", 500..1500),
        ("bytes=99990-", 99_990..100_000),
        ("bytes=-500", 99_500..100_000),
        ("bytes=0-", 0..100_000),
        ("bytes=99999-200000", 99_999..100_000),
    ] {
        let answer = client.range(&path, range).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(answer.body, whole.body.slice(expected.clone()), "{range}");
        let content_range = format!("bytes {}-{}/100000", expected.start, expected.end - 1);
        assert_eq!(answer.header("content-range"), content_range);
        assert_eq!(answer.header("accept-ranges"), "bytes");
        let head = client.ask(Method::HEAD, &path, &[("range", range)]).await;
        // RFC 9110 section 14.2: a range means something on GET alone.
        assert_eq!(head.status, StatusCode::OK, "{range}");
        assert_eq!(head.header("content-length"), "100000", "{range}");
    }
    assert_eq!(origin.counts().requests(Kind::BlobGet), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_no_client_should_be_given_are_refused_and_not_kept() {
    let schema1 =
        serde_json::json!({ "schemaVersion": 1, "name": "x", "tag": "v1", "fsLayers": [] })
            .to_string();
    let oversized = format!(
        "{{\"schemaVersion\":2,\"pad\":\"{}\"}}",
        "x".repeat(5 << 20)
    );
    let builder = plain_origin().repository("library/app", |repository| {
        let bad = repository.manifest(
            "application/vnd.docker.distribution.manifest.v1+json",
            schema1,
        );
        repository.tag("schema1", &bad.digest);
        let bad = repository.manifest("application/vnd.oci.image.manifest.v1+json", oversized);
        repository.tag("oversized", &bad.digest);
        let bad = repository.manifest("application/vnd.oci.image.manifest.v1+json", "{not json");
        repository.tag("broken", &bad.digest);
    });
    let origin = builder.start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    for tag in ["schema1", "oversized", "broken"] {
        let answer = forebay.client().manifest("library/app", tag).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_GATEWAY,
            "{tag}: {}",
            answer.text()
        );
        let kept = crate::harness::committed(&forebay.cache_dir());
        assert_eq!(kept, Vec::<String>::new(), "{tag}");
    }
    assert!(
        forebay
            .client()
            .manifest("library/app", "schema1")
            .await
            .text()
            .contains("schema 1")
    );
}

/// A mirror whose upstream can't be reached is no slower to say that it is there.
#[tokio::test(flavor = "multi_thread")]
async fn the_ping_is_answered_without_any_upstream() {
    let (origin, _) = origin_with_blob(4, 1).await;
    origin
        .on(forebay_loadtest::origin::When::any())
        .always(Fault::hang());
    let forebay = mirror_of(&origin).await;
    for path in [
        "/v2/",
        "/v2",
        "/v2/?ns=docker.io",
        "/v2/?ns=unknown.example",
    ] {
        assert_eq!(
            forebay.client().get(path).await.status,
            StatusCode::OK,
            "{path}"
        );
    }
    assert_eq!(origin.counts().total(), 0);
    let down = Setup::with_endpoint("http://127.0.0.1:1").start().await;
    assert_eq!(down.client().get("/v2/").await.status, StatusCode::OK);
    let miss = down.client().manifest("library/app", "v1").await;
    assert!(miss.status.is_server_error(), "{}", miss.status);
}

/// A GET of a path exactly as it is written here, and the whole answer.
async fn raw(forebay: &Forebay, path: &str) -> String {
    let mut stream = TcpStream::connect(forebay.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
