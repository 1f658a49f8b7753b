//! How upstreams stand, for whoever asks the mirror: the hosts that are dialled for them, and their quotas.

use std::sync::Arc;
use std::time::Duration;

use super::breaker::HostState;
use super::client::Upstream;
use super::metered::Account;
use super::quota::Standing;
use super::registry::Upstreams;
use crate::metrics::UpstreamName;
use crate::oci::Registry;

/// A table of the configuration: one registry, or those of a family that are in use.
#[derive(Debug)]
pub struct UpstreamStanding {
    /// Its name, and what was counted of it.
    pub name: UpstreamName,
    /// Every host that is known.
    pub hosts: Vec<HostStanding>,
    /// Every quota that something was asked for.
    pub quotas: Vec<QuotaStanding>,
}

/// A host that is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStanding {
    /// Scheme, name and port.
    pub url: String,
    /// Whether it is one of the registry's endpoints.
    pub is_endpoint: bool,
    /// Whether it is asked.
    pub state: HostState,
    /// How it failed last, where it is not simply asked.
    pub error: Option<String>,
}

/// The quota of an account at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaStanding {
    /// The registry.
    pub registry: Registry,
    /// Host and port of the endpoint that has it, where that is not the first.
    pub endpoint: Option<String>,
    /// The account that is logged in with, as it is configured; `None` where no login is.
    pub account: Option<String>,
    /// How it stands.
    pub standing: Standing,
}

impl Upstreams {
    /// How each stands, in the order of the configuration.
    pub fn standings(&self) -> Vec<UpstreamStanding> {
        let standing = |(name, members): (UpstreamName, Vec<Arc<Upstream>>)| {
            let hosts = members.iter().flat_map(|upstream| upstream.hosts());
            let quotas = members.iter().flat_map(|upstream| upstream.quotas());
            UpstreamStanding {
                name,
                hosts: hosts.collect(),
                quotas: quotas.collect(),
            }
        };
        self.tables().map(standing).collect()
    }
}

impl Upstream {
    /// Its endpoints in order, and then the others.
    fn hosts(&self) -> Vec<HostStanding> {
        let known = self.transport().hosts();
        let state_of = |origin| known.iter().find(|(known, ..)| known == origin);
        let endpoints = self.endpoints().iter().map(|endpoint| &endpoint.origin);
        let mut hosts: Vec<_> = endpoints
            .clone()
            .map(|origin| {
                let known = state_of(origin);
                HostStanding {
                    url: origin.url(),
                    is_endpoint: true,
                    state: known.map_or(HostState::Closed, |(_, state, _)| *state),
                    error: known.and_then(|(_, _, error)| error.clone()),
                }
            })
            .collect();
        for (origin, state, error) in &known {
            if endpoints.clone().all(|endpoint| endpoint != origin) {
                hosts.push(HostStanding {
                    url: origin.url(),
                    is_endpoint: false,
                    state: *state,
                    error: error.clone(),
                });
            }
        }
        hosts
    }

    fn quotas(&self) -> Vec<QuotaStanding> {
        let slots = self.slots().into_iter();
        let quota = |(account, standing): (Account, Standing)| QuotaStanding {
            registry: self.registry().clone(),
            endpoint: account.endpoint,
            account: Some(account.login).filter(|login| !login.is_empty()),
            standing,
        };
        slots.map(quota).collect()
    }
}

impl HostState {
    /// When it is tried again.
    pub fn next_attempt(self) -> Option<Duration> {
        match self {
            HostState::Open { next_attempt } => Some(next_attempt),
            HostState::Trying | HostState::Recovering | HostState::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, password, set_up, settings};
    use crate::config::{self, Credentials};

    /// The quota of nobody at a second endpoint was told as an account's.
    #[tokio::test]
    async fn a_quota_of_a_further_endpoint_is_told_with_it_and_apart_from_the_account() {
        let second = Some("127.0.0.1:5001".to_owned());
        let user = Some("user ci".to_owned());
        for (credentials, account) in [(Credentials::None, None), (password("ci", "p"), user)] {
            let upstream = set_up(config::Upstream {
                credentials,
                ..settings(&["http://127.0.0.1:5000", "http://127.0.0.1:5001"])
            });
            for endpoint in [0, 1] {
                upstream.slot(endpoint, &name());
            }
            let quotas = upstream.quotas().into_iter();
            let mut told: Vec<_> = quotas
                .map(|quota| (quota.endpoint, quota.account))
                .collect();
            told.sort();
            assert_eq!(told, [(None, account.clone()), (second.clone(), account)]);
        }
    }
}
