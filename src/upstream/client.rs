//! One upstream: its endpoints, its state, and how a question to it is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::auth::Auth;
use super::blob::refuses_head;
use super::bounds::{BlobPermit, Bounds};
use super::breaker::Breakers;
use super::brought::{self, Brought};
use super::budget::RetryBudget;
use super::credentials::Credentials;
use super::entitled::Entitlements;
use super::error::{ErrorKind, UpstreamError};
use super::exchange::{Answer, Ask, Endpoint, Exchange, Trace};
use super::metered::Meter;
use super::pursuit::Pursuit;
use super::quota::Caller;
use super::registry::Shared;
use super::retry::RetryPolicy;
use super::transport::{Clients, Transport};
use crate::config::{self, Globs, Pulls, TagPolicy, TagRules};
use crate::login::Login;
use crate::metrics::{self, UpstreamName, UpstreamOutcome};
use crate::oci::{Registry, RepositoryName, Tag};

/// A registry that this mirror fetches from. Cheap to ask, safe to share.
#[derive(Debug)]
pub struct Upstream {
    registry: Registry,
    label: UpstreamName,
    /// None where a family's member is no host by the grammar of URLs, such as `1.2.3.999`.
    endpoints: Vec<Endpoint>,
    transport: Arc<Transport>,
    auth: Auth,
    bounds: Arc<Bounds>,
    retries: RetryPolicy,
    budget: Arc<RetryBudget>,
    public: Arc<Globs>,
    pulls: Pulls,
    tags: TagPolicy,
    tag_rules: TagRules,
    pub(super) meter: Meter,
    /// Set where HEAD is refused for a blob that GET shows.
    pub(super) no_blob_head: AtomicBool,
    /// Where each client sees what is theirs: for how long that is believed.
    passthrough: Option<Duration>,
    /// What clients' logins may see there.
    entitled: Entitlements,
    /// The login of a client that it is asked with, in the place of the mirror's own.
    brought: Option<Brought>,
}

impl Upstream {
    pub(super) fn new(
        registry: Registry,
        settings: &config::Upstream,
        label: UpstreamName,
        clients: Clients,
        entitled: Entitlements,
        shared: &Shared,
    ) -> Upstream {
        let endpoints: Vec<Endpoint> = endpoints_of(settings, &registry)
            .into_iter()
            .filter_map(Endpoint::new)
            .collect();
        // A family's hosts are named by clients, not by the operator: none of them is exempt.
        let configured = if settings.endpoints.is_empty() {
            Vec::new()
        } else {
            endpoints
                .iter()
                .map(|endpoint| endpoint.origin.clone())
                .collect()
        };
        let retries = RetryPolicy::for_endpoints(settings.endpoints.len());
        let share = retries.share(endpoints.len());
        let transport = Arc::new(Transport::new(
            clients,
            configured,
            settings.allow_private,
            settings.timeouts,
            Breakers::new(label.clone(), settings.timeouts.first_byte, share),
        ));
        Upstream {
            auth: Auth::new(
                Credentials::new(
                    &settings.credentials,
                    &registry,
                    &shared.cloud,
                    &shared.logins,
                    &transport,
                ),
                settings.trusted_realms.clone(),
                shared.tokens.clone(),
                transport.clone(),
                label.clone(),
            ),
            transport,
            bounds: Arc::new(Bounds::new(
                settings.max_connections,
                shared.connections.clone(),
                label.clone(),
            )),
            label,
            no_blob_head: AtomicBool::new(refuses_head(&registry)),
            registry,
            endpoints,
            retries,
            budget: Arc::default(),
            public: Arc::new(settings.public.clone()),
            pulls: settings.pulls.clone(),
            tags: settings.tags,
            tag_rules: settings.tag_rules.clone(),
            meter: Meter::new(shared.book.clone(), settings),
            passthrough: settings.passthrough,
            entitled,
            brought: None,
        }
    }

    /// The same registry, asked with a client's login; `None` unless it lets each of them see what is theirs, and is where
    /// that login was given.
    pub(super) fn with_login(&self, login: &Arc<Login>) -> Option<Upstream> {
        let grant_for = self.passthrough?;
        if !login.is_for(&self.endpoints.first()?.base) {
            return None;
        }
        let endpoints = self.endpoints.iter().map(|known| known.base.clone());
        let held = Credentials::Fixed(Arc::new(brought::held(login)));
        Some(Upstream {
            registry: self.registry.clone(),
            label: self.label.clone(),
            endpoints: endpoints.filter_map(Endpoint::new).collect(),
            transport: Arc::clone(&self.transport),
            auth: self.auth.with_credentials(held),
            bounds: Arc::clone(&self.bounds),
            retries: self.retries,
            budget: Arc::clone(&self.budget),
            public: Arc::clone(&self.public),
            pulls: self.pulls.clone(),
            tags: self.tags,
            tag_rules: self.tag_rules.clone(),
            meter: self.meter.of_another_login(),
            no_blob_head: AtomicBool::new(self.no_blob_head.load(Ordering::Relaxed)),
            passthrough: self.passthrough,
            entitled: self.entitled.clone(),
            brought: Some(Brought {
                login: Arc::clone(login),
                entitled: self.entitled.clone(),
                grant_for,
            }),
        })
    }

    /// For how long it is believed what a client's login may see; `None` where all see what the mirror's own may.
    pub fn passthrough(&self) -> Option<Duration> {
        self.passthrough
    }

