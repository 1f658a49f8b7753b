//! The memory of routes: it tells what is found without it, whatever was asked for before.

use std::sync::LazyLock;

use super::*;
use crate::http::headers::Headers;

/// One for all tables of routes, so that each request comes after others.
static MEMO: LazyLock<Memo> = LazyLock::new(Memo::default);

/// Panics where a request has another route than `found`, the first time or when it is known.
pub(super) fn agrees(request: &Parts, found: &Result<Route, RouteError>) {
    let routes = routes();
    for _ in 0..2 {
        let known = recall(&MEMO, &routes, request);
        assert_eq!(format!("{known:?}"), format!("{found:?}"), "{request:?}");
    }
}

fn recall(memo: &Memo, routes: &Routes, request: &Parts) -> Result<Route, RouteError> {
    let headers = Headers::of(&request.headers);
    memo.route(routes, &request.method, &request.uri, headers)
}

/// Whether the second of two requests was answered with what had been found for the first.
fn is_known(routes: &Routes, [first, second]: [&Parts; 2]) -> bool {
    let memo = Memo::default();
    match [first, second].map(|request| recall(&memo, routes, request)) {
        [Ok(Route::Of(first)), Ok(Route::Of(second))] => Arc::ptr_eq(&first, &second),
        _ => false,
    }
}

#[test]
fn the_same_words_are_taken_apart_once() {
    let hub = [("host", "docker.mirror.example.com")];
    let [tag, digest] = [
        "/v2/library/app/manifests/v1".to_owned(),
        format!("/v2/library/app/blobs/{}?ns=docker.io", digest()),
    ];
    for target in [tag, digest] {
        let get = request("GET", &target, &hub);
        assert!(is_known(&routes(), [&get, &get]), "{target}");
        let head = request("HEAD", &target, &hub);
        assert!(is_known(&routes(), [&get, &head]), "{target}");
    }
}

#[test]
fn another_host_or_method_or_a_namespace_in_a_header_is_no_repetition() {
    const TARGET: &str = "/v2/org/app/manifests/v1";
    let get = |headers| request("GET", TARGET, headers);
    let hub = get(&[("host", "docker.mirror.example.com")]);
    let quay = get(&[("host", "quay.mirror.example.com")]);
    assert!(!is_known(&routes(), [&hub, &quay]));
    let named = get(&[
        ("host", "docker.mirror.example.com"),
        ("oci-namespace", "quay.io"),
    ]);
    assert!(!is_known(&routes(), [&hub, &named]));
    assert!(!is_known(&routes(), [&named, &hub]));
    let put = request("PUT", TARGET, &[("host", "docker.mirror.example.com")]);
    assert!(!is_known(&routes(), [&hub, &put]));
}

/// Each node writes the mirror's name as it likes, a port or an address.
#[test]
fn a_host_that_names_no_registry_takes_no_slot_of_its_own() {
    let [one, other, named] = ["mirror:5000", "192.0.2.1", "quay.mirror.example.com"]
        .map(|host| request("GET", "/v2/org/app/manifests/v1", &[("host", host)]));
    assert!(is_known(&routes(), [&one, &other]));
    assert!(!is_known(&routes(), [&one, &named]));
}

#[test]
fn what_is_refused_or_listed_or_long_is_not_kept() {
    for target in [
        "/v2/org/app/tags/list".to_owned(),
        format!("/v2/org/app/referrers/{}", digest()),
        format!("/v2/org/app/manifests/v1?{}", "x".repeat(600)),
        "/v2/org/app/manifests/.".to_owned(),
    ] {
        let (request, memo) = (
            request("GET", &target, &[("host", "mirror")]),
            Memo::default(),
        );
        let found = recall(&memo, &routes(), &request);
        assert_eq!(memo.taken(), 0, "{target}: {found:?}");
    }
}
