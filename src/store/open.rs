//! Opening a cache directory: lock, version, index, and what is in `partial/`. Nothing here takes
//! time in proportion to the number of blobs.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell, watch};
use tokio_util::sync::CancellationToken;

use super::clock::Stamps;
use super::disk::Disk;
use super::error::{OpenError, StoreError};
use super::fill::charged_partial;
use super::index::{Caps, Index, IndexParts, broken_indexes};
use super::inner::{Counts, Inner, Opened};
use super::layout::{Layout, PartialName, VERSION, is_known_root_name, parse_partial_name};
use super::ledger::{BLOCK, Kind, Ledger, charged};
use super::lock::{self, DirLock};
use super::orphans::Orphans;
use super::partial;
use super::paused::Paused;
use super::reads::Reads;
use super::recent::Recent;
use super::room::Room;
use super::settings::{MIN_LIMIT, Settings};
use super::tier::OpenFiles;
use super::touches::Touches;
use crate::oci::{Algorithm, Digest};

/// Opens the directory. Blocks.
pub(crate) fn open(settings: &Settings, handle: Handle) -> Result<Arc<Inner>, OpenError> {
    if settings.max_size < MIN_LIMIT {
        return Err(OpenError::LimitTooSmall {
            limit: settings.max_size,
            minimum: MIN_LIMIT,
        });
    }
    let layout = Layout::new(settings.dir.clone());
    let disk = Disk::new(layout, settings.faults.clone());
    let unusable = |error| OpenError::unusable(&settings.dir, error);
    disk.create_root().map_err(unusable)?;
    let lock = Arc::new(lock::acquire(&disk, settings.lock_wait)?);
    check_version(&disk)?;
    disk.keep_others_out();
    create_dirs(&disk).map_err(unusable)?;
    let inner = assemble(settings, disk, lock, handle)?;
    count_fixed(&inner).map_err(unusable)?;
    take_stock(&inner).map_err(unusable)?;
    let found_none = inner.index.totals().blobs == 0;
    let shards = inner.disk.shards().map_err(unusable)?;
    // Only an index that was lost leaves the ledger without most of what is on disk.
    inner
        .counted
        .send_replace(!(inner.index.wants_rebuild() && found_none && !shards.is_empty()));
    Ok(inner)
}

fn assemble(
    settings: &Settings,
    disk: Disk,
    lock: Arc<DirLock>,
    handle: Handle,
) -> Result<Arc<Inner>, OpenError> {
    let ledger = Ledger::new(settings.max_size, settings.min_free);
    let touches = Arc::new(Touches::default());
    let orphans = Arc::new(Orphans::default());
    let attention = Arc::new(Notify::new());
    let failed = |source| OpenError::Index {
        dir: settings.dir.clone(),
        source,
    };
    let weak_lock = Arc::downgrade(&lock);
    let index = Index::open(IndexParts {
        disk: disk.clone(),
        ledger: Arc::clone(&ledger),
        touches: Arc::clone(&touches),
        orphans: Arc::clone(&orphans),
        caps: Caps::for_limit(settings.max_size),
        attention: Arc::clone(&attention),
        _lock: lock,
    })
    .map_err(failed)?;
    // An index that cannot say is being looked after; the clock is good enough.
    let newest = index.newest().unwrap_or(0);
    Ok(Arc::new(Inner {
        reads: Reads::new(settings.faults.clone(), handle.clone()),
        disk,
        ledger,
        index,
        live: Arc::default(),
        open: OpenFiles::new(settings.open_files),
        touches,
        stamps: Stamps::new(settings.clock.clone(), newest),
        opened: Opened {
            at: settings.clock.elapsed(),
            newest,
        },
        recent: Recent::default(),
        recalled: OnceCell::new(),
        paused: Paused::default(),
        orphans,
        room: Room::default(),
        handle,
        attention,
        counted: watch::Sender::new(true),
        counts: Counts::default(),
        stop: CancellationToken::new(),
        closed: AtomicBool::new(false),
        lock: weak_lock,
        partial_age: settings.partial_age,
        upkeep: Mutex::default(),
    }))
}

/// Refuses a directory that is somebody else's; marks an empty one as ours.
fn check_version(disk: &Disk) -> Result<(), OpenError> {
    let dir = disk.layout.root();
    let unusable = |error| OpenError::unusable(dir, error);
    let path = disk.layout.version();
    if let Some(file) = disk.open(&path).map_err(unusable)? {
        let mut text = [0; 32];
        let length = disk.read_at(&file, &path, &mut text, 0).map_err(unusable)?;
        let found = String::from_utf8_lossy(&text[..length]).trim().to_owned();
        if found != VERSION {
            return Err(OpenError::UnknownVersion {
                dir: dir.to_owned(),
                found,
                known: VERSION,
            });
        }
        return Ok(());
    }
    let names = disk.list(dir).map_err(unusable)?;
    if let Some((found, _)) = names.iter().find(|(name, _)| !is_known_root_name(name)) {
        return Err(OpenError::NotACache {
            dir: dir.to_owned(),
            found: found.clone(),
        });
    }
    write_version(disk).map_err(unusable)
}

