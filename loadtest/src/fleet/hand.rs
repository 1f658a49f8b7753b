//! What fetches a part of a pull at a time: a line to the mirror, and one to the registry where clients may go around.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde::Deserialize;

use super::ask::Ask;
use super::connection::Answer;
use super::failure::{Failure, Trouble};
use super::line::Line;
use super::place::Place;
use super::sink::{Sink, matches};
use crate::origin::{Descriptor, Digest, Platform};

/// How often containerd asks again where it is told that there is too much to do.
const AGAIN: usize = 5;

/// The lines, the mirror's first.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) lines: Vec<Line>,
}

/// A request that went wrong, and which.
pub(super) struct Missed {
    pub(super) path: String,
    pub(super) trouble: Trouble,
}

impl From<Missed> for Failure {
    fn from(missed: Missed) -> Self {
        missed.trouble.of(&missed.path)
    }
}

/// What a manifest refers to, be it an index or an image's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Manifest {
    pub(super) manifests: Vec<Descriptor>,
    pub(super) config: Option<Descriptor>,
    pub(super) layers: Vec<Descriptor>,
}

impl Manifest {
    /// What was fetched, once it is known to be what its digest says.
    pub(super) fn read(bytes: &[u8], digest: &Digest, path: &str) -> Result<Self, Failure> {
        let wrong = |told| Trouble::Wrong(told).of(path);
        matches(bytes, digest).map_err(wrong)?;
        serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))
    }

    /// Which one of an index is for the platform; none where this is no index.
    pub(super) fn child(
        &self,
        platform: &Platform,
        path: &str,
    ) -> Result<Option<&Descriptor>, Failure> {
        if self.config.is_some() {
            return Ok(None);
        }
        let mut children = self.manifests.iter();
        let child = children.find(|child| child.platform.as_ref() == Some(platform));
        let none = || Trouble::Wrong("there is no image for the platform".to_owned()).of(path);
        child.map(Some).ok_or_else(none)
    }
}

/// What is still to be fetched of a pull, each by whoever comes first.
pub(super) struct Queue<'a>(Mutex<VecDeque<&'a Descriptor>>);

impl<'a> Queue<'a> {
    pub(super) fn of(blobs: impl IntoIterator<Item = &'a Descriptor>) -> Self {
        Self(Mutex::new(blobs.into_iter().collect()))
    }

    pub(super) fn next(&self) -> Option<&'a Descriptor> {
        let mut left = self.0.lock().expect("nobody panics with the lock");
        left.pop_front()
    }
}

impl Hand {
    /// How many requests it has sent.
    pub(super) fn requests(&self) -> u64 {
        self.lines.iter().map(Line::requests).sum()
    }

    /// How many requests it has sent around the mirror.
    pub(super) fn around(&self) -> u64 {
        self.lines.iter().map(Line::around).sum()
    }

    /// One request at one place.
    pub(super) async fn at(
        &mut self,
        place: usize,
        ask: impl FnOnce(&Place) -> Ask,
        sink: &mut impl Sink,
    ) -> Result<Answer, Missed> {
        let line = &mut self.lines[place];
        let ask = ask(line.place());
        let answer = line.ask(&ask, sink).await;
        answer.map_err(|trouble| Missed {
            path: ask.path,
            trouble,
        })
    }

    /// As containerd asks: each place in turn until one answers well; 408 and 429 are asked again at once.
    pub(super) async fn in_turn(
        &mut self,
        ask: impl Fn(&Place) -> Ask,
        sink: &mut impl Sink,
    ) -> Result<Answer, Missed> {
        let mut first = None;
        for place in 0..self.lines.len() {
            let missed = match self.insisting(place, &ask, sink).await {
                Ok(answer) => return Ok(answer),
                Err(missed) => missed,
            };
            // What has begun well is not another place's matter.
            if matches!(missed.trouble, Trouble::Cut(_) | Trouble::Wrong(_)) {
                return Err(missed);
            }
            first.get_or_insert(missed);
        }
        Err(first.expect("there is a mirror"))
    }

    async fn insisting(
        &mut self,
        place: usize,
        ask: &impl Fn(&Place) -> Ask,
        sink: &mut impl Sink,
    ) -> Result<Answer, Missed> {
        let mut again = AGAIN;
        loop {
            match self.at(place, ask, sink).await {
                Err(missed) if again > 0 && matches!(missed.trouble.status(), Some(408 | 429)) => {
                    again -= 1;
                }
                answer => return answer,
            }
        }
    }
}
