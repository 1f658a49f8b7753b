//! Asks a running mirror's admin listener, and says what is there instead where it is none.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use rustls::AlertDescription;
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use super::trust;
use crate::config;
use crate::status::{FORMAT, PATH, Status};

/// A mirror that lives answers sooner, however its disk does.
const PATIENCE: Duration = Duration::from_secs(10);
/// No document is larger.
const MAX_DOCUMENT: usize = 16 << 20;

/// Where a mirror's admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Admin {
    url: Url,
    /// The file of the certificate that it shows, where the configuration says so.
    certificate: Option<PathBuf>,
}

/// Why a mirror's status is not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(
        "the mirror's configuration has no admin listener: set `listen` in [admin] to an address such as \"127.0.0.1:5001\" and start it again"
    )]
    Off,
    #[error(
        "`listen` in [admin] leaves the port to the system; name it by --admin: the mirror's log says where it listens for `admin`"
    )]
    NoPort,
    #[error(
        "nobody listens at {at} ({why}): the mirror is not running, or its admin listener is elsewhere; give its configuration by --config, or its address by --admin"
    )]
    NotRunning { at: String, why: String },
    #[error("{at} does not answer within {} s: the mirror is overloaded, or it is none", PATIENCE.as_secs())]
    Silent { at: String },
    #[error(
        "{at} shows another certificate than its configuration names, or none that can be trusted ({why}): give its configuration by --config; where that has just got a new certificate, try again in some seconds"
    )]
    Untrusted { at: String, why: String },
    #[error(
        "{at} wants to be shown a certificate, and this command has none: ask with `curl --cert FILE --key FILE {at}{PATH}`"
    )]
    CertificateWanted { at: String },
    #[error("{at} can't be asked: {why}")]
    Unusable { at: String, why: String },
    #[error(
        "{at} is where a registry's clients ask; the admin listener is another one, by default at port 5001: see `listen` in [admin]"
    )]
    ClientsListener { at: String },
    #[error("the mirror at {at} is older than its `{PATH}`: upgrade it, or see /metrics there")]
    OldMirror { at: String },
    #[error(
        "the mirror at {at} tells its status in format {format}, and this program knows {FORMAT}: use the mirror's own version of it"
    )]
    NewMirror { at: String, format: u32 },
    #[error("what answers at {at} is no forebay's admin listener ({why})")]
    Stranger { at: String, why: String },
    #[error("this process can't ask anyone: {0}")]
    Process(String),
}

impl FromStr for Admin {
    type Err = String;

    /// A URL, or what comes after its `http://`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("{why}; write it like http://127.0.0.1:5001");
        let whole = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&whole).map_err(|error| refused(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(refused("it is no http URL"));
        }
        if !matches!(url.path(), "/" | PATH) || url.query().is_some() || url.fragment().is_some() {
            return Err(refused("it has more than a host and a port"));
        }
        Ok(Self {
            url,
            certificate: None,
        })
    }
}

impl Admin {
    /// Where a configuration has it, as seen from the same machine.
    pub(super) fn configured(config: &config::Admin) -> Result<Self, AskError> {
        let mut address = config.listen.ok_or(AskError::Off)?;
        if address.port() == 0 {
            return Err(AskError::NoPort);
        }
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let tls = config.tls.as_ref();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let admin: Self = format!("{scheme}://{address}")
            .parse()
            .map_err(AskError::Process)?;
        Ok(Self {
            certificate: tls.map(|tls| tls.certificate.clone()),
            ..admin
        })
    }
}

/// Without a login that may be in it.
impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url.origin().ascii_serialization())
    }
}

/// Asks one mirror.
pub(super) struct Asker {
    admin: Admin,
    client: Client,
    runtime: Runtime,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.admin.fmt(f)
    }
}

