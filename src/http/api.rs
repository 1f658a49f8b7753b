//! The registry API: one request in, one response out.

use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};

use super::body::ResponseBody;
use super::record::Record;
use super::respond::{self, Answer};
use super::route::{self, Action, Route, Target};
use super::{errors, range, vet};
use crate::mirror::{Mirror, MirrorError, RangeSpec, Wanted};
use crate::oci::Digest;

/// Clients give up on a response's head after 30 s (containerd 2.3). The mirror's own bounds end
/// sooner; this one ends what they miss.
const HEAD_WITHIN: Duration = Duration::from_secs(24);

/// Answers the requests of registry clients.
#[derive(Clone)]
pub struct Api {
    mirror: Mirror,
}

impl Api {
    /// An API in front of `mirror`.
    pub fn new(mirror: Mirror) -> Self {
        Self { mirror }
    }

    /// Answers one request. Its body is not read: none of this API's requests has one.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<ResponseBody> {
        let (head, _) = request.into_parts();
        let mut record = Record::new(&head);
        let answer = self.decide(&head, &mut record).await;
        let mut response = answer.into_response(&head.method, record);
        if vet::must_close(&head) {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn decide(&self, head: &Parts, record: &mut Record) -> Answer {
        if let Err(error) = vet::vet(head) {
            return errors::of_form(error);
        }
        let routes = self.mirror.routes();
        let route = match route::route(routes, &head.method, &head.uri, &head.headers) {
            Ok(route) => route,
            Err(error) => return errors::of_route(error, routes),
        };
        let registry = match &route {
            Route::Ping => {
                record.ping();
                return Answer::ping();
            }
            Route::Catalog(catalog) => {
                record.catalog();
                catalog.registry.clone()
            }
            Route::Of(target) => {
                record.target(target);
                Some(target.repository.registry.clone())
            }
        };
        let answer = tokio::time::timeout(HEAD_WITHIN, self.ask(&route, head)).await;
        let mut refusal = match answer {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => errors::of_mirror(error, registry.as_ref(), routes),
            Err(_) => errors::too_late(registry.as_ref()),
        };
        if let Some(registry) = &registry {
            refusal.of_registry(registry);
        }
        refusal
    }

    async fn ask(&self, route: &Route, head: &Parts) -> Result<Answer, MirrorError> {
        match route {
            Route::Ping => Ok(Answer::ping()),
            Route::Catalog(catalog) => {
                let registry = catalog.registry.as_ref();
                let listing = self.mirror.catalog(registry, &catalog.page).await?;
                Ok(Answer::catalog(listing, catalog))
            }
            Route::Of(target) => self.ask_of(target, head).await,
        }
    }

    async fn ask_of(&self, target: &Target, head: &Parts) -> Result<Answer, MirrorError> {
        let repository = &target.repository;
        let mirror = &self.mirror;
        let served = match &target.action {
            Action::Manifest(reference) => {
                let wanted = if head.method == Method::GET {
                    Wanted::Body
                } else {
                    Wanted::Head
                };
                mirror.manifest(repository, reference, wanted).await
            }
            Action::Blob(digest) => {
                let (range, wanted) = part_wanted(digest, head);
                mirror.blob(repository, digest, range, wanted).await
            }
            Action::Tags(tags) => {
                let listing = mirror.tags(repository, &tags.page).await?;
                return Ok(Answer::tags(listing, repository, tags));
            }
            Action::Referrers {
                digest,
                artifact_type,
            } => {
                let artifact_type = artifact_type.as_deref();
                mirror.referrers(repository, digest, artifact_type).await
            }
        };
        Ok(Answer::served(served?, target, &head.headers))
    }
}

/// Range is for GET alone (RFC 9110, section 14.2); and a client that has the bytes needs none.
fn part_wanted(digest: &Digest, head: &Parts) -> (Option<RangeSpec>, Wanted) {
    if head.method != Method::GET || respond::has(&head.headers, digest) {
        return (None, Wanted::Head);
    }
    let range = range::requested(&head.headers, &respond::etag(digest));
    (range, Wanted::Body)
}
