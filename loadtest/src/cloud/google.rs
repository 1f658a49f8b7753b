//! Google's: the token endpoint to which a service account's key and a user's login lead, and the metadata of machines.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::server::{Answer, Server, Service, answer_of, text_of};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const ACCOUNT: &str = "puller@project.iam.gserviceaccount.com";

/// A running stand-in. Dropping it ends it.
#[derive(Debug)]
pub struct Google {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// The service account's.
    key: KeyPair,
    access_token: String,
    calls: Vec<&'static str>,
    refusal: Option<(StatusCode, &'static str)>,
}

impl Google {
    /// A user's login, which `gcloud` keeps.
    pub const REFRESH_TOKEN: &str = "canary-refresh-token";
    /// What comes with it.
    pub const CLIENT_SECRET: &str = "canary-client-secret";

    /// Starts one that gives this access token to whoever has the account's key or the user's login, and to the machine.
    ///
    /// # Panics
    ///
    /// Where no RSA key can be made.
    pub async fn start(access_token: &str) -> io::Result<Google> {
        let state = Arc::new(State(Mutex::new(Inner {
            key: new_key(),
            access_token: access_token.to_owned(),
            calls: Vec::new(),
            refusal: None,
        })));
        let server = Server::start(state.clone()).await?;
        Ok(Google { server, state })
    }

    /// Where its metadata server is: `host:port`.
    pub fn host(&self) -> String {
        self.server.address.to_string()
    }

    /// Writes the account's key as Google hands it out.
    ///
    /// # Panics
    ///
    /// Where the key has no PKCS #8 form.
    pub fn write_key(&self, path: &Path) -> io::Result<()> {
        let der = self.state.lock().key.as_der().expect("a key has a form");
        let der: &[u8] = der.as_ref();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der)
        );
        let file = json!({
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "1",
            "private_key": pem,
            "client_email": ACCOUNT,
            "client_id": "1",
            "auth_uri": format!("http://{}/auth", self.server.address),
            "token_uri": format!("http://{}/token", self.server.address),
        });
        std::fs::write(path, file.to_string())
    }

    /// Writes the user's login as `gcloud auth application-default login` does, but for where it leads.
    pub fn write_login(&self, path: &Path) -> io::Result<()> {
        let file = json!({
            "type": "authorized_user",
            "client_id": "client",
            "client_secret": Google::CLIENT_SECRET,
            "refresh_token": Google::REFRESH_TOKEN,
            "token_uri": format!("http://{}/token", self.server.address),
        });
        std::fs::write(path, file.to_string())
    }

    /// Gives the account another key; the old one is known no more.
    ///
    /// # Panics
    ///
    /// Where no RSA key can be made.
    pub fn rotate_key(&self) {
        self.state.lock().key = new_key();
    }

    /// Gives another token from now on.
    pub fn set_token(&self, access_token: &str) {
        access_token.clone_into(&mut self.state.lock().access_token);
    }

    /// Refuses from now on, with a status and an error's name; `None` ends it.
    pub fn refuse(&self, refusal: Option<(StatusCode, &'static str)>) {
        self.state.lock().refusal = refusal;
    }

    /// For whom it has given the token, first things first: `account`, `user`, `machine`.
    pub fn calls(&self) -> Vec<&'static str> {
        self.state.lock().calls.clone()
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate(KeySize::Rsa2048).expect("a key can be made")
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics with the lock")
    }
}

impl Inner {
    /// For whom a token is asked, if they have shown who they are.
    fn asker(&self, request: &Request<Bytes>) -> Option<&'static str> {
        let form: HashMap<String, String> = url::form_urlencoded::parse(request.body())
            .into_owned()
            .collect();
        let value = |name: &str| form.get(name).map_or("", String::as_str);
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/token") => {
                let is_user = value("grant_type") == "refresh_token"
                    && value("client_id") == "client"
                    && value("client_secret") == Google::CLIENT_SECRET
                    && value("refresh_token") == Google::REFRESH_TOKEN;
                let is_account =
                    value("grant_type") == GRANT && self.is_good(value("assertion")) == Some(true);
                let user = is_user.then_some("user");
                user.or(is_account.then_some("account"))
            }
            (&Method::GET, METADATA) => {
                let is_for_registries = request
                    .uri()
                    .query()
                    .is_some_and(|query| query.contains("cloud-platform"));
                let is_asked = text_of(request.headers(), "metadata-flavor") == "Google";
                (is_for_registries && is_asked).then_some("machine")
            }
            _ => None,
        }
    }

    /// Whether an assertion is signed with the account's key and says what Google asks for.
    fn is_good(&self, assertion: &str) -> Option<bool> {
        let (signed, signature) = assertion.rsplit_once('.')?;
        let (_, claims) = signed.split_once('.')?;
        // Padding or not: both are taken.
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let claims: Value = serde_json::from_slice(&decode(claims)?).ok()?;
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Some(
            key.verify(signed.as_bytes(), &decode(signature)?).is_ok()
                && claims["iss"] == ACCOUNT
                && claims["aud"].as_str()?.ends_with("/token")
                && claims["scope"].as_str()?.contains("cloud-platform")
                && claims["exp"].as_u64()? > now,
        )
    }
}

impl Service for State {
    fn answer(&self, request: &Request<Bytes>) -> Answer {
        const JSON: &str = "application/json";
        let mut inner = self.lock();
        if let Some((status, error)) = inner.refusal {
            return answer_of(status, JSON, json!({"error": error}).to_string());
        }
        let Some(asker) = inner.asker(request) else {
            let error = json!({"error": "invalid_grant"}).to_string();
            return answer_of(StatusCode::BAD_REQUEST, JSON, error);
        };
        inner.calls.push(asker);
        let token = json!({
            "token_type": "Bearer",
            "expires_in": 3599,
            "access_token": inner.access_token,
        });
        answer_of(StatusCode::OK, JSON, token.to_string())
    }
}