    pub(super) fn brought(&self) -> Option<&Brought> {
        self.brought.as_ref()
    }

    /// The registry that this upstream is.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its name in metrics: as it is configured, so that a family's members are one.
    pub fn label(&self) -> &UpstreamName {
        &self.label
    }

    /// How long its tags and lists are trusted, where nothing is said of a tag by itself.
    pub fn tag_policy(&self) -> TagPolicy {
        self.tags
    }

    /// How long this tag is trusted.
    pub fn policy_of(&self, tag: &Tag) -> TagPolicy {
        self.tag_rules.policy(tag).unwrap_or(self.tags)
    }

    /// Which repositories the operator declares public.
    pub fn public(&self) -> &Arc<Globs> {
        &self.public
    }

    /// Whether the operator declared the repository public.
    pub fn is_public(&self, name: &RepositoryName) -> bool {
        self.public.matches(name)
    }

    /// The key of the configuration that keeps a repository from being pulled; `None` if it may be.
    pub fn refusal(&self, name: &RepositoryName) -> Option<&'static str> {
        self.pulls.refusal(name)
    }

    /// Waits for the right to open one more blob connection; in order of arrival.
    pub async fn connection(&self) -> BlobPermit {
        self.bounds.acquire().await
    }

    /// As [`Upstream::connection`], for a body that is read no faster than a client takes it; such bodies get half of the
    /// connections at most.
    pub async fn passing_connection(&self) -> BlobPermit {
        self.bounds.acquire_passing().await
    }

    /// The right to open a further blob connection for a blob that has one, if it is to be had at once.
    pub fn try_connection(&self) -> Option<BlobPermit> {
        self.bounds.try_acquire()
    }

    /// Notes bytes that have come for a fill. Says how many have come for all fills so far: that tells whether one
    /// connection more brings more, or only takes from the others.
    pub fn note_received(&self, bytes: u64) -> u64 {
        self.bounds.note_received(bytes)
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// How long one attempt at a question may take, its logins and redirects included.
    pub(super) fn patience(&self) -> Duration {
        self.retries.patience
    }

    pub(super) fn body_idle(&self) -> Duration {
        self.transport.body_idle()
    }

    /// Asks until there is an answer or no point in asking.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, UpstreamError> {
        self.ask_for(ask, None).await
    }

    /// As [`Upstream::ask`], for what costs `payer` a pull each time that it is sent.
    pub(super) async fn ask_for(
        &self,
        ask: &Ask<'_>,
        payer: Option<&Caller>,
    ) -> Result<Answer, UpstreamError> {
        let Some(pursuit) = Pursuit::new(self, ask, payer) else {
            let message = "no host has this name, so that it can't be asked";
            return Err(UpstreamError::new(
                ErrorKind::Policy,
                &self.registry,
                message,
            ));
        };
        // A question is rare beside a hit, and what it takes need not be in every future that may come to ask one.
        let answer = Box::pin(pursuit.run()).await;
        if answer.as_ref().is_err_and(UpstreamError::is_no_to_login) {
            self.disentitle(ask.name);
        }
        answer
    }

    pub(super) fn retries(&self) -> &RetryPolicy {
        &self.retries
    }

    pub(super) fn budget(&self) -> &RetryBudget {
        &self.budget
    }

    /// Whether a request to an endpoint would not be sent now.
    pub(super) fn is_left_alone(&self, endpoint: usize) -> bool {
        self.transport
            .is_left_alone(&self.endpoints[endpoint].origin)
    }

    /// Each attempt counts, and the time to each answer.
    pub(super) fn count(
        &self,
        ask: &Ask<'_>,
        sent: Instant,
        attempt: Result<&Answer, &UpstreamError>,
    ) {
        let outcome = attempt.map_or_else(UpstreamError::outcome, |_| UpstreamOutcome::Ok);
        metrics::upstream_request(&self.label, ask.kind, outcome);
        if let Ok(answer) = attempt {
            metrics::upstream_head(&self.label, ask.kind, sent.elapsed());
            metrics::upstream_bytes(&self.label, ask.kind).add(answer.body.len());
        }
    }

    /// Whether there is anything to ask.
    pub(super) fn has_endpoint(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// Whom an endpoint takes forebay for when it is asked for a repository.
    pub(super) fn account(&self, endpoint: usize, name: &RepositoryName) -> String {
        self.auth.account(&self.endpoints[endpoint].origin, name)
    }

    pub(super) fn exchange<'a>(&'a self, endpoint: usize, trace: &'a Trace) -> Exchange<'a> {
        Exchange {
            transport: &self.transport,
            auth: &self.auth,
            endpoint: &self.endpoints[endpoint],
            trace,
        }
    }

    pub(super) fn too_slow(&self, waited: Duration) -> UpstreamError {
        let message = format!("no complete answer within {:.1} s", waited.as_secs_f64());
        UpstreamError::timeout(&self.registry, message)
    }
}

/// The configured ones; a member of a family is its own host.
pub(super) fn endpoints_of(settings: &config::Upstream, registry: &Registry) -> Vec<Url> {
    if settings.endpoints.is_empty() {
        Url::parse(&format!("https://{registry}"))
            .into_iter()
            .collect()
    } else {
        settings.endpoints.clone()
    }
}

#[cfg(test)]
mod tests;
