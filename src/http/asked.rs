//! A request as it was read, before anything is decided.

use http::header::RANGE;
use http::request::Parts;
use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::Terms;
use super::client::{Caller, Remote};
use super::headers::Headers;
use super::record::Record;
use super::route::{Memo, Route, RouteError};
use super::vet::{self, FormError};
use super::{range, respond};
use crate::mirror::{Mirror, RangeSpec, Wanted, etag};
use crate::oci::Digest;

/// A request and who sends it.
pub(super) struct Asked {
    pub(super) head: Parts,
    has_usual_headers: bool,
    pub(super) remote: Remote,
    pub(super) caller: Caller,
    /// When its head was read.
    pub(super) at: Instant,
    /// What its line in the log will say.
    pub(super) record: Box<Record>,
}

/// Why a request has no route.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unrouted {
    /// No client sends it in earnest.
    #[error(transparent)]
    Form(#[from] FormError),
    /// It asks for nothing that there is.
    #[error(transparent)]
    Route(#[from] RouteError),
}

impl Asked {
    /// Reads a request, and finds what it asks for. Waits for nothing and looks at nothing that is cached.
    pub(super) fn read(
        head: Parts,
        remote: Remote,
        terms: &Terms,
        mirror: &Mirror,
        memo: &Memo,
    ) -> (Self, Result<Route, Unrouted>) {
        let at = Instant::now();
        let headers = Headers::of(&head.headers);
        let has_usual_headers = headers.are_usual();
        let caller = terms.caller(remote.peer, headers.notable);
        let mut record = Box::new(Record::new(&head, headers, caller.address, at));
        let route = route_of(&head, headers, mirror, memo);
        match &route {
            Ok(Route::Ping) => record.ping(),
            Ok(Route::Catalog(_)) => record.catalog(),
            Ok(Route::Of(target)) => {
                let registry = &target.repository.registry;
                record.target(target, mirror.upstream_name(registry));
            }
            Err(_) => {}
        }
        let asked = Self {
            head,
            has_usual_headers,
            remote,
            caller,
            at,
            record,
        };
        (asked, route)
    }

    pub(super) fn headers(&self) -> Headers<'_> {
        Headers::known(&self.head.headers, self.has_usual_headers)
    }

    /// The client has proven to be called this.
    pub(super) fn named(&mut self, name: &str) {
        self.record.named(name);
        self.caller = self.caller.named(name);
    }
}

fn route_of(
    head: &Parts,
    headers: Headers<'_>,
    mirror: &Mirror,
    memo: &Memo,
) -> Result<Route, Unrouted> {
    vet::vet(head, headers)?;
    let routes = mirror.routes();
    Ok(memo.route(routes, &head.method, &head.uri, headers)?)
}

/// Whether a manifest's bytes are wanted.
pub(super) fn wanted(head: &Parts) -> Wanted {
    if head.method == Method::GET {
        Wanted::Body
    } else {
        Wanted::Head
    }
}

/// Which part of a blob is wanted. Range is for GET alone (RFC 9110, section 14.2); and a client that has the bytes needs
/// none.
pub(super) fn part_wanted(
    digest: &Digest,
    method: &Method,
    headers: &HeaderMap,
) -> (Option<RangeSpec>, Wanted) {
    if *method != Method::GET || respond::has(headers, digest) {
        return (None, Wanted::Head);
    }
    let asks = headers.contains_key(RANGE);
    let range = asks.then(|| range::requested(headers, &etag(digest)));
    (range.flatten(), Wanted::Body)
}