/// Written aside and renamed: a crash leaves no version file, or a whole one.
fn write_version(disk: &Disk) -> Result<(), StoreError> {
    let draft = disk.layout.version_draft();
    let file: File = disk.create(&draft)?;
    disk.write_at(&file, &draft, format!("{VERSION}\n").as_bytes(), 0)?;
    disk.sync(&file, &draft)?;
    disk.rename(&draft, &disk.layout.version())?;
    disk.sync_dir(disk.layout.root())
}

/// From the top down: none is looked for beyond a link.
fn create_dirs(disk: &Disk) -> Result<(), StoreError> {
    disk.create_dir(&disk.layout.partials())?;
    disk.create_dir(&disk.layout.blobs())?;
    for algorithm in Algorithm::ALL {
        disk.create_dir(&disk.layout.algorithm_dir(algorithm))?;
    }
    for (algorithm, first) in disk.shards()? {
        disk.create_dir(&disk.layout.shard(algorithm, first))?;
    }
    disk.sync_dir(&disk.layout.blobs())?;
    disk.sync_dir(disk.layout.root())
}

impl Disk {
    /// The directories that hold blobs.
    pub(crate) fn shards(&self) -> Result<Vec<(Algorithm, u8)>, StoreError> {
        let mut shards = Vec::new();
        for algorithm in Algorithm::ALL {
            for (name, _) in self.list(&self.layout.algorithm_dir(algorithm))? {
                let first = u8::from_str_radix(&name, 16).ok();
                shards.extend(
                    first
                        .filter(|first| format!("{first:02x}") == name)
                        .map(|first| (algorithm, first)),
                );
            }
        }
        shards.sort_unstable();
        Ok(shards)
    }
}

/// Charges directories, small files of the store's own, and indexes that were set aside.
fn count_fixed(inner: &Inner) -> Result<(), StoreError> {
    // Root, `blobs/`, its two, `partial/`; `VERSION` and the lock.
    const OWN: u64 = 7;
    let shards = inner.disk.shards()?.len() as u64;
    inner.ledger.fix((OWN + shards) * BLOCK);
    for path in broken_indexes(&inner.disk)? {
        if let Some(info) = inner.disk.info(&path)? {
            inner.ledger.fix(charged(info.size));
        }
    }
    Ok(())
}

/// Charges what is in `partial/`, and removes what nobody can go on with.
fn take_stock(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let disk = &inner.disk;
    let names = disk.list(&disk.layout.partials())?;
    let mut data = HashSet::new();
    let mut states = Vec::new();
    for (name, path) in names {
        match parse_partial_name(&name) {
            Some(PartialName::Data(digest)) => {
                data.insert(digest);
            }
            Some(PartialName::State(digest)) => states.push(digest),
            None => drop(disk.unlink(&path)),
        }
    }
    for digest in &data {
        take_partial(inner, digest)?;
    }
    for digest in &states {
        if !data.contains(digest) {
            take_state(inner, digest)?;
        }
    }
    Ok(())
}

fn take_partial(inner: &Inner, digest: &Digest) -> Result<(), StoreError> {
    let disk = &inner.disk;
    let path = disk.layout.partial(digest);
    let Some(info) = disk.info(&path)? else {
        return Ok(());
    };
    let charge = inner
        .ledger
        .hold(Kind::Paused, charged_partial(info.on_disk));
    if partial::recorded(disk, digest)? == 0 || info.size == 0 {
        let removed = disk
            .unlink(&path)
            .and_then(|_| disk.unlink(&disk.layout.state(digest)));
        if removed.is_ok() {
            return Ok(());
        }
    }
    inner.paused.put(*digest, charge, info.modified);
    Ok(())
}

/// A sidecar without its file: a commit was cut off after the rename. If there is no row, the blob
/// is an orphan that upkeep adopts.
fn take_state(inner: &Inner, digest: &Digest) -> Result<(), StoreError> {
    let disk = &inner.disk;
    // Where the index cannot say, adoption finds out.
    let is_known = inner.index.blob(digest).is_ok_and(|row| row.is_some());
    if let Some(info) = disk.info(&disk.layout.blob(digest))?
        && !is_known
    {
        let charge = inner
            .ledger
            .hold(Kind::Orphaned, charged_partial(info.size));
        inner.orphans.put(*digest, charge);
        return Ok(());
    }
    disk.unlink(&disk.layout.state(digest))?;
    Ok(())
}
