//! The index's file, as redb sees it: every change of its length is entered in the ledger before
//! the disk sees it, and every operation passes the fault seam.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use redb::StorageBackend;

use crate::metrics;
use crate::store::disk::{Disk, metric};
use crate::store::error::StoreError;
use crate::store::faults::{Fault, Faults, Op};
use crate::store::ledger::Ledger;

/// redb's file, behind the ledger and the seam. It takes no lock: the cache directory's covers it.
#[derive(Debug)]
pub(super) struct IndexFile {
    file: File,
    path: PathBuf,
    faults: Faults,
    ledger: Arc<Ledger>,
}

impl IndexFile {
    /// Opens the file, making an empty one where there is none; says whether it was empty.
    pub(super) fn open(disk: &Disk, ledger: &Arc<Ledger>) -> Result<(Self, bool), StoreError> {
        let path = disk.layout.index();
        let file = disk.create(&path)?;
        let length = file
            .metadata()
            .map_err(StoreError::io(Op::Stat, &path))?
            .len();
        ledger.set_index(length);
        let index = Self {
            file,
            path,
            faults: disk.faults().clone(),
            ledger: Arc::clone(ledger),
        };
        Ok((index, length == 0))
    }

    fn run<T>(&self, op: Op, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.faults
            .check(op, &self.path)
            .and_then(|()| work())
            .inspect_err(|_| metrics::store_fault(metric(op)))
    }
}

impl StorageBackend for IndexFile {
    fn len(&self) -> io::Result<u64> {
        self.run(Op::IndexRead, || Ok(self.file.metadata()?.len()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.run(Op::IndexRead, || self.file.read_exact_at(out, offset))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        if length > before && !self.ledger.resize_index(length) {
            // The next eviction makes room for it; until then writes to the index fail.
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the index would take the cache over its limit",
            ));
        }
        let done = self.run(Op::IndexResize, || self.file.set_len(length));
        self.ledger
            .set_index(if done.is_ok() { length } else { before });
        done
    }

    fn sync_data(&self) -> io::Result<()> {
        self.run(Op::IndexSync, || self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(fault) = self.faults.ask(Op::IndexWrite, &self.path) {
            metrics::store_fault(metric(Op::IndexWrite));
            if let Fault::Torn(_) = fault {
                self.file.write_all_at(&data[..data.len() / 2], offset)?;
            }
            return Err(fault.error());
        }
        self.file.write_all_at(data, offset)
    }
}
