//! What a figure is: how it is measured, and what is expected of it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::bench::Bench;
use crate::peers::Peer;
use crate::report::Unit;
use crate::stats::Spread;

/// Something to be measured of all sides alike.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What is done, for who reads the report.
    pub(super) text: &'static str,
    /// Whether the origin itself is asked as well, by the same clients.
    pub(super) direct: bool,
    /// Whether it takes nginx both with and without sendfile to see it at its best.
    pub(super) sendfile: bool,
    /// The most rounds that it is worth.
    pub(super) rounds: usize,
    /// Whether all but forebay are measured in the first round alone.
    pub(super) once_for_others: bool,
    pub(super) measure: Box<Measure>,
    pub(super) expected: Vec<Expected>,
}

type Measure = dyn Fn(&Bench<'_>, Who) -> io::Result<Measured> + Send + Sync;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Peer(Peer),
    /// The origin, without anything before it.
    Direct,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => f.write_str(peer.name()),
            Self::Direct => f.write_str("direct"),
        }
    }
}

/// What one round gave for one side.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) values: Vec<Value>,
    /// Which share of the clients, or of a scenario's requests, in hundredths, had their first byte after so many seconds.
    pub(super) first_bytes: Vec<(f64, f64)>,
    /// How many requests the upstream had got after so many seconds of a scenario.
    pub(super) upstream: Vec<(f64, f64)>,
}

/// One of the values of a figure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) is: f64,
}

impl Measured {
    pub(super) fn with(mut self, name: &'static str, unit: Unit, is: f64) -> Self {
        self.values.push(Value { name, unit, is });
        self
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |value: &Value| format!("{} {}", value.name, value.unit.format(value.is));
        let all: Vec<_> = self.values.iter().map(told).collect();
        f.write_str(&all.join(", "))
    }
}

/// What is expected of forebay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Which value.
    pub(super) value: &'static str,
    /// As a multiple of this side's, or as it is. nginx's is the better one of its two settings, where both were measured.
    pub(super) of: Option<Who>,
    pub(super) bound: Bound,
}

/// A limit of what is good.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// Which of two values is harder to come up to.
    pub(super) fn harder(self, one: f64, other: f64) -> f64 {
        match self {
            Self::AtLeast(_) => one.max(other),
            Self::AtMost(_) => one.min(other),
        }
    }

    /// Of all rounds' values, the one that is farthest from what is good.
    pub(super) fn worst(self, spread: Spread) -> f64 {
        match self {
            Self::AtLeast(_) => spread.min,
            Self::AtMost(_) => spread.max,
        }
    }

    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl Expected {
    /// In words, of which the last is the bound.
    pub(super) fn told(&self, unit: Unit) -> String {
        let (word, bound) = match self.bound {
            Bound::AtLeast(bound) => ("at least", bound),
            Bound::AtMost(bound) => ("at most", bound),
        };
        format!("{} is {word} {}", self.value, unit.format(bound))
    }

    /// At least so many times a peer's.
    pub(super) fn times(of: Peer, value: &'static str, least: f64) -> Self {
        Self {
            value,
            of: Some(Who::Peer(of)),
            bound: Bound::AtLeast(least),
        }
    }

    pub(super) fn times_direct(value: &'static str, bound: Bound) -> Self {
        Self {
            value,
            of: Some(Who::Direct),
            bound,
        }
    }

    pub(super) fn at_most(value: &'static str, most: f64) -> Self {
        Self {
            value,
            of: None,
            bound: Bound::AtMost(most),
        }
    }
}

impl Figure {
    pub(super) fn new(
        name: &'static str,
        title: &'static str,
        text: &'static str,
        measure: impl Fn(&Bench<'_>, Who) -> io::Result<Measured> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            title,
            text,
            direct: false,
            sendfile: false,
            rounds: usize::MAX,
            once_for_others: false,
            measure: Box::new(measure),
            expected: Vec::new(),
        }
    }

    pub(super) fn expect(mut self, expected: impl IntoIterator<Item = Expected>) -> Self {
        self.expected.extend(expected);
        self
    }

    /// Who is measured in a round, in turn.
    pub(super) fn sides(&self, peers: &[(Peer, PathBuf)]) -> Vec<Who> {
        let direct = self.direct.then_some(Who::Direct);
        let peers = peers.iter().map(|(peer, _)| *peer);
        let peers = peers.filter(|peer| self.sendfile || *peer != Peer::NginxSendfile);
        direct.into_iter().chain(peers.map(Who::Peer)).collect()
    }
}
