//! One question to one endpoint of a registry: the login that it takes, the redirects that it leads
//! through, and an answer or an error. Trying again is [`super::retry`]'s business.

mod trace;

use bytes::Bytes;
use http::{Method, StatusCode};
use reqwest::Response;
use url::Url;

use super::address::Origin;
use super::auth::{Auth, Grant, Memory};
use super::body::read_small;
use super::challenge::Complaint;
use super::credentials::Access;
use super::error::{ErrorKind, UpstreamError};
use super::range::ByteRange;
use super::redirect::{self, Astray, MAX_REDIRECTS};
use super::refusal::{Refusal, Speaker};
use super::transport::{Outgoing, Transport, host_of};
use crate::metrics::UpstreamKind;
use crate::oci::{ErrorCode, RepositoryName};

pub(crate) use trace::{Trace, Traced};

/// An address of a registry, and what it has taught about itself.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) base: Url,
    pub(crate) origin: Origin,
    pub(crate) memory: Memory,
}

impl Endpoint {
    /// `None` unless the URL is http or https.
    pub(crate) fn new(base: Url) -> Option<Endpoint> {
        Some(Endpoint {
            origin: Origin::of(&base)?,
            base,
            memory: Memory::default(),
        })
    }

    fn url(&self, ask: &Ask<'_>) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{}", ask.name, ask.tail));
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        url
    }
}

/// A question about a repository.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    /// What it counts as.
    pub(crate) kind: UpstreamKind,
    pub(crate) method: Method,
    pub(crate) name: &'a RepositoryName,
    /// What follows the name: `manifests/<reference>` and the like.
    pub(crate) tail: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) accept: Option<&'static str>,
    pub(crate) range: Option<ByteRange>,
    /// The code of a 404 that carries none.
    pub(crate) absent: ErrorCode,
    pub(crate) redirects: Redirects,
    /// Whether any endpoint can answer, as for what is named by its digest.
    pub(crate) anywhere: bool,
    /// Whether the body is part of the answer, and how large it may be.
    pub(crate) body: Option<usize>,
}

/// What to do about a redirect to a store of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redirects {
    /// Fetch from there.
    Follow,
    /// Leave it: that the registry leads somewhere shows that it holds the blob.
    Prove,
}

/// An answer: a success, or the redirect that proves something.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its head, and its body if that has not been read yet.
    pub(crate) response: Response,
    /// The body, where it was asked for with the head.
    pub(crate) body: Bytes,
    pub(crate) access: Access,
    /// Until when what opened the way to it does; `None` where that has no end.
    pub(crate) good_until: Option<std::time::Instant>,
}

impl Answer {
    /// A complaint about this answer.
    pub(crate) fn invalid(&self, what: &str) -> UpstreamError {
        UpstreamError::invalid(host_of(self.response.url()), what)
    }
}

/// What it takes to ask an endpoint.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) auth: &'a Auth,
    pub(crate) endpoint: &'a Endpoint,
    /// What becomes of this attempt's pull.
    pub(crate) trace: &'a Trace,
}

/// A hop: where it went, and what came back.
enum Reply {
    Success(Response),
    Redirect(Response),
    Refusal(Refusal),
}

/// What a question came to, at the end of all redirects.
enum End {
    Success(Response),
    Refusal(Refusal, Place),
}

/// Where a question ended.
struct Place {
    host: String,
    speaker: Speaker,
    /// At the endpoint itself.
    home: bool,
    beyond_redirect: bool,
}

impl Place {
    /// What a refusal there means to one who brought `grant` along from home.
    fn error(
        &self,
        refusal: Refusal,
        grant: Option<&Grant>,
        name: &RepositoryName,
    ) -> UpstreamError {
        let fault = Complaint::from_headers(&refusal.headers).fault;
        let says_expired = refusal.says_expired();
        let mut error = refusal.into_error(&self.host, self.speaker);
        if self.beyond_redirect {
            error = error.at_redirect();
        }
        match grant {
            Some(grant) if self.home && !says_expired => grant.explain(error, fault, name),
            Some(grant) => grant.withhold(error),
            None => error,
        }
    }
}

