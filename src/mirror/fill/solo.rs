//! A client on its own: where the disk can't take a blob, its bytes come straight from upstream.
//!
//! The hash is carried on from what the file had, and the end of the body is withheld as ever, so that even here no
//! wrong body completes. Each such client costs the upstream a body of its own, under the upstream's bound on
//! connections; a metric counts them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::metrics;
use crate::mirror::error::MirrorError;
use crate::mirror::served::BodyError;
use crate::oci::{Digest, Verifier};
use crate::store::PartialFile;
use crate::upstream::{BlobBody, BlobPermit, ByteRange, UpstreamError};

use super::Failure;
use super::fetch;
use super::reader::WITHHELD;
use super::sources::Source;

/// How often in a row a body is continued without a byte in between.
const RESUMES: u32 = 5;
/// The wait before a resume.
const RESUME_AFTER: Duration = Duration::from_millis(200);

/// A body that one client reads from upstream.
#[derive(Debug)]
pub struct Solo {
    source: Source,
    digest: Digest,
    /// Hashes from the blob's first byte on; without one the range goes out unverified.
    verifier: Option<Verifier>,
    /// The next byte to come from upstream.
    at: u64,
    /// The first byte that the client gets from upstream; what comes before it is only hashed.
    first: u64,
    end: u64,
    /// Read from the file before anything comes from upstream; the verifier has these bytes already.
    file: Option<(Arc<PartialFile>, Range<u64>)>,
    stream: Option<(BlobBody, BlobPermit)>,
    /// Come but not gone out; its last [`WITHHELD`] bytes wait for the digest.
    held: VecDeque<Bytes>,
    held_bytes: u64,
    /// Bytes to throw away: the upstream ignored the range of a request.
    again: u64,
    /// Resumes in a row that brought nothing.
    resumes: u32,
    /// Read before the response head went out.
    peeked: Option<Bytes>,
    _counted: metrics::Up,
}

impl Solo {
    /// The blob from `first` to its end at `total`, hashed on from where `verifier` stands.
    pub fn verifying(source: Source, verifier: Verifier, first: u64, total: u64) -> Self {
        let at = verifier.hashed();
        Self::new(source, verifier.digest(), Some(verifier), at, first..total)
    }

    /// A part of the blob, as it comes.
    pub fn range(source: Source, digest: Digest, range: Range<u64>) -> Self {
        Self::new(source, digest, None, range.start, range)
    }

    fn new(
        source: Source,
        digest: Digest,
        verifier: Option<Verifier>,
        at: u64,
        range: Range<u64>,
    ) -> Self {
        Self {
            source,
            digest,
            verifier,
            at,
            first: range.start,
            end: range.end,
            file: None,
            stream: None,
            held: VecDeque::new(),
            held_bytes: 0,
            again: 0,
            resumes: 0,
            peeked: None,
            _counted: metrics::solo(),
        }
    }

    /// Reads `range` of the file before anything else; it ends where the verifier stands.
    pub fn read_first(&mut self, file: Arc<PartialFile>, range: Range<u64>) {
        self.first = self.first.max(range.end);
        self.file = Some((file, range));
    }

    /// Connects, so that a refusal is known before a response head goes out; and where the whole body waits for the
    /// digest, reads it.
    pub async fn begin(&mut self) -> Result<(), Failure> {
        let from_upstream = self.file.is_none();
        if from_upstream {
            let repository = self.source.repository();
            self.connect().await.map_err(|error| {
                Failure::Sources(MirrorError::from_blob(&error, &repository, &self.digest))
            })?;
        }
        if self.verifier.is_some() && from_upstream && self.end - self.first <= WITHHELD {
            self.peeked = self.next().await.map_err(|error| match error {
                BodyError::Mismatch => Failure::Mismatch,
                BodyError::Cut => Failure::Sources(MirrorError::cut_short(&self.digest)),
            })?;
        }
        Ok(())
    }

