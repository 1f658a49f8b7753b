//! Amazon's: the API of ECR, the token service that web identities turn to, and the metadata of instances and containers.

mod signature;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::{Value, json};

use super::server::{Answer, Server, Service, answer_of, text_of};

const JSON: &str = "application/json";
const GET_AUTHORIZATION_TOKEN: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const METADATA_TOKEN: &str = "metadata-token";
const METADATA_TOKEN_LIFE: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const ROLE: &str = "puller";
/// The keys that services give out end then.
const EXPIRATION: &str = "2099-01-01T00:00:00Z";

/// An AWS key.
#[derive(Clone, Debug)]
pub struct Key {
    /// `AWS_ACCESS_KEY_ID`
    pub id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret: String,
    /// `AWS_SESSION_TOKEN`, for a key that is temporary.
    pub session: Option<String>,
}

impl Key {
    /// A key of this name, temporary if there is a session's token.
    pub fn new(id: &str, secret: &str, session: Option<&str>) -> Key {
        Key {
            id: id.to_owned(),
            secret: secret.to_owned(),
            session: session.map(str::to_owned),
        }
    }
}

/// A running stand-in. Dropping it ends it.
#[derive(Debug)]
pub struct Aws {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// The key that the API knows, and that the other services give out.
    key: Key,
    /// Whether the token service gives keys to the web identity that it knows.
    admits: bool,
    password: String,
    life: Duration,
    calls: Vec<String>,
    refusal: Option<(StatusCode, &'static str)>,
}

impl Aws {
    /// Starts one that knows `key`, and gives `password` for the registry.
    pub async fn start(key: Key, password: &str) -> io::Result<Aws> {
        let state = Arc::new(State(Mutex::new(Inner {
            key,
            admits: true,
            password: password.to_owned(),
            life: Duration::from_hours(12),
            calls: Vec::new(),
            refusal: None,
        })));
        let server = Server::start(state.clone()).await?;
        Ok(Aws { server, state })
    }

    /// Where all its services are.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What was asked of it, first things first: `ecr 123456789012 eu-west-1`, `sts`, `instance`, `container`.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    /// Gives another password from now on, which ends after `life`.
    pub fn set_password(&self, password: &str, life: Duration) {
        let mut inner = self.state.lock();
        password.clone_into(&mut inner.password);
        inner.life = life;
    }

    /// Knows this key from now on, and no other.
    pub fn set_key(&self, key: Key) {
        self.state.lock().key = key;
    }

    /// The web identity may not have its role any more.
    pub fn expel(&self) {
        self.state.lock().admits = false;
    }

    /// Has the API refuse from now on, with a status and the name of an exception; `None` ends it.
    pub fn refuse(&self, refusal: Option<(StatusCode, &'static str)>) {
        self.state.lock().refusal = refusal;
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics with the lock")
    }

    fn note(&self, call: impl Into<String>) {
        self.lock().calls.push(call.into());
    }

    fn authorization_token(&self, request: &Request<Bytes>) -> Answer {
        let key = self.lock().key.clone();
        let signed = match signature::check(request, &key, "ecr", SystemTime::now()) {
            Ok(signed) => signed,
            Err(exception) => return complaint(StatusCode::BAD_REQUEST, exception),
        };
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let account = body["registryIds"][0].as_str().unwrap_or("own");
        self.note(format!("ecr {account} {}", signed.region));
        let inner = self.lock();
        if let Some((status, exception)) = inner.refusal {
            return complaint(status, exception);
        }
        let end = SystemTime::now() + inner.life;
        let end = end.duration_since(UNIX_EPOCH).unwrap_or_default();
        let token = STANDARD.encode(format!("AWS:{}", inner.password));
        let data = json!({"authorizationData": [{
            "authorizationToken": token,
            "expiresAt": end.as_secs_f64(),
            "proxyEndpoint": "https://registry.example",
        }]});
        answer_of(
            StatusCode::OK,
            "application/x-amz-json-1.1",
            data.to_string(),
        )
    }

    /// What the metadata of instances and containers say of a role's key.
    fn role(&self) -> Value {
        let key = self.lock().key.clone();
        json!({
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": "2020-01-01T00:00:00Z",
            "AccessKeyId": key.id,
            "SecretAccessKey": key.secret,
            "Token": key.session,
            "Expiration": EXPIRATION,
        })
    }

    fn web_identity(&self, form: &HashMap<String, String>) -> Answer {
        if form.get("WebIdentityToken").map(String::as_str) != Some("web-identity") {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code></Error></ErrorResponse>";
            return answer_of(StatusCode::BAD_REQUEST, "text/xml", error);
        }
        if !self.lock().admits {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code></Error></ErrorResponse>";
            return answer_of(StatusCode::FORBIDDEN, "text/xml", error);
        }
        self.note("sts");
        let Key {
            id,
            secret,
            session,
        } = self.lock().key.clone();
        let session = session.as_deref().unwrap_or_default();
        let text = format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult>\
             <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/{ROLE}/s</Arn>\
             <AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>\
             <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>{session}</SessionToken><Expiration>{EXPIRATION}</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        answer_of(StatusCode::OK, "text/xml", text)
    }
}

impl Service for State {
    fn answer(&self, request: &Request<Bytes>) -> Answer {
        let header = |name: &str| text_of(request.headers(), name);
        let form: HashMap<String, String> = url::form_urlencoded::parse(request.body())
            .into_owned()
            .collect();
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/") if header("x-amz-target") == GET_AUTHORIZATION_TOKEN => {
                self.authorization_token(request)
            }
            (&Method::POST, "/")
                if form.get("Action").map(String::as_str) == Some("AssumeRoleWithWebIdentity") =>
            {
                self.web_identity(&form)
            }
            (&Method::PUT, "/latest/api/token") if !header(METADATA_TOKEN_LIFE).is_empty() => {
                let mut answer = answer_of(StatusCode::OK, "text/plain", METADATA_TOKEN);
                let life = HeaderValue::from_static("21600");
                answer.headers_mut().insert(METADATA_TOKEN_LIFE, life);
                answer
            }
            (&Method::GET, path) if path.starts_with("/latest/") => {
                if header("x-aws-ec2-metadata-token") != METADATA_TOKEN {
                    return answer_of(StatusCode::UNAUTHORIZED, "text/plain", "");
                }
                self.instance(path)
            }
            (&Method::GET, "/container") if header("authorization") == "container-token" => {
                self.note("container");
                answer_of(StatusCode::OK, JSON, self.role().to_string())
            }
            _ => answer_of(StatusCode::NOT_FOUND, "text/plain", ""),
        }
    }
}

impl State {
    fn instance(&self, path: &str) -> Answer {
        let path = path.trim_end_matches('/');
        let role = format!("/{ROLE}");
        match path.strip_suffix(&role) {
            None if path.ends_with("/iam/security-credentials") => {
                answer_of(StatusCode::OK, "text/plain", ROLE)
            }
            Some(path) if path.ends_with("/iam/security-credentials") => {
                self.note("instance");
                answer_of(StatusCode::OK, JSON, self.role().to_string())
            }
            _ => answer_of(StatusCode::NOT_FOUND, "text/plain", ""),
        }
    }
}

fn complaint(status: StatusCode, exception: &str) -> Answer {
    let text = json!({"__type": exception, "message": "The security token is not good."});
    answer_of(status, "application/x-amz-json-1.1", text.to_string())
}
