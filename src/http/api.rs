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
use crate::mirror::{Mirror, MirrorError, Served, Wanted};

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
        let target = match route::route(routes, &head.method, &head.uri, &head.headers) {
            Ok(Route::Ping) => {
                record.ping();
                return Answer::ping();
            }
            Ok(Route::Of(target)) => target,
            Err(error) => return errors::of_route(error, routes),
        };
        record.target(&target);
        match tokio::time::timeout(HEAD_WITHIN, self.ask(&target, head)).await {
            Ok(Ok(served)) => Answer::served(served, &target, &head.headers),
            Ok(Err(error)) => errors::of_mirror(error, routes),
            Err(_) => errors::too_late(),
        }
    }

    async fn ask(&self, target: &Target, head: &Parts) -> Result<Served, MirrorError> {
        let repository = &target.repository;
        match &target.action {
            Action::Manifest(reference) => self.mirror.manifest(repository, reference).await,
            Action::Blob(digest) => {
                // Range is for GET alone (RFC 9110, section 14.2); and a client that has the bytes needs
                // none.
                let get = head.method == Method::GET && !respond::has(&head.headers, digest);
                let (range, wanted) = if get {
                    (
                        range::requested(&head.headers, &respond::etag(digest)),
                        Wanted::Body,
                    )
                } else {
                    (None, Wanted::Head)
                };
                self.mirror.blob(repository, digest, range, wanted).await
            }
            Action::Tags { n, last } => self.mirror.tags(repository, *n, last.as_deref()).await,
            Action::Referrers {
                digest,
                artifact_type,
            } => {
                self.mirror
                    .referrers(repository, digest, artifact_type.as_deref())
                    .await
            }
        }
    }
}
