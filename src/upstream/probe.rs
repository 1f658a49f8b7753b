//! `check --online`: goes the way that a pull goes, a step at a time, and says what each step came to.
//!
//! Everything is asked through the same transport, login and exchange as a pull, under the same timeouts and address
//! policy, but only once: what fails now and then is to be seen here. Nothing is fetched that counts towards a quota.
//!
//! The steps at an endpoint: its name is resolved (`reach`), `GET /v2/` is answered as registries do (`reach`, judged by
//! `greeting`), the login is accepted (`login`, or
//! `clients` where each of them has its own), an image may be pulled and what is left of the quota (`pull`). A step that
//! fails ends the list, since what comes after it can't be better; images are all asked for.

mod clients;
mod greeting;
mod login;
mod pull;
mod reach;

use std::fmt;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use serde::Serialize;

use super::client::Upstream;
use super::error::{ErrorKind, Trouble, UpstreamError};
use super::exchange::Endpoint;
use super::registry::Upstreams;
use super::transport::host_of;
use crate::config;
use crate::oci::{Reference, Registry, RepositoryName};

/// What to look at: a registry, and images of it that are to be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The registry.
    pub registry: Registry,
    /// Images in it; none to look at the registry alone.
    pub images: Vec<Image>,
}

/// An image, without its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its repository.
    pub name: RepositoryName,
    /// Its tag or digest.
    pub reference: Reference,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            Reference::Tag(tag) => write!(f, "{}:{tag}", self.name),
            Reference::Digest(digest) => write!(f, "{}@{digest}", self.name),
        }
    }
}

/// What was found at one endpoint of a registry.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The registry.
    pub registry: Registry,
    /// The key of its table in `[upstreams]`, which is that of its family where it has none of its own.
    pub table: String,
    /// Scheme, host and port.
    pub endpoint: String,
    /// A finding for each step, in order. What has failed is the last one, but that all images are looked at, and the quota.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether a pull would fail, as far as is known.
    pub fn is_wrong(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.verdict == Verdict::Wrong)
    }
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The step.
    pub step: Step,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen, in one line without control characters or secrets.
    pub seen: String,
    /// What to change, where `seen` does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// A step of the way to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The endpoint's name becomes addresses, or a proxy's business.
    Name,
    /// A registry answers there.
    Registry,
    /// Its clock and ours agree.
    Clock,
    /// It accepts the login.
    Login,
    /// An image may be pulled.
    Image,
    /// Pulls are left.
    Quota,
}

impl Step {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Name => "name",
            Step::Registry => "registry",
            Step::Clock => "clock",
            Step::Login => "login",
            Step::Image => "image",
            Step::Quota => "quota",
        }
    }
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should.
    Good,
    /// Something to know that keeps no pull from working.
    Note,
    /// Pulls fail.
    Wrong,
}

/// Words of errors that say what to change.
const ADVISING: [&str; 2] = ["for this upstream", "peer certificate"];

impl Finding {
    fn new(step: Step, verdict: Verdict, seen: impl Into<String>) -> Finding {
        Finding {
            step,
            verdict,
            seen: seen.into(),
            change: None,
        }
    }

    fn good(step: Step, seen: impl Into<String>) -> Finding {
        Finding::new(step, Verdict::Good, seen)
    }

    fn note(step: Step, seen: impl Into<String>) -> Finding {
        Finding::new(step, Verdict::Note, seen)
    }

    fn wrong(step: Step, seen: impl Into<String>) -> Finding {
        Finding::new(step, Verdict::Wrong, seen)
    }

    #[must_use]
    fn change(mut self, what: impl Into<String>) -> Finding {
        self.change = Some(what.into());
        self
    }

    /// An advice, unless the error gives one itself, as those of the address policy and of TLS do.
    #[must_use]
    fn change_after(self, error: &UpstreamError, what: impl Into<String>) -> Finding {
        let text = error.for_operator();
        let advises = |words: &&str| text.contains(words);
        if error.allowed_by().is_some() || ADVISING.iter().any(advises) {
            self
        } else {
            self.change(what)
        }
    }
}

/// Looks at all of these at once, and tells what was found in their order. Of a registry that is not configured nothing is
/// told.
pub async fn probe(
    upstreams: &Upstreams,
    config: &config::Config,
    targets: &[Target],
    tell: impl FnMut(Report),
) {
    let routes = config::Routes::new(config);
    let mut looks = FuturesOrdered::new();
    for target in targets {
        let Some(index) = routes.upstream_for(&target.registry) else {
            continue;
        };
        let Some(upstream) = upstreams.get(&target.registry) else {
            continue;
        };
        for endpoint in 0..upstream.endpoints().len() {
            let upstream = upstream.clone();
            looks.push_back(async move {
                let probe = Probe {
                    endpoint: &upstream.endpoints()[endpoint],
                    upstream: &upstream,
                    settings: &config.upstreams[index],
                    images: &target.images,
                };
                probe.report().await
            });
        }
    }
    looks.map(tell).collect::<()>().await;
}

/// A look at one endpoint.
struct Probe<'a> {
    upstream: &'a Upstream,
    settings: &'a config::Upstream,
    endpoint: &'a Endpoint,
    images: &'a [Image],
}

impl Probe<'_> {
    async fn report(self) -> Report {
        let mut findings = Vec::new();
        self.look(&mut findings).await;
        Report {
            registry: self.upstream.registry().clone(),
            table: self.settings.registry.to_string(),
            endpoint: self.endpoint.base.origin().ascii_serialization(),
            findings,
        }
    }

    /// Goes from step to step as far as it leads.
    async fn look(&self, findings: &mut Vec<Finding>) {
        if let Some(found) = self.resolve().await
            && is_end(findings, found)
        {
            return;
        }
        let greeting = match self.greet().await {
            Ok(greeting) => greeting,
            Err(wrong) => return findings.push(wrong),
        };
        findings.push(Finding::good(Step::Registry, greeting.seen.as_str()));
        findings.extend(greeting.clock.clone());
        let login = self.log_in(&greeting).await;
        if is_end(findings, login) {
            return;
        }
        findings.extend(self.pull().await);
    }

    /// An error in one line, without the host that the report is about anyway.
    fn told(&self, error: &UpstreamError) -> String {
        let text = error.for_operator();
        let base = &self.endpoint.base;
        let own = [host_of(base), self.upstream.transport().place(base)];
        let own = own
            .iter()
            .find_map(|own| text.strip_prefix(own)?.strip_prefix(": "));
        own.unwrap_or(&text).to_owned()
    }

    /// What to do where a host can't be reached.
    fn reach_advice(&self, error: &UpstreamError) -> &'static str {
        let proxied = self.upstream.transport().via(&self.endpoint.base).is_some();
        match (error.kind(), proxied) {
            (ErrorKind::Unavailable(Trouble::Timeout), _) => {
                "if it is only slow, raise `timeouts`; if not, let this machine's firewall through, or set a proxy \
                 (`http_proxy`)"
            }
            (_, true) => {
                "see that the proxy (`http_proxy`, or HTTPS_PROXY) is right and lets this host through; `http_proxy = \"direct\"` \
                 goes around it"
            }
            (_, false) => {
                "see that `endpoints` names the right scheme, host and port, and that no firewall is in the way; where a \
                 proxy is the only way out, set it (`http_proxy`)"
            }
        }
    }
}

/// Adds a finding; true if it is the last one.
fn is_end(findings: &mut Vec<Finding>, found: Finding) -> bool {
    let end = found.verdict == Verdict::Wrong;
    findings.push(found);
    end
}
