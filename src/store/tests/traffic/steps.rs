//! What each step does, to the store and to the model.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Step;
use super::images::{self, Made};
use super::model::{HOUR, MINUTE, Model, Served, open};
use crate::oci::Digest;
use crate::store::tests::support::{fill, read};
use crate::store::touches::GRANULE;
use crate::store::{BlobFile, upkeep};

/// Readers at once: what they hold open leaves room for everything else.
const READERS: usize = 3;

impl Model {
    pub(super) async fn step(&mut self, step: Step) {
        match step {
            Step::Pull { image } => self.pull(image).await,
            Step::Serve { image } => self.serve(image).await,
            Step::Fill { other } => self.fill(images::other(other)).await,
            Step::Read { blob } => drop(self.open(images::blob(blob)).await),
            Step::Open { blob } => {
                let blob = images::blob(blob);
                if self.reading.len() < READERS
                    && blob.bytes.len() < 1 << 20
                    && let Some(file) = self.open(blob).await
                {
                    self.reading.push((blob, file));
                }
            }
            Step::Close => {
                if !self.reading.is_empty() {
                    let (blob, file) = self.reading.remove(0);
                    assert!(read(&file).await == blob.bytes[..], "wrong bytes");
                }
            }
            // No sum of these is an hour, give or take what stamps are ahead of the clock.
            Step::Advance { weeks } => {
                self.millis.fetch_add(weeks * 7 * MINUTE, Ordering::Relaxed);
            }
            Step::Upkeep => self.upkeep().await,
            Step::Restart => self.restart().await,
        }
        self.check().await;
    }

    async fn pull(&mut self, number: usize) {
        let image = images::image(number);
        image.put(&self.store).await;
        let size = image.bytes.len() as u64;
        self.went(Some((image.manifest, size, true))).await;
        self.serve(number).await;
        for layer in images::layers(number) {
            self.fill(layer).await;
        }
    }

    async fn fill(&mut self, blob: &Made) {
        fill(&self.store, &blob.bytes).await.unwrap();
        let size = blob.bytes.len() as u64;
        self.went(Some((blob.digest, size, false))).await;
    }

    async fn upkeep(&mut self) {
        let mut all = upkeep::Upkeep::new();
        upkeep::round(&self.store.0, &mut all).await.unwrap();
        // It looks at what is guarded whether anything has to go or not.
        self.guarded();
        self.went(None).await;
    }

    async fn serve(&mut self, number: usize) {
        images::image(number).serve(&self.store);
        // Uses are noted when room is made; here at once, so that the model knows when.
        self.store.0.note_uses().await;
        self.store.0.index.flush().await;
        let now = self.now();
        let known = self.served.iter().position(|one| one.image == number);
        let mut used = known.and_then(|at| self.served.remove(at).used);
        let is_use = used.is_none_or(|used| now - used >= GRANULE);
        if is_use {
            used = Some(now);
        }
        let served = Served::new(number, now, used);
        if is_use {
            self.note_uses(std::slice::from_ref(&served));
        }
        self.served.push(served);
    }

    /// All that images refer to has been used, as far as that was not within the hour. They are noted
    /// together: of two that share a layer the last one counts.
    fn note_uses(&mut self, all: &[Served]) {
        let before = self.stored.clone();
        for served in all {
            let is_due = |digest: &&Digest| {
                let blob = before.get(*digest);
                blob.is_some_and(|blob| served.at.saturating_sub(blob.last_use) >= GRANULE)
            };
            let due: Vec<&Digest> = served.digests.iter().filter(is_due).collect();
            if !due.is_empty() {
                let stamp = self.next_stamp();
                for digest in due {
                    self.stored.get_mut(digest).unwrap().last_use = stamp;
                }
            }
        }
    }

    async fn open(&mut self, blob: &Made) -> Option<Arc<BlobFile>> {
        let found = self.store.blob(&blob.digest).await.unwrap();
        // The next one to open it asks the index when it was last used.
        self.store.0.open.clear();
        self.store.0.index.flush().await;
        let last_use = self.stored.get(&blob.digest).map(|blob| blob.last_use);
        assert_eq!(found.is_some(), last_use.is_some());
        let file = found?;
        assert!(read(&file).await == blob.bytes[..], "wrong bytes");
        if self.now().saturating_sub(last_use?) >= GRANULE {
            let stamp = self.next_stamp();
            self.stored.get_mut(&blob.digest)?.last_use = stamp;
        }
        Some(file)
    }

    async fn restart(&mut self) {
        self.reading.clear();
        self.store.close().await;
        let now = self.now();
        let mut served = std::mem::take(&mut self.served);
        served.retain(|one| now - one.at < HOUR);
        self.note_uses(&served);
        self.recall();
        self.store = open(&self.dir, &self.millis).await;
        // A round may have begun already; this one comes to its end.
        self.upkeep().await;
    }

    /// What was served is taken from the order of eviction: the manifests of the last two hours
    /// before the last use of all.
    fn recall(&mut self) {
        let newest = self.stored.values().map(|blob| blob.last_use).max();
        let from = newest.unwrap_or(0).saturating_sub(2 * GRANULE);
        let mut last: Vec<_> = self
            .stored
            .iter()
            .filter(|(_, blob)| blob.is_manifest && blob.last_use >= from)
            .map(|(digest, blob)| (blob.last_use, *digest))
            .collect();
        last.sort_unstable();
        let now = self.now();
        let numbers = last.iter().map(|(_, manifest)| images::number(manifest));
        self.served = numbers
            .map(|number| Served::new(number, now, Some(now)))
            .collect();
    }
}
