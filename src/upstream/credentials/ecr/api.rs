//! `GetAuthorizationToken` of Amazon ECR's API, signed with Signature Version 4, and what it answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::config::{EcrHost, Secret};
use crate::upstream::credentials::LoginError;
use crate::upstream::error::printable;

const OPERATION: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const JSON: &str = "application/x-amz-json-1.1";
/// A password is good for as long; one that says otherwise is asked for again anyway.
const LONGEST: Duration = Duration::from_hours(12);
/// What is believed of a password that has ended when it comes: a clock is off.
const ENDED: Duration = Duration::from_mins(1);

/// A user's name and password for the registry.
#[derive(Debug)]
pub(super) struct Password {
    pub(super) username: String,
    pub(super) secret: Secret,
    pub(super) life: Duration,
}

/// The request, signed.
pub(super) fn signed(
    endpoint: &Url,
    host: &EcrHost,
    key: Credentials,
    now: SystemTime,
) -> Result<Request<Bytes>, LoginError> {
    let failed = |what: &str| LoginError::Broken(format!("a request to Amazon ECR {what}"));
    let body = serde_json::json!({ "registryIds": [host.account] }).to_string();
    let authority = endpoint.authority();
    let headers = [
        (CONTENT_TYPE.as_str(), JSON),
        (HOST.as_str(), authority),
        ("x-amz-target", OPERATION),
    ];
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request
        .body(Bytes::from(body.clone()))
        .map_err(|_| failed("can't be made"))?;
    let identity: Identity = key.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&host.region)
        .name("ecr")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| failed("can't be signed"))?
        .into();
    let signable = SignableRequest::new(
        "POST",
        endpoint.as_str(),
        headers.into_iter(),
        SignableBody::Bytes(body.as_bytes()),
    );
    let (instructions, _) = signable
        .and_then(|signable| sign(signable, &params))
        .map_err(|_| failed("can't be signed"))?
        .into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    authorization_data: Vec<Authorization>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
    /// Seconds since 1970, with a fraction.
    expires_at: Option<f64>,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

/// What the API said.
pub(super) fn read(answer: &Response<Bytes>, now: SystemTime) -> Result<Password, LoginError> {
    let body = answer.body();
    if answer.status() != StatusCode::OK {
        return Err(refusal(answer.status(), body));
    }
    let unusable = || LoginError::Broken("Amazon ECR's API gives no usable password".to_owned());
    let answer: Answer = serde_json::from_slice(body).map_err(|_| unusable())?;
    let given = answer.authorization_data.first().ok_or_else(unusable)?;
    let pair = STANDARD
        .decode(&given.authorization_token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(unusable)?;
    let (username, password) = pair.split_once(':').ok_or_else(unusable)?;
    let end = given
        .expires_at
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or(now + LONGEST, |since| UNIX_EPOCH + since);
    Ok(Password {
        username: username.to_owned(),
        secret: Secret::new(password),
        // By the API's clock: one that is off makes a password short, and never endless.
        life: match end.duration_since(now) {
            Ok(left) if !left.is_zero() => left.min(LONGEST),
            _ => ENDED,
        },
    })
}

/// A 4xx is about the key, but for being asked too often.
fn refusal(status: StatusCode, body: &[u8]) -> LoginError {
    let complaint = serde_json::from_slice(body).unwrap_or(Complaint {
        kind: String::new(),
        message: String::new(),
    });
    let kind = complaint.kind.rsplit('#').next().unwrap_or_default();
    let message = format!(
        "Amazon ECR's API answers {}: {} {}",
        status.as_u16(),
        printable(kind),
        printable(&complaint.message)
    );
    let message = message.trim_end_matches([' ', ':']).to_owned();
    if status.is_client_error()
        && status != StatusCode::TOO_MANY_REQUESTS
        && !kind.contains("Throttling")
    {
        LoginError::Refused(message)
    } else {
        LoginError::Broken(message)
    }
}
