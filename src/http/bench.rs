//! The narrow way in for `benches/`: what a request asks for, without a mirror behind it. As the store's, it is built with
//! everything else, and no part of the program.

use http::{HeaderMap, Method, Uri};

use super::route;
use crate::config::Routes;

/// Whether a request asks for anything.
#[must_use]
pub fn is_routed(routes: &Routes, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    route::route(routes, method, uri, headers).is_ok()
}
