//! Requests to a cloud's own services for logins: its API, its token service, the metadata of the machine.
//!
//! Where these are is known from the cloud's documentation or from the configuration, never from an answer, so the address
//! policy for what upstreams name does not apply. Redirects are not followed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
#[cfg(any(feature = "azure", feature = "gcp"))]
use http::StatusCode;
use http::{Request, Response};
use reqwest::Client;
use url::Host;

#[cfg(any(feature = "azure", feature = "gcp"))]
use super::LoginError;
#[cfg(feature = "aws")]
use crate::upstream::error::tls_hint;
use crate::upstream::error::{TlsHint, UpstreamError, machines_tls_hint};
#[cfg(any(feature = "azure", feature = "gcp"))]
use crate::upstream::error::{printable, repeats};
#[cfg(feature = "aws")]
use crate::upstream::transport::Transport;

/// From a request to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(2);
/// The most that such an answer has.
pub(super) const MAX_ANSWER: usize = 256 << 10;

/// A client for them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cloud {
    client: Client,
    /// For the machine's own network, where no proxy is.
    direct: Client,
    /// What to do about a handshake that failed.
    hint: TlsHint,
}

impl Cloud {
    pub(crate) fn new(tls: &rustls::ClientConfig) -> reqwest::Result<Cloud> {
        let builder = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .connect_timeout(CONNECT)
                .pool_max_idle_per_host(1)
        };
        Ok(Cloud {
            client: builder().build()?,
            direct: builder().no_proxy().build()?,
            hint: machines_tls_hint,
        })
    }

    /// For a service on an upstream's own side: with the proxy and the trusted certificates that are set for it.
    #[cfg(feature = "aws")]
    pub(super) fn beside(transport: &Transport) -> Cloud {
        Cloud {
            client: transport.unguarded().clone(),
            direct: transport.unguarded().clone(),
            hint: tls_hint,
        }
    }

    /// Sends a request and reads its answer, whatever its status. The error completes a sentence about who was asked.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let mut request =
            reqwest::Request::try_from(request).map_err(|_| "has no usable address".to_owned())?;
        *request.timeout_mut() = Some(PATIENCE);
        let client = if is_near(request.url().host().as_ref()) {
            &self.direct
        } else {
            &self.client
        };
        let host = request.url().host_str().unwrap_or("?").to_owned();
        let failed = |error| {
            let error = UpstreamError::from_send_with(&host, error, self.hint);
            format!("can't be asked: {error}")
        };
        let mut answer = client.execute(request).await.map_err(failed)?;
        let mut head = Response::new(());
        *head.status_mut() = answer.status();
        *head.headers_mut() = answer.headers().clone();
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err("answers with more than a login".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(head.map(|()| body.freeze()))
    }
}

/// A question to a service that gives out tokens.
#[cfg(any(feature = "azure", feature = "gcp"))]
pub(super) struct Question<'a> {
    /// Who is asked, as errors say it.
    pub(super) who: &'a str,
    pub(super) request: http::request::Builder,
    /// Encoded; `None` where the request has no body.
    pub(super) form: Option<String>,
    /// What was put into the request, and is not repeated to anyone.
    pub(super) secrets: &'a [&'a str],
}

/// Why a token service gives none (RFC 6749, section 5.2).
#[cfg(any(feature = "azure", feature = "gcp"))]
#[derive(serde::Deserialize, Default)]
struct Complaint {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

#[cfg(any(feature = "azure", feature = "gcp"))]
impl Cloud {
    /// What the service answers. The error says who was asked and what was said, and nothing of what was sent.
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Bytes, LoginError> {
        let Question {
            who,
            request,
            form,
            secrets,
        } = question;
        let broken = |what: &str| LoginError::Broken(format!("{who} {what}"));
        let request = match form {
            Some(form) => request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Bytes::from(form)),
            None => request.body(Bytes::new()),
        };
        let request = request.map_err(|_| broken("has no usable address"))?;
        let answer = self.send(request).await.map_err(|what| broken(&what))?;
        judge(who, &answer, secrets)
    }
}

/// What was answered. A no is about whoever asks, but for a service that is in trouble; nothing of `secrets` is repeated.
#[cfg(any(feature = "azure", feature = "gcp"))]
pub(super) fn judge(
    who: &str,
    answer: &Response<Bytes>,
    secrets: &[&str],
) -> Result<Bytes, LoginError> {
    const TROUBLES: [&str; 3] = ["temporarily_unavailable", "server_error", "slow_down"];
    if answer.status() == StatusCode::OK {
        return Ok(answer.body().clone());
    }
    let Complaint {
        error,
        error_description,
    } = serde_json::from_slice(answer.body()).unwrap_or_default();
    let said = printable(format!("{error} {error_description}").trim());
    let said = if secrets.iter().any(|secret| repeats(&said, secret)) {
        "(its message is withheld, since it repeats the login)".to_owned()
    } else {
        said
    };
    let message = format!("{who} answers {} {said}", answer.status().as_u16());
    let message = message.trim_end().to_owned();
    Err(match answer.status() {
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            if !TROUBLES.contains(&error.as_str()) =>
        {
            LoginError::Refused(message)
        }
        _ => LoginError::Broken(message),
    })
}

/// The fields of a form or a query, encoded.
#[cfg(any(feature = "azure", feature = "gcp"))]
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}

/// Whether a host is this machine or one that only this machine's own network knows: `169.254.169.254`, `fd00:ec2::254` and
/// the like, where machines find their metadata, and loopback, where app services and containers do.
fn is_near(host: Option<&Host<&str>>) -> bool {
    match host {
        Some(Host::Ipv4(ip)) => ip.is_link_local() || ip.is_loopback(),
        Some(Host::Ipv6(ip)) => {
            ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback()
        }
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            let is_local = name == "localhost" || name.ends_with(".localhost");
            is_local || name == "metadata.google.internal"
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// App services and containers name an endpoint on loopback for their identity; with a proxy in the environment, the
    /// secret header and the token went through it.
    #[test]
    fn what_only_this_machine_can_reach_is_asked_directly() {
        let is_near = |url: &str| is_near(url::Url::parse(url).unwrap().host().as_ref());
        for url in [
            "http://127.0.0.1:41741/msi/token/",
            "http://127.9.9.9/",
            "http://[::1]:8080/",
            "http://localhost:42356/msi/token",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://metadata.google.internal/",
        ] {
            assert!(is_near(url), "{url}");
        }
        for url in [
            "https://login.microsoftonline.com/",
            "https://localhost.example.com/",
            "https://notlocalhost/",
            "http://10.0.0.1/",
        ] {
            assert!(!is_near(url), "{url}");
        }
    }
}
