//! Which repository of which registry is meant.

use proptest::prelude::*;

use super::*;

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

/// What the table of one of its names denies was to be had by another, of which the table for all of Amazon's knew nothing.
#[test]
fn a_registry_of_amazons_is_known_by_one_of_its_names() {
    const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    const OTHER: &str = "123456789012.dkr-ecr.eu-west-1.on.aws";
    let config = format!("[upstreams.'{HOST}']\n");
    let routes = Routes::new(&Config::from_toml(&config).unwrap());
    let digest = digest();
    for target in [
        format!("/v2/{OTHER}/app/blobs/{digest}"),
        format!("/{OTHER}/v2/app/blobs/{digest}"),
        format!("/v2/_/{OTHER}/app/blobs/{digest}"),
        format!("/v2/app/blobs/{digest}?ns={OTHER}"),
        // As BuildKit does, whichever names it has for them.
        format!("/v2/{OTHER}/app/blobs/{digest}?ns={OTHER}"),
        format!("/v2/{HOST}/app/blobs/{digest}?ns={OTHER}"),
        format!("/v2/_/{OTHER}/app/blobs/{digest}?ns={OTHER}"),
        format!("/v2/_/{HOST}/app/blobs/{digest}?ns={OTHER}"),
    ] {
        let request = Request::get(&target).body(()).unwrap();
        let found = route(&routes, request.method(), request.uri(), request.headers());
        let Ok(Route::Of(found)) = found else {
            panic!("{target}: {found:?}");
        };
        assert_eq!(
            found.repository.to_string(),
            format!("{HOST}/app"),
            "{target}"
        );
    }
    let listed = format!("/v2/_/{OTHER}/_catalog");
    let request = Request::get(&listed).body(()).unwrap();
    let found = route(&routes, request.method(), request.uri(), request.headers());
    let Ok(Route::Catalog(catalog)) = found else {
        panic!("{found:?}");
    };
    assert_eq!(catalog.registry.unwrap().as_str(), HOST);
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
        let Action::Tags(tags) = target(get(path)).action else {
            panic!("{path}");
        };
        assert_eq!(tags.here.with_query("n=2&last=b"), next);
    }
}

proptest! {
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
