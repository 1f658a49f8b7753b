//! The CDN: blobs by signed, expiring URLs on another port.
//!
//! Like an object store behind a registry, it knows nothing of tokens, refuses a
//! request that carries one, and names content by its own `ETag`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use sha2::{Digest as _, Sha256};

use super::connection::Head;
use super::registry::slice;
use super::reply::Reply;
use super::state::State;
use super::target::Target;

/// Paths below this are the CDN's.
pub(crate) const PREFIX: &str = "/registry-v2/blobs/";

/// How a registry hands out blobs.
#[derive(Clone, Debug, Default)]
pub enum Blobs {
    /// It serves them itself.
    #[default]
    Direct,
    /// It redirects to the CDN.
    Redirect(Redirect),
}

impl Blobs {
    /// Redirects as Docker Hub's.
    pub fn redirect() -> Self {
        Self::Redirect(Redirect::default())
    }
}

/// How the redirect to the CDN looks.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 307, 302, ...
    pub status: u16,
    /// How long a signed URL is good for.
    pub lifetime: Duration,
    /// Whether the Location is relative, as Google's can be: the CDN then
    /// answers on the registry's own port, where it takes no offence at tokens.
    pub relative: bool,
    /// Sent as Cache-Control, as Quay does.
    pub cache_control: Option<String>,
    /// Whether the CDN refuses HEAD, as GitHub's does.
    pub refuses_head: bool,
    /// Status and code of the CDN's answer once a signed URL has expired.
    pub expired: (u16, &'static str),
}

impl Default for Redirect {
    fn default() -> Self {
        Self {
            status: 307,
            lifetime: Duration::from_mins(10),
            relative: false,
            cache_control: None,
            refuses_head: false,
            expired: (403, "AccessDenied"),
        }
    }
}

/// Makes and checks signatures.
#[derive(Debug)]
pub(crate) struct Signer {
    key: [u8; 32],
    /// Part of what is signed; another one voids every URL given out.
    era: AtomicU64,
}

impl Signer {
    pub(crate) fn new() -> Self {
        Self {
            key: rand::random(),
            era: AtomicU64::new(0),
        }
    }

    /// Voids every URL that was given out.
    pub(crate) fn void(&self) {
        self.era.fetch_add(1, Ordering::Relaxed);
    }

    fn sign(&self, name: &str, digest: &str, expires: u128) -> String {
        let era = self.era.load(Ordering::Relaxed);
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(format!("{era}\n{name}\n{digest}\n{expires}"));
        hash.update(self.key);
        hex::encode(hash.finalize())
    }
}

/// Path and query under which the CDN gives out a blob for a while.
pub(crate) fn signed_path(
    signer: &Signer,
    name: &str,
    digest: &str,
    lifetime: Option<Duration>,
) -> String {
    let expires = lifetime.map_or(0, |lifetime| now() + lifetime.as_millis());
    let signature = signer.sign(name, digest, expires);
    let (algorithm, hex) = digest.split_once(':').unwrap_or(("", digest));
    let fan = hex.get(..2).unwrap_or_default();
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("repository", name)
        .append_pair("expires", &expires.to_string())
        .append_pair("signature", &signature)
        .finish();
    format!("{PREFIX}{algorithm}/{fan}/{hex}/data?{query}")
}

fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}

pub(crate) fn target(path: &str, query: &[(String, String)]) -> Option<Target> {
    let mut parts = path.strip_prefix(PREFIX)?.split('/');
    let (algorithm, _, hex) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Target::Cdn {
        name: value(query, "repository").map(str::to_owned),
        digest: format!("{algorithm}:{hex}"),
    })
}

fn value<'a>(query: &'a [(String, String)], key: &str) -> Option<&'a str> {
    query
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

/// Checks a request's signature, and that it brings no credentials along.
pub(crate) fn authorize(
    state: &State,
    head: &Head,
    name: &str,
    digest: &str,
    own_port: bool,
) -> Result<(), Box<Reply>> {
    if own_port && head.headers.contains_key(http::header::AUTHORIZATION) {
        return Err(Box::new(Reply::xml_error(400, "InvalidArgument")));
    }
    let query = head.query();
    let expires = value(&query, "expires").and_then(|text| text.parse::<u128>().ok());
    let (Some(expires), Some(signature)) = (expires, value(&query, "signature")) else {
        return Err(Box::new(Reply::xml_error(403, "AccessDenied")));
    };
    if signature != state.signer.sign(name, digest, expires) {
        return Err(Box::new(Reply::xml_error(403, "SignatureDoesNotMatch")));
    }
    if expires <= now() {
        let (status, code) = match &state.settings.blobs {
            Blobs::Redirect(redirect) => redirect.expired,
            Blobs::Direct => Redirect::default().expired,
        };
        return Err(Box::new(Reply::xml_error(status, code)));
    }
    Ok(())
}

pub(crate) fn blob(
    state: &State,
    head: &Head,
    name: &str,
    digest: &str,
    ignore_range: bool,
    shift: u64,
) -> Reply {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Reply::xml_error(405, "MethodNotAllowed");
    }
    if head.method == Method::HEAD
        && matches!(&state.settings.blobs, Blobs::Redirect(redirect) if redirect.refuses_head)
    {
        return Reply::xml_error(403, "AccessDenied");
    }
    let bytes = state
        .repository(name)
        .and_then(|repository| repository.blobs.get(digest).cloned());
    let Some(bytes) = bytes else {
        return Reply::xml_error(404, "NoSuchKey");
    };
    // An object store's ETag says nothing about the digest.
    let etag = hex::encode(&Sha256::digest(digest)[..16]);
    slice(head, &bytes, &format!("\"{etag}\""), ignore_range, shift)
        .header("content-type", "application/octet-stream")
        .header("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT")
}
