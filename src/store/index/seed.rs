//! An index of many blobs at once, for what has to be shown of large ones: a hundred thousand changes in one transaction,
//! where the writer thread would take some hundred.

use std::sync::Arc;

use redb::Builder;

use super::IndexError;
use super::change::{Caps, Change, Tables};
use super::file::IndexFile;
use super::open::{check, create_tables};
use crate::store::disk::Disk;
use crate::store::ledger::Ledger;

/// redb's page cache: rows come in no order, and all of the index is to stay in memory.
const CACHE: usize = 512 << 20;

/// How many changes go into one transaction.
const AT_ONCE: usize = 100_000;

/// Applies changes to the index of a directory that nobody has open. Blocks.
pub(in crate::store) fn seed(
    disk: &Disk,
    ledger: &Arc<Ledger>,
    changes: impl Iterator<Item = Change>,
) -> Result<(), IndexError> {
    let (file, is_fresh) = IndexFile::open(disk, ledger)?;
    let database = Builder::new()
        .set_cache_size(CACHE)
        .create_with_backend(file)?;
    if is_fresh {
        create_tables(&database)?;
    }
    let mut totals = check(&database)?;
    let caps = Caps::for_limit(ledger.limit());
    let mut changes = changes.peekable();
    while changes.peek().is_some() {
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        let mut tables = Tables::open(&txn, totals, caps)?;
        for change in changes.by_ref().take(AT_ONCE) {
            tables.apply(&change)?;
        }
        totals = tables.finish()?.unwrap_or(totals);
        txn.commit()?;
    }
    Ok(())
}
