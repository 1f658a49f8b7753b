//! What requests mean: the table of paths, hosts and parameters, and that no input breaks it.

use http::Request;
use proptest::prelude::*;

use super::path::MAX_PAGE;
use super::*;
use crate::config::Config;
use crate::http::errors;
use crate::oci::Algorithm;

const CONFIG: &str = r#"
[upstreams."docker.io"]
hosts = ["docker.mirror.example.com"]
[upstreams."quay.io"]
hosts = ["quay.mirror.example.com"]
[upstreams."localhost:5005"]
endpoints = ["http://localhost:5005"]
"#;

fn routes() -> Routes {
    Routes::new(&Config::from_toml(CONFIG).unwrap())
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"x")
}

fn ask(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Route, RouteError> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (request, ()) = request.body(()).unwrap().into_parts();
    route(&routes(), &request.method, &request.uri, &request.headers)
}

fn page(n: Option<u32>, last: Option<&str>) -> Page {
    let last = last.map(str::to_owned);
    Page { n, last }
}

fn get(target: &str) -> Result<Route, RouteError> {
    ask("GET", target, &[])
}

fn target(route: Result<Route, RouteError>) -> Target {
    match route.unwrap() {
        Route::Of(target) => target,
        route => panic!("{route:?}"),
    }
}

/// What an operator or client would see of a refusal: status and code.
fn refusal(route: Result<Route, RouteError>) -> (u16, String) {
    let answer = errors::of_route(route.unwrap_err(), &routes());
    let error = answer.error.unwrap_or_default();
    let (code, message) = error.split_once(": ").unwrap();
    assert!(!message.is_empty());
    (answer.status.as_u16(), code.to_owned())
}

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

#[test]
fn all_ways_to_name_a_registry_are_known() {
    let digest = digest();
    for (before, headers, repository) in [
        ("/v2/library/nginx", &[][..], "docker.io/library/nginx"),
        ("/v2/nginx", &[], "docker.io/library/nginx"),
        ("/v2/docker.io/nginx", &[], "docker.io/library/nginx"),
        ("/v2/index.docker.io/nginx", &[], "docker.io/library/nginx"),
        ("/docker.io/v2/nginx", &[], "docker.io/library/nginx"),
        ("/v2/ghcr.io/org/app", &[], "ghcr.io/org/app"),
        ("/ghcr.io/v2/org/app", &[], "ghcr.io/org/app"),
        ("/v2/ghcr/org/app", &[], "ghcr.io/org/app"),
        ("/ghcr/v2/org/app", &[], "ghcr.io/org/app"),
        ("/ghcr/v2/app", &[], "ghcr.io/app"),
        ("/v2/_/ghcr/app", &[], "ghcr.io/app"),
        ("/v2/_/ghcr.io/org/app", &[], "ghcr.io/org/app"),
        ("/v2/_/dockerhub/nginx", &[], "docker.io/library/nginx"),
        (
            "/v2/_/dockerhub/library/nginx",
            &[],
            "docker.io/library/nginx",
        ),
        (
            "/v2/dockerhub/library/nginx",
            &[],
            "docker.io/library/nginx",
        ),
        (
            "/v2/_/123456789012.dkr.ecr.eu-west-1.amazonaws.com/app",
            &[],
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app",
        ),
        (
            "/v2/_/ghcr.io/app",
            &[("host", "quay.mirror.example.com")],
            "ghcr.io/app",
        ),
        ("/v2/localhost:5005/app", &[], "localhost:5005/app"),
        (
            "/v2/europe-docker.pkg.dev/p/r/i",
            &[],
            "europe-docker.pkg.dev/p/r/i",
        ),
        // A host of one component is a name.
        ("/v2/my.app", &[], "docker.io/library/my.app"),
        ("/v2/v2/v2", &[], "docker.io/v2/v2"),
        (
            "/v2/org/app",
            &[("oci-namespace", "ghcr.io")],
            "ghcr.io/org/app",
        ),
        (
            "/v2/org/app",
            &[("host", "quay.mirror.example.com")],
            "quay.io/org/app",
        ),
        (
            "/v2/org/app",
            &[("host", "QUAY.mirror.example.com:443")],
            "quay.io/org/app",
        ),
        (
            "/v2/ghcr.io/app",
            &[("host", "quay.mirror.example.com")],
            "quay.io/ghcr.io/app",
        ),
        (
            "/v2/ghcr.io/app",
            &[("host", "unknown.example.com")],
            "ghcr.io/app",
        ),
        (
            "/v2/quay.io/org/app",
            &[("host", "quay.mirror.example.com")],
            "quay.io/org/app",
        ),
    ] {
        let found = target(ask("GET", &format!("{before}/blobs/{digest}"), headers));
        assert_eq!(
            found.repository.to_string(),
            repository,
            "{before} {headers:?}"
        );
    }
}

