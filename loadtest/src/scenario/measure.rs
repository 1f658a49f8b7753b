//! What can be measured of a run, and in what.

use std::str::FromStr;

use serde::Serialize;

use crate::report::Unit;
use crate::units;

/// What a run, or one of its phases, is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Images that clients set out to pull.
    Pulls,
    /// Those that they did not get, for all their attempts.
    FailedPulls,
    /// Pulls of what a tag had pointed at before.
    StalePulls,
    /// Pulls of which some requests went around the mirror.
    PullsAround,
    /// Requests to the mirror.
    Requests,
    /// 408 and 429 to clients.
    Refusals,
    /// Answers of 500 and above to clients.
    Errors,
    /// Bodies that broke off on their way to clients.
    CutBodies,
    /// Bytes of bodies that clients were given by the mirror.
    Bytes,
    /// Half of all pulls took no longer.
    PullP50,
    /// 99 of 100 pulls took no longer.
    PullP99,
    /// Half of all requests had their first byte by then.
    FirstByteP50,
    /// 99 of 100 requests had their first byte by then.
    FirstByteP99,
    /// The longest wait for a first byte.
    FirstByteMax,
    /// Requests that the upstream got.
    UpstreamRequests,
    /// Bytes of bodies that the upstream sent.
    UpstreamBytes,
    /// Manifests that the upstream gave for a GET, which is what Docker Hub counts.
    QuotaUsed,
    /// 429 from the upstream.
    UpstreamRefusals,
    /// How often the blob that was sent most often was sent, counted in its bytes.
    BodiesPerBlob,
    /// How often the blobs that were sent at all were sent, counted in their bytes.
    BodiesOnAverage,
    /// The part of the bytes that clients were given which the upstream did not send.
    BytesSaved,
    /// The part of the clients' requests that the upstream did not get.
    RequestsSaved,
    /// The most memory that the mirror had resident.
    MemoryMax,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Pulls,
        Self::FailedPulls,
        Self::StalePulls,
        Self::PullsAround,
        Self::Requests,
        Self::Refusals,
        Self::Errors,
        Self::CutBodies,
        Self::Bytes,
        Self::PullP50,
        Self::PullP99,
        Self::FirstByteP50,
        Self::FirstByteP99,
        Self::FirstByteMax,
        Self::UpstreamRequests,
        Self::UpstreamBytes,
        Self::QuotaUsed,
        Self::UpstreamRefusals,
        Self::BodiesPerBlob,
        Self::BodiesOnAverage,
        Self::BytesSaved,
        Self::RequestsSaved,
        Self::MemoryMax,
    ];

    /// What it is called in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pulls => "pulls",
            Self::FailedPulls => "failed_pulls",
            Self::StalePulls => "stale_pulls",
            Self::PullsAround => "pulls_around",
            Self::Requests => "requests",
            Self::Refusals => "refusals",
            Self::Errors => "errors",
            Self::CutBodies => "cut_bodies",
            Self::Bytes => "bytes",
            Self::PullP50 => "pull_p50",
            Self::PullP99 => "pull_p99",
            Self::FirstByteP50 => "first_byte_p50",
            Self::FirstByteP99 => "first_byte_p99",
            Self::FirstByteMax => "first_byte_max",
            Self::UpstreamRequests => "upstream_requests",
            Self::UpstreamBytes => "upstream_bytes",
            Self::QuotaUsed => "quota_used",
            Self::UpstreamRefusals => "upstream_refusals",
            Self::BodiesPerBlob => "bodies_per_blob",
            Self::BodiesOnAverage => "bodies_on_average",
            Self::BytesSaved => "bytes_saved",
            Self::RequestsSaved => "requests_saved",
            Self::MemoryMax => "memory_max",
        }
    }

    /// What its values are.
    pub fn unit(self) -> Unit {
        match self {
            Self::Bytes | Self::UpstreamBytes | Self::MemoryMax => Unit::Bytes,
            Self::PullP50
            | Self::PullP99
            | Self::FirstByteP50
            | Self::FirstByteP99
            | Self::FirstByteMax => Unit::Seconds,
            Self::BytesSaved | Self::RequestsSaved => Unit::Percent,
            Self::BodiesPerBlob | Self::BodiesOnAverage => Unit::Times,
            _ => Unit::Count,
        }
    }

    /// Whether it is a part of what clients were given, so that it depends on how many they are.
    pub(super) fn is_share(self) -> bool {
        matches!(self, Self::BytesSaved | Self::RequestsSaved)
    }

    /// A value as people read it.
    pub fn shown(self, value: f64) -> String {
        // Near one it matters how near.
        match self.unit() {
            Unit::Times => format!("{value:.3}"),
            unit => unit.format(value),
        }
    }

    /// A value as it is written.
    pub(super) fn value(self, text: &str) -> Result<f64, String> {
        match self.unit() {
            Unit::Bytes => units::size(text).map(float),
            Unit::Seconds => units::duration(text).map(|time| time.as_secs_f64()),
            Unit::Percent => number(text.strip_suffix('%').unwrap_or(text).trim_end()),
            _ => number(text),
        }
    }
}

fn number(text: &str) -> Result<f64, String> {
    let value: Result<f64, _> = text.parse();
    let finite = value.ok().filter(|value| value.is_finite());
    finite.ok_or_else(|| format!("`{text}` is no number"))
}

/// As a number that has room for fractions; beyond 2^53 it is about it.
#[expect(
    clippy::cast_precision_loss,
    reason = "nothing that is counted here comes near it"
)]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|it| it.name() == text);
        found.ok_or_else(|| format!("nothing is measured as `{text}`; there are {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_found_by_its_name() {
        for measure in Measure::ALL {
            assert_eq!(measure.name().parse(), Ok(measure));
            let json = serde_json::to_value(measure).unwrap();
            assert_eq!(json, measure.name());
        }
    }
}