impl Exchange<'_> {
    pub(crate) async fn run(&self, ask: &Ask<'_>) -> Result<Answer, UpstreamError> {
        let (mut end, mut grant) = self.end(ask).await?;
        if let End::Refusal(refusal, Place { speaker, .. }) = &end
            && *speaker == Speaker::Store
            && refusal.says_token_expired()
            && let Some(refused) = &grant
            && self.auth.renew(&self.endpoint.origin, refused).await?
        {
            (end, grant) = self.end(ask).await?;
        }
        let access = grant
            .as_ref()
            .map_or(Access::Anonymous, |grant| grant.access);
        let mut response = match end {
            End::Success(response) => response,
            End::Refusal(refusal, place) => {
                let error = place.error(refusal, grant.as_ref(), ask.name);
                // Some registries say so with a 403.
                if place.home && error.kind() == ErrorKind::TooManyRequests {
                    self.trace.note(|traced| traced.refused = true);
                }
                return Err(error);
            }
        };
        let body = match ask.body {
            Some(limit) => read_small(&mut response, limit, self.transport.body_idle()).await?,
            None => Bytes::new(),
        };
        Ok(Answer {
            response,
            body,
            access,
            good_until: grant.as_ref().and_then(Grant::good_until),
        })
    }

    /// Logs in and follows redirects.
    async fn end(&self, ask: &Ask<'_>) -> Result<(End, Option<Grant>), UpstreamError> {
        let url = self.endpoint.url(ask);
        let (reply, grant) = self.logged_in(ask, &url).await?;
        if let (Some(grant), Reply::Success(_) | Reply::Redirect(_)) = (&grant, &reply) {
            self.endpoint.memory.note(ask.name, grant);
        }
        let end = match reply {
            Reply::Success(response) => End::Success(response),
            Reply::Redirect(response) => self.follow(ask, url, response, grant.as_ref()).await?,
            Reply::Refusal(refusal) => {
                let place = Place {
                    host: self.transport.place(&url),
                    speaker: Speaker::Registry(ask.absent),
                    home: true,
                    beyond_redirect: false,
                };
                End::Refusal(refusal, place)
            }
        };
        Ok((end, grant))
    }

    /// Asks the endpoint itself: with what earlier challenges suggest, then with what this one's
    /// challenge asks for, then once more with a new token where an old one was refused, then with
    /// one for the name that the registry has for the repository.
    async fn logged_in(
        &self,
        ask: &Ask<'_>,
        url: &Url,
    ) -> Result<(Reply, Option<Grant>), UpstreamError> {
        let Endpoint { origin, memory, .. } = self.endpoint;
        let mut grant = self.auth.foresee(origin, memory, ask.name).await?;
        for _ in 0..3 {
            let reply = self.hop(ask, url.clone(), grant.as_ref()).await?;
            let Reply::Refusal(refusal) = reply else {
                return Ok((reply, grant));
            };
            let better = self
                .auth
                .answer(
                    origin,
                    memory,
                    url,
                    &refusal,
                    grant.as_ref(),
                    Some(ask.name),
                )
                .await?;
            if better.is_none() {
                return Ok((Reply::Refusal(refusal), grant));
            }
            grant = better;
        }
        let reply = self.hop(ask, url.clone(), grant.as_ref()).await?;
        Ok((reply, grant))
    }

    /// Follows redirects to the end. Whatever fails on the way is an error beyond the redirect.
    async fn follow(
        &self,
        ask: &Ask<'_>,
        mut url: Url,
        mut response: Response,
        grant: Option<&Grant>,
    ) -> Result<End, UpstreamError> {
        for _ in 0..MAX_REDIRECTS {
            let next = redirect::target(&url, response.headers())
                .map_err(|astray| astray.at(host_of(&url)).at_redirect())?;
            let elsewhere = redirect::repository_in(&next);
            if ask.redirects == Redirects::Prove && elsewhere.is_none() {
                return Ok(End::Success(response));
            }
            // Read to its end, so that its connection can be used again.
            Refusal::read(response).await;
            url = next;
            let home = Origin::of(&url).as_ref() == Some(&self.endpoint.origin);
            let grant = grant.filter(|_| home);
            let reply = self
                .hop_beyond(ask, &url, grant)
                .await
                .map_err(UpstreamError::at_redirect)?;
            match reply {
                Reply::Success(response) => return Ok(End::Success(response)),
                Reply::Redirect(next) => response = next,
                Reply::Refusal(refusal) => {
                    let speaker = match elsewhere {
                        Some(_) => Speaker::Registry(ask.absent),
                        None => Speaker::Store,
                    };
                    let place = Place {
                        host: self.transport.place(&url),
                        speaker,
                        home: false,
                        beyond_redirect: speaker == Speaker::Store,
                    };
                    return Ok(End::Refusal(refusal, place));
                }
            }
        }
        Err(Astray::TooFar.at(host_of(&url)).at_redirect())
    }

    /// A hop after the first. Another registry may make a challenge of its own, which is met
    /// anonymously: with what earlier ones suggest, with a token, with a new one for an old one.
    async fn hop_beyond(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        grant: Option<&Grant>,
    ) -> Result<Reply, UpstreamError> {
        if grant.is_some() {
            return self.hop(ask, url.clone(), grant).await;
        }
        let mut anonymous = self.auth.foresee_elsewhere(url).await?;
        for _ in 0..2 {
            let reply = self.hop(ask, url.clone(), anonymous.as_ref()).await?;
            let Reply::Refusal(refusal) = reply else {
                return Ok(reply);
            };
            let better = self
                .auth
                .answer_elsewhere(url, &refusal, anonymous.as_ref())
                .await?;
            if better.is_none() {
                return Ok(Reply::Refusal(refusal));
            }
            anonymous = better;
        }
        self.hop(ask, url.clone(), anonymous.as_ref()).await
    }

    async fn hop(
        &self,
        ask: &Ask<'_>,
        url: Url,
        grant: Option<&Grant>,
    ) -> Result<Reply, UpstreamError> {
        let outgoing = Outgoing {
            method: ask.method.clone(),
            url,
            authorization: grant.map(|grant| grant.header.clone()),
            accept: ask.accept,
            range: ask.range,
            form: None,
            unproven: false,
        };
        // What a store of bytes, or another registry, says of a quota is not about this upstream's.
        let home = Origin::of(&outgoing.url).as_ref() == Some(&self.endpoint.origin);
        if home {
            self.trace.note(|traced| traced.counted = true);
        }
        let response = self.transport.send(outgoing).await.inspect_err(|error| {
            if home && error.is_unsent() {
                self.trace.note(|traced| traced.counted = false);
            }
        })?;
        if home {
            self.trace.note(|traced| traced.hear(&response));
        }
        Ok(match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Reply::Success(response),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => Reply::Redirect(response),
            _ => Reply::Refusal(Refusal::read(response).await),
        })
    }
}
