//! What requests mean: the table of paths, hosts and parameters, and that no input breaks it.

mod endpoints;
mod memo;
mod naming;
mod refusals;

use http::Request;
use http::request::Parts;

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

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn ask(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Route, RouteError> {
    let request = request(method, target, headers);
    let found = route(&routes(), &request.method, &request.uri, &request.headers);
    memo::agrees(&request, &found);
    found
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
        Route::Of(target) => Arc::unwrap_or_clone(target),
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

/// Who is answered what is tested kind by kind: an action that shared another's would be tested by nobody.
#[test]
fn each_action_has_a_kind_of_its_own() {
    let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    let all = [
        Action::Manifest(Reference::Digest(digest)),
        Action::Blob(digest),
        Action::Tags(Tags::for_tests("a")),
        Action::Referrers {
            digest,
            artifact_type: None,
        },
    ];
    for (index, action) in all.iter().enumerate() {
        // A new one has its place among them.
        let place = match action {
            Action::Manifest(_) => 0,
            Action::Blob(_) => 1,
            Action::Tags(_) => 2,
            Action::Referrers { .. } => 3,
        };
        assert_eq!(place, index);
    }
    let kind = |action: &Action| Target::for_tests("docker.io/a", action.clone()).kind();
    for (index, action) in all.iter().enumerate() {
        let of_routes = [RequestKind::Ping, RequestKind::Catalog, RequestKind::Other];
        assert!(!of_routes.contains(&kind(action)), "{action:?}");
        for other in &all[..index] {
            assert_ne!(kind(action), kind(other), "{action:?} {other:?}");
        }
    }
}
