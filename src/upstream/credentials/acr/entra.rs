//! An access token of Entra ID, from where the environment says that one is to be had. The variables are those of Azure's
//! own libraries.

use std::path::Path;

use http::{Method, Request};
use serde::Deserialize;

use crate::config::{self, Secret};
use crate::upstream::credentials::LoginError;
use crate::upstream::credentials::cloud::{Cloud, Question, form};

/// What the token is for: registries of all of Azure.
const RESOURCE: &str = "https://containerregistry.azure.net";
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// Where a machine finds its identity.
const METADATA: &str = "http://169.254.169.254";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[derive(Deserialize)]
struct Answer {
    access_token: String,
}

/// The first kind of identity that the environment has.
pub(super) async fn access_token(
    cloud: &Cloud,
    settings: &config::Acr,
) -> Result<Secret, LoginError> {
    let client = settings
        .client_id
        .clone()
        .or_else(|| variable("AZURE_CLIENT_ID"));
    let tenant = variable("AZURE_TENANT_ID");
    let secret = variable("AZURE_CLIENT_SECRET");
    let federated = variable("AZURE_FEDERATED_TOKEN_FILE");
    let answer = match (&client, tenant, secret, federated) {
        (Some(client), Some(tenant), Some(secret), _) => {
            principal(cloud, &tenant, client, &[("client_secret", &secret)]).await
        }
        (Some(client), Some(tenant), None, Some(path)) => {
            let assertion = read(Path::new(&path)).await?;
            let proof = [
                ("client_assertion_type", ASSERTION),
                ("client_assertion", assertion.trim()),
            ];
            principal(cloud, &tenant, client, &proof).await
        }
        // Azure's tools would take it; another identity in its place would surprise.
        _ if variable("AZURE_CLIENT_CERTIFICATE_PATH").is_some() => Err(certificate()),
        _ => managed(cloud, client.as_deref()).await,
    }?;
    let answer: Answer = serde_json::from_slice(&answer)
        .map_err(|_| LoginError::Broken("Entra ID gives no access token".to_owned()))?;
    Ok(Secret::new(answer.access_token))
}

fn certificate() -> LoginError {
    let message = "AZURE_CLIENT_CERTIFICATE_PATH is set, and forebay logs in with no certificate: set AZURE_TENANT_ID, \
                   AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, or unset it for the managed \
                   identity";
    LoginError::Broken(message.to_owned())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The token changes now and then: it is read each time.
async fn read(path: &Path) -> Result<String, LoginError> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|error| LoginError::Broken(format!("{} can't be read: {error}", path.display())))
}

/// A service principal, with a secret or with an assertion.
async fn principal(
    cloud: &Cloud,
    tenant: &str,
    client: &str,
    proof: &[(&str, &str)],
) -> Result<bytes::Bytes, LoginError> {
    let authority = variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
    let authority = authority.trim_end_matches('/');
    let scope = format!("{RESOURCE}/.default");
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("scope", &scope),
    ];
    fields.extend_from_slice(proof);
    let secrets: Vec<_> = proof.iter().map(|(_, value)| *value).collect();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{authority}/{tenant}/oauth2/v2.0/token"));
    let question = Question {
        who: "Entra ID",
        request,
        form: Some(form(&fields)),
        secrets: &secrets,
    };
    cloud.ask(question).await
}

/// The identity of an app service, or else of the machine.
async fn managed(cloud: &Cloud, client: Option<&str>) -> Result<bytes::Bytes, LoginError> {
    let request = |endpoint: &str, version: &str| {
        let mut query = vec![("api-version", version), ("resource", RESOURCE)];
        query.extend(client.map(|client| ("client_id", client)));
        let query = form(&query);
        Request::builder().uri(format!("{endpoint}?{query}"))
    };
    let app = variable("IDENTITY_ENDPOINT").zip(variable("IDENTITY_HEADER"));
    if let Some((endpoint, header)) = app {
        let question = Question {
            who: "the app's managed identity",
            request: request(&endpoint, "2019-08-01").header("x-identity-header", &header),
            form: None,
            secrets: &[&header],
        };
        return cloud.ask(question).await;
    }
    let host = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
    let host = host.unwrap_or_else(|| METADATA.to_owned());
    let host = host.trim_end_matches('/');
    let endpoint = format!("{host}/metadata/identity/oauth2/token");
    let question = Question {
        who: "the machine's managed identity",
        request: request(&endpoint, "2018-02-01").header("metadata", "true"),
        form: None,
        secrets: &[],
    };
    cloud.ask(question).await
}
