//! Requests to a cloud's own services for logins: its API, its token service, the metadata of the machine.
//!
//! Where these are is known from the cloud's documentation or from the configuration, never from an answer, so the address
//! policy for what upstreams name does not apply. Redirects are not followed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use reqwest::Client;
use url::Host;

use crate::upstream::error::UpstreamError;

/// From a request to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(2);
/// The most that such an answer has.
const MAX_ANSWER: usize = 256 << 10;

/// A client for them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cloud {
    client: Client,
    /// For the machine's own network, where no proxy is.
    direct: Client,
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
                .timeout(PATIENCE)
                .pool_max_idle_per_host(1)
        };
        Ok(Cloud {
            client: builder().build()?,
            direct: builder().no_proxy().build()?,
        })
    }

    /// Sends a request and reads its answer, whatever its status. The error completes a sentence about who was asked.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let request =
            reqwest::Request::try_from(request).map_err(|_| "has no usable address".to_owned())?;
        let client = if is_link_local(request.url().host().as_ref()) {
            &self.direct
        } else {
            &self.client
        };
        let host = request.url().host_str().unwrap_or("?").to_owned();
        let failed = |error| format!("can't be asked: {}", UpstreamError::from_send(&host, error));
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

/// The fields of a form or a query, encoded.
#[cfg(feature = "azure")]
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}

/// Where machines find their metadata: `169.254.169.254`, `fd00:ec2::254` and the like.
fn is_link_local(host: Option<&Host<&str>>) -> bool {
    match host {
        Some(Host::Ipv4(ip)) => ip.is_link_local(),
        Some(Host::Ipv6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local(),
        Some(Host::Domain(name)) => *name == "metadata.google.internal",
        None => false,
    }
}
