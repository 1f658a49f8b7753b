//! Redirects: to every kind of forbidden address in every spelling, to plain http, in loops.

use std::collections::BTreeMap;

use forebay_loadtest::origin::{Fault, Kind, Origin};
use futures_util::future::join_all;

use super::canary::Canary;
use super::stage::{
    ELSEWHERE, Lifted, UPSTREAM, all_refused, apart, kept_home, mirror, misled, names, pulls,
    recovers, redirect, refused, upstream,
};
use crate::harness::{Forebay, Setup, authority, tls_before};

const PRIVATE: Lifted<'static> = Lifted::By("allow_private");

/// A rule, what lifts it, and where a `Location` leads that it refuses (`PORT` is the canary's).
const ROWS: &[(&str, Lifted<'_>, &[&str])] = &[
    (
        "a loopback address",
        PRIVATE,
        &[
            "http://127.0.0.1:PORT/x",
            "http://127.9.9.9:PORT/x",
            "http://2130706433:PORT/x",
            "http://0x7f000001:PORT/x",
            "http://0177.0.0.1:PORT/x",
            "http://127.1:PORT/x",
            "http://127.0.0.1.:PORT/x",
            "http://%31%32%37.0.0.1:PORT/x",
            "http://[::1]:PORT/x",
            "http://[0:0:0:0:0:0:0:1]:PORT/x",
            "http://[64:ff9b::7f00:1]:PORT/x",
            "http://localhost:PORT/x",
            "http://LocalHost.:PORT/x",
            "http://a.b.localhost:PORT/x",
            "https://127.0.0.1:PORT/x",
            "https://localhost:PORT/x",
            // Where a parser may lose its way.
            "//127.0.0.1:PORT/x",
            r"\\127.0.0.1:PORT/x",
            r"/\127.0.0.1:PORT/x",
            r"http:\\127.0.0.1:PORT\x",
            "http:////127.0.0.1:PORT/x",
            r"http://127.0.0.1:PORT\@1.2.3.4/x",
            "http://127.0.0.1:PORT#@1.2.3.4/x",
            "HTTP://127.0.0.1:PORT?@1.2.3.4/x",
        ],
    ),
    (
        "an unspecified address",
        PRIVATE,
        &[
            "http://0.0.0.0:PORT/x",
            "http://0:PORT/x",
            "http://[::]:PORT/x",
        ],
    ),
    (
        "an IPv4-in-IPv6 address",
        PRIVATE,
        &[
            "http://[::ffff:127.0.0.1]:PORT/x",
            "http://[::ffff:7f00:1]:PORT/x",
            "http://[::ffff:1.2.3.4]:PORT/x",
            "http://[::127.0.0.1]:PORT/x",
            "http://[2002:7f00:1::]:PORT/x",
            "http://[2001:0:1::1]:PORT/x",
        ],
    ),
    (
        "a private address",
        PRIVATE,
        &[
            "http://10.1.2.3:PORT/x",
            "http://172.16.1.1:PORT/x",
            "http://192.168.1.1:PORT/x",
            "http://[fd12::1]:PORT/x",
        ],
    ),
    (
        "a carrier-shared address",
        PRIVATE,
        &["http://100.64.0.1:PORT/x"],
    ),
    (
        "a link-local address",
        PRIVATE,
        &["http://169.254.1.1:PORT/x", "http://[fe80::1]:PORT/x"],
    ),
    (
        "a cloud metadata address",
        PRIVATE,
        &[
            "http://169.254.169.254:PORT/latest",
            "http://2852039166:PORT/latest",
            "http://[64:ff9b::169.254.169.254]:PORT/latest",
            "http://[fd00:ec2::254]:PORT/latest",
            "http://168.63.129.16:PORT/x",
            "http://100.100.100.200:PORT/x",
            "http://metadata.google.internal:PORT/x",
        ],
    ),
    (
        "a reserved address",
        PRIVATE,
        &[
            "http://192.0.2.1:PORT/x",
            "http://198.18.0.1:PORT/x",
            "http://203.0.113.1:PORT/x",
            "http://240.0.0.1:PORT/x",
            "http://[2001:db8::1]:PORT/x",
        ],
    ),
    ("a multicast address", PRIVATE, &["http://224.0.0.1:PORT/x"]),
    // These would arrive, if they were followed.
    (
        "a user name",
        Lifted::Never,
        &[
            "http://1.2.3.4:80@127.0.0.1:PORT/x",
            "http://ci:pw@5.6.7.8:PORT/x",
        ],
    ),
    (
        "neither http nor https",
        Lifted::Never,
        &[
            "ftp://5.6.7.8:PORT/x",
            "file:///etc/passwd",
            "data:application/json,{}",
            "unix:///run/docker.sock",
        ],
    ),
    (
        "can't be read",
        Lifted::Unread,
        &[
            "http://[fe80::1%25lo]:PORT/x",
            "http://127.0.0.1%00.a.io:PORT/x",
            "http://5.6.7.999:PORT/x",
            "http://5.6.7.8:99999/x",
            "http://5.6.7.8:PORT:PORT/x",
        ],
    ),
];

/// Asks everything of every row at once, and an honest pull of each after that.
async fn tried(forebay: &Forebay, origin: &Origin, rows: &[(&str, Lifted<'_>)]) {
    let names = names(rows.len());
    let asked = rows
        .iter()
        .zip(&names)
        .map(|((rule, lifted), name)| all_refused(forebay, origin, name, rule, *lifted));
    join_all(asked).await;
    recovers(forebay, origin, &names).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forbidden_address_is_called_in_whatever_words_a_redirect_names_it() {
    let test = "redirects::no_forbidden_address_is_called_in_whatever_words_a_redirect_names_it";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let locations = ROWS.iter().flat_map(|(_, _, locations)| *locations);
    let rules = ROWS
        .iter()
        .flat_map(|(rule, lifted, locations)| locations.iter().map(|_| (*rule, *lifted)));
    let rules: Vec<_> = rules.collect();
    let names = names(rules.len());
    let origin = upstream(&names).await;
    for (location, name) in locations.zip(&names) {
        let location = location.replace("PORT", &canary.port().to_string());
        misled(&origin, name, &Fault::redirect_to(&location));
    }
    let forebay = mirror(&origin).start().await;
    tried(&forebay, &origin, &rules).await;
    kept_home(&origin, &[], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_that_redirects_is_held_to_the_rules_and_no_other_one_redirects() {
    let test =
        "redirects::every_status_that_redirects_is_held_to_the_rules_and_no_other_one_redirects";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let mut rows = BTreeMap::new();
    for status in [301, 302, 303, 307, 308] {
        rows.insert(
            status,
            ("a loopback address".to_owned(), PRIVATE, "127.0.0.1"),
        );
    }
    // To a place where anybody may be led.
    for status in [300, 304, 305, 306] {
        let rule = format!("the registry answered {status}");
        rows.insert(status, (rule, Lifted::Unread, ELSEWHERE));
    }
    let names = names(rows.len());
    let origin = upstream(&names).await;
    for ((status, (_, _, host)), name) in rows.iter().zip(&names) {
        let location = format!("http://{host}:{}/x", canary.port());
        misled(&origin, name, &redirect(*status, &location));
    }
    let forebay = mirror(&origin).start().await;
    let rows: Vec<_> = rows
        .values()
        .map(|(rule, lifted, _)| (rule.as_str(), *lifted))
        .collect();
    tried(&forebay, &origin, &rows).await;
    kept_home(&origin, &[], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_place_behind_honest_hops_is_refused_and_the_sixth_redirect_is() {
    let test =
        "redirects::a_forbidden_place_behind_honest_hops_is_refused_and_the_sixth_redirect_is";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let origin = upstream(&names(4)).await;
    let base = origin.registry_url();
    let lead = |name: &str, reference: &str, to: &str| {
        let on = origin.on(Kind::ManifestGet).repository(name);
        on.reference(reference)
            .before_auth()
            .always(Fault::redirect_to(to));
    };
    let hop = |name: &str, number: usize| format!("{base}/v2/{name}/manifests/hop-{number}");
    // The fifth redirect leads to the goal.
    for (name, goal) in [
        ("row/0", format!("http://127.0.0.1:{}/x", canary.port())),
        ("row/1", format!("{base}/v2/row/1/manifests/v1")),
        ("row/2", hop("row/2", 5)),
    ] {
        lead(name, "led", &hop(name, 1));
        for number in 1..4 {
            lead(name, &format!("hop-{number}"), &hop(name, number + 1));
        }
        lead(name, "hop-4", &goal);
    }
    lead("row/2", "hop-5", &format!("{base}/v2/row/2/manifests/v1"));
    let loops = origin.on(Kind::ManifestGet).repository("row/3");
    loops
        .reference("led")
        .before_auth()
        .always(Fault::RedirectLoop);

    let forebay = mirror(&origin).start().await;
    let path = |name: &str| format!("/v2/{name}/manifests/led");
    refused(&forebay, &path("row/0"), "a loopback address", PRIVATE).await;
    let far = forebay.client().manifest("row/1", "led").await;
    let image = origin.image("row/1", "v1");
    assert!(
        far.is_exactly(&image.manifests[0].descriptor.digest),
        "{}",
        far.text()
    );
    let rule = "redirects more than 5 times";
    refused(&forebay, &path("row/2"), rule, Lifted::Never).await;
    refused(&forebay, &path("row/3"), rule, Lifted::Never).await;
    for name in names(4) {
        pulls(&forebay, &origin, &name).await;
    }
    kept_home(&origin, &[], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn https_never_leads_to_plain_http_wherever_that_is() {
    let test = "redirects::https_never_leads_to_plain_http_wherever_that_is";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let names = names(3);
    let origin = upstream(&names).await;
    let host = origin.registry_url().replace("http://", "");
    // Of the addresses in the certificate, which are not such as anybody may be led to.
    let front = tls_before(host, "192.0.2.1".parse().unwrap()).await;
    for (name, target) in names.iter().zip([
        format!("http://{ELSEWHERE}:{}/x", canary.port()),
        format!("http://{UPSTREAM}:{}/x", canary.port()),
        // Itself, without TLS.
        format!("http://{front}/v2/row/2/manifests/v1"),
    ]) {
        misled(&origin, name, &Fault::redirect_to(&target));
    }
    // Not even where any address is allowed, so that nothing else refuses it.
    for is_strict in [true, false] {
        let setup = Setup::with_endpoint(&format!("https://{front}"));
        let setup = if is_strict { setup.strict() } else { setup };
        let ca_file = format!("ca_file = {:?}", authority());
        let forebay = setup.upstream(&ca_file).start().await;
        let rule = "redirects from https to plain http";
        let asked = names
            .iter()
            .map(|name| all_refused(&forebay, &origin, name, rule, Lifted::Never));
        join_all(asked).await;
    }
    kept_home(&origin, &[], &canary);
}