#[test]
fn the_namespace_wins_over_all_else() {
    let digest = digest();
    for (before, ns, repository) in [
        ("/v2/org/app", "ghcr.io", "ghcr.io/org/app"),
        (
            "/v2/nginx",
            "registry-1.docker.io",
            "docker.io/library/nginx",
        ),
        ("/ghcr.io/v2/org/app", "quay.io", "quay.io/org/app"),
        // BuildKit sends the registry both ways.
        (
            "/v2/docker.io/library/nginx",
            "docker.io",
            "docker.io/library/nginx",
        ),
        // So does containerd with `override_path`.
        ("/v2/ghcr.io/org/app", "ghcr.io", "ghcr.io/org/app"),
        (
            "/v2/dockerhub/library/nginx",
            "docker.io",
            "docker.io/library/nginx",
        ),
        ("/v2/_/quay/app", "quay.io", "quay.io/app"),
        ("/v2/quay.io/app", "ghcr.io", "ghcr.io/quay.io/app"),
        // An organisation may be called as an alias is.
        ("/v2/quay/app", "quay.io", "quay.io/quay/app"),
    ] {
        let path = format!("{before}/blobs/{digest}?ns={ns}");
        let found = target(ask("GET", &path, &[("host", "quay.mirror.example.com")]));
        assert_eq!(found.repository.to_string(), repository, "{path}");
    }
}

#[test]
fn names_may_hold_the_endpoints_words() {
    let digest = digest();
    for name in [
        "manifests/blobs",
        "tags/list",
        "a/referrers/b",
        "library/v2",
    ] {
        let found = target(get(&format!("/v2/{name}/blobs/{digest}")));
        assert_eq!(found.repository.name.as_str(), name);
    }
}

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

#[test]
fn links_lead_back_the_way_the_client_came() {
    for (path, next) in [
        (
            "/v2/library/nginx/tags/list?n=9",
            "/v2/library/nginx/tags/list?n=2&last=b",
        ),
        ("/v2/nginx/tags/list", "/v2/nginx/tags/list?n=2&last=b"),
        (
            "/ghcr.io/v2/a/b/tags/list",
            "/ghcr.io/v2/a/b/tags/list?n=2&last=b",
        ),
        (
            "/v2/_/ghcr/a/tags/list",
            "/v2/_/ghcr/a/tags/list?n=2&last=b",
        ),
        (
            "/v2/a/b/tags/list?ns=ghcr.io",
            "/v2/a/b/tags/list?n=2&last=b&ns=ghcr.io",
        ),
    ] {
        let here = target(get(path)).here;
        assert_eq!(here.with_query("n=2&last=b"), next);
    }
}

/// dockerd names no registry, so `docker pull quay/app` was served from quay.io: another image than the one
/// asked for, by whoever has that name there.
#[test]
fn no_image_of_docker_hub_is_taken_for_one_of_an_alias() {
    let digest = digest();
    for name in ["quay/app", "ghcr/app", "k8s/pause", "dockerhub/app", "quay"] {
        let found = target(get(&format!("/v2/{name}/blobs/{digest}")));
        let meant: Repository = format!("docker.io/{name}").parse().unwrap();
        assert_eq!(found.repository, meant);
    }
}

