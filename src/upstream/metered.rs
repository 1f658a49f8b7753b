//! What a question costs at an upstream's quota: charged before it is sent, settled by what came of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};
use url::Host;

use super::address::Origin;
use super::client::Upstream;
use super::credentials::BROUGHT;
use super::error::{ErrorKind, UpstreamError};
use super::exchange::{Answer, Ask, Trace, Traced};
use super::quota::{Book, Caller, Charge, Closing, Outcome, Slot, Spent, Standing, Turn, told_of};
use crate::config;
use crate::metrics::UpstreamKind;
use crate::oci::RepositoryName;
use crate::sync::lock;

/// How long an upstream is waited for to say how much is left. Pulls wait for it.
const LOOK: Duration = Duration::from_secs(5);

/// The quotas of one upstream, by account.
#[derive(Debug)]
pub(super) struct Meter {
    book: Arc<Book>,
    quota: Option<config::Quota>,
    /// Whether it is asked at the start how much is left.
    is_read: bool,
    slots: Mutex<HashMap<Account, Arc<Slot>>>,
}

impl Meter {
    pub(super) fn new(book: Arc<Book>, settings: &config::Upstream) -> Self {
        Self {
            book,
            quota: settings.quota,
            is_read: settings.read_quota,
            slots: Mutex::default(),
        }
    }
}

impl Meter {
    /// The same upstream's for another login. Accounts of one name are one in the book.
    pub(super) fn of_another_login(&self) -> Self {
        Self {
            book: Arc::clone(&self.book),
            slots: Mutex::default(),
            ..*self
        }
    }
}

/// Whose pulls a registry counts together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Account {
    /// Empty where nobody is logged in.
    pub(super) login: String,
    /// A further endpoint: it counts for itself, and a refusal of its own says nothing of the first.
    pub(super) endpoint: Option<String>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.login)?;
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => Ok(()),
        }
    }
}

/// What an attempt may cost.
pub(super) enum Toll {
    /// Nothing, and nothing is to be learned from it.
    Free,
    /// Nothing; what it tells of the quota counts.
    Heard { slot: Arc<Slot>, sent: Instant },
    /// A pull.
    Pull { slot: Arc<Slot>, charge: Charge },
}

impl Upstream {
    /// The quota that a repository is pulled from.
    pub(super) fn slot(&self, endpoint: usize, name: &RepositoryName) -> Arc<Slot> {
        let origin = &self.endpoints()[endpoint].origin;
        let account = Account {
            login: self.account(endpoint, name),
            endpoint: (endpoint > 0).then(|| origin.authority()),
        };
        let mut slots = lock(&self.meter.slots);
        if let Some(slot) = slots.get(&account) {
            return Arc::clone(slot);
        }
        // What is written down names no account.
        let hash = hex::encode(&Sha256::digest(account.to_string())[..16]);
        let kind = if account.login.starts_with(BROUGHT) {
            BROUGHT
        } else {
            ""
        };
        let key = format!("{kind}{} {hash}", self.registry());
        let book = &self.meter.book;
        let slot = book.slot(key, site_of(origin), self.label(), self.meter.quota);
        slots.insert(account, Arc::clone(&slot));
        slot
    }

    /// How the quota stands that a repository is pulled from.
    pub fn quota(&self, name: &RepositoryName) -> Option<Standing> {
        let has_endpoint = self.has_endpoint();
        has_endpoint.then(|| self.slot(0, name).standing())
    }

    /// How each quota of its accounts stands.
    pub(super) fn slots(&self) -> Vec<(Account, Standing)> {
        let slots = lock(&self.meter.slots).clone();
        let mut standings: Vec<_> = slots
            .into_iter()
            .map(|(account, slot)| (account, slot.standing()))
            .collect();
        standings.sort_by(|one, other| one.0.cmp(&other.0));
        standings
    }

    /// Asks how much of the quota is left, where the registry has an image for that and the operator does not mind. What
    /// comes of it is in the ledger.
    pub async fn read_quota(&self) {
        let Some((name, reference)) = told_of(self.registry()).filter(|_| self.meter.is_read)
        else {
            return;
        };
        if let Err(error) = self.head_manifest(&name, &reference).await {
            tracing::debug!(registry = %self.registry(), %error, "how much of the quota is left is not known yet");
        }
    }

    /// Charges what an attempt costs; waits for it where the payer does.
    pub(super) async fn toll(
        &self,
        ask: &Ask<'_>,
        payer: Option<&Caller>,
        endpoint: usize,
    ) -> Result<Toll, UpstreamError> {
        let refused = |spent: Spent| UpstreamError::spent(self.registry(), spent);
        match (ask.kind, payer) {
            (UpstreamKind::ManifestHead, _) => {
                let slot = self.slot(endpoint, ask.name);
                match slot.closed() {
                    Some(spent) => Err(refused(spent)),
                    None => Ok(Toll::Heard {
                        slot,
                        sent: Instant::now(),
                    }),
                }
            }
            (_, Some(payer)) => {
                let slot = self.slot(endpoint, ask.name);
                let admitted = self.admit(ask, payer, endpoint, &slot).await;
                slot.note();
                match admitted {
                    Ok(charge) => Ok(Toll::Pull { slot, charge }),
                    Err(spent) => Err(refused(spent)),
                }
            }
            (_, None) => Ok(Toll::Free),
        }
    }

