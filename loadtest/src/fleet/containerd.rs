//! A pull as containerd makes it.

use futures_util::future::try_join_all;

use super::ask::Ask;
use super::failure::Failure;
use super::flavour::Flavour;
use super::hand::{Hand, Manifest, Queue};
use super::node::{Found, Node};
use super::reference::Reference;
use super::sink::{Afresh, Whole};
use crate::origin::{Descriptor, Digest, Platform};

/// How often a body that ends early is resumed without any progress.
const WITHOUT_PROGRESS: usize = 3;

impl Node {
    pub(super) async fn pull_as_containerd(&mut self, image: &Reference) -> Result<Found, Failure> {
        let (found, manifest) = self.hands[0].resolve(image, &self.platform).await?;
        let blobs = Queue::of(manifest.config.iter().chain(&manifest.layers));
        let hands = self.hands.iter_mut();
        try_join_all(hands.map(|hand| hand.blobs(image, &blobs))).await?;
        Ok(found)
    }
}

impl Hand {
    /// What a tag points at, and the manifest of the platform's image.
    pub(super) async fn resolve(
        &mut self,
        image: &Reference,
        platform: &Platform,
    ) -> Result<(Found, Manifest), Failure> {
        let tag = format!("manifests/{}", image.tag());
        let ask = |place: &super::Place| Ask::tag(Flavour::Containerd, place.with_ns(image, &tag));
        let head = self.in_turn(ask, &mut Vec::new()).await?;
        let root = Digest::from(head.header("docker-content-digest"));
        let mut manifest = self
            .manifest(image, &root, head.header("content-type"))
            .await?;
        if let Some(child) = manifest.child(platform, &tag)? {
            manifest = self
                .manifest(image, &child.digest, &child.media_type)
                .await?;
        }
        let found = Found {
            root,
            cache_status: head.header("cache-status").to_owned(),
        };
        Ok((found, manifest))
    }

    async fn manifest(
        &mut self,
        image: &Reference,
        digest: &Digest,
        media_type: &str,
    ) -> Result<Manifest, Failure> {
        let path = format!("manifests/{digest}");
        let mut body = Vec::new();
        let ask = |place: &super::Place| {
            Ask::manifest(Flavour::Containerd, place.with_ns(image, &path), media_type)
        };
        self.in_turn(ask, &mut body).await?;
        Manifest::read(&body, digest, &path)
    }

    async fn blobs(&mut self, image: &Reference, queue: &Queue<'_>) -> Result<(), Failure> {
        while let Some(blob) = queue.next() {
            self.blob_in_turn(image, blob).await?;
        }
        Ok(())
    }

    /// A blob, resumed at once where its body ends early, at whichever place answers then.
    pub(super) async fn blob_in_turn(
        &mut self,
        image: &Reference,
        blob: &Descriptor,
    ) -> Result<(), Failure> {
        let path = format!("blobs/{}", blob.digest);
        let mut whole = Whole::of(blob, Afresh::Skips);
        let mut idle = 0;
        loop {
            let from = whole.got();
            let ask = |place: &super::Place| {
                let path = place.with_ns(image, &path);
                Ask::blob(Flavour::Containerd, path, &blob.media_type, from)
            };
            let Err(missed) = self.in_turn(ask, &mut whole).await else {
                break;
            };
            idle = if whole.got() > from { 0 } else { idle + 1 };
            if !missed.trouble.is_early_end() || idle > WITHOUT_PROGRESS {
                return Err(missed.into());
            }
        }
        let wrong = |told| super::failure::Trouble::Wrong(told).of(&path);
        whole.finish().map_err(wrong)
    }
}
