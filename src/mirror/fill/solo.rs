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
use crate::mirror::served::BodyError;
use crate::oci::{Digest, Verifier};
use crate::store::PartialFile;
use crate::upstream::{BlobBody, BlobPermit, ByteRange, UpstreamError};

use super::fetch;
use super::reader::WITHHELD;
use super::sources::Source;

/// How often a body is continued after a cut.
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
    /// The first byte that the client gets; what comes before it is only hashed.
    first: u64,
    end: u64,
    /// Read from the file before anything comes from upstream.
    file: Option<(Arc<PartialFile>, Range<u64>)>,
    stream: Option<(BlobBody, BlobPermit)>,
    /// Come but not gone out; its last [`WITHHELD`] bytes wait for the digest.
    held: VecDeque<Bytes>,
    held_bytes: u64,
    /// Bytes to throw away: the upstream ignored the range of a request.
    again: u64,
    resumes: u32,
    _counted: metrics::Up,
}

impl Solo {
    /// The blob from `first` to its end, hashed on from where `verifier` stands.
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
            _counted: metrics::solo(),
        }
    }

    /// Reads `range` of the file before anything else; it ends where the verifier stands.
    pub fn read_first(&mut self, file: Arc<PartialFile>, range: Range<u64>) {
        self.first = self.first.max(range.end);
        self.file = Some((file, range));
    }

    /// The next bytes, or `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if let Some(bytes) = self.next_of_file().await? {
            return Ok(Some(bytes));
        }
        loop {
            if let Some(bytes) = self.release() {
                return Ok(Some(bytes));
            }
            if self.at >= self.end {
                self.prove()?;
                // Nothing is withheld any more.
                return Ok(self.release());
            }
            match self.chunk().await {
                Ok(Some(bytes)) => self.take(bytes)?,
                Ok(None) => self.resume(None).await?,
                Err(error) => self.resume(Some(&error)).await?,
            }
        }
    }

    async fn next_of_file(&mut self) -> Result<Option<Bytes>, BodyError> {
        let Some((file, range)) = &mut self.file else {
            return Ok(None);
        };
        let most = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let bytes = file.read_at(range.start, most).await.map_err(|error| {
            tracing::warn!(digest = %self.digest, %error, "what was kept of a blob can't be read");
            BodyError::Cut
        })?;
        range.start += bytes.len() as u64;
        if range.is_empty() {
            self.file = None;
        }
        if bytes.is_empty() {
            Err(BodyError::Cut)
        } else {
            Ok(Some(bytes))
        }
    }

    /// Connects, so that a refusal is known before a response head goes out.
    pub async fn connect(&mut self) -> Result<(), UpstreamError> {
        if self.stream.is_some() || self.at >= self.end {
            return Ok(());
        }
        let permit = self.source.upstream.connection().await;
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
        let skip = usize::try_from(self.again)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        bytes.advance(skip);
        self.again -= skip as u64;
        if let Some(verifier) = &mut self.verifier {
            if self.at + bytes.len() as u64 > self.end {
                return Err(BodyError::Mismatch);
            }
            verifier.update(&bytes);
        }
        let before = usize::try_from(self.first.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        self.at += bytes.len().min(left) as u64;
        bytes.truncate(left);
        bytes.advance(before.min(bytes.len()));
        if !bytes.is_empty() {
            self.held_bytes += bytes.len() as u64;
            self.held.push_back(bytes);
        }
        Ok(())
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
            tracing::warn!(digest = %self.digest, actual = %wrong.actual, "a passed-through blob does not match its digest");
            BodyError::Mismatch
        })
    }

    /// The body broke off: asks for the rest, a bounded number of times.
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
