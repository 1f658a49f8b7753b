//! Two listeners: clients find nothing of the operators' at theirs, and at the operators' there is no registry.

use http::Method;

use super::Stage;
use crate::harness::{Wire, blob_path};

/// Ways to write a path that some servers take for the same one.
fn written(path: &str) -> Vec<String> {
    let bare = &path[1..];
    let (first, rest) = bare.split_at(1);
    vec![
        path.to_owned(),
        format!("{path}/"),
        format!("/{path}"),
        format!("/.{path}"),
        format!("/v2{path}"),
        format!("/v2/..{path}"),
        format!("/v2/%2e%2e{path}"),
        format!("/v2/..%2f{bare}"),
        format!("/admin{path}"),
        format!("{path}?ns=docker.io"),
        format!("{path};x"),
        format!("{path}%00"),
        format!("{path}%20"),
        path.to_uppercase(),
        format!("/%{:02x}{rest}", first.as_bytes()[0]),
        format!("/_{path}"),
    ]
}

/// The status and body of what is asked with these lines.
async fn asked(wire: &mut Wire, request: &str) -> (String, String) {
    wire.send(request).await;
    let head = wire.head().await;
    let length = if request.starts_with("HEAD") {
        0
    } else {
        head.length()
    };
    let body = wire.body(length).await;
    (
        head.status().to_owned(),
        String::from_utf8_lossy(&body).into_owned(),
    )
}

/// The admin listener names its own routes, so that a new one is scanned for as well.
#[tokio::test(flavor = "multi_thread")]
async fn clients_find_no_route_of_the_operators_however_it_is_written() {
    let stage = Stage::patient().await;
    let (forebay, admin) = (&stage.forebay, stage.forebay.admin());
    let named = admin.get("/").await.text();
    let words = named.split([' ', ',', '\n']);
    let routes: Vec<_> = words.filter(|word| word.starts_with('/')).collect();
    assert!(routes.len() >= 4, "{named}");
    let hosts = ["mirror".to_owned(), forebay.admin.to_string()];
    let mut wire = Wire::open(forebay).await;
    for route in &routes {
        let theirs = admin.get(route).await;
        assert_eq!(theirs.status, 200, "{route}");
        for path in written(route) {
            for (method, host) in ["GET", "HEAD"]
                .iter()
                .flat_map(|method| hosts.iter().map(move |host| (method, host)))
            {
                let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let (status, body) = asked(&mut wire, &request).await;
                assert!(
                    matches!(&*status, "400" | "404"),
                    "{method} {path}: {status}"
                );
                assert!(
                    body.is_empty() || body.starts_with("{\"errors\""),
                    "{path}: {body}"
                );
            }
        }
        // As to a proxy: refused by its form, and the connection ends.
        let mut proxied = Wire::open(forebay).await;
        let url = format!("http://{}{route}", forebay.admin);
        let request = format!("GET {url} HTTP/1.1\r\nHost: {}\r\n\r\n", forebay.admin);
        assert_eq!(asked(&mut proxied, &request).await.0, "400", "{url}");
    }
    assert_eq!(stage.origin.counts().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_listener_is_no_registry() {
    let stage = Stage::patient().await;
    let blob = blob_path("library/app", &stage.blob.digest);
    // What clients are given is not given there, cached or not.
    stage
        .forebay
        .client()
        .pulls("library/app", &stage.blob.digest)
        .await;
    let asked = stage.origin.counts().total();
    let admin = stage.forebay.admin();
    for path in [
        "/v2",
        "/v2/",
        "/v2/_catalog",
        "/v2/library/app/manifests/v1",
        "/v2/library/app/tags/list",
        "/_/token",
        "/token",
        "//v2/",
        "/metrics/../v2/",
        "/metrics/v2/",
        &blob,
    ] {
        for (method, status) in [
            (Method::GET, 404),
            (Method::HEAD, 404),
            (Method::POST, 405),
            (Method::PUT, 405),
            (Method::DELETE, 405),
        ] {
            let answer = admin.ask(method.clone(), path, &[]).await;
            assert_eq!(answer.status, status, "{method} {path}");
            let version = answer.header("docker-distribution-api-version");
            assert_eq!(version, "", "{method} {path}");
            assert!(
                answer.body.len() < 200,
                "{method} {path}: {}",
                answer.text()
            );
        }
    }
    assert_eq!(stage.origin.counts().total(), asked);
}
