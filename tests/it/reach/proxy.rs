//! A proxy leads to its upstream and to no other, and is named when it fails.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forebay_loadtest::origin::{Auth, Blobs, Kind, Origin, Request, When};
use http::StatusCode;

use super::{APP, images, trusting};
use crate::harness::{
    Answer, Asking, Callers, Forebay, ForwardProxy, Mood, Setup, WANTS_LOGIN, plain_origin,
    proxy_login,
};

const PASSWORD: &str = "canary/p@ss";

/// `http_proxy` of an upstream's table, with a user's login.
fn through(proxy: &ForwardProxy) -> String {
    at("http", proxy.address)
}

fn at(scheme: &str, address: impl Display) -> String {
    format!("http_proxy = \"{scheme}://ci:canary%2Fp%40ss@{address}\"")
}

/// What that login is on the wire.
fn login() -> String {
    format!("Basic {}", STANDARD.encode(format!("ci:{PASSWORD}")))
}

/// As Docker Hub: tokens and blobs are to be had on ports of their own.
async fn hub(seed: u64) -> Origin {
    let builder = Origin::builder().auth(Auth::token());
    let builder = builder.blobs(Blobs::redirect());
    let builder = builder.repository(APP, |repository| images(repository, seed));
    builder.start().await.unwrap()
}

pub(super) async fn pull(forebay: &Forebay, origin: &Origin, repository: &str, tag: &str) {
    let image = origin.image(APP, tag);
    let client = forebay.client();
    let manifest = client.manifest(repository, tag).await;
    assert!(
        manifest.is_exactly(&image.root.digest),
        "{}",
        manifest.text()
    );
    for layer in &image.manifests[0].layers {
        client.pulls(repository, &layer.digest).await;
    }
}

/// All that the origin was asked by that kind of request and more.
fn asked(origin: &Origin, kinds: &[Kind]) -> Vec<Request> {
    for kind in kinds {
        assert!(origin.counts().requests(*kind) > 0, "{kind:?}");
    }
    origin.requests_for(When::any())
}

const HUBS: [Kind; 4] = [Kind::Token, Kind::ManifestGet, Kind::BlobGet, Kind::CdnGet];

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_proxy_carries_all_of_its_connections_and_none_of_anothers() {
    let (own, system) = (
        ForwardProxy::start(Some(&login())).await,
        ForwardProxy::start(None).await,
    );
    // No two have anything in common, so that each is asked.
    let [hub, direct, other] = [hub(10).await, hub(20).await, hub(30).await];
    let setup = || {
        Setup::new(&hub)
            .upstream(&through(&own))
            .also("direct.test", &direct, "http_proxy = \"direct\"")
            .also("other.test", &other, "")
            .env("HTTP_PROXY", format!("http://{}", system.address))
            .env("NO_PROXY", "")
            .env("no_proxy", "")
    };
    let forebay = setup().start().await;
    pull(&forebay, &hub, APP, "v1").await;
    pull(&forebay, &direct, &format!("direct.test/{APP}"), "v1").await;
    pull(&forebay, &other, &format!("other.test/{APP}"), "v1").await;
    for (origin, through_own, through_system) in [
        (&hub, true, false),
        (&direct, false, false),
        (&other, false, true),
    ] {
        for request in asked(origin, &HUBS) {
            assert_eq!(made(&own, &request), through_own, "{request:?}");
            assert_eq!(made(&system, &request), through_system, "{request:?}");
            assert!(
                request.header("proxy-authorization").is_empty(),
                "{request:?}"
            );
        }
    }
    for head in own.heads() {
        assert_eq!(proxy_login(&head), Some(login().as_str()), "{head}");
    }
    assert!(
        system
            .heads()
            .iter()
            .all(|head| proxy_login(head).is_none())
    );

    // What need not go through the environment's proxy still goes through the upstream's own.
    let before = [own.heads().len(), system.heads().len()];
    let forebay = setup().env("NO_PROXY", "127.0.0.1").start().await;
    pull(&forebay, &hub, APP, "v2").await;
    pull(&forebay, &other, &format!("other.test/{APP}"), "v2").await;
    assert!(own.heads().len() > before[0]);
    assert_eq!(system.heads().len(), before[1]);
    let asked = asked(&hub, &HUBS);
    assert!(asked.iter().all(|request| made(&own, request)));
}

/// Whether a request came through a proxy.
fn made(proxy: &ForwardProxy, request: &Request) -> bool {
    proxy.made(request.client, request.header("host")[0])
}

/// A registry that is reached by `CONNECT`.
pub(super) struct Tunnelled {
    pub(super) origin: Origin,
    endpoint: String,
    callers: Callers,
}

