//! What is cached when its upstream leads astray. That is no trouble of the upstream's: a tag that is due is refused rather
//! than served stale, what is named by its digest is served, and nothing is forgotten for it.

use forebay_loadtest::origin::{Fault, Kind, Origin, When};
use http::{Method, StatusCode};

use super::canary::Canary;
use super::stage::{
    ELSEWHERE, Lifted, apart, ask, challenge, kept_home, mirror, misled, names, pulls, questions,
    refused, upstream,
};
use crate::harness::Forebay;

const ALWAYS_DUE: &str = "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"";

/// A row's way to lead astray, at the canary's port, and what is told of it.
fn rows(port: u16) -> Vec<(Fault, &'static str, Lifted<'static>)> {
    vec![
        (
            Fault::redirect_to(&format!("http://127.0.0.1:{port}/x")),
            "a loopback address",
            Lifted::By("allow_private"),
        ),
        (
            Fault::redirect_to("ftp://5.6.7.8/x"),
            "neither http nor https",
            Lifted::Never,
        ),
        (
            Fault::RedirectLoop,
            "redirects more than 5 times",
            Lifted::Never,
        ),
        (
            challenge(&format!("http://{ELSEWHERE}:{port}/token")),
            "is on another domain",
            Lifted::By("trusted_realms"),
        ),
    ]
}

/// The status of every question whose answer is cached for good.
async fn by_digest(forebay: &Forebay, origin: &Origin, name: &str) {
    for path in &questions(origin, name)[1..3] {
        let answer = ask(forebay, Method::GET, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_tag_is_refused_and_not_forgotten_when_its_upstream_leads_astray() {
    let test = "stale::a_due_tag_is_refused_and_not_forgotten_when_its_upstream_leads_astray";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let rows = rows(canary.port());
    let names = names(rows.len());
    let origin = upstream(&names).await;
    let forebay = mirror(&origin).config(ALWAYS_DUE).start().await;
    for name in &names {
        for path in questions(&origin, name) {
            let answer = ask(&forebay, Method::GET, &path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        }
    }
    // A token that is known would be used, and refused, without a look at the challenge.
    let forebay = forebay.restart().await;
    for ((fault, rule, lifted), name) in rows.iter().zip(&names) {
        misled(&origin, name, fault);
        let paths = questions(&origin, name);
        for due in [&paths[0], &paths[3], &paths[4]] {
            refused(&forebay, due, rule, *lifted).await;
        }
        by_digest(&forebay, &origin, name).await;
    }
    kept_home(&origin, &[], &canary);

    // Out of reach, it is in trouble, and what it said before counts again.
    origin.stop().await;
    for name in &names {
        for path in questions(&origin, name) {
            let answer = ask(&forebay, Method::GET, &path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        }
        let tag = forebay.client().manifest(name, "v1").await;
        assert!(
            tag.header("cache-status").contains("fwd=stale"),
            "{:?}",
            tag.headers
        );
    }

    origin.clear_faults();
    origin.reset();
    origin.start_again().await.unwrap();
    for name in &names {
        pulls(&forebay, &origin, name).await;
        origin
            .arrived(When::from(Kind::ManifestHead).repository(name), 1)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_tag_is_served_without_asking_one_that_leads_astray() {
    let test = "stale::a_fresh_tag_is_served_without_asking_one_that_leads_astray";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let rows = rows(canary.port());
    let names = names(rows.len());
    let origin = upstream(&names).await;
    let forebay = mirror(&origin).start().await;
    for ((fault, ..), name) in rows.iter().zip(&names) {
        pulls(&forebay, &origin, name).await;
        misled(&origin, name, fault);
        let asked = origin.counts();
        pulls(&forebay, &origin, name).await;
        by_digest(&forebay, &origin, name).await;
        assert_eq!(origin.counts(), asked);
    }
    kept_home(&origin, &[], &canary);
}
