//! The registry API: one request in, one response out.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;

use super::answering::Answering;
use super::asked::{Asked, Unrouted, part_wanted, wanted};
use super::body::ResponseBody;
use super::client::{Caller, Remote};
use super::limit::{self, Admitted};
use super::passthrough::{Asker, Guesser, Passthrough, Shown, TOKEN_PATH};
use super::respond::Answer;
use super::route::{Action, Catalog, Memo, Route, RouteError, Target};
use super::{Terms, errors, login, vet};
use crate::access::{Client, Gate, LoginError, Permit, Refusal, Visible};
use crate::metrics::AccessOutcome;
use crate::mirror::{Mirror, MirrorError, Waiter};

/// Clients give up on a response's head after 30 s (containerd 2.3). The mirror's own bounds end
/// sooner; this one ends what they miss. It includes the time for which a request is held.
const HEAD_WITHIN: Duration = Duration::from_secs(24);
/// Of that, what is left to say what was waited for in vain: a quota, say. After it, only that it has been too long.
const TO_TELL: Duration = Duration::from_secs(1);

/// Answers the requests of registry clients.
pub struct Api {
    mirror: Mirror,
    terms: Arc<Terms>,
    gate: Gate,
    passthrough: Passthrough,
    memo: Memo,
}

/// What a client may ask the mirror for: a route, with the leave that its flow takes.
enum Permitted {
    Ping,
    Catalog(Catalog, Visible),
    Of(Arc<Target>, Permit),
}

impl Api {
    /// An API in front of `mirror`, which lets clients in by `terms`, to what `gate` permits.
    pub fn new(mirror: Mirror, terms: Arc<Terms>, gate: Gate) -> Self {
        Self {
            mirror,
            terms,
            gate,
            passthrough: Passthrough::default(),
            memo: Memo::default(),
        }
    }

    /// The API of another configuration. The tokens that were given out go on counting, but for those of registries that take
    /// no clients' logins any more, or have another endpoint.
    #[must_use]
    pub fn reconfigured(&self, mirror: Mirror, terms: Arc<Terms>, gate: Gate) -> Self {
        self.passthrough.go_by(&mirror);
        Self {
            mirror,
            terms,
            gate,
            passthrough: self.passthrough.clone(),
            memo: Memo::default(),
        }
    }

