//! Manifests: HEAD and GET (distribution-spec, "Pulling manifests").

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

use super::client::Upstream;
use super::credentials::Access;
use super::error::{ErrorKind, UpstreamError};
use super::exchange::{Answer, Ask, Redirects};
use super::quota::Caller;
use super::range::content_length;
use crate::metrics::UpstreamKind;
use crate::oci::{
    Digest, ErrorCode, MAX_MANIFEST_BYTES, Manifest, MediaType, Reference, RepositoryName,
};

/// Every type of manifest, whatever a client asked for: a registry that lacks the stored type among
/// these answers 404, or converts. Schema 1 is left out, so that nothing is converted to it.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What HEAD told of a manifest: all of it, or less. Whatever is missing, GET tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestHead {
    /// What the registry says that the digest is.
    pub digest: Option<Digest>,
    /// Bytes.
    pub size: Option<u64>,
    /// Its type, where it is one of a manifest.
    pub media_type: Option<MediaType>,
    /// Whether it took credentials to be told; `None` from a registry without HEAD, which has told nothing.
    pub access: Option<Access>,
}

/// A manifest as it came. Nobody has checked its digest yet.
#[derive(Debug, Clone)]
pub struct FetchedManifest {
    /// The body, verbatim.
    pub bytes: Bytes,
    /// Its type: the `Content-Type`, or what the body says of itself where that is generic.
    pub media_type: MediaType,
    /// What the registry says that the digest is.
    pub claimed: Option<Digest>,
    /// Whether it took credentials to get it.
    pub access: Access,
}

impl Upstream {
    /// HEAD of a manifest. A registry without HEAD is no error: nothing is known then.
    pub async fn head_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestHead, UpstreamError> {
        let ask = question(Method::HEAD, name, reference);
        let answer = match self.ask(&ask).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Ok(ManifestHead::default());
            }
            Err(error) => return Err(error),
        };
        Ok(head_of(&answer))
    }

    /// GET of a manifest, at most [`MAX_MANIFEST_BYTES`] of it. Costs `payer` a pull, and waits for it as long as they do.
    pub async fn pull_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        payer: &Caller,
    ) -> Result<FetchedManifest, UpstreamError> {
        let ask = Ask {
            body: Some(MAX_MANIFEST_BYTES),
            ..question(Method::GET, name, reference)
        };
        let answer = self.ask_for(&ask, Some(payer)).await?;
        let headers = answer.response.headers();
        let media_type = settle_type(content_type(headers), &answer.body)
            .ok_or_else(|| answer.invalid("a manifest of no stated type"))?;
        Ok(FetchedManifest {
            media_type,
            claimed: claimed_digest(headers),
            bytes: answer.body,
            access: answer.access,
        })
    }
}

/// What the answer to HEAD tells.
pub(crate) fn head_of(answer: &Answer) -> ManifestHead {
    let headers = answer.response.headers();
    ManifestHead {
        digest: claimed_digest(headers),
        size: content_length(headers).ok().flatten(),
        media_type: content_type(headers).filter(|found| found.manifest_kind().is_some()),
        access: Some(answer.access),
    }
}

/// The question for a manifest.
pub(crate) fn question<'a>(
    method: Method,
    name: &'a RepositoryName,
    reference: &Reference,
) -> Ask<'a> {
    let kind = if method == Method::HEAD {
        UpstreamKind::ManifestHead
    } else {
        UpstreamKind::ManifestGet
    };
    Ask {
        kind,
        method,
        name,
        tail: format!("manifests/{reference}"),
        query: Vec::new(),
        accept: Some(ACCEPT),
        range: None,
        absent: ErrorCode::ManifestUnknown,
        redirects: Redirects::Follow,
        anywhere: matches!(reference, Reference::Digest(_)),
        body: None,
    }
}

/// Whether an answer shows that there is a manifest, and not what else a host may say to everybody with 200.
pub(crate) fn is_of_manifest(answer: &Answer) -> bool {
    let headers = answer.response.headers();
    let is_manifest = |found: &MediaType| found.manifest_kind().is_some();
    claimed_digest(headers).is_some()
        || settle_type(content_type(headers), &answer.body)
            .as_ref()
            .is_some_and(is_manifest)
}

fn claimed_digest(headers: &HeaderMap) -> Option<Digest> {
    headers
        .get("docker-content-digest")?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    let field = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    MediaType::from_content_type(field).ok()
}

/// The stated type, unless it says nothing of a manifest; then the body's own. A body that can't be
/// read keeps its generic type: what it is worth is for the caller to say.
fn settle_type(stated: Option<MediaType>, bytes: &[u8]) -> Option<MediaType> {
    match stated {
        Some(stated) if !stated.is_generic() => Some(stated),
        stated => match Manifest::parse(bytes, None) {
            Ok(manifest) => Some(manifest.media_type),
            Err(_) => stated,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

    #[test]
    fn every_type_of_manifest_is_asked_for() {
        let asked: Vec<&str> = ACCEPT.split(", ").collect();
        let known = media_type::MANIFESTS;
        let known: Vec<&str> = known.iter().map(MediaType::as_str).collect();
        assert_eq!(asked, known);
    }

    #[test]
    fn a_generic_type_is_settled_by_the_body() {
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        for stated in [None, Some(media_type::JSON), Some(media_type::OCTET_STREAM)] {
            assert_eq!(settle_type(stated, index), Some(media_type::OCI_INDEX));
        }
        let stated = Some(media_type::DOCKER_LIST);
        assert_eq!(settle_type(stated.clone(), index), stated);
        assert_eq!(settle_type(None, b"<html>"), None);
    }

    #[test]
    fn header_values_that_cannot_be_read_count_as_absent() {
        let mut headers = HeaderMap::new();
        headers.insert("docker-content-digest", "sha256:beef".parse().unwrap());
        headers.insert(CONTENT_TYPE, "text".parse().unwrap());
        assert_eq!(claimed_digest(&headers), None);
        assert_eq!(content_type(&headers), None);
        headers.insert(
            CONTENT_TYPE,
            "application/json; charset=utf-8".parse().unwrap(),
        );
        assert_eq!(content_type(&headers), Some(media_type::JSON));
    }
}
