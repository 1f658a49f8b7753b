//! A client certificate is shown to the endpoints of its upstream, and to nobody else who asks for one.

use forebay_loadtest::origin::{Auth, Fault, Kind, Origin, Reply, TokenAuth};
use http::StatusCode;

use super::{APP, images, trusting};
use crate::clients::docker_registry::{PROGRAMS, Registry, files, source};
use crate::clients::wanted;
use crate::harness::{
    Asking, Callers, Forebay, Setup, asking_files, client_certificate, plain_origin,
};

/// Lines of an upstream's table.
fn showing() -> String {
    let [certificate, key] = client_certificate();
    let (certificate, key) = (certificate.display(), key.display());
    format!(
        "client_cert = \"{certificate}\"\nclient_key = \"{key}\"\n{}",
        trusting()
    )
}

/// Whether each connection was shown the certificate, of which there was one at least.
fn seen_by(callers: &Callers) -> Vec<bool> {
    let callers = callers.lock().unwrap();
    assert!(!callers.is_empty(), "somebody has called");
    callers.iter().map(|(_, has_shown)| *has_shown).collect()
}

/// A registry that demands a certificate, with a token service and a store on ports of their own that would like to see it.
struct Site {
    origin: Origin,
    registry: String,
    at_registry: Callers,
    at_token_service: Callers,
    at_store: Callers,
}

impl Site {
    async fn start() -> Self {
        let registry = Asking::demanding().await;
        let (tokens, store) = (Asking::curious().await, Asking::curious().await);
        let auth = Auth::Token(TokenAuth {
            realm: Some(format!("{}/token", tokens.url())),
            ..TokenAuth::default()
        });
        let builder = plain_origin()
            .repository(APP, |repository| images(repository, 0))
            .auth(auth);
        let origin = builder.start().await.unwrap();
        let platform = &origin.image(APP, "v1").manifests[0];
        // The registry has one layer elsewhere.
        let digest = &platform.layers[0].digest;
        let path = digest.as_str().replace(':', "/00/");
        let elsewhere = Fault::redirect_to(&format!("{}/registry-v2/blobs/{path}", store.url()));
        origin.on(Kind::BlobGet).reference(digest).always(elsewhere);
        let content = Reply::status(200).body(origin.content(APP, digest));
        let unsigned = origin.on(Kind::CdnGet).before_auth();
        unsigned.always(Fault::Answer(content));
        let without_scheme =
            |url: String| url["http://".len()..].trim_end_matches("/token").to_owned();
        Self {
            registry: registry.url(),
            at_registry: registry.before(origin.host()),
            at_token_service: tokens.before(&without_scheme(origin.token_url())),
            at_store: store.before(&without_scheme(origin.cdn_url())),
            origin,
        }
    }

    async fn pull(&self, forebay: &Forebay, tag: &str) {
        let image = self.origin.image(APP, tag);
        let client = forebay.client();
        let manifest = client.manifest(APP, tag).await;
        assert!(
            manifest.is_exactly(&image.root.digest),
            "{}",
            manifest.text()
        );
        for layer in &image.manifests[0].layers {
            client.pulls(APP, &layer.digest).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_sees_the_certificate_and_neither_its_token_service_nor_its_store_does() {
    let site = Site::start().await;
    let setup = Setup::with_endpoint(&site.registry).upstream(&showing());
    let checked = setup.checked().await;
    let [certificate, key] = client_certificate();
    assert!(
        checked.contains(&format!("client_cert = \"{}\"", certificate.display())),
        "{checked}"
    );
    let forebay = setup.env("FOREBAY_LOG__LEVEL", "trace").start().await;
    site.pull(&forebay, "v1").await;
    site.pull(&forebay, "v2").await;
    assert!(seen_by(&site.at_registry).iter().all(|seen| *seen));
    for others in [&site.at_token_service, &site.at_store] {
        assert!(seen_by(others).iter().all(|seen| !seen));
    }
    let key = std::fs::read_to_string(key).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!forebay.log().contains(&secret[..16]));
}

/// The same host under two names: what one may show, the other may not, and its sessions are its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_the_certificate_is_told_which_keys_are_missing_and_nobody_404() {
    let site = Site::start().await;
    let setup = Setup::with_endpoint(&site.registry).upstream(&showing());
    let other = format!(
        "[upstreams.\"other.test\"]\nendpoints = [{:?}]\nallow_private = true\n",
        site.registry
    );
    let forebay = setup
        .config(&format!("{other}{}", trusting()))
        .start()
        .await;
    site.pull(&forebay, "v1").await;
    let refused = forebay
        .client()
        .manifest(&format!("other.test/{APP}"), "v1")
        .await;
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        refused.text()
    );
    let told = "it wants to be shown a certificate: set client_cert and client_key";
    assert!(refused.text().contains(told), "{}", refused.text());
    // It showed nothing in all of its attempts; the other one's are as many as before.
    let seen = seen_by(&site.at_registry);
    let (shown, not) = seen.iter().partition::<Vec<bool>, _>(|seen| **seen);
    assert!(!shown.is_empty() && !not.is_empty(), "{seen:?}");
}

/// reqwest speaks to such a proxy with the TLS configuration of what is behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_environments_proxy_would_be_shown_too_keeps_the_mirror_from_starting()
 {
    let setup = Setup::with_endpoint("https://registry.example.com").upstream(&showing());
    let setup = setup.env("HTTPS_PROXY", "https://ci:canary@proxy.example.com:3129");
    let output = setup.command().output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{told}");
    let through = "through https://proxy.example.com:3129 (the environment's proxy), which would be shown it too: set \
                   http_proxy";
    assert!(
        told.contains("upstreams.\"docker.io\".client_cert: "),
        "{told}"
    );
    assert!(told.contains(through) && !told.contains("canary"), "{told}");
    // What is said of this upstream alone is enough.
    let direct = setup.upstream("http_proxy = \"direct\"").start().await;
    assert_eq!(direct.admin().get("/readyz").await.status, StatusCode::OK);
}

/// Debian's registry, with the clients' authority in `clientcas`.
#[tokio::test(flavor = "multi_thread")]
async fn docker_registry_that_demands_a_client_certificate_is_pulled_from() {
    if !wanted(PROGRAMS) {
        return;
    }
    let content = source().await;
    let data = tempfile::tempdir().unwrap();
    let storage = files(data.path());
    let root = tempfile::tempdir().unwrap();
    let mut open = Registry::configured(&content, root, &storage, "").await;
    open.stop().await;
    let [certificate, key, clients] = asking_files();
    let tls = format!(
        "  tls:\n    certificate: {}\n    key: {}\n    clientcas: [{}]\n",
        certificate.display(),
        key.display(),
        clients.display()
    );
    let registry =
        Registry::started(tempfile::tempdir().unwrap(), &format!("{tls}{storage}")).await;
    let endpoint = format!("https://{}", registry.address());
    let image = content.image(APP, "v1");
    let setup = Setup::with_endpoint(&endpoint).upstream(&showing());
    let forebay = setup.start().await;
    let index = forebay.client().manifest(APP, "v1").await;
    assert!(index.is_exactly(&image.root.digest), "{}", index.text());
    for blob in image.linux("amd64").blobs() {
        forebay.client().pulls(APP, &blob.digest).await;
    }
    let stranger = Setup::with_endpoint(&endpoint)
        .upstream(&trusting())
        .start()
        .await;
    let refused = stranger.client().manifest(APP, "v1").await;
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("client_cert"), "{}", refused.text());
}
