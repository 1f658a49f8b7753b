//! The document's shape, which others rely on; and what is found in it.

use super::*;

/// A mirror that is well.
pub(crate) fn well() -> Status {
    serde_json::from_str(include_str!("tests/document.json")).expect("the document can be read")
}

/// As [`well`], with another Docker Hub.
pub(crate) fn with_hub(change: impl FnOnce(&mut Upstream)) -> Status {
    let mut status = well();
    change(&mut status.upstreams[0]);
    status
}

/// Fields that are renamed by accident are missed by every program that reads them. Where it is meant, the document and
/// `FORMAT` change together.
#[test]
fn the_document_is_what_others_read_to_the_letter() {
    let frozen = include_str!("tests/document.json");
    let written = serde_json::to_string_pretty(&well()).unwrap();
    assert_eq!(written.trim(), frozen.trim());
}

#[test]
fn a_document_with_more_in_it_is_read() {
    let text = include_str!("tests/document.json").replacen('{', "{\"new\": [1],", 1);
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), well());
}

fn found(status: &Status) -> Vec<(Gravity, String)> {
    let findings = status.findings().into_iter();
    findings
        .map(|finding| {
            let change = finding.change.unwrap_or_default();
            (
                finding.gravity,
                format!("{}: {}; {change}", finding.about, finding.seen),
            )
        })
        .collect()
}

fn quota(change: impl FnOnce(&mut Quota)) -> Status {
    with_hub(|hub| change(&mut hub.quotas[0]))
}

#[test]
fn a_mirror_that_is_well_has_nothing_to_be_found() {
    assert_eq!(found(&well()), []);
    // As a quota is used, nobody has to be told.
    assert_eq!(found(&quota(|quota| quota.left = Some(21))), []);
}

#[test]
fn a_file_of_logins_that_does_not_count_is_told() {
    let mut status = well();
    let since = status.at - 300;
    let error = "/etc/users:3: it is bad".to_owned();
    status.access_files = vec![AccessFile { error, since }];
    let told = "access: /etc/users:3: it is bad; for 5 min it has not counted as it is; mend it: logins that were taken out of it \
                may count until then";
    assert_eq!(found(&status), [(Gravity::Wrong, told.to_owned())]);
}

#[test]
fn a_quota_that_is_short_or_waited_for_is_told_with_what_to_do() {
    use Gravity::{Note, Wrong};
    for (status, gravity, told) in [
        (
            quota(|quota| quota.left = Some(20)),
            Note,
            "docker.io: only 20 pulls are left of 200 in 6 h, counted for ci, renewed within 2 h 15 min, by 02:14 UTC; set one with a larger quota, or wait",
        ),
        (
            quota(|quota| (quota.left, quota.waiting) = (Some(-3), 12)),
            Wrong,
            "docker.io: no pull is left of 200 in 6 h, counted for ci, renewed within 2 h 15 min, by 02:14 UTC; 12 requests wait for a pull; set one",
        ),
        (
            quota(|quota| {
                (quota.left, quota.by) = (Some(0), Some(Limit::Configured));
                (quota.source, quota.resets_at, quota.resets_in_seconds) = (None, None, Some(60));
            }),
            Wrong,
            "no pull is left of 200 in 6 h, by `quota` of its table, the next one is there within 60 s;",
        ),
        (
            quota(|quota| (quota.closed_for_seconds, quota.closed_until) = (Some(90), None)),
            Wrong,
            "docker.io: has asked to be left alone (429), and is asked again within 90 s;",
        ),
        (
            quota(|quota| (quota.left, quota.registry) = (Some(0), "a.pkg.dev".to_owned())),
            Wrong,
            "docker.io: a.pkg.dev: no pull is left",
        ),
        (
            quota(|quota| (quota.left, quota.endpoint) = (Some(0), Some("b.io:5000".to_owned()))),
            Wrong,
            "docker.io: docker.io at b.io:5000: no pull is left",
        ),
        // Thousands waited to learn how much was left, and nothing was wrong.
        (
            quota(|quota| {
                (quota.left, quota.limit, quota.by) = (None, None, None);
                (quota.waiting, quota.under_way) = (3_000, 1);
            }),
            Wrong,
            "docker.io: 3,000 requests wait for a pull, while 1 other is under way; ",
        ),
        (
            quota(|quota| (quota.waiting, quota.under_way) = (1, 0)),
            Wrong,
            "docker.io: 1 request waits for a pull; ",
        ),
        (
            quota(|quota| (quota.left, quota.waiting) = (Some(7), 2)),
            Wrong,
            "only 7 pulls are left of 200 in 6 h, counted for ci, renewed within 2 h 15 min, by 02:14 UTC; 2 requests wait for a pull; set one",
        ),
    ] {
        assert_told(&status, gravity, told);
    }
}

#[test]
fn what_is_wrong_with_hosts_and_the_cache_is_told_with_what_to_do() {
    use Gravity::{Note, Wrong};
    let host = |breaker, wait| {
        with_hub(|hub| {
            hub.hosts[0].breaker = breaker;
            hub.hosts[0].next_attempt_in_seconds = wait;
            hub.hosts[0].error = Some("refused".to_owned());
        })
    };
    let in_cache = |change: fn(&mut Cache)| {
        let mut status = well();
        status.cache.as_mut().map(change);
        status
    };
    for (status, gravity, told) in [
        (
            host(Breaker::Open, Some(3)),
            Wrong,
            "docker.io: https://registry-1.docker.io has kept failing, and is left alone for another 3 s (refused); what is cached is served meanwhile; `forebay check --online docker.io` says more",
        ),
        (
            host(Breaker::Open, Some(0)),
            Note,
            "kept failing when it was asked last, and is tried again with the next request (refused)",
        ),
        (
            host(Breaker::Recovering, None),
            Note,
            "answers again, and is asked by a few at a time (refused)",
        ),
        (
            host(Breaker::Trying, None),
            Wrong,
            "is being tried again (refused)",
        ),
        (
            in_cache(|cache| cache.error = Some("no space".to_owned())),
            Wrong,
            "cache: no space: what is fetched is passed through and not kept; check the disk",
        ),
        (
            in_cache(|cache| cache.guarded_evictions = 1),
            Note,
            "cache: it is too small: 1 blob of images",
        ),
        (
            in_cache(|cache| cache.no_room = 2),
            Note,
            "2 times since the start; raise `max_size`",
        ),
    ] {
        assert_told(&status, gravity, told);
    }
}

/// Nothing but this is found.
fn assert_told(status: &Status, gravity: Gravity, told: &str) {
    let found = found(status);
    let [(found, text)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(*found == gravity && text.contains(told), "{found:?} {text}");
    assert_eq!(status.is_wrong(), gravity == Gravity::Wrong, "{text}");
}

#[test]
fn what_is_wrong_comes_before_what_may_be() {
    let mut status = quota(|quota| quota.left = Some(0));
    status.cache.as_mut().unwrap().no_room = 1;
    let gravities: Vec<_> = found(&status)
        .into_iter()
        .map(|(gravity, _)| gravity)
        .collect();
    assert_eq!(gravities, [Gravity::Wrong, Gravity::Note]);
}
