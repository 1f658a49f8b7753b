//! Azure's registries: a token of Entra ID, exchanged at the registry for a refresh token.

use std::net::Ipv4Addr;

use forebay_loadtest::cloud::Azure;
use forebay_loadtest::origin::{Auth, Kind, Origin, Refresh, TokenAuth};
use http::StatusCode;

use super::{cloud_login, manifest, private_origin, reads, told};
use crate::harness::{Setup, authority, tls_before};

const USER: &str = "00000000-0000-0000-0000-000000000000";
const TOKEN: &str = "canary-access-token";

/// It takes no refresh token but those that it gave for access tokens.
async fn registry() -> Origin {
    registry_with_realm(None).await
}

async fn registry_with_realm(realm: Option<&str>) -> Origin {
    let auth = Auth::Token(TokenAuth {
        refresh: Refresh::Exchanged,
        realm: realm.map(str::to_owned),
        ..TokenAuth::default()
    });
    private_origin(auth, USER, TOKEN).await
}

fn mirror(origin: &Origin) -> Setup {
    Setup::new(origin)
        .upstream(&cloud_login(origin, "acr"))
        .without_clouds()
        .env("FOREBAY_LOG__LEVEL", "trace")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_identity_opens_the_registry() {
    let origin = registry().await;
    let azure = Azure::start(TOKEN).await.unwrap();
    let url = azure.url();
    let files = tempfile::tempdir().unwrap();
    let federated = files.path().join("token");
    std::fs::write(&federated, format!("{}\n", Azure::FEDERATED)).unwrap();
    let principal = |setup: Setup| {
        setup
            .env("AZURE_AUTHORITY_HOST", &url)
            .env("AZURE_TENANT_ID", Azure::TENANT)
    };
    for (setup, call) in [
        (
            principal(mirror(&origin))
                .env("AZURE_CLIENT_ID", Azure::CLIENT)
                .env("AZURE_CLIENT_SECRET", Azure::SECRET),
            "secret",
        ),
        (
            principal(mirror(&origin).upstream("azure_client_id = \"client\""))
                .env("AZURE_FEDERATED_TOKEN_FILE", &federated),
            "federated",
        ),
        (
            mirror(&origin).env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url),
            "machine",
        ),
        (
            mirror(&origin)
                .env("IDENTITY_ENDPOINT", format!("{url}/app"))
                .env("IDENTITY_HEADER", Azure::APP_HEADER),
            "app",
        ),
    ] {
        let before = azure.calls().len();
        origin.reset();
        let forebay = setup.start().await;
        for _ in 0..2 {
            reads(&forebay, &origin).await;
        }
        assert_eq!(azure.calls()[before..], [call]);
        let tokens = origin.requests_for(Kind::Token);
        let targets: Vec<_> = tokens.iter().map(|token| token.target.as_str()).collect();
        assert_eq!(targets, ["/oauth2/exchange", "/token"], "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_identity_is_told_to_the_operator() {
    let origin = registry().await;
    let azure = Azure::start(TOKEN).await.unwrap();
    let forebay = mirror(&origin)
        .env("AZURE_AUTHORITY_HOST", azure.url())
        .env("AZURE_TENANT_ID", Azure::TENANT)
        .env("AZURE_CLIENT_ID", Azure::CLIENT)
        .env("AZURE_CLIENT_SECRET", "canary-wrong")
        .start()
        .await;
    let answer = manifest(&forebay).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    told(&forebay, "Entra ID answers 400 invalid_client").await;
    assert!(!forebay.log().contains("canary"), "{}", forebay.log());

    // An identity that may not pull: the registry's own exchange refuses it.
    let other = Azure::start("canary-other-token").await.unwrap();
    let forebay = mirror(&origin)
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", other.url())
        .start()
        .await;
    let answer = manifest(&forebay).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    told(&forebay, "token exchange answers 401").await;
}

/// Azure's tools would log in with the certificate; it was passed over without a word, and the machine's identity, or the error
/// that there is none, came in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_can_not_be_used_is_not_passed_over() {
    let origin = registry().await;
    let azure = Azure::start(TOKEN).await.unwrap();
    let forebay = mirror(&origin)
        .env("AZURE_TENANT_ID", Azure::TENANT)
        .env("AZURE_CLIENT_ID", Azure::CLIENT)
        .env("AZURE_CLIENT_CERTIFICATE_PATH", "/etc/azure.pem")
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.url())
        .start()
        .await;
    assert_eq!(manifest(&forebay).await.status, StatusCode::FORBIDDEN);
    told(&forebay, "AZURE_CLIENT_CERTIFICATE_PATH is set").await;
    assert!(azure.calls().is_empty());
}

/// An app's identity is at an address of loopback. With a proxy in the environment the secret header went to the proxy.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_on_this_machine_is_asked_for_without_the_proxy() {
    let origin = registry().await;
    let azure = Azure::start(TOKEN).await.unwrap();
    let endpoint = azure.url().replace("127.0.0.1", "localhost");
    let forebay = mirror(&origin)
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .env("IDENTITY_ENDPOINT", format!("{endpoint}/app"))
        .env("IDENTITY_HEADER", Azure::APP_HEADER)
        .start()
        .await;
    reads(&forebay, &origin).await;
    assert_eq!(azure.calls(), ["app"]);
}

/// The registry's exchange was asked without the upstream's `ca_file`, and the error said to set it.
#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_trusts_whom_the_upstream_trusts() {
    // Its token service is on the registry's side of TLS, or the realm would be refused.
    let origin = registry_with_realm(Some("/token")).await;
    let host = origin.registry_url().replace("http://", "");
    let host = host.trim_end_matches('/').to_owned();
    let secure = tls_before(host, Ipv4Addr::LOCALHOST.into()).await;
    let azure = Azure::start(TOKEN).await.unwrap();
    let forebay = Setup::with_endpoint(&format!("https://{secure}"))
        .upstream(&format!(
            "credentials = \"acr\"\ntrusted_realms = [\"127.0.0.1\"]\nca_file = '{}'",
            authority().display()
        ))
        .without_clouds()
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.url())
        .start()
        .await;
    assert_eq!(manifest(&forebay).await.status, StatusCode::FORBIDDEN);
    // It is not known there by the port that TLS has.
    told(&forebay, "the registry's token exchange answers 401").await;
    assert_eq!(origin.requests_for(Kind::Token).len(), 1);
}
