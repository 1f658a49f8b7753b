//! The sidecar of a partial file: how much of it is hashed.
//!
//! Written now and then and never synced: it only saves work. Whatever a crash leaves of the two
//! files, the blob is hashed from its first byte again before it can be committed.

use std::fs::File;

use super::disk::Disk;
use super::error::StoreError;
use super::layout::Layout;
use crate::oci::Digest;

/// How much further the hashing gets before it is recorded again.
pub(crate) const RECORD_EVERY: u64 = 1 << 20;

/// Length of the text in a sidecar.
const LENGTH: usize = 48;
const HEAD: &str = "forebay partial 1 hashed ";

/// The sidecar, open for writing.
pub(crate) struct Sidecar {
    file: File,
    digest: Digest,
    recorded: u64,
}

impl Sidecar {
    /// Opens it, making it where it is missing; says what it records.
    pub(crate) fn open(disk: &Disk, digest: &Digest) -> Result<Self, StoreError> {
        let path = disk.layout.state(digest);
        let file = disk.create(&path)?;
        let recorded = read(disk, &file, &disk.layout, digest)?;
        Ok(Self {
            file,
            digest: *digest,
            recorded,
        })
    }

    /// What is recorded.
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Records `hashed` where enough has changed.
    pub(crate) fn record_now_and_then(&mut self, disk: &Disk, hashed: u64) {
        if hashed >= self.recorded + RECORD_EVERY || hashed < self.recorded {
            self.record(disk, hashed);
        }
    }

    /// Records `hashed`. A failure costs a restart some work and nothing else.
    pub(crate) fn record(&mut self, disk: &Disk, hashed: u64) {
        let path = disk.layout.state(&self.digest);
        let text = format!(
            "{:<width$}\n",
            format!("{HEAD}{hashed}"),
            width = LENGTH - 1
        );
        if disk.write_state(&self.file, &path, text.as_bytes()).is_ok() {
            self.recorded = hashed;
        }
    }
}

/// What the sidecar of a digest records; 0 where there is none.
pub(crate) fn recorded(disk: &Disk, digest: &Digest) -> Result<u64, StoreError> {
    match disk.open(&disk.layout.state(digest))? {
        Some(file) => read(disk, &file, &disk.layout, digest),
        None => Ok(0),
    }
}

fn read(disk: &Disk, file: &File, layout: &Layout, digest: &Digest) -> Result<u64, StoreError> {
    let mut text = [0; LENGTH];
    let length = disk.read_at(file, &layout.state(digest), &mut text, 0)?;
    Ok(parse(&text[..length]).unwrap_or(0))
}

fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.len() != LENGTH {
        return None;
    }
    text.strip_prefix(HEAD)?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_that_was_cut_short_records_nothing() {
        let whole = format!("{:<47}\n", format!("{HEAD}{}", u64::MAX));
        assert_eq!(whole.len(), LENGTH);
        assert_eq!(parse(whole.as_bytes()), Some(u64::MAX));
        for length in 0..LENGTH {
            assert_eq!(parse(&whole.as_bytes()[..length]), None);
        }
        assert_eq!(parse(&[0; LENGTH]), None);
        assert_eq!(parse(&[0xff; LENGTH]), None);
    }
}
