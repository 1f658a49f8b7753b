//! What becomes of standings in the document.

use super::*;
use crate::config::Config;
use crate::metrics::{Cache as How, Given, RequestKind, UpstreamName};

const AT: u64 = 1_000;

fn routes(text: &str) -> Routes {
    let config = Config::from_toml(&format!("cache.dir = '/cache'\n{text}"));
    Routes::new(&config.unwrap())
}

fn standing() -> Standing {
    Standing {
        source: Some("192.0.2.7".to_owned()),
        limit: Some(100),
        window: Some(Duration::from_hours(6)),
        left: Some(20),
        renews_within: Some(Duration::from_millis(8_040_001)),
        is_closed: false,
        least: Some(SpentBy::Reported),
        under_way: 1,
        waiting: 2,
    }
}

fn quotas(standings: Vec<(&str, Standing)>) -> Upstream {
    let quotas = standings
        .into_iter()
        .map(|(registry, standing)| QuotaStanding {
            registry: registry.parse().unwrap(),
            endpoint: None,
            account: None,
            standing,
        });
    let standing = UpstreamStanding {
        name: UpstreamName::configured("docker.io"),
        hosts: Vec::new(),
        quotas: quotas.collect(),
    };
    upstream(standing, &routes(""), AT)
}

#[test]
fn a_quota_says_how_much_is_left_when_it_resets_and_what_to_configure() {
    let quota = &quotas(vec![("docker.io", standing())]).quotas[0];
    assert_eq!((quota.left, quota.limit), (Some(20), Some(100)));
    assert_eq!(quota.resets_in_seconds, Some(8_041));
    assert_eq!(quota.resets_at, Some(AT + 8_041));
    assert_eq!(quota.closed_until, None);
    assert!(quota.change.contains("`password_file`"), "{}", quota.change);
}

#[test]
fn a_closure_is_told_apart_from_a_reset_and_a_whole_quota_has_neither() {
    let closed = Standing {
        is_closed: true,
        ..standing()
    };
    let quota = &quotas(vec![("docker.io", closed)]).quotas[0];
    assert_eq!(
        (quota.resets_at, quota.closed_until),
        (None, Some(AT + 8_041))
    );
    let whole = Standing {
        left: Some(100),
        ..standing()
    };
    let quota = &quotas(vec![("docker.io", whole)]).quotas[0];
    assert_eq!((quota.resets_at, quota.closed_until), (None, None));
}

#[test]
fn a_quota_of_ones_own_is_raised_in_its_table() {
    let own = Standing {
        least: Some(SpentBy::Configured),
        ..standing()
    };
    let quota = &quotas(vec![("docker.io", own)]).quotas[0];
    assert_eq!(quota.by, Some(Limit::Configured));
    assert!(
        quota.change.starts_with("raise `quota`"),
        "{}",
        quota.change
    );
}

/// Clients name the members of a family.
#[test]
fn what_is_nearest_to_its_end_is_listed_and_the_rest_is_counted() {
    let registries: Vec<_> = (0..200)
        .map(|number| format!("r{number}.pkg.dev"))
        .collect();
    let mut all: Vec<_> = registries
        .iter()
        .zip(0..)
        .map(|(registry, left)| {
            let left = Some(99 - left % 100);
            let standing = Standing {
                left,
                waiting: 0,
                ..standing()
            };
            (registry.as_str(), standing)
        })
        .collect();
    all[7].1.is_closed = true;
    // Of which nothing else is known.
    (all[8].1.limit, all[8].1.left, all[8].1.waiting) = (None, None, 3);
    let unknown = Standing {
        limit: None,
        left: None,
        waiting: 0,
        ..standing()
    };
    all.push(("unknown.pkg.dev", unknown));
    let upstream = quotas(all);
    assert_eq!(upstream.quotas.len(), LISTED);
    assert_eq!(upstream.quotas_left_out, 200 - LISTED as u64);
    assert_eq!(upstream.quotas[0].registry, "r7.pkg.dev");
    assert_eq!(upstream.quotas[1].registry, "r8.pkg.dev");
    assert_eq!(upstream.quotas[2].left, Some(0));
}

#[test]
fn hosts_in_trouble_come_first_and_their_number_has_a_bound() {
    let host = |number: u64, state| HostStanding {
        url: format!("https://h{number}"),
        is_endpoint: number == 1,
        state,
        error: None,
    };
    let mut hosts: Vec<_> = (0..100)
        .map(|number| host(number, HostState::Closed))
        .collect();
    hosts.push(host(100, HostState::Trying));
    let next_attempt = Duration::from_millis(2_500);
    hosts.push(host(101, HostState::Open { next_attempt }));
    let standing = UpstreamStanding {
        name: UpstreamName::configured("docker.io"),
        hosts,
        quotas: Vec::new(),
    };
    let upstream = upstream(standing, &routes(""), AT);
    let first = upstream
        .hosts
        .iter()
        .take(3)
        .map(|host| (host.url.as_str(), host.breaker));
    let expected = [
        ("https://h101", Breaker::Open),
        ("https://h100", Breaker::Trying),
        ("https://h1", Breaker::Closed),
    ];
    assert!(first.eq(expected), "{:?}", upstream.hosts);
    assert_eq!(upstream.hosts[0].next_attempt_in_seconds, Some(3));
    assert_eq!(upstream.hosts_left_out, 102 - LISTED as u64);
}

#[test]
fn what_was_counted_of_an_upstream_is_told() {
    let name = UpstreamName::configured("docker.io");
    metrics::upstream_request(&name, UpstreamKind::ManifestGet, UpstreamOutcome::Ok);
    metrics::upstream_request(&name, UpstreamKind::BlobGet, UpstreamOutcome::Connect);
    metrics::upstream_request(&name, UpstreamKind::BlobGet, UpstreamOutcome::Breaker);
    metrics::upstream_bytes(&name, UpstreamKind::BlobGet).add(7);
    for (cache, bytes) in [(How::Miss, 7), (How::Hit, 5), (How::Stale, 2)] {
        let kind = RequestKind::Manifest;
        let is_get = true;
        metrics::served(
            &name,
            Given {
                kind,
                cache,
                is_get,
                bytes,
            },
        );
    }
    metrics::stale_served(&name, StaleReason::Quota);
    metrics::quota_refusal(&name, QuotaLimit::Closed);
    let standing = UpstreamStanding {
        name,
        hosts: Vec::new(),
        quotas: Vec::new(),
    };
    let upstream = upstream(standing, &routes(""), AT);
    let asked = Asked {
        pulls: 1,
        requests: 2,
        failed: 1,
        bytes: 7,
    };
    let served = Served {
        pulls: 3,
        requests: 3,
        bytes: 14,
    };
    let saved = Saved {
        requests: 2,
        bytes: 7,
    };
    assert_eq!((upstream.asked, upstream.served), (asked, served));
    assert_eq!(upstream.saved, saved);
    assert_eq!(upstream.stale["upstream-quota"], 1);
    assert_eq!(upstream.stale["upstream-unavailable"], 0);
    assert_eq!(upstream.refused["closed"], 1);
}
