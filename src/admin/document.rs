//! The status document, from what the mirror, its cache and its upstreams tell. Bounded: of the members of a family, which
//! clients name, only so many hosts and quotas are listed, and the rest is counted.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Configured;
use crate::config::Routes;
use crate::metrics::{
    self, ClientLimit, From, QuotaLimit, StaleReason, UpstreamKind, UpstreamOutcome,
};
use crate::mirror::{
    HostStanding, HostState, Mirror, QuotaStanding, SpentBy, Standing, UpstreamStanding,
};
use crate::status::{
    Asked, Breaker, Cache, Clients, Configuration, FORMAT, Fills, Host, Limit, Quota, Saved,
    Served, State, Status, Upstream, Waits,
};

/// Hosts and quotas that are listed for each upstream.
const LISTED: usize = 32;

/// The document of a mirror without a cache: before and after it serves.
pub(super) fn without_mirror(state: State, uptime: Duration) -> Status {
    Status {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state,
        at: unix_now(),
        uptime_seconds: uptime.as_secs(),
        cache: None,
        fills: Fills::default(),
        clients: clients(),
        configuration: None,
        certificates: Vec::new(),
        access_files: Vec::new(),
        upstreams: Vec::new(),
    }
}

pub(super) fn configuration(configured: Configured) -> Configuration {
    let at = configured.at.duration_since(UNIX_EPOCH);
    Configuration {
        loaded_at: at.unwrap_or_default().as_secs(),
        needs_restart: configured.staying,
        error: configured.problem,
    }
}

/// The document of a mirror that serves. `cache` is why its cache can't be written, if it can't.
pub(super) fn of(mirror: &Mirror, uptime: Duration, cache: Option<String>) -> Status {
    let routes = mirror.routes();
    let standings = mirror.upstreams().into_iter().zip(routes.tables());
    let at = unix_now();
    Status {
        cache: Some(self::cache(mirror, cache)),
        fills: Fills {
            running: mirror.fills() as u64,
        },
        upstreams: standings
            .map(|(standing, (_, login, is_family))| Upstream {
                login: login.map(str::to_owned),
                is_family,
                ..upstream(standing, routes, at)
            })
            .collect(),
        at,
        ..without_mirror(State::Serving, uptime)
    }
}

fn cache(mirror: &Mirror, error: Option<String>) -> Cache {
    let usage = mirror.store().usage();
    Cache {
        bytes: usage.total,
        limit_bytes: usage.limit,
        blobs: usage.blobs,
        tags: usage.tags,
        evictions: usage.evictions,
        evicted_bytes: usage.evicted_bytes,
        guarded_evictions: usage.guarded_evictions,
        no_room: usage.no_room,
        error,
    }
}

fn clients() -> Clients {
    let by_limit = |count: fn(ClientLimit) -> u64| {
        let limits = ClientLimit::ALL.iter();
        limits
            .map(|&limit| (limit.as_str().to_owned(), count(limit)))
            .collect()
    };
    Clients {
        tracked: metrics::clients_limited() as u64,
        delayed: by_limit(metrics::clients_held),
        refused: by_limit(metrics::clients_refused),
    }
}

fn upstream(standing: UpstreamStanding, routes: &Routes, at: u64) -> Upstream {
    let UpstreamStanding {
        name,
        hosts,
        quotas,
    } = standing;
    let mut hosts: Vec<_> = hosts.into_iter().map(host).collect();
    hosts.sort_by_key(|host| (host.breaker, Reverse(host.is_endpoint)));
    let mut quotas: Vec<_> = quotas
        .into_iter()
        .filter(|quota| is_known(&quota.standing))
        .map(|standing| quota(standing, routes, at))
        .collect();
    quotas.sort_by_key(nearness_to_its_end);
    let counts = name.counts();
    let stale = StaleReason::ALL.iter();
    let refused = QuotaLimit::ALL.iter();
    Upstream {
        name: name.as_str().to_owned(),
        is_family: false,
        login: None,
        hosts_left_out: cut(&mut hosts),
        hosts,
        quotas_left_out: cut(&mut quotas),
        quotas,
        asked: asked(counts),
        served: Served {
            pulls: counts.pulls(),
            requests: From::ALL.iter().map(|&from| counts.served(from)).sum(),
            bytes: From::ALL
                .iter()
                .map(|&from| counts.served_bytes(from))
                .sum(),
        },
        saved: Saved {
            requests: counts.served(From::Cache),
            bytes: counts.served_bytes(From::Cache),
        },
        stale: stale
            .map(|&reason| (reason.as_str().to_owned(), counts.stale(reason)))
            .collect::<BTreeMap<_, _>>(),
        refused: refused
            .map(|&limit| (limit.as_str().to_owned(), counts.refused(limit)))
            .collect(),
        waits: {
            let (count, waited) = counts.waits();
            Waits {
                count,
                seconds: waited.as_secs(),
            }
        },
    }
}

