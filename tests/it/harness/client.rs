//! A client of the mirror: one connection a request, whole answers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use sha2::{Digest as _, Sha256};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A client of one mirror.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
}

/// A whole answer. Where its body broke off, `body` holds what came and `complete` is false.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) complete: bool,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self::built("http", address, |http| http)
    }

    /// A client whose own address is `local`: all of 127.0.0.0/8 is this machine.
    pub(crate) fn at(local: IpAddr, address: SocketAddr) -> Self {
        Self::built("http", address, |http| http.local_address(local))
    }

    /// A client that speaks TLS.
    pub(crate) fn over_tls(config: rustls::ClientConfig, address: SocketAddr) -> Self {
        Self::built("https", address, |http| {
            http.tls_backend_preconfigured(config)
        })
    }

    fn built(
        scheme: &str,
        address: SocketAddr,
        with: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        let http = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE);
        Self {
            base: format!("{scheme}://{address}"),
            http: with(http).build().expect("a client can be built"),
        }
    }

    /// Whether a request gets an answer at all, and which.
    pub(crate) async fn tries(&self, path: &str) -> Option<StatusCode> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await;
        Some(answer.ok()?.status())
    }

    /// A request whose body has not been read.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> reqwest::Response {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{path} gets an answer: {error:?}"))
    }

    /// A request and its whole answer.
    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut response = self.open(method, path, headers).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let complete = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        Answer {
            status,
            headers,
            body: body.into(),
            complete,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[]).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.ask(Method::HEAD, path, &[]).await
    }

    pub(crate) async fn range(&self, path: &str, range: &str) -> Answer {
        self.ask(Method::GET, path, &[("range", range)]).await
    }

    /// A blob of a repository.
    pub(crate) async fn blob(&self, repository: &str, digest: impl AsRef<str>) -> Answer {
        self.get(&blob_path(repository, digest)).await
    }

    /// A manifest of a repository, by tag or digest.
    pub(crate) async fn manifest(&self, repository: &str, reference: impl AsRef<str>) -> Answer {
        self.get(&manifest_path(repository, reference)).await
    }

    /// A blob, whole and right.
    pub(crate) async fn pulls(&self, repository: &str, digest: impl AsRef<str>) -> Answer {
        self.blob(repository, &digest).await.exactly(&digest)
    }

    /// A manifest by its digest, whole and right.
    pub(crate) async fn pulls_manifest(&self, repository: &str, digest: impl AsRef<str>) -> Answer {
        self.manifest(repository, &digest).await.exactly(&digest)
    }
}

pub(crate) fn blob_path(repository: &str, digest: impl AsRef<str>) -> String {
    format!("/v2/{repository}/blobs/{}", digest.as_ref())
}

pub(crate) fn manifest_path(repository: &str, reference: impl AsRef<str>) -> String {
    format!("/v2/{repository}/manifests/{}", reference.as_ref())
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's text; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("headers are text"))
    }

    /// The code of the first error in the body.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether it is a whole 200 whose bytes hash to `digest`.
    pub(crate) fn is_exactly(&self, digest: impl AsRef<str>) -> bool {
        self.status == StatusCode::OK && self.complete && sha256(&self.body) == digest.as_ref()
    }

    fn exactly(self, digest: impl AsRef<str>) -> Self {
        let (status, digest) = (self.status, digest.as_ref());
        assert!(
            self.is_exactly(digest),
            "{digest}: {status}, {}",
            self.text()
        );
        self
    }

    /// Whether it claims to be whole. Then its bytes had better be right.
    pub(crate) fn claims_success(&self) -> bool {
        self.status == StatusCode::OK && self.complete
    }
}

/// `sha256:<hex>` of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