    /// The next bytes, or `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if let Some(bytes) = self.peeked.take() {
            return Ok(Some(bytes));
        }
        loop {
            if let Some(bytes) = self.release() {
                return Ok(Some(bytes));
            }
            if self.file.is_some() {
                self.take_from_file().await;
            } else if self.at < self.end {
                match self.chunk().await {
                    Ok(Some(bytes)) => self.take(bytes)?,
                    Ok(None) => self.resume(None).await?,
                    Err(error) => self.resume(Some(&error)).await?,
                }
            } else {
                self.prove()?;
                // Nothing is withheld any more.
                return Ok(self.release());
            }
        }
    }

    /// Holds the next bytes of the file. Where it can't be read, everything is hashed anew from upstream.
    async fn take_from_file(&mut self) {
        let Some((file, range)) = &mut self.file else {
            return;
        };
        let most = index(range.end - range.start);
        match file.read_at(range.start, most).await {
            Ok(bytes) if !bytes.is_empty() => {
                range.start += bytes.len() as u64;
                if range.is_empty() {
                    self.file = None;
                }
                self.hold(bytes);
            }
            refused => {
                tracing::warn!(digest = %self.digest, ?refused, "what was kept of a blob can't be read");
                self.first = range.start;
                self.file = None;
                self.at = 0;
                self.verifier = Some(Verifier::new(self.digest));
            }
        }
    }

    async fn connect(&mut self) -> Result<(), UpstreamError> {
        if self.stream.is_some() || self.at >= self.end {
            return Ok(());
        }
        let permit = self.source.upstream.passing_connection().await;
        let range = ByteRange {
            start: self.at,
            end: self.verifier.is_none().then_some(self.end),
        };
        let response = fetch::open(&self.source, &self.digest, range).await?;
        self.again = if response.whole { self.at } else { 0 };
        self.stream = Some((response.body, permit));
        Ok(())
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        self.connect().await?;
        match &mut self.stream {
            Some((body, _)) => body.chunk().await,
            None => Ok(None),
        }
    }

    /// Hashes what has come and holds what of it the client is to have.
    fn take(&mut self, mut bytes: Bytes) -> Result<(), BodyError> {
        let skip = index(self.again).min(bytes.len());
        bytes.advance(skip);
        self.again -= skip as u64;
        let left = index(self.end - self.at);
        if let Some(verifier) = &mut self.verifier {
            if bytes.len() > left {
                return Err(BodyError::Mismatch);
            }
            verifier.update(&bytes);
        }
        bytes.truncate(left);
        if !bytes.is_empty() {
            self.resumes = 0;
        }
        let before = index(self.first.saturating_sub(self.at)).min(bytes.len());
        self.at += bytes.len() as u64;
        bytes.advance(before);
        self.hold(bytes);
        Ok(())
    }

    fn hold(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.held_bytes += bytes.len() as u64;
            self.held.push_back(bytes);
        }
    }

    /// The oldest bytes that need not be withheld.
    fn release(&mut self) -> Option<Bytes> {
        let next = self.held.front()?.len() as u64;
        let withheld = if self.verifier.is_some() { WITHHELD } else { 0 };
        if self.held_bytes - next < withheld {
            return None;
        }
        self.held_bytes -= next;
        self.held.pop_front()
    }

    /// Everything has come: what was withheld may go if the digest is right.
    fn prove(&mut self) -> Result<(), BodyError> {
        let Some(verifier) = self.verifier.take() else {
            return Ok(());
        };
        self.stream = None;
        verifier.finish().map(drop).map_err(|wrong| {
            tracing::warn!(
                digest = %self.digest,
                actual = %wrong.actual,
                "a passed-through blob does not match its digest"
            );
            BodyError::Mismatch
        })
    }

    /// The body broke off: asks for the rest, a bounded number of times in a row.
    async fn resume(&mut self, error: Option<&UpstreamError>) -> Result<(), BodyError> {
        self.stream = None;
        self.resumes += 1;
        if self.resumes > RESUMES || error.is_some_and(|error| !error.may_retry()) {
            return Err(BodyError::Cut);
        }
        tokio::time::sleep(RESUME_AFTER).await;
        Ok(())
    }
}

/// A length as an index; one that is too large for memory is beyond every buffer anyway.
fn index(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