/// Of a document, what tells whether the rest can be read.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Asker {
    pub(super) fn new(admin: Admin) -> Result<Self, AskError> {
        let mut client = Client::builder()
            // An operator asks the mirror itself.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE);
        let tls = match &admin.certificate {
            Some(file) => Some(trust::holder_of(file)),
            None if admin.url.scheme() == "http" => Some(trust::nobody()),
            None => None,
        };
        if let Some(tls) = tls {
            client = client.tls_backend_preconfigured(tls.map_err(AskError::Process)?);
        }
        let client = client.build();
        let client = client.map_err(|error| AskError::Process(root(&error)))?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| AskError::Process(error.to_string()))?;
        Ok(Self {
            admin,
            client,
            runtime,
        })
    }

    /// Its status.
    pub(super) fn ask(&self) -> Result<Status, AskError> {
        self.runtime.block_on(self.asked())
    }

    async fn asked(&self) -> Result<Status, AskError> {
        let mut url = self.admin.url.clone();
        url.set_path(PATH);
        let failed = |error: reqwest::Error| self.failed(&error);
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        let status = response.status();
        let is_registry = response
            .headers()
            .contains_key("docker-distribution-api-version");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_DOCUMENT {
                return Err(self.stranger("its answer does not end"));
            }
        }
        let at = self.to_string();
        match status {
            StatusCode::OK => self.read(&body),
            _ if is_registry => Err(AskError::ClientsListener { at }),
            StatusCode::FORBIDDEN if body.starts_with(b"show a certificate") => {
                Err(AskError::CertificateWanted { at })
            }
            // As every version before it has said.
            StatusCode::NOT_FOUND if body.starts_with(b"there are /healthz") => {
                Err(AskError::OldMirror { at })
            }
            status => Err(self.stranger(&format!("it answers {status}"))),
        }
    }

    fn read(&self, body: &[u8]) -> Result<Status, AskError> {
        let Ok(Format { format }) = serde_json::from_slice(body) else {
            return Err(self.stranger("its answer is no status"));
        };
        if format != FORMAT {
            let at = self.to_string();
            return Err(AskError::NewMirror { at, format });
        }
        let status = serde_json::from_slice(body);
        status.map_err(|error| self.stranger(&format!("its answer is no status: {error}")))
    }

    fn stranger(&self, why: &str) -> AskError {
        AskError::Stranger {
            at: self.to_string(),
            why: why.to_owned(),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> AskError {
        let (at, why) = (self.to_string(), root(error));
        if error.is_timeout() {
            return AskError::Silent { at };
        }
        match cause::<rustls::Error>(error) {
            Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                return AskError::CertificateWanted { at };
            }
            Some(rustls::Error::InvalidCertificate(_)) => return AskError::Untrusted { at, why },
            _ => {}
        }
        if error.is_connect() {
            AskError::NotRunning { at, why }
        } else {
            AskError::Unusable { at, why }
        }
    }
}

/// The cause of that kind, which may be inside of an I/O error.
fn cause<E: StdError + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // What an I/O error holds is not its source, whose source it is.
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

/// What lies at the bottom of it.
fn root(error: &reqwest::Error) -> String {
    let mut error: &dyn StdError = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_what_comes_after_its_scheme() {
        for (text, at) in [
            ("127.0.0.1:5001", "http://127.0.0.1:5001"),
            ("http://127.0.0.1:5001/", "http://127.0.0.1:5001"),
            ("http://127.0.0.1:5001/api/status", "http://127.0.0.1:5001"),
            (
                "https://ops:canary@mirror.example.com",
                "https://mirror.example.com",
            ),
            ("localhost:5001", "http://localhost:5001"),
            ("[::1]:5001", "http://[::1]:5001"),
        ] {
            assert_eq!(text.parse::<Admin>().unwrap().to_string(), at, "{text}");
        }
        for text in [
            "",
            "ftp://a",
            "http://",
            "http://a/metrics",
            "http://a/?x",
            "http://a b",
        ] {
            let refused = text.parse::<Admin>().unwrap_err();
            assert!(refused.contains("write it like"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_this_machine() {
        let of = |listen: &str| {
            let admin = config::Admin {
                listen: listen.parse().ok(),
                tls: None,
            };
            Admin::configured(&admin)
        };
        assert_eq!(
            of("0.0.0.0:5001").unwrap().to_string(),
            "http://127.0.0.1:5001"
        );
        assert_eq!(of("[::]:5001").unwrap().to_string(), "http://[::1]:5001");
        assert_eq!(
            of("192.0.2.1:5001").unwrap().to_string(),
            "http://192.0.2.1:5001"
        );
        assert!(matches!(of("127.0.0.1:0"), Err(AskError::NoPort)));
        assert!(matches!(of("off"), Err(AskError::Off)));
    }
}