#[test]
fn where_names_may_be_longer_than_docker_hubs_only_a_marked_alias_is_one() {
    let config = format!("default_registry = \"quay.io\"\n{CONFIG}");
    let routes = Routes::new(&Config::from_toml(&config).unwrap());
    for (path, repository) in [
        ("/v2/ghcr/org/app/tags/list", "quay.io/ghcr/org/app"),
        ("/v2/_/ghcr/org/app/tags/list", "ghcr.io/org/app"),
        ("/v2/ghcr.io/org/app/tags/list", "ghcr.io/org/app"),
        ("/ghcr/v2/org/app/tags/list", "ghcr.io/org/app"),
    ] {
        let found = route(
            &routes,
            &Method::GET,
            &path.parse().unwrap(),
            &HeaderMap::new(),
        );
        assert_eq!(target(found).repository.to_string(), repository, "{path}");
    }
}

#[test]
fn the_catalog_is_of_one_registry_or_of_all() {
    let quay = ("host", "quay.mirror.example.com");
    for (path, headers, registry) in [
        ("/v2/_catalog", &[][..], None),
        ("/v2/_catalog?ns=ghcr.io", &[], Some("ghcr.io")),
        (
            "/v2/_catalog",
            &[("oci-namespace", "ghcr.io")],
            Some("ghcr.io"),
        ),
        ("/v2/_catalog", &[quay], Some("quay.io")),
        ("/ghcr/v2/_catalog", &[], Some("ghcr.io")),
        ("/v2/ghcr.io/_catalog", &[], Some("ghcr.io")),
        ("/v2/ghcr/_catalog", &[quay], Some("ghcr.io")),
        ("/v2/_/ghcr/_catalog", &[], Some("ghcr.io")),
    ] {
        let path = format!(
            "{path}{}n=3&last=b",
            if path.contains('?') { '&' } else { '?' }
        );
        match ask("GET", &path, headers).unwrap() {
            Route::Catalog(catalog) => {
                let found = catalog.registry.as_ref().map(Registry::as_str);
                assert_eq!(found, registry, "{path}");
                assert_eq!(catalog.page, page(Some(3), Some("b")));
            }
            route => panic!("{route:?}"),
        }
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
        match route(&routes(), &Method::GET, &uri, &headers) {
            Ok(Route::Ping | Route::Catalog(_)) => {}
            Ok(Route::Of(target)) => {
                prop_assert!(routes().upstream_for(&target.repository.registry).is_some());
                let link = target.here.with_query("n=1");
                prop_assert!(!link.contains(['<', '>', '"', ' ', '\r', '\n']), "{link}");
            }
            Err(error) => {
                let status = errors::of_route(error, &routes()).status;
                prop_assert!(status.is_client_error(), "{status}");
            }
        }
    }

    #[test]
    fn distinct_repositories_never_meet(
        one in "[a-z]{1,5}(/[a-z]{1,5}){0,2}",
        other in "[a-z]{1,5}(/[a-z]{1,5}){0,2}",
        registry in prop::sample::select(vec!["docker.io", "ghcr.io", "quay.io"]),
        another in prop::sample::select(vec!["docker.io", "ghcr.io", "quay.io"]),
    ) {
        let ask = |name: &str, registry: &str| target(get(&format!("/v2/{name}/tags/list?ns={registry}"))).repository;
        let same = ask(&one, registry) == ask(&other, another);
        let full = |name: &str, registry: &str| match registry {
            "docker.io" if !name.contains('/') => format!("docker.io/library/{name}"),
            _ => format!("{registry}/{name}"),
        };
        prop_assert_eq!(same, full(&one, registry) == full(&other, another));
    }
}
