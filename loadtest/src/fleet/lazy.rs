//! A pull as containerd with the stargz snapshotter makes it: of each layer its ends and some of what is between, as a
//! container reads it, before the rest comes in the background.
//!
//! All of it in bounded ranges. The background has every byte, so that at the end the digest tells whether they were right;
//! what was read before has to be the same.

use std::ops::Range;

use futures_util::future::try_join_all;
use sha2::{Digest as _, Sha256};

use super::ask::Ask;
use super::failure::{Failure, Trouble};
use super::hand::{Hand, Queue};
use super::node::{Found, Node};
use super::place::Place;
use super::reference::Reference;
use super::sink::Part;
use crate::origin::Descriptor;

/// What an archive's footer is looked for in.
const FOOTER: u64 = 50_000;
/// What a container reads of a layer at a time.
const READ: u64 = 64 << 10;
/// What the background fetches at a time.
const CHUNK: u64 = 4 << 20;
/// How many reads there are before the background begins.
const READS: u64 = 4;

impl Node {
    pub(super) async fn pull_lazily(&mut self, image: &Reference) -> Result<Found, Failure> {
        let (found, manifest) = self.hands[0].resolve(image, &self.platform).await?;
        if let Some(config) = &manifest.config {
            self.hands[0].blob_in_turn(image, config).await?;
        }
        let layers = Queue::of(&manifest.layers);
        let hands = self.hands.iter_mut();
        try_join_all(hands.map(|hand| hand.layers(image, &layers))).await?;
        Ok(found)
    }
}

impl Hand {
    async fn layers(&mut self, image: &Reference, queue: &Queue<'_>) -> Result<(), Failure> {
        while let Some(layer) = queue.next() {
            self.layer(image, layer).await?;
        }
        Ok(())
    }

    async fn layer(&mut self, image: &Reference, layer: &Descriptor) -> Result<(), Failure> {
        let path = format!("blobs/{}", layer.digest);
        let wrong = |told: &str| Trouble::Wrong(told.to_owned()).of(&path);
        let mut read = Vec::new();
        for range in before(layer.size) {
            let bytes = self.part(image, layer, &range).await?;
            read.push((range, bytes));
            if read.len() == 1 {
                let ask = |place: &Place| Ask::size(place.with_ns(image, &path));
                self.in_turn(ask, &mut Vec::new()).await?;
            }
        }
        let mut hasher = Sha256::new();
        for chunk in chunks(layer.size) {
            let bytes = self.part(image, layer, &chunk).await?;
            if !read.iter().all(|part| agrees(part, &chunk, &bytes)) {
                return Err(wrong("a range is not what the layer has there"));
            }
            hasher.update(&bytes);
        }
        let digest = format!("sha256:{}", hex::encode(hasher.finalize()));
        if digest == layer.digest.as_str() {
            Ok(())
        } else {
            Err(wrong("its bytes are not what its digest says"))
        }
    }

    async fn part(
        &mut self,
        image: &Reference,
        layer: &Descriptor,
        range: &Range<u64>,
    ) -> Result<Vec<u8>, Failure> {
        let path = format!("blobs/{}", layer.digest);
        let mut part = Part::of(layer, range.clone());
        let ask = |place: &Place| Ask::part(place.with_ns(image, &path), range);
        self.in_turn(ask, &mut part).await?;
        Ok(part.bytes)
    }
}

/// What is read of a layer before the background begins: two bytes to see whether ranges work, the footer, and some that a
/// container happens to need, from the end on.
fn before(size: u64) -> impl Iterator<Item = Range<u64>> {
    let probe = 0..size.min(2);
    let footer = size.saturating_sub(FOOTER)..size;
    let reads = (1..=READS).rev().map(move |nth| {
        let start = size / (READS + 1) * nth;
        start..(start + READ).min(size)
    });
    [probe, footer].into_iter().chain(reads)
}

fn chunks(size: u64) -> impl Iterator<Item = Range<u64>> {
    let chunk = move |start: u64| start..(start + CHUNK).min(size);
    (0..size.div_ceil(CHUNK)).map(move |nth| chunk(nth * CHUNK))
}

/// Whether what two ranges have in common is the same in both.
fn agrees(read: &(Range<u64>, Vec<u8>), chunk: &Range<u64>, bytes: &[u8]) -> bool {
    let (range, read) = read;
    let (start, end) = (range.start.max(chunk.start), range.end.min(chunk.end));
    let at = |from: u64, position: u64| usize::try_from(position - from).expect("it is in memory");
    start >= end
        || read[at(range.start, start)..at(range.start, end)]
            == bytes[at(chunk.start, start)..at(chunk.start, end)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lie_within_the_layer_and_chunks_cover_it() {
        for size in [1, 2, 40_000, CHUNK, CHUNK + 1, 10_000_000] {
            assert!(before(size).all(|range| range.start < range.end && range.end <= size));
            let mut next = 0;
            for chunk in chunks(size) {
                assert_eq!(chunk.start, next);
                next = chunk.end;
            }
            assert_eq!(next, size);
        }
    }

    #[test]
    fn what_two_ranges_have_in_common_has_to_be_the_same() {
        let read = (2..5, b"cde".to_vec());
        assert!(agrees(&read, &(0..4), b"abcd"));
        assert!(!agrees(&read, &(0..4), b"abcx"));
        assert!(agrees(&read, &(4..6), b"ef"));
        assert!(!agrees(&read, &(4..6), b"xf"));
        assert!(agrees(&read, &(5..6), b"f"));
    }
}
