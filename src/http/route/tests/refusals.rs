//! What is refused, and with which of the specification's errors.

use proptest::prelude::*;

use super::*;
use crate::mirror::MirrorError;

#[test]
fn bad_input_gets_the_specs_error() {
    let digest = digest();
    let long = "x".repeat(129);
    for (path, status, code) in [
        ("/", 404, "UNSUPPORTED"),
        ("/v1/x", 404, "UNSUPPORTED"),
        ("/v2/a/b/_catalog", 404, "UNSUPPORTED"),
        ("/v2/nobody/_catalog", 404, "NAME_UNKNOWN"),
        ("/v2/_catalog?ns=unknown.example", 404, "NAME_UNKNOWN"),
        ("/v2/_catalog?n=x", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/_/nobody/x/manifests/v1", 404, "NAME_UNKNOWN"),
        ("/v2/_/unknown.example/x/manifests/v1", 404, "NAME_UNKNOWN"),
        ("/v2/_/ghcr.io/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/_/x/manifests/v1", 404, "NAME_UNKNOWN"),
        ("/v2/_/_/x/manifests/v1", 404, "NAME_UNKNOWN"),
        ("/v2/_/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/x/_/y/manifests/v1", 400, "NAME_INVALID"),
        (
            "/v2/_/ghcr.io/x/manifests/v1?ns=quay.io",
            400,
            "NAME_INVALID",
        ),
        ("/v2/library/nginx", 404, "UNSUPPORTED"),
        ("/v2/manifests/latest", 404, "UNSUPPORTED"),
        ("/v2/x/tags/list/", 404, "UNSUPPORTED"),
        ("/v2/UPPER/x/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a//b/manifests/v1", 400, "NAME_INVALID"),
        ("/v2//manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a/../b/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a/%2e%2e/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a%2Fb/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a%00/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a%zz/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a%ff/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/x/manifests/-v1", 400, "TAG_INVALID"),
        (&format!("/v2/x/manifests/{long}"), 400, "TAG_INVALID"),
        ("/v2/x/manifests/sha256:00", 400, "DIGEST_INVALID"),
        ("/v2/x/blobs/latest", 400, "DIGEST_INVALID"),
        (
            "/v2/x/blobs/md5:d41d8cd98f00b204e9800998ecf8427e",
            400,
            "DIGEST_INVALID",
        ),
        (
            &format!("/v2/x/blobs/{}", digest.to_string().to_uppercase()),
            400,
            "DIGEST_INVALID",
        ),
        ("/v2/x/referrers/x", 400, "DIGEST_INVALID"),
        ("/v2/x/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/x/tags/list?n=", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/x/tags/list?n=1&n=2", 400, "NAME_INVALID"),
        (
            &format!("/v2/x/tags/list?last={}", "x".repeat(300)),
            400,
            "NAME_INVALID",
        ),
        ("/v2/x/manifests/v1?ns=a%20b", 400, "NAME_INVALID"),
        ("/v2/x/manifests/v1?ns=", 400, "NAME_INVALID"),
        (
            "/v2/x/manifests/v1?ns=ghcr.io&ns=quay.io",
            400,
            "NAME_INVALID",
        ),
        ("/v2/x/manifests/v1?ns=http://ghcr.io", 400, "NAME_INVALID"),
        ("/v2/x/manifests/v1?ns=169.254.169.254", 404, "NAME_UNKNOWN"),
        ("/v2/unknown.example/x/manifests/v1", 404, "NAME_UNKNOWN"),
        ("/unknown.example/v2/x/manifests/v1", 404, "NAME_UNKNOWN"),
        ("/nobody/v2/x/manifests/v1", 404, "NAME_UNKNOWN"),
        ("/v2/-bad.example/x/manifests/v1", 400, "NAME_INVALID"),
    ] {
        assert_eq!(refusal(get(path)), (status, code.to_owned()), "{path}");
    }
}

#[test]
fn writes_are_refused_wherever_they_go() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
        for path in ["/v2/", "/v2/x/blobs/uploads/", "/v2/x/manifests/v1", "/"] {
            assert_eq!(refusal(ask(method, path, &[])), (405, "UNSUPPORTED".into()));
        }
    }
}

#[test]
fn an_unconfigured_registry_is_told_what_to_add() {
    let error = get("/v2/unknown.example/x/manifests/v1").unwrap_err();
    let told = errors::of_route(error, &routes()).error.unwrap();
    assert!(told.contains("[upstreams.\"unknown.example\"]"), "{told}");
    assert!(
        told.contains("docker.io") && told.contains("*.pkg.dev"),
        "{told}"
    );
}