    /// Who lets clients in.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Answers one request of `remote`. No body is read but that of a question for a token: no other request of this API has
    /// one.
    pub fn answer<B>(self: Arc<Self>, request: Request<B>, remote: Remote) -> Answering
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let is_for_token = self.is_for_token(&head);
        let (mut asked, route) = Asked::read(head, remote, &self.terms, &self.mirror, &self.memo);
        if is_for_token {
            return Answering::later(async move {
                let (answer, admitted) = self.give_token(&asked, route.err(), body).await;
                respond(asked, answer, admitted)
            });
        }
        if let Some(answer) = self.at_once(&mut asked, &route) {
            return Answering::now(respond(asked, answer, Admitted::default()));
        }
        Answering::later(async move {
            let (answer, admitted) = self.decide(&mut asked, route).await;
            respond(asked, answer, admitted)
        })
    }

    fn is_for_token(&self, head: &Parts) -> bool {
        self.mirror.routes().has_passthrough() && head.uri.path() == TOKEN_PATH
    }

    async fn give_token<B>(
        &self,
        asked: &Asked,
        wrong: Option<Unrouted>,
        body: B,
    ) -> (Answer, Admitted)
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let refused = |answer| (answer, Admitted::default());
        if let Some(Unrouted::Form(error)) = wrong {
            return refused(errors::of_form(error));
        }
        if let Some(surplus) = asked.remote.surplus {
            return refused(errors::of_limit(surplus.into()));
        }
        let deadline = asked.at + HEAD_WITHIN;
        // The login in the header is none of the mirror's own.
        let facts = login::facts(&asked.remote, &asked.caller, &self.terms);
        let guesser = Guesser {
            floods: self.gate.floods(),
            // Behind a proxy that names nobody one would keep out all.
            address: facts.address,
        };
        let client = match self.gate.identify(facts, Ok(None), deadline).await {
            Ok(client) => client,
            Err(error) => return refused(errors::of_login(error)),
        };
        if let Err(refusal) = self.gate.admits(&client) {
            return refused(errors::of_access(refusal, &client));
        }
        let admitted = match self.terms.admit(&asked.caller).await {
            Ok(admitted) => admitted,
            Err(refusal) => return refused(errors::of_limit(refusal)),
        };
        let head = &asked.head;
        let given = self.passthrough.token(&self.mirror, head, body, guesser);
        let given = tokio::time::timeout_at(deadline, given).await;
        (given.unwrap_or_else(|_| errors::too_late(None)), admitted)
    }

    /// The answer to a request for what is here and may be given away as it is, without a word to anyone: no login to check,
    /// no limit to keep to, no upstream to ask, no disk to wait for. `None` says nothing but that it takes more than that.
    fn at_once(&self, asked: &mut Asked, route: &Result<Route, Unrouted>) -> Option<Answer> {
        if asked.remote.surplus.is_some() || self.mirror.routes().has_passthrough() {
            return None;
        }
        let Ok(Route::Of(target)) = route else {
            return None;
        };
        let facts = login::facts(&asked.remote, &asked.caller, &self.terms);
        let brings_login = login::is_brought(asked.headers().notable);
        let client = self.gate.known(facts, brings_login)?;
        if let Some(name) = client.name() {
            asked.named(&name);
        }
        if !self.terms.are_unbounded(&asked.caller) {
            return None;
        }
        let permit = self.gate.permit(&client, &target.repository).ok()?;
        let (head, headers) = (&asked.head, asked.headers().notable);
        let served = match &target.action {
            Action::Manifest(reference) => {
                let wanted = wanted(head);
                self.mirror.manifest_at_once(&permit, reference, wanted)
            }
            Action::Blob(digest) => {
                let (range, wanted) = part_wanted(digest, &head.method, headers);
                self.mirror.blob_at_once(&permit, digest, range, wanted)
            }
            Action::Tags(_) | Action::Referrers { .. } => None,
        };
        let answer = Answer::served(served?, target, headers);
        self.gate.count(AccessOutcome::Permitted);
        Some(answer)
    }

    async fn decide(
        &self,
        asked: &mut Asked,
        route: Result<Route, Unrouted>,
    ) -> (Answer, Admitted) {
        let refused = |answer| (answer, Admitted::default());
        let route = match route {
            Ok(route) => Ok(route),
            Err(Unrouted::Route(error)) => Err(error),
            Err(Unrouted::Form(error)) => return refused(errors::of_form(error)),
        };
        if let Some(surplus) = asked.remote.surplus {
            return refused(errors::of_limit(surplus.into()));
        }
        let deadline = asked.at + HEAD_WITHIN;
        let client = match self.identify(asked, deadline).await {
            Ok(client) => client,
            Err(error) => return refused(errors::of_login(error)),
        };
        if let Some(name) = client.name() {
            asked.named(&name);
        }
        let head = &asked.head;
        let shown = self.shown(head);
        let permitted = match self.permit(route, &client, &shown) {
            Ok(permitted) => permitted,
            Err(refusal) => return refused(errors::of_access(refusal, &client)),
        };
        // What has no route counts as well: to be told so costs as much as a hit. A ping does not: it costs no more than a
        // refusal, and a client that is refused it takes the mirror for dead and goes around it.
        let is_ping = matches!(permitted, Ok(Permitted::Ping));
        let admitted = match self.admit(&asked.caller, is_ping).await {
            Ok(admitted) => admitted,
            Err(refusal) => return refused(errors::of_limit(refusal)),
        };
        let waiter = Waiter {
            key: asked.caller.key,
            deadline: deadline - TO_TELL,
        };
        let from = Asker {
            head,
            scheme: asked.caller.scheme,
            shown: &shown,
        };
        let answer = match permitted {
            // Some clients learn from a ping alone how to log in.
            Ok(Permitted::Ping)
                if self.mirror.routes().has_passthrough() && !shown.is_session() =>
            {
                let mut answer = errors::of_ping();
                from.challenge(&mut answer, None);
                answer
            }
            Ok(permitted) => self.ask_in_time(&permitted, from, waiter).await,
            Err(error) => errors::of_route(error, self.mirror.routes()),
        };
        (answer, admitted)
    }

    /// The login of its own that a client has brought along.
    fn shown(&self, head: &Parts) -> Shown {
        if self.mirror.routes().has_passthrough() {
            self.passthrough.shown(&head.headers)
        } else {
            Shown::Nothing
        }
    }

    /// Who asks. A wrong login is wrong whatever it is sent with.
    async fn identify(&self, asked: &Asked, deadline: Instant) -> Result<Client, LoginError> {
        let facts = login::facts(&asked.remote, &asked.caller, &self.terms);
        let attempt = login::attempt(&asked.head.headers);
        let until = deadline - TO_TELL;
        let client = self.gate.identify(facts, attempt, until).await;
        client.inspect_err(|error| self.gate.count(error.outcome()))
    }

    /// Decides before anyone looks at the cache or asks an upstream. A client that may pull nothing is not told what is
    /// wrong with its request either.
    fn permit(
        &self,
        route: Result<Route, RouteError>,
        client: &Client,
        shown: &Shown,
    ) -> Result<Result<Permitted, RouteError>, Refusal> {
        let gate = &self.gate;
        let decide = || match route {
            Ok(Route::Ping) => gate.admits_ping(client).map(|()| Ok(Permitted::Ping)),
            Ok(Route::Catalog(catalog)) => {
                let visible = gate.visible(client)?.with_login(shown.login());
                Ok(Ok(Permitted::Catalog(catalog, visible)))
            }
            Ok(Route::Of(target)) => {
                let permit = gate.permit(client, &target.repository)?;
                let permit = permit.with_login(shown.login());
                Ok(Ok(Permitted::Of(target, permit)))
            }
            Err(error) => gate.admits(client).map(|()| Err(error)),
        };
        let decided = decide();
        gate.count(match &decided {
            Ok(_) => AccessOutcome::Permitted,
            Err(refusal) => refusal.outcome(),
        });
        decided
    }

    async fn admit(&self, caller: &Caller, is_ping: bool) -> Result<Admitted, limit::Refusal> {
        if is_ping {
            return Ok(Admitted::default());
        }
        self.terms.admit(caller).await
    }

    async fn ask_in_time(&self, permitted: &Permitted, asker: Asker<'_>, waiter: Waiter) -> Answer {
        let registry = match permitted {
            Permitted::Ping => None,
            Permitted::Catalog(catalog, _) => catalog.registry.as_ref(),
            Permitted::Of(_, permit) => Some(&permit.repository().registry),
        };
        let answer = self.ask(permitted, asker.head, waiter);
        let answer = tokio::time::timeout_at(waiter.deadline + TO_TELL, answer).await;
        let mut refusal = match answer {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => {
                let is_for_login = matches!(error, MirrorError::LoginNeeded { .. });
                let mut refusal = errors::of_mirror(error, registry, self.mirror.routes());
                if is_for_login {
                    asker.challenge(&mut refusal, registry);
                }
                refusal
            }
            Err(_) => errors::too_late(registry),
        };
        if let Some(registry) = registry {
            refusal.of_registry(registry);
        }
        refusal
    }

    async fn ask(
        &self,
        asked: &Permitted,
        head: &Parts,
        waiter: Waiter,
    ) -> Result<Answer, MirrorError> {
        match asked {
            Permitted::Ping => Ok(Answer::ping()),
            Permitted::Catalog(catalog, visible) => {
                let registry = catalog.registry.as_ref();
                let listing = self
                    .mirror
                    .catalog(visible, registry, &catalog.page)
                    .await?;
                Ok(Answer::catalog(listing, catalog))
            }
            Permitted::Of(target, permit) => self.ask_of(target, permit, head, waiter).await,
        }
    }

    async fn ask_of(
        &self,
        target: &Target,
        permit: &Permit,
        head: &Parts,
        waiter: Waiter,
    ) -> Result<Answer, MirrorError> {
        let mirror = &self.mirror;
        let served = match &target.action {
            Action::Manifest(reference) => {
                let wanted = wanted(head);
                mirror.manifest(permit, reference, wanted, waiter).await
            }
            Action::Blob(digest) => {
                let (range, wanted) = part_wanted(digest, &head.method, &head.headers);
                mirror.blob(permit, digest, range, wanted, waiter).await
            }
            Action::Tags(tags) => {
                let listing = mirror.tags(permit, &tags.page).await?;
                return Ok(Answer::tags(listing, permit.repository(), tags));
            }
            Action::Referrers {
                digest,
                artifact_type,
            } => {
                let artifact_type = artifact_type.as_deref();
                mirror.referrers(permit, digest, artifact_type).await
            }
        };
        Ok(Answer::served(served?, target, &head.headers))
    }
}

/// The answer as it goes out.
fn respond(asked: Asked, answer: Answer, admitted: Admitted) -> Response<ResponseBody> {
    let must_close = vet::must_close(&asked.head.method, asked.headers());
    let Asked { head, record, .. } = asked;
    let mut response = answer.into_response(&head.method, record);
    response.body_mut().admitted(admitted);
    if must_close {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
