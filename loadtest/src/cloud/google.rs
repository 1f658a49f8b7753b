//! Google's: the token endpoint to which a service account's key leads.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::server::{Answer, Server, Service, answer_of};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ACCOUNT: &str = "puller@project.iam.gserviceaccount.com";

/// A running stand-in. Dropping it ends it.
#[derive(Debug)]
pub struct Google {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    key: KeyPair,
    access_token: String,
    granted: Mutex<usize>,
}

impl Google {
    /// Starts one that gives this access token to whoever has the account's key.
    ///
    /// # Panics
    ///
    /// Where no RSA key can be made.
    pub async fn start(access_token: &str) -> io::Result<Google> {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key can be made");
        let state = Arc::new(State {
            key,
            access_token: access_token.to_owned(),
            granted: Mutex::new(0),
        });
        let server = Server::start(state.clone()).await?;
        Ok(Google { server, state })
    }

    /// Writes the account's key as Google hands it out.
    ///
    /// # Panics
    ///
    /// Where the key has no PKCS #8 form.
    pub fn write_key(&self, path: &Path) -> io::Result<()> {
        let der = self.state.key.as_der().expect("a key has a form");
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

    /// How often it has given the token.
    ///
    /// # Panics
    ///
    /// If a request panicked.
    pub fn granted(&self) -> usize {
        *self.state.granted.lock().expect("nobody panics with it")
    }
}

impl State {
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
        let form: HashMap<String, String> = url::form_urlencoded::parse(request.body())
            .into_owned()
            .collect();
        let value = |name: &str| form.get(name).map_or("", String::as_str);
        let good = value("grant_type") == GRANT && self.is_good(value("assertion")) == Some(true);
        if !good {
            let error = json!({"error": "invalid_grant"}).to_string();
            return answer_of(StatusCode::BAD_REQUEST, "application/json", error);
        }
        *self.granted.lock().expect("nobody panics with it") += 1;
        let token = json!({
            "token_type": "Bearer",
            "expires_in": 3599,
            "access_token": self.access_token,
        });
        answer_of(StatusCode::OK, "application/json", token.to_string())
    }
}
