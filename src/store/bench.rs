//! The narrow way in for `benches/`: a cache of as many blobs as one likes, and the steps on it whose cost must not depend on
//! how many there are. The store's own tests hold these to counts.
//!
//! It is built with everything else, so that it can't rot and no bench builds the crate anew, and left out of the program by
//! the linker: nothing there names it.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::disk::Disk;
use super::error::{OpenError, StoreError};
use super::evict::Goal;
use super::faults::Faults;
use super::index::{BlobRow, Change, seed};
use super::inner::lost;
use super::layout::Layout;
use super::ledger::{Ledger, charged};
use super::{Audience, Settings, Store, open};
use crate::oci::{Digest, Registry};

/// The length of each seeded blob. All of them are sparse files: nothing is on disk of them but their names.
pub const SIZE: u64 = 64 << 10;

/// The digest of the `number`-th seeded blob. As with true ones, neighbours are far apart.
#[must_use]
pub fn digest(number: u64) -> Digest {
    let mut state = number;
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    Digest::Sha256(bytes)
}

/// Puts `count` blobs that everybody may read in every repository of `registry` into the directory of a store that was
/// closed, used one after the other, the first longest ago; `with_files` says whether there are files, too. Blocks.
///
/// # Errors
/// What the disk or the index say.
pub fn seed_blobs(
    dir: &Path,
    limit: u64,
    registry: &Registry,
    count: u64,
    with_files: bool,
) -> Result<(), StoreError> {
    let disk = Disk::new(Layout::new(dir.to_owned()), Faults::none());
    let ledger = Ledger::new(limit, 0);
    let changes = (0..count).flat_map(|number| {
        let digest = digest(number);
        let row = BlobRow {
            size: SIZE,
            last_use: 1 + number,
            media_type: None,
        };
        let link = Change::Link {
            digest,
            registry: registry.clone(),
            name: None,
            audience: Audience::Everyone,
            at: 1 + number,
        };
        [Change::Insert { digest, row }, link]
    });
    seed(&disk, &ledger, changes)?;
    if with_files {
        for number in 0..count {
            make_file(&disk, &digest(number))?;
        }
    }
    Ok(())
}

fn make_file(disk: &Disk, digest: &Digest) -> Result<(), StoreError> {
    disk.create_dir(&disk.layout.shard_of(digest))?;
    let path = disk.layout.blob(digest);
    let file = disk.create(&path)?;
    disk.truncate(&file, &path, SIZE)
}

/// An open store, with nobody to tidy it.
#[derive(Debug)]
pub struct Steps(Store);

impl Steps {
    /// Opens a store without its upkeep, which would find that files are missing.
    ///
    /// # Errors
    /// What the disk or the index say.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let handle = Handle::current();
        let opened = handle
            .clone()
            .spawn_blocking(move || open::open(&settings, handle));
        match opened.await {
            Ok(inner) => Ok(Self(Store(inner?))),
            Err(error) => lost(error).await,
        }
    }

    /// Looks a blob up in the index. Blocks.
    ///
    /// # Errors
    /// What the index says.
    pub fn look_up(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.0.0.index.blob(digest)?.map(|row| row.size))
    }

    /// Evicts so many seeded blobs, the least recently used.
    ///
    /// # Errors
    /// What the disk or the index say.
    pub async fn evict(&self, count: u64) -> Result<u64, StoreError> {
        let inner = &self.0.0;
        let _gate = inner.room.gate.lock().await;
        let goal = Goal {
            must: count * charged(SIZE),
            wish: 0,
            batches: 0,
        };
        Arc::clone(inner).evict(goal).await
    }

    /// Lets go of the directory.
    pub async fn close(self) {
        self.0.close().await;
    }
}
