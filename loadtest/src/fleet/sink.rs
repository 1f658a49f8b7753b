//! Where the body of an answer goes: kept, or hashed as it comes.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::connection::Head;
use crate::origin::{Descriptor, Digest};

/// Takes the body of a 200 or a 206.
pub(super) trait Sink {
    /// Looks at the head, before any of the body. An error says what is wrong with it.
    fn begin(&mut self, head: &Head) -> Result<(), String>;

    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]);
}

/// What is small is kept.
impl Sink for Vec<u8> {
    fn begin(&mut self, _: &Head) -> Result<(), String> {
        self.clear();
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// What a client makes of a whole blob where it has asked for the rest of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afresh {
    /// It skips what it has.
    Skips,
    /// It begins from zero.
    Restarts,
    /// It gives up.
    Fails,
}

/// A whole blob, hashed as it comes, over several answers where it breaks off.
pub(super) struct Whole<'a> {
    blob: &'a Descriptor,
    afresh: Afresh,
    hasher: Sha256,
    got: u64,
    skip: u64,
}

impl<'a> Whole<'a> {
    pub(super) fn of(blob: &'a Descriptor, afresh: Afresh) -> Self {
        Self {
            blob,
            afresh,
            hasher: Sha256::new(),
            got: 0,
            skip: 0,
        }
    }

    /// How much of it has come, from its start.
    pub(super) fn got(&self) -> u64 {
        self.got
    }

    /// Whether it is the blob that was asked for.
    pub(super) fn finish(self) -> Result<(), String> {
        if self.got != self.blob.size {
            return Err("its size is another one".to_owned());
        }
        let digest = format!("sha256:{}", hex::encode(self.hasher.finalize()));
        if digest == self.blob.digest.as_str() {
            Ok(())
        } else {
            Err("its bytes are not what its digest says".to_owned())
        }
    }
}

impl Sink for Whole<'_> {
    fn begin(&mut self, head: &Head) -> Result<(), String> {
        self.skip = 0;
        if self.got == 0 {
            return is_status(head, 200);
        }
        if head.status == 206 {
            let rest = self.got..self.blob.size;
            return is_part(head, &rest, self.blob.size);
        }
        match self.afresh {
            Afresh::Skips => self.skip = self.got,
            Afresh::Restarts => {
                self.hasher = Sha256::new();
                self.got = 0;
            }
            Afresh::Fails => return is_status(head, 206),
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        let length = bytes.len() as u64;
        let skipped = self.skip.min(length);
        self.skip -= skipped;
        let new = &bytes[usize::try_from(skipped).expect("no more than there are")..];
        self.hasher.update(new);
        self.got += new.len() as u64;
    }
}

/// A bounded range of a blob, kept.
pub(super) struct Part {
    range: Range<u64>,
    total: u64,
    pub(super) bytes: Vec<u8>,
}

impl Part {
    pub(super) fn of(blob: &Descriptor, range: Range<u64>) -> Self {
        Self {
            range,
            total: blob.size,
            bytes: Vec::new(),
        }
    }
}

impl Sink for Part {
    fn begin(&mut self, head: &Head) -> Result<(), String> {
        self.bytes.clear();
        is_status(head, 206)?;
        is_part(head, &self.range, self.total)
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

fn is_status(head: &Head, wanted: u16) -> Result<(), String> {
    if head.status == wanted {
        Ok(())
    } else {
        Err(format!("a {} where {wanted} was due", head.status))
    }
}

fn is_part(head: &Head, range: &Range<u64>, total: u64) -> Result<(), String> {
    let wanted = format!("bytes {}-{}/{total}", range.start, range.end - 1);
    let told = head.header("content-range");
    let length = range.end - range.start;
    if told == wanted && head.length() == length {
        Ok(())
    } else {
        Err(format!("`{told}` where `{wanted}` was asked for"))
    }
}

/// Whether bytes are what a digest says.
pub(super) fn matches(bytes: &[u8], digest: &Digest) -> Result<(), String> {
    if Digest::sha256(bytes) == *digest {
        Ok(())
    } else {
        Err("its bytes are not what its digest says".to_owned())
    }
}
