//! From an endpoint's name to the first answer of a registry.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, Method};
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::{Host, Url};

use super::greeting::{Greeting, clock, judge};
use super::{Finding, Probe, Step};
use crate::oci::ErrorCode;
use crate::upstream::auth::Grant;
use crate::upstream::error::{UpstreamError, printable};
use crate::upstream::refusal::{Refusal, Speaker};
use crate::upstream::resolver::keep_allowed;
use crate::upstream::transport::{Outgoing, host_of};

/// Addresses that are shown of a name that has many.
const SHOWN: usize = 3;

/// The answer to `GET /v2/`.
pub(super) struct Ping {
    /// As a refusal has it, whatever the status.
    pub(super) refusal: Refusal,
    pub(super) headers: HeaderMap,
}

impl Probe<'_> {
    /// Resolves the endpoint's name as a connection to it would; `None` for an address, which needs no look-up.
    pub(super) async fn resolve(&self) -> Option<Finding> {
        let transport = self.upstream.transport();
        let base = &self.endpoint.base;
        let Host::Domain(name) = base.host()? else {
            return None;
        };
        if let Some(via) = transport.via(base) {
            let seen = format!("{name} is reached {via}, which resolves it");
            return Some(Finding::good(Step::Name, seen));
        }
        let port = base.port_or_known_default().unwrap_or_default();
        let patience = transport.connect_timeout();
        let found = match timeout(patience, lookup_host((name, port))).await {
            Ok(Ok(found)) => found.collect::<Vec<_>>(),
            Ok(Err(error)) => return Some(unresolved(name, &printable(&error.to_string()))),
            Err(_) => return Some(unresolved(name, &format!("no answer within {patience:?}"))),
        };
        if found.is_empty() {
            return Some(unresolved(name, "it has no address"));
        }
        if !transport.is_exempt(&self.endpoint.origin)
            && let Err(refused) = keep_allowed(name, found.iter().copied())
        {
            let seen = format!("{name} is {}; {refused}", listed(&found));
            return Some(Finding::wrong(Step::Name, seen));
        }
        let seen = format!("{name} is {}", listed(&found));
        Some(Finding::good(Step::Name, seen))
    }

    /// Asks for `/v2/` without a login, and judges whether a registry has answered.
    pub(super) async fn greet(&self) -> Result<Greeting, Finding> {
        let began = Instant::now();
        let ping = self.ping(None).await.map_err(|error| {
            Finding::wrong(Step::Registry, self.told(&error))
                .change_after(&error, self.reach_advice(&error))
        })?;
        let took = began.elapsed();
        let url = self.ping_url();
        let clock = clock(&ping.headers, SystemTime::now());
        judge(ping, &url, took).map(|greeting| Greeting { clock, ..greeting })
    }

    /// `GET /v2/` with or without a login.
    pub(super) async fn ping(&self, grant: Option<&Grant>) -> Result<Ping, UpstreamError> {
        let outgoing = Outgoing {
            method: Method::GET,
            url: self.ping_url(),
            authorization: grant.map(|grant| grant.header.clone()),
            accept: None,
            range: None,
            form: None,
            unproven: false,
        };
        let response = self.upstream.transport().send(outgoing).await?;
        let headers = response.headers().clone();
        let refusal = Refusal::read(response).await;
        Ok(Ping { refusal, headers })
    }

    pub(super) fn ping_url(&self) -> Url {
        let mut url = self.endpoint.base.clone();
        url.set_path("/v2/");
        url
    }
}

impl Ping {
    /// What a refusal to `url` means, in the registry's words.
    pub(super) fn into_error(self, url: &Url) -> UpstreamError {
        let speaker = Speaker::Registry(ErrorCode::Unsupported);
        self.refusal.into_error(&host_of(url), speaker)
    }
}

fn unresolved(name: &str, why: &str) -> Finding {
    Finding::wrong(Step::Name, format!("{name} can't be resolved: {why}")).change(
        "see that `endpoints` names the right host, and that this machine's DNS knows it; where a proxy is the only way \
         out, set it (`http_proxy`)",
    )
}

fn listed(found: &[SocketAddr]) -> String {
    let mut addresses: Vec<_> = found
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    addresses.dedup();
    let more = addresses.len().saturating_sub(SHOWN);
    addresses.truncate(SHOWN);
    let shown = addresses.join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_addresses_are_counted_rather_than_shown() {
        let addresses = |count: u8| -> Vec<SocketAddr> {
            (1..=count).map(|n| ([192, 0, 2, n], 443).into()).collect()
        };
        assert_eq!(listed(&addresses(1)), "192.0.2.1");
        assert_eq!(listed(&addresses(3)), "192.0.2.1, 192.0.2.2, 192.0.2.3");
        let eight = listed(&addresses(8));
        assert_eq!(eight, "192.0.2.1, 192.0.2.2, 192.0.2.3 and 5 more");
    }
}
