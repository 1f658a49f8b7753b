//! What each path asks for.

use super::path::MAX_PAGE;
use super::*;

#[test]
fn pings_are_recognised_everywhere() {
    for path in [
        "/v2",
        "/v2/",
        "/v2/?ns=docker.io",
        "/v2/?ns=anything%20goes",
        "/docker.io/v2/",
        "/docker.io/v2",
        "/dockerhub/v2/",
        "/localhost:5005/v2/",
    ] {
        assert_eq!(get(path).unwrap(), Route::Ping, "{path}");
    }
    assert_eq!(ask("HEAD", "/v2/", &[]).unwrap(), Route::Ping);
    assert_eq!(refusal(get("/nobody/v2/")), (404, "NAME_UNKNOWN".into()));
    assert_eq!(
        refusal(get("/other.example/v2/")),
        (404, "NAME_UNKNOWN".into())
    );
}

#[test]
fn every_endpoint_has_its_action() {
    let digest = digest();
    for (path, action) in [
        (
            "manifests/v1.2_x".to_owned(),
            Action::Manifest("v1.2_x".parse().unwrap()),
        ),
        (
            format!("manifests/{digest}"),
            Action::Manifest(Reference::Digest(digest)),
        ),
        (format!("blobs/{digest}"), Action::Blob(digest)),
        (
            format!("blobs/{}", digest.to_string().replace(':', "%3A")),
            Action::Blob(digest),
        ),
        ("tags/list".to_owned(), Action::Tags(page(None, None))),
        (
            "tags/list?n=20&last=v%31".to_owned(),
            Action::Tags(page(Some(20), Some("v1"))),
        ),
        (
            "tags/list?n=0".to_owned(),
            Action::Tags(page(Some(0), None)),
        ),
        (
            "tags/list?n=99999999999".to_owned(),
            Action::Tags(page(Some(MAX_PAGE), None)),
        ),
        (
            format!("referrers/{digest}?artifactType=application%2Fvnd.x+json"),
            Action::Referrers {
                digest,
                artifact_type: Some("application/vnd.x+json".into()),
            },
        ),
    ] {
        let found = target(get(&format!("/v2/library/nginx/{path}")));
        assert_eq!(found.action, action, "{path}");
        assert_eq!(found.repository.to_string(), "docker.io/library/nginx");
    }
}
