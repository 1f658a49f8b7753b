//! Azure's: the token endpoint of Entra ID, and the metadata of machines and app services.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::json;

use super::server::{Answer, Server, Service, answer_of, text_of};

/// What access tokens are for.
const RESOURCE: &str = "https://containerregistry.azure.net";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A running stand-in. Dropping it ends it.
#[derive(Debug)]
pub struct Azure {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    access_token: String,
    calls: Vec<String>,
}

impl Azure {
    /// The tenant that it knows.
    pub const TENANT: &str = "tenant";
    /// The identity that it knows.
    pub const CLIENT: &str = "client";
    /// The identity's secret.
    pub const SECRET: &str = "canary-client-secret";
    /// A token of the identity from elsewhere.
    pub const FEDERATED: &str = "canary-federated-token";
    /// What an app service's code has to send.
    pub const APP_HEADER: &str = "canary-app-header";

    /// Starts one that gives this access token.
    pub async fn start(access_token: &str) -> io::Result<Azure> {
        let state = Arc::new(State(Mutex::new(Inner {
            access_token: access_token.to_owned(),
            calls: Vec::new(),
        })));
        let server = Server::start(state.clone()).await?;
        Ok(Azure { server, state })
    }

    /// Where all its services are.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What was asked of it, first things first: `secret`, `federated`, `machine`, `app`.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    /// Gives another access token from now on.
    pub fn set_token(&self, access_token: &str) {
        access_token.clone_into(&mut self.state.lock().access_token);
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics with the lock")
    }

    fn given(&self, call: &str) -> Answer {
        let mut inner = self.lock();
        inner.calls.push(call.to_owned());
        let token = json!({
            "token_type": "Bearer",
            "expires_in": 3599,
            "access_token": inner.access_token,
        });
        answer_of(StatusCode::OK, "application/json", token.to_string())
    }

    /// A client's credentials: how it proved itself, if it did.
    fn principal(form: &HashMap<String, String>) -> Option<&'static str> {
        let value = |name: &str| form.get(name).map_or("", String::as_str);
        let known = value("grant_type") == "client_credentials"
            && value("client_id") == Azure::CLIENT
            && value("scope") == format!("{RESOURCE}/.default");
        if !known {
            None
        } else if value("client_secret") == Azure::SECRET {
            Some("secret")
        } else if value("client_assertion_type") == ASSERTION
            && value("client_assertion") == Azure::FEDERATED
        {
            Some("federated")
        } else {
            None
        }
    }
}

impl Service for State {
    fn answer(&self, request: &Request<Bytes>) -> Answer {
        let header = |name: &str| text_of(request.headers(), name);
        let query = request.uri().query().unwrap_or_default();
        let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let is_for_registries = query.get("resource").is_some_and(|to| to == RESOURCE)
            && query.contains_key("api-version");
        let token_path = format!("/{}/oauth2/v2.0/token", Azure::TENANT);
        let given = match (request.method(), request.uri().path()) {
            (&Method::POST, path) if path == token_path => {
                let form: HashMap<String, String> = url::form_urlencoded::parse(request.body())
                    .into_owned()
                    .collect();
                State::principal(&form)
            }
            (&Method::GET, "/metadata/identity/oauth2/token")
                if header("metadata") == "true" && is_for_registries =>
            {
                Some("machine")
            }
            (&Method::GET, "/app")
                if header("x-identity-header") == Azure::APP_HEADER && is_for_registries =>
            {
                Some("app")
            }
            _ => None,
        };
        match given {
            Some(call) => self.given(call),
            None => answer_of(
                StatusCode::BAD_REQUEST,
                "application/json",
                json!({"error": "invalid_client"}).to_string(),
            ),
        }
    }
}
