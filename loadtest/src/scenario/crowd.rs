//! The clients of one phase, each a task of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::engine::Live;
use super::file::{Order, Phase};
use super::outcome::{Fate, Pull};
use crate::fleet::{Client, Flavour, Node, Place, Pulled, Reference, Tally};
use crate::origin::{Digest, Origin};

/// What a kubelet waits for before it has an image pulled again; twice as long each time.
const BACK_OFF: Duration = Duration::from_secs(10);
/// What it waits for at most.
const LONGEST: Duration = Duration::from_mins(5);

/// What all clients of a phase have in common.
#[derive(Clone)]
pub(super) struct Crowd {
    pub(super) mirror: Arc<Place>,
    pub(super) registry: Option<Arc<Place>>,
    /// Tells what tags point at, where it can be asked.
    pub(super) origin: Option<Arc<Origin>>,
    pub(super) images: Arc<[Reference]>,
    pub(super) tally: Arc<Tally>,
    pub(super) hurry: u32,
    pub(super) live: Live,
}

/// One of them.
struct Member {
    crowd: Crowd,
    node: Node,
    begins_after: Duration,
    attempts: u32,
    /// Which images, in which order.
    images: Vec<usize>,
}

impl Crowd {
    /// Has everyone pull, to the end.
    pub(super) async fn pull(&self, phase: &Phase) -> Vec<Pull> {
        let mut running = JoinSet::new();
        for (number, flavour) in (0..).zip(mixed(phase)) {
            let member = self.member(phase, number, flavour);
            running.spawn(member.pull_all());
        }
        running.join_all().await.into_iter().flatten().collect()
    }

    fn member(&self, phase: &Phase, number: u32, flavour: Flavour) -> Member {
        let client = Client {
            flavour,
            from: self.address_of(number),
            mirror: Arc::clone(&self.mirror),
            registry: self.registry.clone(),
            hurry: self.hurry,
            tally: Arc::clone(&self.tally),
        };
        let all = self.images.len();
        let count = phase.images.map_or(all, |images| images as usize);
        let first = match phase.order {
            Order::Shifted => number as usize,
            Order::Same => 0,
        };
        Member {
            crowd: self.clone(),
            node: Node::of(&client),
            begins_after: phase.start_within.0 * number / phase.count(),
            attempts: phase.attempts,
            images: (first..first + count).map(|nth| nth % all).collect(),
        }
    }

    /// An address of its own for each client, where the mirror is on this machine: there are as many as are wanted.
    fn address_of(&self, number: u32) -> Option<IpAddr> {
        let is_here = self.mirror.address().ip() == Ipv4Addr::LOCALHOST;
        let own = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number);
        is_here.then_some(own.into())
    }

    /// What a tag points at right now.
    fn root(&self, image: &Reference) -> Option<Digest> {
        let origin = self.origin.as_ref()?;
        Some(origin.image(image.repository(), image.tag()).root.digest)
    }
}

/// The flavours of a phase's clients, in an order in which each is spread evenly.
fn mixed(phase: &Phase) -> Vec<Flavour> {
    let mut all = Vec::new();
    for (&flavour, &count) in &phase.clients {
        for nth in 0..count {
            // In 2^32ths of the way.
            let place = ((2 * u64::from(nth) + 1) << 31) / u64::from(count);
            all.push((place, flavour));
        }
    }
    all.sort_unstable();
    all.into_iter().map(|(_, flavour)| flavour).collect()
}

impl Member {
    async fn pull_all(mut self) -> Vec<Pull> {
        sleep(self.begins_after).await;
        let mut pulls = Vec::new();
        for image in std::mem::take(&mut self.images) {
            pulls.push(self.pull(image).await);
            self.crowd.live.send_modify(|now| now.done += 1);
        }
        pulls
    }

    async fn pull(&mut self, image: usize) -> Pull {
        let image = self.crowd.images[image].clone();
        let before = self.crowd.root(&image);
        let began = Instant::now();
        let pulled = self.pull_with_patience(&image).await;
        let took = began.elapsed();
        let roots = [before, self.crowd.root(&image)];
        let around = pulled.as_ref().map_or(0, |pulled| pulled.around);
        let fate = match pulled {
            Err(failure) => Fate::Failed(failure),
            Ok(pulled) => {
                let is_present = roots.contains(&Some(pulled.root));
                let is_known = roots.iter().any(Option::is_some);
                if is_known && !is_present {
                    Fate::Stale
                } else {
                    Fate::Pulled
                }
            }
        };
        Pull { took, fate, around }
    }

    async fn pull_with_patience(&mut self, image: &Reference) -> Result<Pulled, String> {
        let mut pause = BACK_OFF;
        for _ in 1..self.attempts {
            if let Ok(pulled) = self.node.pull_image(image).await {
                return Ok(pulled);
            }
            sleep(pause / self.crowd.hurry.max(1)).await;
            pause = (pause * 2).min(LONGEST);
        }
        let pulled = self.node.pull_image(image).await;
        pulled.map_err(|failure| format!("{image}: {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flavour_is_spread_evenly() {
        let text = "name = \"x\"\nclients = {containerd = 4, podman = 2}";
        let phase: Phase = toml::from_str(text).unwrap();
        let podman: Vec<_> = mixed(&phase)
            .iter()
            .map(|it| *it == Flavour::Podman)
            .collect();
        assert_eq!(podman, [false, true, false, false, true, false]);
    }
}
