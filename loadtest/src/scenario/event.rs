//! What happens while clients pull: to the upstream, to its images, and to the mirror.

use std::time::Duration;

use serde::Deserialize;

use super::values::{Size, Time};

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Event {
    /// Once so many pulls of the phase are over; before the clients begin, if none.
    pub after: u64,
    /// What.
    pub change: Change,
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// The upstream is so from now on.
    Upstream(Condition),
    /// The tags of so many images move to other images, whose lower layers are the old ones.
    MoveTags(u32),
    /// The mirror is told to stop, and started again once it has.
    Restart,
    /// The mirror is killed, and started again.
    Kill,
    /// Nothing for a while.
    Rest(Duration),
}

/// An event as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    after: u64,
    upstream: Option<Condition>,
    move_tags: Option<u32>,
    mirror: Option<Fate>,
    rest: Option<Time>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    Restarted,
    Killed,
}

impl TryFrom<Written> for Event {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let fate = |fate| match fate {
            Fate::Restarted => Change::Restart,
            Fate::Killed => Change::Kill,
        };
        let changes = [
            written.upstream.map(Change::Upstream),
            written.move_tags.map(Change::MoveTags),
            written.mirror.map(fate),
            written.rest.map(|Time(rest)| Change::Rest(rest)),
        ];
        let mut changes = changes.into_iter().flatten();
        match (changes.next(), changes.next()) {
            (Some(change), None) => Ok(Self {
                after: written.after,
                change,
            }),
            _ => Err("an event has one of `upstream`, `move_tags`, `mirror` and `rest`"),
        }
    }
}

/// How the upstream is for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// Whether it answers, and how.
    pub state: State,
    /// Before each answer.
    pub delay: Option<Time>,
    /// Bytes a second of each body.
    pub throttle: Option<Size>,
    /// Bytes a second of all bodies together.
    pub throttle_total: Option<Size>,
}

/// Whether the upstream answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should.
    #[default]
    Up,
    /// Nobody listens, and connections end.
    Down,
    /// 429 to everything, as abuse control does.
    Refuses,
    /// 503 to everything.
    Fails,
}
