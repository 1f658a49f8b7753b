//! Opens the index, or sets a broken one aside and starts an empty one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use redb::{Builder, Database, ReadableDatabase as _};

use super::IndexError;
use super::change::{Caps, Tables};
use super::file::IndexFile;
use super::tables::{BLOBS, LINKS, LRU, META, SCHEMA, TAGGED, TAGS, Totals};
use crate::store::disk::Disk;
use crate::store::error::StoreError;
use crate::store::layout::broken_index_number;
use crate::store::ledger::{Ledger, charged};

/// redb's page cache; its default is 1 GiB.
const CACHE: usize = 8 << 20;

/// How many broken indexes are kept for an operator to look at.
const BROKEN_KEPT: usize = 2;

/// An index that is ready.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) totals: Totals,
    /// It is empty because it was missing or broken: the blobs have to be found again.
    pub(super) fresh: bool,
}

/// Opens the index; one that is broken is set aside and replaced.
pub(super) fn open(disk: &Disk, ledger: &Arc<Ledger>) -> Result<Opened, IndexError> {
    match open_guarded(disk, ledger) {
        Err(error) if error.is_damage() => {
            let aside = set_aside(disk, ledger)?;
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                aside = %aside.display(),
                "the cache's index is broken; set aside, and to be rebuilt from the blobs"
            );
            match open_guarded(disk, ledger) {
                // There is no room for a new index beside the broken ones.
                Err(error) if error.is_full() => {
                    keep_broken(disk, ledger, 0)?;
                    open_guarded(disk, ledger)
                }
                other => other,
            }
        }
        other => other,
    }
}

/// The files of broken indexes that were set aside, oldest first.
pub(crate) fn broken_indexes(disk: &Disk) -> Result<Vec<PathBuf>, StoreError> {
    let mut found: Vec<(u64, PathBuf)> = disk
        .list(disk.layout.root())?
        .into_iter()
        .filter_map(|(name, path)| Some((broken_index_number(&name)?, path)))
        .collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Renames the index out of the way; of those that were before, few are kept.
pub(super) fn set_aside(disk: &Disk, ledger: &Ledger) -> Result<PathBuf, IndexError> {
    let existing = broken_indexes(disk)?;
    let number = existing
        .last()
        .and_then(|path| broken_index_number(path.file_name()?.to_str()?))
        .map_or(1, |last| last + 1);
    keep_broken(disk, ledger, BROKEN_KEPT - 1)?;
    let aside = disk.layout.broken_index(number);
    disk.rename(&disk.layout.index(), &aside)?;
    let size = disk.info(&aside)?.map_or(0, |info| info.size);
    ledger.fix(charged(size));
    Ok(aside)
}

/// Removes all but the last `keep` broken indexes.
fn keep_broken(disk: &Disk, ledger: &Ledger, keep: usize) -> Result<(), IndexError> {
    let existing = broken_indexes(disk)?;
    let excess = existing.len().saturating_sub(keep);
    for path in &existing[..excess] {
        let size = disk.info(path)?.map_or(0, |info| info.size);
        disk.unlink(path)?;
        ledger.unfix(charged(size));
    }
    Ok(())
}

/// A damaged file may break an assumption deep inside redb: a panic there is damage too.
fn open_guarded(disk: &Disk, ledger: &Arc<Ledger>) -> Result<Opened, IndexError> {
    catch_unwind(AssertUnwindSafe(|| open_once(disk, ledger)))
        .unwrap_or_else(|_| Err(IndexError::Damaged("redb panicked on it".into())))
}

fn open_once(disk: &Disk, ledger: &Arc<Ledger>) -> Result<Opened, IndexError> {
    let (file, fresh) = IndexFile::open(disk, ledger)?;
    let database = Builder::new()
        .set_cache_size(CACHE)
        .create_with_backend(file)?;
    if fresh {
        create_tables(&database)?;
    }
    let totals = check(&database)?;
    Ok(Opened {
        database,
        totals,
        fresh,
    })
}

pub(super) fn create_tables(database: &Database) -> Result<(), IndexError> {
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    txn.open_table(META)?.insert("schema", SCHEMA)?;
    let caps = Caps {
        links: 0,
        tags: 0,
        lists: 0,
    };
    drop(Tables::open(&txn, Totals::default(), caps)?);
    txn.commit()?;
    Ok(())
}

/// Opens every table and reads the totals: what later calls rely on.
pub(super) fn check(database: &Database) -> Result<Totals, IndexError> {
    let txn = database.begin_read()?;
    txn.open_table(BLOBS)?;
    txn.open_table(LRU)?;
    txn.open_table(LINKS)?;
    txn.open_table(TAGS)?;
    txn.open_table(TAGGED)?;
    let meta = txn.open_table(META)?;
    let get = |name: &str| -> Result<u64, IndexError> {
        Ok(meta.get(name)?.map_or(0, |value| value.value()))
    };
    match get("schema")? {
        SCHEMA => Totals::read(get),
        other => Err(IndexError::Damaged(
            format!("schema {other} is not known").into(),
        )),
    }
}
