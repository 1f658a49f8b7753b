//! A pull as podman makes it, and whatever else is built on containers/image.

use std::io;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::ask::Ask;
use super::connection::Answer;
use super::failure::{Failure, Trouble};
use super::flavour::Flavour;
use super::hand::{Hand, Manifest, Missed, Queue};
use super::node::{Found, Node, Pauses};
use super::place::Place;
use super::reference::Reference;
use super::sink::{Afresh, Sink, Whole};
use crate::origin::{Descriptor, Digest};

/// How often it asks where it is told that there is too much to do.
const ATTEMPTS: u32 = 5;
/// What it waits for at first where no `Retry-After` says how long; then twice as long each time.
const PAUSE: Duration = Duration::from_secs(2);
/// What it waits for at most.
const LONGEST: Duration = Duration::from_mins(1);
/// A body that breaks off is resumed after so much of it.
const PROGRESS: u64 = 1 << 20;

impl Node {
    /// The mirror is left for the registry at the ping and the tag only: what fails later fails the pull.
    pub(super) async fn pull_as_podman(&mut self, image: &Reference) -> Result<Found, Failure> {
        let pauses = self.pauses;
        let mut first = None;
        for place in 0..self.places() {
            match self.hands[0].tag_at(place, image, pauses).await {
                Ok((answer, body)) => return self.rest_from(place, image, &answer, &body).await,
                Err(missed) => drop(first.get_or_insert(missed)),
            }
        }
        Err(first.expect("there is a mirror").into())
    }

    async fn rest_from(
        &mut self,
        place: usize,
        image: &Reference,
        answer: &Answer,
        body: &[u8],
    ) -> Result<Found, Failure> {
        let pull = Pull {
            place,
            image,
            pauses: self.pauses,
        };
        let (config_hand, layer_hands) = self.hands.split_first_mut().expect("there are seven");
        let root = Digest::sha256(body);
        let mut manifest = Manifest::read(body, &root, image.tag())?;
        if let Some(child) = manifest.child(&self.platform, image.tag())? {
            let path = format!("manifests/{}", child.digest);
            let mut body = Vec::new();
            let ask = |at: &Place| Ask::manifest(Flavour::Podman, at.with_prefix(image, &path), "");
            config_hand
                .waiting(place, ask, &mut body, pull.pauses)
                .await?;
            manifest = Manifest::read(&body, &child.digest, &path)?;
        }
        let config = Queue::of(&manifest.config);
        let layers = Queue::of(&manifest.layers);
        let layer_hands = layer_hands.iter_mut();
        tokio::try_join!(
            config_hand.all_of(&pull, &config),
            try_join_all(layer_hands.map(|hand| hand.all_of(&pull, &layers))),
        )?;
        Ok(Found {
            root,
            cache_status: answer.header("cache-status").to_owned(),
        })
    }
}

/// What all hands know.
struct Pull<'a> {
    place: usize,
    image: &'a Reference,
    pauses: Pauses,
}

impl Hand {
    /// The ping, and what the tag points at.
    async fn tag_at(
        &mut self,
        place: usize,
        image: &Reference,
        pauses: Pauses,
    ) -> Result<(Answer, Vec<u8>), Missed> {
        self.pinged(place, Flavour::Podman).await?;
        let path = format!("manifests/{}", image.tag());
        let ask = |at: &Place| Ask::tag(Flavour::Podman, at.with_prefix(image, &path));
        let mut body = Vec::new();
        let answer = self.waiting(place, ask, &mut body, pauses).await?;
        Ok((answer, body))
    }

    /// One request, again after a pause where it is refused for load.
    async fn waiting(
        &mut self,
        place: usize,
        ask: impl Fn(&Place) -> Ask,
        sink: &mut impl Sink,
        pauses: Pauses,
    ) -> Result<Answer, Missed> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            let missed = match self.at(place, &ask, sink).await {
                Ok(answer) => return Ok(answer),
                Err(missed) => missed,
            };
            let Trouble::Refused {
                status: 429,
                retry_after,
                ..
            } = missed.trouble
            else {
                return Err(missed);
            };
            pause = retry_after.unwrap_or(pause).min(LONGEST);
            pauses.pause(pause).await;
            pause *= 2;
        }
        self.at(place, ask, sink).await
    }

    async fn all_of(&mut self, pull: &Pull<'_>, queue: &Queue<'_>) -> Result<(), Failure> {
        while let Some(blob) = queue.next() {
            self.blob_resumed(pull, blob).await?;
        }
        Ok(())
    }

    /// A blob, resumed where its body breaks off after some progress; the rest has to be just that.
    async fn blob_resumed(&mut self, pull: &Pull<'_>, blob: &Descriptor) -> Result<(), Failure> {
        let path = format!("blobs/{}", blob.digest);
        let mut whole = Whole::of(blob, Afresh::Fails);
        loop {
            let from = whole.got();
            let ask = |at: &Place| {
                let path = at.with_prefix(pull.image, &path);
                Ask::blob(Flavour::Podman, path, &blob.media_type, from)
            };
            let asked = self.waiting(pull.place, ask, &mut whole, pull.pauses);
            match asked.await {
                Ok(_) => break,
                Err(missed) if breaks_off(&missed.trouble) && whole.got() - from >= PROGRESS => {}
                Err(missed) => return Err(missed.into()),
            }
        }
        whole
            .finish()
            .map_err(|told| Trouble::Wrong(told).of(&path))
    }
}

fn breaks_off(trouble: &Trouble) -> bool {
    let reset =
        matches!(trouble, Trouble::Cut(error) if error.kind() == io::ErrorKind::ConnectionReset);
    reset || trouble.is_early_end()
}