#[test]
fn disagreeing_namespaces_are_refused() {
    let headers = [("oci-namespace", "quay.io")];
    let found = ask("GET", "/v2/x/tags/list?ns=quay.io", &headers);
    assert_eq!(target(found).repository.to_string(), "quay.io/x");
    let found = ask("GET", "/v2/x/tags/list?ns=ghcr.io", &headers);
    assert_eq!(refusal(found), (400, "NAME_INVALID".into()));
}

/// It said that `ns` was given more than once.
#[test]
fn a_namespace_that_contradicts_the_path_is_told_so() {
    let error = get("/v2/_/ghcr/a/b/manifests/v1?ns=docker.io").unwrap_err();
    let told = errors::of_route(error, &routes()).error.unwrap();
    assert!(
        told.contains("`ns` names docker.io, and the path names ghcr.io"),
        "{told}"
    );
}

/// A link to the next page of the catalog was refused when a client followed it.
#[test]
fn the_longest_name_of_a_catalog_may_be_gone_on_after() {
    let host = [&["x".repeat(62).as_str(); 4].join("."), ":65535"].concat();
    let last = format!("{host}/{}", "a".repeat(255));
    match get(&format!("/v2/_catalog?last={last}")).unwrap() {
        Route::Catalog(catalog) => assert_eq!(catalog.page, page(None, Some(&last))),
        route => panic!("{route:?}"),
    }
    let longer = get(&format!("/v2/_catalog?last={}", "x".repeat(600)));
    assert_eq!(refusal(longer), (400, "NAME_INVALID".into()));
}

/// A spent quota said to set `username` and `password` where they were set, and not where; a late answer named nobody.
#[test]
fn a_spent_quota_and_a_late_answer_name_the_table_to_look_at() {
    let config =
        "[upstreams.'docker.io']\nusername = 'u'\npassword = 'p'\n[upstreams.'*.pkg.dev']\n";
    let routes = Routes::new(&Config::from_toml(config).unwrap());
    let spent = || MirrorError::TooManyRequests {
        retry_after: None,
        message: "spent".to_owned(),
        quota: None,
    };
    for (registry, parts) in [
        (
            "docker.io",
            ["the login that `username`", "[upstreams.\"docker.io\"]"],
        ),
        (
            "europe-docker.pkg.dev",
            [
                "set `username` and `password_file`",
                "[upstreams.\"*.pkg.dev\"]",
            ],
        ),
    ] {
        let registry: Registry = registry.parse().unwrap();
        let told = errors::of_mirror(spent(), Some(&registry), &routes)
            .error
            .unwrap();
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        let late = errors::too_late(Some(&registry)).error.unwrap();
        let table = format!("[upstreams.\"{registry}\"]");
        assert!(late.contains(&table), "{late}");
    }
}

proptest! {
    #[test]
    fn no_target_panics_or_is_our_fault(
        path in "(/(v2|docker\\.io|ghcr|\\.\\.|%2e|[a-zA-Z0-9._:%-]{0,12})){0,6}(/(manifests|blobs|tags|referrers)/[a-z0-9:%+]{0,20})?",
        query in "([a-zA-Z]{1,12}=[a-zA-Z0-9.:%+/-]{0,12}&?){0,4}",
        namespace in prop::option::of("[ -~]{0,20}"),
        host in "[!-~]{0,20}",
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("oci-namespace", namespace.as_deref()), ("host", Some(host.as_str()))] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let Ok(uri) = format!("{path}?{query}").parse::<Uri>() else { return Ok(()) };
        let found = route(&routes(), &Method::GET, &uri, &headers);
        let mut request = Request::new(());
        (*request.uri_mut(), *request.headers_mut()) = (uri, headers);
        memo::agrees(&request.into_parts().0, &found);
        match found {
            Ok(Route::Ping | Route::Catalog(_)) => {}
            Ok(Route::Of(target)) => {
                prop_assert!(routes().upstream_for(&target.repository.registry).is_some());
                if let Action::Tags(tags) = &target.action {
                    let link = tags.here.with_query("n=1");
                    prop_assert!(!link.contains(['<', '>', '"', ' ', '\r', '\n']), "{link}");
                }
            }
            Err(error) => {
                let status = errors::of_route(error, &routes()).status;
                prop_assert!(status.is_client_error(), "{status}");
            }
        }
    }
}