impl Tunnelled {
    pub(super) async fn start() -> Self {
        let origin = plain_origin()
            .repository(APP, |repository| images(repository, 0))
            .start()
            .await
            .unwrap();
        let front = Asking::curious().await;
        Self {
            endpoint: front.url(),
            callers: front.before(origin.host()),
            origin,
        }
    }

    /// Whether all that has come came through this proxy.
    fn is_behind(&self, proxy: &ForwardProxy) -> bool {
        let callers = self.callers.lock().unwrap();
        let to = self.endpoint.trim_start_matches("https://");
        !callers.is_empty() && callers.iter().all(|(from, _)| proxy.made(*from, to))
    }

    /// A mirror that asks each time.
    pub(super) fn mirror(&self, lines: &str) -> Setup {
        Setup::with_endpoint(&self.endpoint)
            .upstream(&trusting())
            .upstream(lines)
            .upstream("tags = { fresh_for = \"0s\" }")
            .env("FOREBAY_LOG__LEVEL", "trace")
    }
}

const REFUSES: &str = "HTTP/1.1 403 Filtered\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// That a proxy's password shows up nowhere, neither as it is nor as it is sent.
fn assert_unseen(texts: &[String]) {
    let login = login();
    for secret in ["canary", &login["Basic ".len()..]] {
        for text in texts {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

fn told(answer: &Answer) -> String {
    format!("{} {:?} {}", answer.status, answer.headers, answer.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_fails_leaves_what_is_cached_and_is_named_and_its_password_is_not() {
    let proxy = ForwardProxy::start(Some(&login())).await;
    let site = Tunnelled::start().await;
    // One of its moods is to say nothing.
    let impatient = "timeouts = { connect = \"1s\", first_byte = \"1s\" }";
    let setup = site.mirror(&through(&proxy)).upstream(impatient);
    let mut seen = vec![setup.checked().await];
    let shown = format!("http_proxy = \"http://ci:[redacted]@{}\"", proxy.address);
    assert!(seen[0].contains(&shown), "{}", seen[0]);
    let forebay = setup.start().await;
    pull(&forebay, &site.origin, APP, "v1").await;
    for head in proxy.heads() {
        assert!(head.starts_with("CONNECT 127.0.0.1:"), "{head}");
        assert_eq!(proxy_login(&head), Some(login().as_str()), "{head}");
    }
    assert!(site.is_behind(&proxy));
    for request in site.origin.requests_for(When::any()) {
        assert!(
            request.header("proxy-authorization").is_empty(),
            "{request:?}"
        );
    }
    let place = format!("through http://{} (http_proxy): ", proxy.address);
    for (mood, cause) in [
        (
            Mood::Answers(WANTS_LOGIN),
            "the proxy wants a login, or another one",
        ),
        (
            Mood::Answers(REFUSES),
            "the proxy makes no connection to it",
        ),
        (Mood::IsSilent, "timed out"),
    ] {
        proxy.becomes(mood);
        let stale = forebay.client().manifest(APP, "v1").await;
        assert_eq!(stale.status, StatusCode::OK, "{mood:?}: {}", stale.text());
        let status = stale.header("cache-status");
        assert_eq!(status, "forebay; fwd=stale; detail=upstream-unavailable");
        let refused = forebay.client().manifest(APP, "v2").await;
        assert_eq!(
            refused.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            told(&refused)
        );
        let text = refused.text();
        assert!(
            text.contains(&place) && text.contains(cause),
            "{mood:?}: {text}"
        );
        assert!(forebay.log().contains(&place), "{}", forebay.log());
        seen.push(told(&refused));
    }
    proxy.becomes(Mood::Forwards);
    pull(&forebay, &site.origin, APP, "v2").await;
    seen.extend([forebay.admin().get("/metrics").await.text(), forebay.log()]);
    assert_unseen(&seen);
}

/// One wrong password, and one request that shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_a_proxy_refuses_is_not_tried_again_for_the_same_request() {
    let proxy = ForwardProxy::start(Some("Basic another")).await;
    let site = Tunnelled::start().await;
    let forebay = site.mirror(&through(&proxy)).start().await;
    let refused = forebay.client().manifest(APP, "v1").await;
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        told(&refused)
    );
    assert_eq!(proxy.heads().len(), 1);
    assert_unseen(&[told(&refused), forebay.log()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_may_be_one_that_speaks_tls_with_an_authority_of_ca_file() {
    let proxy = ForwardProxy::start(Some(&login())).await;
    let front = Asking::curious().await;
    let lines = at("https", front.url().trim_start_matches("https://"));
    let at_proxy = front.before(&proxy.address.to_string());
    let site = Tunnelled::start().await;
    let forebay = site.mirror(&lines).start().await;
    pull(&forebay, &site.origin, APP, "v1").await;
    assert!(!at_proxy.lock().unwrap().is_empty() && !proxy.heads().is_empty());
    assert!(site.is_behind(&proxy));
    assert_unseen(&[forebay.log()]);
}
