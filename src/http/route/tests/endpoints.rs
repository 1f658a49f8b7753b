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

#[test]
fn lists_of_tags_are_asked_for_in_pages() {
    for (query, expected) in [
        ("", page(None, None)),
        ("?n=20&last=v%31", page(Some(20), Some("v1"))),
        ("?n=0", page(Some(0), None)),
        ("?n=99999999999", page(Some(MAX_PAGE), None)),
    ] {
        let found = target(get(&format!("/v2/nginx/tags/list{query}")));
        assert_eq!(found.repository.to_string(), "docker.io/library/nginx");
        let Action::Tags(tags) = found.action else {
            panic!("{:?}", found.action);
        };
        assert_eq!(
            (&tags.page, tags.name.as_str()),
            (&expected, "nginx"),
            "{query}"
        );
    }
}
