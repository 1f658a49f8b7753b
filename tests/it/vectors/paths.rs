//! Targets that lead somewhere else, or carry something along: each is refused by its form, before anything is looked up,
//! and nothing of it stands in a header or comes raw in a body or the log.

use super::{GoesOn, Row, Stage};

const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Targets, and the status that they get.
fn targets() -> Vec<(String, &'static str)> {
    let mut targets: Vec<_> = [
        // Out of the API.
        ("/", "404"),
        ("/v2", "200"),
        ("/../etc/passwd", "404"),
        ("/v2/../../etc/passwd", "404"),
        ("//etc/passwd", "404"),
        ("/v2//", "404"),
        ("/./v2/", "400"),
        ("/v2/;/", "404"),
        ("/V2/library/app/manifests/v1", "404"),
        // Out of a repository.
        ("/v2/library/../app/manifests/v1", "400"),
        ("/v2/library/./app/manifests/v1", "400"),
        ("/v2//library/app/manifests/v1", "400"),
        ("/v2/library//app/manifests/v1", "400"),
        ("/v2/../manifests/v1", "400"),
        ("/v2/..;/library/app/manifests/v1", "400"),
        ("/v2/library/%2e%2e/app/manifests/v1", "400"),
        ("/v2/library/.%2E/app/manifests/v1", "400"),
        ("/v2/library%2f..%2fapp/manifests/v1", "400"),
        ("/v2/library/..%2f..%2fetc/manifests/v1", "400"),
        ("/v2/library/..%5c..%5cetc/manifests/v1", "400"),
        ("/v2/library\\..\\app/manifests/v1", "400"),
        // Decoded once, and never again.
        ("/v2/library/%252e%252e/app/manifests/v1", "400"),
        ("/v2/library%252fapp/manifests/v1", "400"),
        // Overlong, broken, and nothing at all.
        ("/v2/library/%c0%ae%c0%ae/app/manifests/v1", "400"),
        ("/v2/library/%c0%af/manifests/v1", "400"),
        ("/v2/library/%ff/manifests/v1", "400"),
        ("/v2/library/%u002e/manifests/v1", "400"),
        ("/v2/library/%zz/manifests/v1", "400"),
        ("/v2/library/%/manifests/v1", "400"),
        ("/v2/library/app%00/manifests/v1", "400"),
        // Tags.
        ("/v2/library/app/manifests/..", "400"),
        ("/v2/library/app/manifests/.", "400"),
        ("/v2/library/app/manifests/%2e%2e", "400"),
        ("/v2/library/app/manifests/..%2fblobs", "400"),
        ("/v2/library/app/manifests/v1%00", "400"),
        ("/v2/library/app/manifests/v1%0d%0aX-Injected:%201", "400"),
        ("/v2/library/app/manifests/%1b[31m", "400"),
        // Digests.
        ("/v2/library/app/blobs/sha256:..%2f..%2fetc%2fpasswd", "400"),
        ("/v2/library/app/blobs/..", "400"),
        ("/v2/library/app/blobs/sha256:", "400"),
        ("/v2/library/app/blobs/sha256%0a:00", "400"),
        (
            "/v2/library/app/blobs/sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "400",
        ),
        // Parameters.
        ("/v2/library/app/manifests/v1?ns=..%2f..", "400"),
        ("/v2/library/app/manifests/v1?ns=docker.io%2f..", "400"),
        (
            "/v2/library/app/manifests/v1?ns=docker.io%0d%0aX-Injected:%201",
            "400",
        ),
        ("/v2/library/app/manifests/v1?ns=127.0.0.1:22", "404"),
        ("/v2/library/app/manifests/v1?ns=169.254.169.254", "404"),
        ("/v2/library/app/manifests/v1?ns=user@evil.example", "400"),
        ("/v2/library/app/tags/list?n=1%0d%0aX-Injected:%201", "400"),
        ("/v2/library/app/tags/list?n=-1", "400"),
        ("/v2/_catalog?n=99999999999999999999", "200"),
        ("/v2/_catalog?n=1%0d%0aX-Injected:%201", "400"),
        ("/v2/_catalog?last=%0d%0aX-Injected:%201&n=1", "400"),
        ("/v2/_catalog?last=..%2f..%2f&n=1", "200"),
        // What is an operator's, and other servers'.
        ("/metrics", "404"),
        ("/healthz", "404"),
        ("/readyz", "404"),
        ("/api/status", "404"),
        ("/admin", "404"),
        ("/v2/metrics", "404"),
        ("/v2/../metrics", "404"),
        ("/v2/%2e%2e/metrics", "404"),
        ("/debug/pprof/", "404"),
        ("/.git/config", "404"),
        ("/forebay.toml", "404"),
    ]
    .into_iter()
    .map(|(target, status)| (target.to_owned(), status))
    .collect();
    let upper = DIGEST.to_uppercase().replace("SHA256", "sha256");
    for digest in [
        upper,
        format!("{DIGEST}%00"),
        format!("{DIGEST}0"),
        format!("{DIGEST}%2f..%2f..%2findex.redb"),
        format!(" {DIGEST}").replace(' ', "%20"),
        format!("sha512:{}", &DIGEST[7..]),
    ] {
        targets.push((format!("/v2/library/app/blobs/{digest}"), "400"));
        targets.push((format!("/v2/library/app/manifests/{digest}"), "400"));
        targets.push((format!("/v2/library/app/referrers/{digest}"), "400"));
    }
    targets
}

#[tokio::test(flavor = "multi_thread")]
async fn no_target_leads_out_of_the_api_or_into_a_header() {
    let stage = Stage::patient().await;
    let targets = targets();
    let messages: Vec<_> = targets
        .iter()
        .map(|(target, _)| format!("GET {target} HTTP/1.1\r\nHost: mirror\r\n\r\n"))
        .collect();
    let rows = targets.iter().zip(&messages);
    let table: Vec<Row<'_>> = rows
        .map(|((_, status), message)| (message.as_bytes(), *status, GoesOn))
        .collect();
    stage.refuses(&table).await;
    stage
        .forebay
        .until_logged("the last one", |log| log.contains("forebay.toml"))
        .await;
    let log = stage.forebay.log();
    let lines = log.lines().all(|line| line.starts_with('{'));
    assert!(lines && !log.contains('\x1b'), "{log}");
}

/// What a header says of a registry or of a client is held to the same.
#[tokio::test(flavor = "multi_thread")]
async fn no_header_leads_to_another_registry_or_into_the_log() {
    let message = |header: &str| {
        format!("GET /v2/library/app/manifests/v1 HTTP/1.1\r\nHost: mirror\r\n{header}\r\n\r\n")
    };
    let messages: Vec<_> = [
        ("OCI-Namespace: ../..", "400"),
        ("OCI-Namespace: 127.0.0.1:22", "404"),
        ("OCI-Namespace: docker.io/..", "400"),
        ("OCI-Namespace: user@evil.example", "400"),
        ("OCI-Namespace: \u{202e}evil", "400"),
    ]
    .map(|(header, status)| (message(header), status))
    .into();
    let table: Vec<Row<'_>> = messages
        .iter()
        .map(|(message, status)| (message.as_bytes(), *status, GoesOn))
        .collect();
    Stage::patient().await.refuses(&table).await;
}
