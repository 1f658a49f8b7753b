//! Azure's registries: a token of Entra ID, exchanged at the registry for a refresh token.

use forebay_loadtest::cloud::Azure;
use forebay_loadtest::origin::{Auth, Kind, Origin};
use http::StatusCode;

use super::{cloud_login, manifest, private_origin, reads, told};
use crate::harness::Setup;

const USER: &str = "00000000-0000-0000-0000-000000000000";
const TOKEN: &str = "canary-access-token";

fn mirror(origin: &Origin) -> Setup {
    Setup::new(origin)
        .upstream(&cloud_login(origin, "acr"))
        .env("FOREBAY_LOG__LEVEL", "trace")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_identity_opens_the_registry() {
    let origin = private_origin(Auth::token(), USER, TOKEN).await;
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
    let origin = private_origin(Auth::token(), USER, TOKEN).await;
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
    told(&forebay, "Entra ID answers 400 invalid_client");
    assert!(!forebay.log().contains("canary"), "{}", forebay.log());

    // An identity that may not pull: the registry's own exchange refuses it.
    let other = Azure::start("canary-other-token").await.unwrap();
    let forebay = mirror(&origin)
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", other.url())
        .start()
        .await;
    let answer = manifest(&forebay).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    told(&forebay, "token exchange answers 401");
}
