//! Redirects, followed by hand: where a `Location` leads, and what kind of place that is. Whether its
//! host may be dialled is [`super::address`]'s question.
//!
//! Pure.

use std::fmt;

use http::HeaderMap;
use http::header::LOCATION;
use url::Url;

use super::address::Origin;
use super::error::UpstreamError;
use crate::oci::RepositoryName;

/// Hops after the first request.
pub(crate) const MAX_REDIRECTS: usize = 5;

/// Why a redirect is not followed; completes a sentence about who redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Astray {
    #[error("redirects without a Location")]
    Nowhere,
    #[error("redirects to a Location that can't be read")]
    Unreadable,
    #[error("redirects from https to plain http")]
    Downgrade,
    #[error("redirects to neither http nor https")]
    Scheme,
    #[error("redirects to a URL with a user name in it")]
    UserName,
    #[error("redirects more than {MAX_REDIRECTS} times")]
    TooFar,
}

impl Astray {
    /// The error about the host that redirects.
    pub(crate) fn at(self, host: impl fmt::Display) -> UpstreamError {
        self.said_of(host, "")
    }

    /// The error about the token service at `host`.
    pub(crate) fn at_token_service(self, host: impl fmt::Display) -> UpstreamError {
        self.said_of(host, "the token service ")
    }

    fn said_of(self, host: impl fmt::Display, who: &str) -> UpstreamError {
        let message = format!("{who}{self}");
        match self {
            Astray::Nowhere | Astray::Unreadable => UpstreamError::invalid(host, message),
            _ => UpstreamError::policy(host, message, None),
        }
    }
}

/// The URL that a redirect leads to, relative ones resolved.
pub(crate) fn target(from: &Url, headers: &HeaderMap) -> Result<Url, Astray> {
    let location = headers.get(LOCATION).ok_or(Astray::Nowhere)?;
    let location = location.to_str().map_err(|_| Astray::Unreadable)?;
    let mut url = from.join(location).map_err(|_| Astray::Unreadable)?;
    url.set_fragment(None);
    match (from.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => {}
        (_, "http") => return Err(Astray::Downgrade),
        _ => return Err(Astray::Scheme),
    }
    if Origin::of(&url).is_none() {
        return Err(Astray::Unreadable);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Astray::UserName);
    }
    Ok(url)
}

/// The repository that a URL of the registry API is about. Such a target is another registry, whose
/// 404 means what it says and whose challenge can be met; anything else is a store of bytes.
pub(crate) fn repository_in(url: &Url) -> Option<RepositoryName> {
    let rest = url.path().strip_prefix("/v2/")?;
    ["/manifests/", "/blobs/", "/referrers/", "/tags/"]
        .iter()
        .find_map(|kind| rest.rsplit_once(kind))
        .and_then(|(name, _)| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(from: &str, location: &str) -> Result<String, Astray> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().unwrap());
        target(&Url::parse(from).unwrap(), &headers).map(String::from)
    }

    #[test]
    fn locations_are_resolved_against_the_hop_before() {
        let from = "https://a.io/v2/x/blobs/sha256:1";
        for (location, to) in [
            ("https://cdn.io/b?sig=1#top", "https://cdn.io/b?sig=1"),
            ("/store/b", "https://a.io/store/b"),
            ("./sha256:2", "https://a.io/v2/x/blobs/sha256:2"),
            ("//cdn.io/b", "https://cdn.io/b"),
        ] {
            assert_eq!(follow(from, location).as_deref(), Ok(to), "{location}");
        }
        assert!(target(&Url::parse(from).unwrap(), &HeaderMap::new()).is_err());
    }

    #[test]
    fn schemes_only_ever_get_safer() {
        assert!(follow("https://a.io/", "http://a.io/").is_err());
        assert!(follow("http://a.io/", "http://b.io/").is_ok());
        assert!(follow("http://a.io/", "https://b.io/").is_ok());
        assert!(follow("https://a.io/", "file:///etc/passwd").is_err());
        assert!(follow("https://a.io/", "https://user:pw@b.io/").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_location_leads_from_https_to_anything_else(location in "[!-~]{0,60}") {
            if let Ok(to) = follow("https://a.io/v2/x", &location) {
                proptest::prop_assert!(to.starts_with("https://"), "{to}");
                proptest::prop_assert!(!to.contains('#'), "{to}");
            }
        }
    }

    #[test]
    fn other_registries_are_told_from_stores_of_bytes() {
        let name =
            |url: &str| repository_in(&Url::parse(url).unwrap()).map(|name| name.to_string());
        assert_eq!(
            name("https://eu.pkg.dev/v2/k8s/images/pause/manifests/3.9").as_deref(),
            Some("k8s/images/pause")
        );
        assert_eq!(
            name("https://a.io/v2/blobs/blobs/sha256:1").as_deref(),
            Some("blobs")
        );
        assert_eq!(
            name("https://cdn.io/registry-v2/docker/registry/v2/blobs/sha256/4a/data"),
            None
        );
        assert_eq!(name("https://cdn.io/v2/blobs/sha256:1"), None);
        assert_eq!(name("https://cdn.io/v2/UPPER/blobs/sha256:1"), None);
    }
}
