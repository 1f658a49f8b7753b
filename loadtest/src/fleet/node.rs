//! A machine that pulls images, as one of the clients that people use does.
//!
//! It keeps nothing between pulls but containerd's connections, as a CI runner that is thrown away.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use super::flavour::Flavour;
use super::hand::Hand;
use super::line::Line;
use super::place::Place;
use super::reference::Reference;
use super::tally::Tally;
use crate::origin::{Digest, Platform};

/// What makes a node.
#[derive(Clone, Debug)]
pub struct Client {
    /// Which client it is.
    pub flavour: Flavour,
    /// An address of this machine that it asks from, if not any.
    pub from: Option<IpAddr>,
    /// What it asks first.
    pub mirror: Arc<Place>,
    /// Where it goes by itself when the mirror fails, if anywhere.
    pub registry: Option<Arc<Place>>,
    /// Pauses before it asks again are a so-many-th of real ones; at least 1.
    pub hurry: u32,
    /// Where its requests are added up.
    pub tally: Arc<Tally>,
}

/// A machine that pulls.
#[derive(Debug)]
pub struct Node {
    flavour: Flavour,
    pub(super) hands: Vec<Hand>,
    pub(super) platform: Platform,
    pub(super) pauses: Pauses,
}

/// A whole image that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What the tag pointed at.
    pub root: Digest,
    /// `Cache-Status` of the tag's answer; empty where there is none.
    pub cache_status: String,
    /// How many requests went around the mirror.
    pub around: u64,
}

/// What a flavour's pull gives.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) root: Digest,
    pub(super) cache_status: String,
}

/// How long a client waits before it asks again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    hurry: u32,
}

impl Pauses {
    pub(super) async fn pause(self, real: Duration) {
        tokio::time::sleep(real / self.hurry.max(1)).await;
    }
}

impl Node {
    /// A containerd for Linux on amd64, which asks there and nowhere else, from an address of this machine or from any.
    pub fn new(from: Option<IpAddr>, registry: SocketAddr) -> Self {
        Self::of(&Client {
            flavour: Flavour::Containerd,
            from,
            mirror: Arc::new(Place::mirror(registry)),
            registry: None,
            hurry: 1,
            tally: Arc::default(),
        })
    }

    /// A client for Linux on amd64.
    pub fn of(client: &Client) -> Self {
        let line = |place: &Arc<Place>| {
            let (place, tally) = (Arc::clone(place), Arc::clone(&client.tally));
            Line::to(place, client.from, tally)
        };
        let places = || std::iter::once(&client.mirror).chain(&client.registry);
        let hand = || Hand {
            lines: places().map(line).collect(),
        };
        Self {
            flavour: client.flavour,
            hands: (0..client.flavour.at_once()).map(|_| hand()).collect(),
            platform: Platform::linux("amd64"),
            pauses: Pauses {
                hurry: client.hurry,
            },
        }
    }

    /// How many requests it has sent.
    pub fn requests(&self) -> u64 {
        self.hands.iter().map(Hand::requests).sum()
    }

    /// Pulls an image of Docker Hub, whole and checked.
    pub async fn pull(&mut self, repository: &str, tag: &str) -> Result<Pulled, Failure> {
        self.pull_image(&Reference::of_docker_hub(repository, tag))
            .await
    }

    /// Pulls an image, whole and checked.
    pub async fn pull_image(&mut self, image: &Reference) -> Result<Pulled, Failure> {
        let before = self.around();
        let found = match self.flavour {
            Flavour::Containerd => self.pull_as_containerd(image).await,
            Flavour::Dockerd => self.pull_as_dockerd(image).await,
            Flavour::Podman => self.pull_as_podman(image).await,
            Flavour::Lazy => self.pull_lazily(image).await,
        }?;
        Ok(Pulled {
            root: found.root,
            cache_status: found.cache_status,
            around: self.around() - before,
        })
    }

    /// How many places it knows.
    pub(super) fn places(&self) -> usize {
        self.hands[0].lines.len()
    }

    fn around(&self) -> u64 {
        self.hands.iter().map(Hand::around).sum()
    }
}

#[cfg(test)]
mod tests;
