//! From a document to text.

use super::*;
use crate::status::tests::{well, with_hub};
use crate::status::{Breaker, Upstream};

const AT: &str = "http://127.0.0.1:5001";

fn shown(status: &Status) -> String {
    of(status, AT, Marks::Words)
}

fn idle(name: &str) -> Upstream {
    let mut idle = well().upstreams.remove(0);
    idle.name = name.to_owned();
    (idle.hosts, idle.quotas) = (Vec::new(), Vec::new());
    (idle.asked, idle.served, idle.saved) = Default::default();
    idle
}

#[test]
fn a_mirror_that_is_well_fits_on_a_screen() {
    let mut status = well();
    status.upstreams.push(idle("ghcr.io"));
    status.upstreams.push(idle("quay.io"));
    let expected = "\
forebay 1.2.3 at http://127.0.0.1:5001, serving for 3 h 12 min
  ok    nothing is wrong

cache    12.3 GiB of 100 GiB, 3,412 blobs; 17 evicted since the start (1.2 GiB)
fills    3 running
clients  12 limited; since the start 40 delayed (40 requests), 2 refused (2 connections)

quota      counted for  left        window  resets                           waiting
docker.io  ci           187 of 200  6 h     within 2 h 15 min, by 02:14 UTC        0

upstream   pulls asked  clients' pulls  received   served  saved  failed  stale  refused
docker.io           80          40,000   1.2 GiB  600 GiB   99 %       0  -      -
nothing was asked of: ghcr.io, quay.io
";
    assert_eq!(shown(&status), expected);
}

#[test]
fn what_is_wrong_comes_first_with_what_to_change() {
    let status = with_hub(|hub| {
        hub.quotas[0].left = Some(-2);
        hub.quotas[0].waiting = 12;
        hub.stale.insert("upstream-quota".to_owned(), 7);
        hub.stale.insert("upstream-slow".to_owned(), 1);
        hub.refused.insert("reported".to_owned(), 3);
        hub.hosts[1].breaker = Breaker::Open;
        hub.hosts[1].next_attempt_in_seconds = Some(4);
        hub.hosts[1].error = Some("auth.docker.io: refused".to_owned());
    });
    let text = shown(&status);
    let head: Vec<_> = text.lines().take(5).collect();
    let expected = [
        "forebay 1.2.3 at http://127.0.0.1:5001, serving for 3 h 12 min",
        "  FAIL  docker.io  https://auth.docker.io has kept failing, and is left alone for another 4 s (auth.docker.io: refused)",
        "        change     what is cached is served meanwhile; `forebay check --online docker.io` says more",
        "  FAIL  docker.io  no pull is left of 200 in 6 h, counted for ci, renewed within 2 h 15 min, by 02:14 UTC; 12 requests wait for a pull",
        "        change     set one with a larger quota, or wait",
    ];
    assert_eq!(head, expected);
    for line in [
        "docker.io  ci           0 of 200  6 h     within 2 h 15 min, by 02:14 UTC       12\n",
        "7 quota, 1 slow  3 reported\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn states_of_a_quota_are_told_in_its_row() {
    let row = |change: fn(&mut Quota)| {
        let text = shown(&with_hub(|hub| change(&mut hub.quotas[0])));
        let (_, table) = text.split_once("waiting\n").unwrap();
        table.lines().next().unwrap().to_owned()
    };
    let closed = row(|quota| {
        (quota.closed_for_seconds, quota.closed_until) = (Some(90), Some(0));
        (quota.limit, quota.left, quota.window_seconds) = (None, None, None);
    });
    assert_eq!(
        closed,
        "docker.io  ci           -     -       closed, asked again within 90 s        0"
    );
    let whole = row(|quota| (quota.left, quota.resets_in_seconds) = (Some(200), None));
    assert_eq!(
        whole,
        "docker.io  ci           200 of 200  6 h     -             0"
    );
    let own = row(|quota| (quota.by, quota.source) = (Some(Limit::Configured), None));
    assert!(
        own.starts_with("docker.io  `quota` of its table  187 of 200"),
        "{own}"
    );
    let further = row(|quota| quota.endpoint = Some("b.io:5000".to_owned()));
    assert!(
        further.starts_with("docker.io at b.io:5000  ci           187"),
        "{further}"
    );
    let account = row(|quota| quota.source = None);
    assert!(
        account.starts_with("docker.io  user ci      187"),
        "{account}"
    );
}

#[test]
fn what_is_left_out_is_counted() {
    let text = shown(&with_hub(|hub| hub.quotas_left_out = 3));
    assert!(text.contains("\nand 3 others with more left\n"), "{text}");
}

#[test]
fn a_mirror_that_starts_has_no_figures() {
    let status = Status {
        state: State::Starting,
        uptime_seconds: 4,
        cache: None,
        clients: Clients::default(),
        upstreams: Vec::new(),
        ..well()
    };
    let text = shown(&status);
    assert!(text.starts_with("forebay 1.2.3 at http://127.0.0.1:5001, starting for 4 s\n  FAIL  mirror  it is starting"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn nothing_that_an_upstream_says_reaches_the_terminal_as_a_command() {
    let status = with_hub(|hub| {
        hub.quotas[0].source = Some("\x1b[2Jci\r\n".to_owned());
        hub.hosts[0].breaker = Breaker::Trying;
        hub.hosts[0].error = Some("\x1b]0;title\x07".to_owned());
    });
    let text = shown(&status);
    assert!(!text.contains(['\x1b', '\x07', '\r']), "{text:?}");
    assert!(text.contains("?[2Jci??"), "{text}");
}

#[test]
fn signs_keep_their_lines_aligned() {
    let status = with_hub(|hub| hub.quotas[0].left = Some(1));
    let text = of(&status, AT, Marks::Signs { colour: false });
    assert!(
        text.contains("\n  !  docker.io  only 1 pull is left of 200"),
        "{text}"
    );
    assert!(text.contains("\n     change     set one"), "{text}");
}
