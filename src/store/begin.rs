//! Starting to write a blob: from nothing, or from where an earlier writer got to.

use std::sync::Arc;

use super::error::StoreError;
use super::file::DiskFile;
use super::fill::{Fill, Held, charged_partial, remove_partial};
use super::inner::Inner;
use super::ledger::{Charge, Kind};
use super::live::Claim;
use super::partial::Sidecar;
use super::writer::{BlobWriter, reserved_for};
use crate::oci::{Digest, Verifier};

/// A read of what an earlier writer left.
const READ: usize = 512 << 10;

/// See [`super::Store::begin`].
pub(crate) async fn begin(
    inner: Arc<Inner>,
    digest: Digest,
    size: Option<u64>,
) -> Result<BlobWriter, StoreError> {
    let lock = inner.dir_lock()?;
    let claim = inner.live.claim_for_writer(&digest).await;
    let claim = claim.ok_or(StoreError::Busy)?;
    if inner.is_stored(&digest).await? {
        return Err(StoreError::AlreadyStored);
    }
    let charge = reserve(&inner, &digest, size).await?;
    let prepared = inner
        .blocking(move |inner| {
            let mut charge = charge;
            match prepare(inner, &digest, size, &claim, &mut charge) {
                Ok(prepared) => Ok((prepared, charge, claim)),
                Err(error) => {
                    remove_partial(inner, digest, charge, &claim);
                    Err(error)
                }
            }
        })
        .await;
    let (prepared, charge, claim) = prepared?;
    let held = Held::new(prepared.sidecar, charge, claim, lock);
    let hashed = prepared.verifier.hashed();
    let fill = Fill::new(inner, digest, prepared.file, hashed, held);
    Ok(BlobWriter::new(fill, prepared.verifier, size))
}

/// Takes over what an earlier writer's files are charged, and reserves the rest.
async fn reserve(
    inner: &Arc<Inner>,
    digest: &Digest,
    size: Option<u64>,
) -> Result<Charge, StoreError> {
    let wanted = size.map_or_else(|| reserved_for(0), charged_partial);
    let Some((charge, stamp)) = inner.paused.take(digest) else {
        return inner.reserve(wanted).await;
    };
    let mut charge = charge.turn_into(Kind::Running);
    if let Err(error) = inner.grow(&mut charge, wanted, wanted).await {
        let charge = charge.turn_into(Kind::Paused);
        inner.paused.put(*digest, charge, stamp);
        return Err(error);
    }
    Ok(charge)
}

struct Prepared {
    file: Arc<DiskFile>,
    sidecar: Sidecar,
    verifier: Verifier,
}

/// Opens the files, hashes what was recorded as hashed, and cuts off the rest. Blocks.
fn prepare(
    inner: &Arc<Inner>,
    digest: &Digest,
    size: Option<u64>,
    claim: &Claim,
    charge: &mut Charge,
) -> Result<Prepared, StoreError> {
    let disk = &inner.disk;
    let path = disk.layout.partial(digest);
    let mut sidecar = Sidecar::open(disk, digest)?;
    let file = match claim.file() {
        // Followers of the earlier writer still have it open.
        Some(file) => file,
        None => DiskFile::new(
            disk.create(&path)?,
            path.clone(),
            *digest,
            &inner.reads,
            &inner.live,
        ),
    };
    // Readers of the earlier writer may be behind what it had hashed, whatever got recorded of that.
    let promised = file.promised();
    let recorded = sidecar.recorded().max(promised);
    let usable = match size {
        // More than the whole blob: the earlier writer was told another length.
        Some(size) if recorded > size => 0,
        _ => recorded,
    };
    let verifier = hash_prefix(inner, &file, digest, usable)?;
    if verifier.hashed() < promised {
        // What they count on must not change under them: this file is given up, the next writer gets another.
        return Err(StoreError::Busy);
    }
    if verifier.hashed() != sidecar.recorded() {
        sidecar.record(disk, verifier.hashed());
    }
    disk.truncate(file.file(), &path, verifier.hashed())?;
    file.keep(sidecar.recorded().min(verifier.hashed()));
    charge.written(verifier.hashed());
    claim.set_file(&file);
    Ok(Prepared {
        file,
        sidecar,
        verifier,
    })
}

/// Hashes up to `length` bytes from the start of the file, as far as it goes.
fn hash_prefix(
    inner: &Inner,
    file: &DiskFile,
    digest: &Digest,
    length: u64,
) -> Result<Verifier, StoreError> {
    let mut verifier = Verifier::new(*digest);
    if length == 0 {
        return Ok(verifier);
    }
    let mut buffer = vec![0; READ];
    while verifier.hashed() < length {
        let left = length - verifier.hashed();
        let wanted = usize::try_from(left).map_or(READ, |left| left.min(READ));
        let count = inner.disk.read_at(
            file.file(),
            file.path(),
            &mut buffer[..wanted],
            verifier.hashed(),
        )?;
        if count == 0 {
            break;
        }
        verifier.update(&buffer[..count]);
    }
    Ok(verifier)
}
