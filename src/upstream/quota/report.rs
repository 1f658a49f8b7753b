//! What an upstream reports about its quota: `ratelimit-limit: 100;w=21600`,
//! `ratelimit-remaining: 20;w=21600`, `docker-ratelimit-source: <address or account>`.
//!
//! Pure; nothing here decides anything, the report is for whoever keeps the ledger.

use std::time::Duration;

use http::HeaderMap;

use crate::oci::{Reference, Registry, RepositoryName};

/// What a registry has for those who want to know their quota: an image that is there to be asked for by HEAD. `None` where
/// none is known, and for all that no registry but Docker Hub tells a quota.
pub(crate) fn told_of(registry: &Registry) -> Option<(RepositoryName, Reference)> {
    let (name, tag) = registry
        .is_docker_hub()
        .then_some(("ratelimitpreview/test", "latest"))?;
    Some((name.parse().ok()?, tag.parse().ok()?))
}

/// No quota's window is longer; what is may be added to any clock.
pub(super) const LONGEST: Duration = Duration::from_hours(31 * 24);

/// One answer's quota headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuotaReport {
    /// Pulls allowed in a window.
    pub(crate) limit: Option<Allowance>,
    /// Pulls left in the window; Docker Hub goes below zero.
    pub(crate) remaining: Option<Allowance>,
    /// Whom the upstream counts for: upstreams that report one source share its quota.
    pub(crate) source: Option<String>,
}

/// A count, and the window it is for where the header says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Requests.
    pub(crate) count: i64,
    /// The window's length.
    pub(crate) window: Option<Duration>,
}

impl QuotaReport {
    /// Reads an answer's headers; `None` when there are none of them, which on Docker Hub means
    /// that no limit applies.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<QuotaReport> {
        let allowance = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Allowance::parse(value)
        };
        let report = QuotaReport {
            limit: allowance("ratelimit-limit"),
            remaining: allowance("ratelimit-remaining"),
            source: headers
                .get("docker-ratelimit-source")
                .and_then(|value| value.to_str().ok())
                .filter(|source| !source.is_empty() && source.len() <= 256)
                .map(str::to_owned),
        };
        (report.limit.is_some() || report.remaining.is_some()).then_some(report)
    }
}

impl Allowance {
    fn parse(value: &str) -> Option<Allowance> {
        let mut parts = value.split(';').map(str::trim);
        let count = parts.next()?.parse().ok()?;
        let window = parts
            .find_map(|part| part.strip_prefix("w="))
            .and_then(|seconds| seconds.parse().ok())
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST));
        Some(Allowance { count, window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Option<QuotaReport> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        QuotaReport::from_headers(&headers)
    }

    #[test]
    fn docker_hubs_headers_are_read() {
        let report = read(&[
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "-3;w=21600"),
            ("docker-ratelimit-source", "192.0.2.7"),
        ])
        .unwrap();
        let window = Some(Duration::from_hours(6));
        assert_eq!(report.limit, Some(Allowance { count: 100, window }));
        assert_eq!(report.remaining, Some(Allowance { count: -3, window }));
        assert_eq!(report.source.as_deref(), Some("192.0.2.7"));
    }

    #[test]
    fn docker_hub_has_an_image_to_ask_for() {
        let told = |registry: &str| told_of(&registry.parse().unwrap());
        let (name, tag) = told("docker.io").unwrap();
        assert_eq!(format!("{name}:{tag}"), "ratelimitpreview/test:latest");
        assert_eq!(told("ghcr.io"), None);
    }

    #[test]
    fn no_or_unreadable_headers_report_nothing() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("docker-ratelimit-source", "x")]), None);
        assert_eq!(read(&[("ratelimit-limit", "many")]), None);
        let report = read(&[("ratelimit-limit", "7")]).unwrap();
        assert_eq!(report.limit.unwrap().window, None);
        for (window, read_as) in [
            ("0", None),
            ("-1", None),
            ("18446744073709551615", Some(LONGEST)),
        ] {
            let limit = Allowance::parse(&format!("7;w={window}")).unwrap();
            assert_eq!(limit.window, read_as);
        }
    }
}
