//! A pull as dockerd's own image store makes it.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::ask::Ask;
use super::failure::{Failure, Trouble};
use super::flavour::Flavour;
use super::hand::{Hand, Manifest, Missed, Queue};
use super::node::{Found, Node, Pauses};
use super::place::Place;
use super::reference::Reference;
use super::sink::{Afresh, Whole};
use crate::origin::{Descriptor, Digest};

/// How often a blob is asked for before the pull goes on elsewhere.
const ATTEMPTS: u32 = 5;
/// What the pauses between them grow by.
const PAUSE: Duration = Duration::from_secs(5);

/// What a pull has, whichever place it is from.
type Have = Mutex<HashSet<Digest>>;

impl Node {
    /// Whatever fails at the mirror is tried at the registry, all over again but for the blobs that are here.
    pub(super) async fn pull_as_dockerd(&mut self, image: &Reference) -> Result<Found, Failure> {
        let have = Have::default();
        let mut first = None;
        for place in 0..self.places() {
            match self.pull_from(place, image, &have).await {
                Ok(found) => return Ok(found),
                Err(failure) => drop(first.get_or_insert(failure)),
            }
        }
        Err(first.expect("there is a mirror"))
    }

    async fn pull_from(
        &mut self,
        place: usize,
        image: &Reference,
        have: &Have,
    ) -> Result<Found, Failure> {
        let (config_hand, layer_hands) = self.hands.split_first_mut().expect("there are four");
        config_hand.pinged(place, Flavour::Dockerd).await?;
        let tag = format!("manifests/{}", image.tag());
        let ask = |at: &Place| Ask::tag(Flavour::Dockerd, at.with_prefix(image, &tag));
        let head = config_hand.at(place, ask, &mut Vec::new()).await?;
        let root = Digest::from(head.header("docker-content-digest"));
        let mut manifest = config_hand.manifest_at(place, image, &root).await?;
        if let Some(child) = manifest.child(&self.platform, &tag)? {
            manifest = config_hand.manifest_at(place, image, &child.digest).await?;
        }
        let missing = |blob: &&Descriptor| !holds(have).contains(&blob.digest);
        let config = Queue::of(manifest.config.iter().filter(missing));
        let layers = Queue::of(manifest.layers.iter().filter(missing));
        let pull = Pull {
            place,
            image,
            have,
            pauses: self.pauses,
        };
        tokio::try_join!(
            config_hand.blobs_of(&pull, &config),
            try_join_all(
                layer_hands
                    .iter_mut()
                    .map(|hand| hand.blobs_of(&pull, &layers))
            ),
        )?;
        Ok(Found {
            root,
            cache_status: head.header("cache-status").to_owned(),
        })
    }
}

/// What all hands know.
struct Pull<'a> {
    place: usize,
    image: &'a Reference,
    have: &'a Have,
    pauses: Pauses,
}

fn holds(have: &Have) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
    have.lock().expect("nobody panics with the lock")
}

impl Hand {
    /// A ping, which may also say that a login is wanted.
    pub(super) async fn pinged(&mut self, place: usize, flavour: Flavour) -> Result<(), Missed> {
        let ask = |at: &Place| Ask::ping(flavour, at.ping());
        match self.at(place, ask, &mut Vec::new()).await {
            Err(missed) if missed.trouble.status() != Some(401) => Err(missed),
            _ => Ok(()),
        }
    }

    async fn manifest_at(
        &mut self,
        place: usize,
        image: &Reference,
        digest: &Digest,
    ) -> Result<Manifest, Failure> {
        let path = format!("manifests/{digest}");
        let mut body = Vec::new();
        let ask = |at: &Place| Ask::manifest(Flavour::Dockerd, at.with_prefix(image, &path), "");
        self.at(place, ask, &mut body).await?;
        Manifest::read(&body, digest, &path)
    }

    async fn blobs_of(&mut self, pull: &Pull<'_>, queue: &Queue<'_>) -> Result<(), Failure> {
        while let Some(blob) = queue.next() {
            self.blob_with_pauses(pull, blob).await?;
            holds(pull.have).insert(blob.digest.clone());
        }
        Ok(())
    }

    /// A blob: a failure of the server's, and a body that breaks off, are waited out, and what has come is kept.
    async fn blob_with_pauses(
        &mut self,
        pull: &Pull<'_>,
        blob: &Descriptor,
    ) -> Result<(), Failure> {
        let path = format!("blobs/{}", blob.digest);
        let mut whole = Whole::of(blob, Afresh::Restarts);
        let mut attempt = 1;
        loop {
            let from = whole.got();
            let ask = |at: &Place| {
                let path = at.with_prefix(pull.image, &path);
                Ask::blob(Flavour::Dockerd, path, &blob.media_type, from)
            };
            let Err(missed) = self.at(pull.place, ask, &mut whole).await else {
                break;
            };
            if attempt == ATTEMPTS || !is_waited_out(&missed.trouble) {
                return Err(missed.into());
            }
            pull.pauses.pause(PAUSE * attempt).await;
            attempt += 1;
        }
        whole
            .finish()
            .map_err(|told| Trouble::Wrong(told).of(&path))
    }
}

fn is_waited_out(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Unanswered(_) | Trouble::Cut(_) => true,
        Trouble::Refused { status, .. } => *status >= 500,
        Trouble::Wrong(_) => false,
    }
}
