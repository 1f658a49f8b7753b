//! What requests mean: the table of paths, hosts and parameters, and that no input breaks it.

mod endpoints;
mod naming;
mod refusals;

use http::Request;

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
