//! Sizes, times and quotas as a scenario has them.

use std::time::Duration;

use serde::Deserialize;

use crate::origin::Profile;
use crate::units;

/// Bytes, as `15MB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        units::size(&text).map(Self)
    }
}

/// A time, as `50ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(pub Duration);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        units::duration(&text).map(Self)
    }
}

/// A registry that the origin behaves as, by the name of its profile.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Like(pub Profile);

impl TryFrom<String> for Like {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let names = || Profile::ALL.map(|profile| profile.name).join(", ");
        let known = Profile::named(&text).map(Self);
        known.ok_or_else(|| format!("no registry is known as `{text}`; there are {}", names()))
    }
}

/// Pulls in a time, as `100/6h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PullQuota {
    /// How many.
    pub pulls: u32,
    /// In what time.
    pub window: Duration,
}

impl TryFrom<String> for PullQuota {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let split = text.split_once('/');
        let read = split.and_then(|(pulls, window)| {
            Some(Self {
                pulls: pulls.trim().parse().ok()?,
                window: units::duration(window.trim()).ok()?,
            })
        });
        read.ok_or("write a quota as 100/6h")
    }
}