    async fn admit(
        &self,
        ask: &Ask<'_>,
        payer: &Caller,
        endpoint: usize,
        slot: &Arc<Slot>,
    ) -> Result<Charge, Spent> {
        let mut visit = slot.visit(payer);
        loop {
            match visit.turn().await {
                Turn::Go(charge) => return Ok(charge),
                Turn::Refused(spent) => return Err(spent),
                Turn::Look(mut looking) => {
                    let within = payer.patience().min(LOOK);
                    if self.look(ask, endpoint, slot, within).await {
                        looking.answered();
                    }
                }
            }
        }
    }

    /// Asks how much is left, by a HEAD of what is to be pulled. False where that failed.
    async fn look(
        &self,
        pull: &Ask<'_>,
        endpoint: usize,
        slot: &Arc<Slot>,
        within: Duration,
    ) -> bool {
        let ask = Ask {
            kind: UpstreamKind::ManifestHead,
            method: Method::HEAD,
            body: None,
            ..pull.clone()
        };
        let sent = Instant::now();
        let toll = Toll::Heard {
            slot: Arc::clone(slot),
            sent,
        };
        let trace = Trace::default();
        let exchange = self.exchange(endpoint, &trace);
        let Ok(attempt) = timeout(within, exchange.run(&ask)).await else {
            return false;
        };
        self.count(&ask, sent, attempt.as_ref());
        toll.settle(attempt.as_ref(), &trace.so_far());
        attempt.is_ok()
    }
}

impl Toll {
    /// Settles an attempt. Where it was refused for load, says by what and until when.
    pub(super) fn settle(
        self,
        attempt: Result<&Answer, &UpstreamError>,
        traced: &Traced,
    ) -> Option<Spent> {
        let report = traced.report.as_ref();
        let error = attempt.err();
        let closing = error.filter(|_| traced.refused).map(|error| Closing {
            report,
            wait: error.retry_after(),
        });
        match self {
            Self::Free => None,
            Self::Heard { slot, sent } => {
                match closing {
                    Some(closing) => slot.refused(sent, closing),
                    None if error.is_none_or(is_answer) => slot.heard(sent, report),
                    None => {}
                }
                closing.and_then(|_| slot.closed())
            }
            Self::Pull { slot, charge } => {
                charge.settle(match (closing, error) {
                    (Some(closing), _) => Outcome::Refused(closing),
                    (None, None) => Outcome::Answered(report),
                    (None, Some(_)) if traced.counted => Outcome::Lost(report),
                    (None, Some(error)) if is_answer(error) => Outcome::Uncounted(report),
                    (None, Some(_)) => Outcome::Unsent,
                });
                closing.and_then(|_| slot.spent())
            }
        }
    }
}

/// Those who may tell of one quota: the hosts of one registrable domain, else a host and its port.
fn site_of(origin: &Origin) -> String {
    let host = origin.host().to_string().to_ascii_lowercase();
    match (origin.host(), psl::domain_str(&host)) {
        (Host::Domain(_), Some(domain)) => domain.to_owned(),
        _ => origin.authority(),
    }
}

/// Whether the upstream has said something, if not what it was asked for.
fn is_answer(error: &UpstreamError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound { .. } | ErrorKind::Unauthorized | ErrorKind::Denied
    )
}

#[cfg(test)]
mod tests {
    use forebay_loadtest::origin::{Fault, Kind, Origin, Reply};

    use super::super::address;
    use super::super::tests::{manifest_and_layer, name, origin, set_up, settings};
    use super::*;
    use crate::oci::Reference;

    /// A mirror of the registry, asked in its place once, had asked to be left alone for an hour; so the registry was.
    #[tokio::test]
    async fn what_another_endpoint_refuses_says_nothing_of_the_first() {
        let (first, second) = (
            origin(Origin::builder()).await,
            origin(Origin::builder()).await,
        );
        first.on(Kind::ManifestGet).once(Fault::status(503));
        let refused = Reply::error(429, "TOOMANYREQUESTS", "retry-after: 1h0m0s");
        second.on(Kind::ManifestGet).once(Fault::Answer(refused));
        let urls = [first.registry_url(), second.registry_url()];
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let upstream = set_up(settings(&urls));
        let (digest, _) = manifest_and_layer(&first);
        let reference = Reference::Digest(digest);
        let answer = upstream.get_manifest(&name(), &reference).await;
        answer.expect("the first is back, and was not closed");
        let asked = |origin: &Origin| origin.counts().requests(Kind::ManifestGet);
        assert_eq!((asked(&first), asked(&second)), (2, 1));
        let closed = upstream.slots();
        let closed = closed.iter().filter(|(_, standing)| standing.is_closed);
        assert_eq!(closed.count(), 1);
    }

    #[test]
    fn hosts_of_one_domain_tell_of_one_quota() {
        let site = |url: &str| site_of(&address::Origin::of(&url.parse().unwrap()).unwrap());
        assert_eq!(
            site("https://registry-1.docker.io"),
            site("https://Index.docker.io:8443")
        );
        assert_ne!(
            site("https://registry-1.docker.io"),
            site("https://docker.io.example.com")
        );
        assert_ne!(site("http://127.0.0.1:5000"), site("http://127.0.0.1:5001"));
        assert_ne!(site("http://localhost:5000"), site("http://localhost:5001"));
    }
}
