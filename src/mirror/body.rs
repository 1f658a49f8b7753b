//! The bytes of a blob on their way to one client, wherever they come from.
//!
//! A body that can't be read on from the cache goes on from upstream: a fault of the disk costs the cache's help, never
//! the pull.

use std::ops::Range;
use std::sync::Arc;

use crate::oci::{Digest, Verifier};
use crate::store::{BlobFile, Chunk, Trail};

use super::fill::reader::FillReader;
use super::fill::solo::Solo;
use super::fill::sources::Source;
use super::served::BodyError;

/// The bytes of a blob on their way to one client.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it stands in a box of its own, see `Body::Blob`"
)]
pub enum BlobBody {
    /// From the cache.
    Stored(StoredBody),
    /// From a running fill.
    Filling(FillReader),
    /// From upstream, because the disk failed under a cached blob.
    Solo(Solo),
}

impl BlobBody {
    /// The next bytes, or `None` after the last. With `lend` they may be a part of a file, for a socket to take from there.
    pub async fn next(&mut self, lend: bool) -> Result<Option<Chunk>, BodyError> {
        if let Self::Stored(stored) = self {
            match stored.next(lend).await {
                Ok(chunk) => return Ok(chunk),
                Err(error) => {
                    tracing::warn!(digest = %stored.digest, %error, "a cached blob can't be read; its rest comes from upstream");
                    *self = Self::Solo(stored.go_on_alone());
                }
            }
        }
        match self {
            Self::Stored(_) => Err(BodyError::Cut),
            Self::Filling(reader) => reader.next(lend).await,
            Self::Solo(solo) => Ok(solo.next().await?.map(Chunk::Bytes)),
        }
    }
}

/// A part of a cached blob.
#[derive(Debug)]
pub struct StoredBody {
    file: Arc<BlobFile>,
    trail: Trail,
    at: u64,
    end: u64,
    source: Source,
    digest: Digest,
}

impl StoredBody {
    /// The bytes `range` of `file`; `source` has them too.
    pub fn new(file: Arc<BlobFile>, source: Source, digest: Digest, range: Range<u64>) -> Self {
        Self {
            file,
            trail: Trail::default(),
            at: range.start,
            end: range.end,
            source,
            digest,
        }
    }

    async fn next(&mut self, lend: bool) -> std::io::Result<Option<Chunk>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let trail = lend.then_some(&mut self.trail);
        let chunk = self.file.lend_at(trail, self.at, most).await?;
        if chunk.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.at += chunk.len() as u64;
        Ok(Some(chunk))
    }

    fn go_on_alone(&self) -> Solo {
        let source = self.source.clone();
        if self.end == self.file.size() {
            Solo::verifying(source, Verifier::new(self.digest), self.at, self.end)
        } else {
            Solo::range(source, self.digest, self.at..self.end)
        }
    }
}
