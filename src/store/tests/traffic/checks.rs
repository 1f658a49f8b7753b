//! Whether what went was what had to go.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::model::{Blob, Kept, LIMIT, Model};
use crate::oci::Digest;
use crate::store::ledger::charged;
use crate::store::tests::support::on_disk;

/// By how much the index may have been larger when room was made, and some blocks.
const INDEX: u64 = 256 << 10;

impl Model {
    /// Finds what went since the last look, and whether it was its turn; something may have come
    /// after that.
    pub(super) async fn went(&mut self, came: Option<(Digest, u64, bool)>) {
        let mut gone = BTreeSet::new();
        for digest in self.stored.keys() {
            if self.store.stat(digest).await.unwrap().is_none() {
                gone.insert(*digest);
            }
        }
        if !gone.is_empty() {
            self.check_turns(&gone);
        }
        if let Some((digest, size, is_manifest)) = came
            && !self.stored.contains_key(&digest)
        {
            let last_use = self.next_stamp();
            let blob = Blob {
                size,
                last_use,
                is_manifest,
            };
            self.stored.insert(digest, blob);
        }
    }

    fn check_turns(&mut self, gone: &BTreeSet<Digest>) {
        let guarded = self.guarded();
        let reading: BTreeSet<Digest> = self.reading.iter().map(|(blob, _)| blob.digest).collect();
        assert!(gone.is_disjoint(&reading), "evicted under a reader");
        let order = self.order(&guarded, &reading);
        let (first, rest) = order.split_at(gone.len());
        // Room may be made in two goes, since the index grows by what it is told of the first one. What
        // is left of an image then that was begun is plain LRU.
        let begun = first.last().and_then(|last| guarded.get(last));
        let in_begun = |digest: &Digest| begun.is_some() && guarded.get(digest) == begun;
        let expected = first.iter().filter(|digest| !in_begun(digest));
        let seen = gone.iter().filter(|digest| !in_begun(digest));
        assert_eq!(
            seen.collect::<BTreeSet<_>>(),
            expected.collect::<BTreeSet<_>>(),
            "not what was next; then came {rest:?}; {guarded:?}"
        );
        self.check_need(gone, &guarded);
        for digest in gone {
            if let Some(kept) = guarded.get(digest) {
                self.served.retain(|one| one.image != kept.image);
            }
            self.stored.remove(digest);
        }
    }

    /// All that nobody reads, in the order in which it has to go.
    fn order(&self, guarded: &HashMap<Digest, Kept>, reading: &BTreeSet<Digest>) -> Vec<Digest> {
        let idle = self.stored.iter();
        let idle = idle.filter(|(digest, _)| !reading.contains(digest));
        let mut order: Vec<_> = idle.collect();
        order.sort_unstable_by_key(|(digest, blob)| {
            let rank = guarded.get(digest).map(|kept| Reverse(kept.rank));
            let is_last_of_its_image = rank.is_some() && blob.is_manifest;
            (rank, is_last_of_its_image, blob.last_use, **digest)
        });
        order.into_iter().map(|(digest, _)| *digest).collect()
    }

    /// What was guarded went because there was no room without it.
    fn check_need(&self, gone: &BTreeSet<Digest>, guarded: &HashMap<Digest, Kept>) {
        let of_guarded = gone.iter().filter(|digest| guarded.contains_key(digest));
        let Some(largest) = of_guarded.map(|digest| self.stored[digest].size).max() else {
            return;
        };
        let sums = self.store.0.ledger.sums();
        let full = sums.total() + sums.headroom() + charged(largest) + INDEX;
        assert!(full > LIMIT, "guarded, and no more than {full} were needed");
    }

    pub(super) async fn check(&self) {
        let usage = self.store.usage();
        assert!(usage.total <= LIMIT, "{usage:?}");
        let real = on_disk(self.dir.path());
        assert!(real <= LIMIT, "{real} bytes on disk, {usage:?}");
        assert_eq!(usage.blobs, self.stored.len() as u64);
        for (blob, file) in &self.reading {
            assert_eq!(file.read_at(0, 100).await.unwrap(), blob.bytes.slice(..100));
        }
    }
}