fn asked(counts: &metrics::Counts) -> Asked {
    let is_failure = |outcome: &&UpstreamOutcome| {
        !matches!(
            outcome,
            // What the breaker holds back was not asked.
            UpstreamOutcome::Ok | UpstreamOutcome::NotFound | UpstreamOutcome::Breaker
        )
    };
    let failures = UpstreamOutcome::ALL.iter().filter(is_failure);
    Asked {
        pulls: counts.asked(UpstreamKind::ManifestGet),
        requests: UpstreamKind::ALL
            .iter()
            .map(|&kind| counts.asked(kind))
            .sum(),
        failed: failures.map(|&outcome| counts.ended(outcome)).sum(),
        bytes: counts.bytes(),
    }
}

fn host(standing: HostStanding) -> Host {
    Host {
        url: standing.url,
        is_endpoint: standing.is_endpoint,
        breaker: match standing.state {
            HostState::Closed => Breaker::Closed,
            HostState::Trying => Breaker::Trying,
            HostState::Recovering => Breaker::Recovering,
            HostState::Open { .. } => Breaker::Open,
        },
        next_attempt_in_seconds: standing.state.next_attempt().map(seconds),
        error: standing.error,
    }
}

/// Whether there is anything to tell: most registries have no quota.
fn is_known(standing: &Standing) -> bool {
    standing.limit.is_some() || standing.is_closed || standing.waiting > 0
}

fn quota(standing: QuotaStanding, routes: &Routes, at: u64) -> Quota {
    let QuotaStanding {
        registry,
        endpoint,
        account,
        standing,
    } = standing;
    let is_configured = standing.least == Some(SpentBy::Configured);
    let is_whole = standing
        .left
        .zip(standing.limit)
        .is_some_and(|(left, limit)| i128::from(left) >= i128::from(limit));
    let end = standing.renews_within.map(seconds);
    let closed = end.filter(|_| standing.is_closed);
    let resets = end.filter(|_| !standing.is_closed && !is_whole);
    let later = |seconds: u64| at + seconds;
    Quota {
        change: routes.quota_advice(&registry, is_configured && !standing.is_closed),
        registry: registry.to_string(),
        endpoint,
        account,
        source: standing.source,
        by: match standing.least {
            Some(SpentBy::Configured) => Some(Limit::Configured),
            Some(SpentBy::Reported) => Some(Limit::Reported),
            Some(SpentBy::Closed | SpentBy::Busy) | None => None,
        },
        limit: standing.limit,
        window_seconds: standing.window.map(seconds),
        left: standing.left,
        resets_in_seconds: resets,
        resets_at: resets.map(later),
        closed_for_seconds: closed,
        closed_until: closed.map(later),
        under_way: standing.under_way as u64,
        waiting: standing.waiting as u64,
    }
}

/// The closed ones, those that are waited for, and then by the share that is left.
fn nearness_to_its_end(quota: &Quota) -> (bool, bool, i128) {
    let share = match (quota.left, quota.limit) {
        (Some(left), Some(limit)) => i128::from(left) * 1_000_000 / i128::from(limit.max(1)),
        _ => i128::MAX,
    };
    (
        quota.closed_for_seconds.is_none(),
        quota.waiting == 0,
        share,
    )
}

/// Keeps what is listed; says how much that leaves out.
fn cut<T>(list: &mut Vec<T>) -> u64 {
    let left_out = list.len().saturating_sub(LISTED);
    list.truncate(LISTED);
    left_out as u64
}

/// Whole ones, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
