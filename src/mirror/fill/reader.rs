//! A client's view of a fill: waits for what it may have, reads it from the growing file.
//!
//! What it may have is decided by [`released`], which is pure: the last part of a body that reaches the blob's end is
//! withheld until the digest is proven, so that no wrong body ever completes (invariant 5).

use std::io;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics;
use crate::mirror::error::MirrorError;
use crate::mirror::rights::Granted;
use crate::mirror::served::BodyError;
use crate::oci::Verifier;
use crate::store::{Chunk, Trail};

use super::solo::Solo;
use super::sources::Source;
use super::table::Lease;
use super::{Detached, Failure, Progress};

/// So much of a body is withheld until it is verified; a body that is no longer is withheld whole.
pub const WITHHELD: u64 = 64 << 10;

/// How often a reader that is behind looks how its fill does: thousands of them look at one cell, and what is hashed stays.
const LOOK_EVERY: u64 = 1 << 20;

/// When bytes of a range may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// As they are hashed, but for the last part, which waits for the digest.
    WithholdEnd,
    /// As they are on disk: a bounded range, marked as not verified.
    AsTheyCome,
    /// When the whole blob is verified.
    Verified,
}

impl Release {
    /// The rule for `range` of a blob of `total` bytes. `bounded` says that the client named its last byte; `strict`
    /// makes every range wait for the digest.
    pub fn rule(range: &Range<u64>, total: u64, bounded: bool, strict: bool) -> Self {
        let part = bounded && *range != (0..total);
        match (part, strict) {
            (true, true) => Self::Verified,
            (true, false) => Self::AsTheyCome,
            (false, _) => Self::WithholdEnd,
        }
    }
}

/// Up to where the bytes from `at` may go out; `at` itself where none may.
pub fn released(rule: Release, at: u64, range: &Range<u64>, progress: &Progress) -> u64 {
    let end = match progress {
        Progress::Verified { .. } => range.end,
        Progress::Growing {
            extents,
            hashed,
            total,
        } => match rule {
            Release::AsTheyCome => extents.contiguous_from(at),
            Release::Verified => at,
            Release::WithholdEnd if range.end - range.start <= WITHHELD => at,
            Release::WithholdEnd => (*hashed).min(total.saturating_sub(WITHHELD)),
        },
        Progress::Connecting | Progress::Detached(_) | Progress::Failed(_) => at,
    };
    end.clamp(at, range.end)
}

/// What a reader has seen of its fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// There is more to read, or has been a change.
    More,
    /// It has read everything.
    End,
}

/// Reads a range of a blob that is being filled.
#[derive(Debug)]
pub struct FillReader {
    lease: Lease,
    progress: watch::Receiver<Progress>,
    /// Whom to ask where the disk fails the fill.
    source: Source,
    range: Range<u64>,
    trail: Trail,
    at: u64,
    /// So far it may read.
    upto: u64,
    /// Here it looks again how far that is.
    look_at: u64,
    rule: Release,
    solo: Option<Box<Solo>>,
    /// Counts a reader of a fill that another's request started.
    _follower: Option<metrics::Up>,
}

impl FillReader {
    /// A reader of `range`, which was resolved against the size that the fill told. `follows` says that another's
    /// request started the fill.
    pub fn open(
        granted: &Granted,
        lease: Lease,
        source: Source,
        range: Range<u64>,
        rule: Release,
        follows: bool,
    ) -> Self {
        debug_assert_eq!(
            granted.digest(),
            &lease.digest(),
            "the right is to this blob"
        );
        if rule != Release::WithholdEnd {
            lease.want(range.clone());
        }
        Self {
            progress: lease.progress(),
            trail: Trail::default(),
            at: range.start,
            upto: range.start,
            look_at: range.start,
            lease,
            source,
            range,
            rule,
            solo: None,
            _follower: follows.then(metrics::follower),
        }
    }

    /// Waits until its first byte may go out, so that an early failure is still an honest status; at most until
    /// `deadline`, for clients give up on a head that does not come.
    pub async fn first_byte(&mut self, deadline: Instant) -> Result<(), Failure> {
        let (rule, at, range) = (self.rule, self.at, self.range.clone());
        let ready = |progress: &Progress| match progress {
            Progress::Failed(_) | Progress::Detached(_) | Progress::Verified { .. } => true,
            Progress::Connecting | Progress::Growing { .. } => {
                released(rule, at, &range, progress) > at
            }
        };
        let progress = match tokio::time::timeout_at(deadline, self.progress.wait_for(ready)).await
        {
            Ok(Ok(progress)) => progress.clone(),
            Ok(Err(_)) => return Err(Failure::Abandoned),
            // The size is known, so the head can go out; the body follows when it can.
            Err(_) => return Ok(()),
        };
        match progress {
            Progress::Failed(failure) => Err(failure),
            Progress::Detached(left) => {
                self.go_on_alone(&left)
                    .map_err(|_| Failure::Sources(MirrorError::strict_without_cache()))?;
                self.begin_alone(deadline).await
            }
            _ => Ok(()),
        }
    }

    async fn begin_alone(&mut self, deadline: Instant) -> Result<(), Failure> {
        let Some(solo) = &mut self.solo else {
            return Ok(());
        };
        let begun = tokio::time::timeout_at(deadline, solo.begin()).await;
        begun.unwrap_or_else(|_| Err(Failure::Sources(MirrorError::busy_upstream())))
    }

    /// Whether the disk has failed the fill and this reader is on its own.
    pub fn is_alone(&self) -> bool {
        self.solo.is_some()
    }

    /// The next bytes, or `None` after the last. With `lend` they may be a part of a file, for a socket to take from there.
    pub async fn next(&mut self, lend: bool) -> Result<Option<Chunk>, BodyError> {
        loop {
            if let Some(solo) = &mut self.solo {
                return Ok(solo.next().await?.map(Chunk::Bytes));
            }
            if self.at >= self.range.end && !self.range.is_empty() {
                return Ok(None);
            }
            if self.at >= self.look_at {
                if self.look().await? == Seen::End {
                    return Ok(None);
                }
                continue;
            }
            match self.read(lend).await {
                Ok(chunk) => return Ok(Some(chunk)),
                Err(error) => self.leave_the_file(&error)?,
            }
        }
    }

    /// Looks how far it may read; where that is no further than it is, waits for a change. How long a body may stand
    /// still is `http`'s to say.
    async fn look(&mut self) -> Result<Seen, BodyError> {
        let progress = self.progress.borrow_and_update().clone();
        self.upto = released(self.rule, self.at, &self.range, &progress);
        if self.upto > self.at {
            self.look_at = match self.rule {
                // What is not hashed stays only as long as its fill runs.
                Release::AsTheyCome => self.at + 1,
                Release::WithholdEnd | Release::Verified => self.upto.min(self.at + LOOK_EVERY),
            };
            return Ok(Seen::More);
        }
        match progress {
            Progress::Verified { .. } => return Ok(Seen::End),
            Progress::Detached(left) => self.go_on_alone(&left)?,
            Progress::Failed(Failure::Mismatch) => return Err(BodyError::Mismatch),
            Progress::Failed(_) => return Err(BodyError::Cut),
            Progress::Connecting | Progress::Growing { .. } => {
                self.progress.changed().await.map_err(|_| BodyError::Cut)?;
            }
        }
        Ok(Seen::More)
    }

    async fn read(&mut self, lend: bool) -> io::Result<Chunk> {
        let most = usize::try_from(self.upto - self.at).unwrap_or(usize::MAX);
        let file = self.lease.file.get().ok_or(io::ErrorKind::NotFound)?;
        // What is not hashed may still be written anew.
        let is_settled = self.rule != Release::AsTheyCome;
        let trail = (lend && is_settled).then_some(&mut self.trail);
        let chunk = file.lend_at(trail, self.at, most).await?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += chunk.len() as u64;
        Ok(chunk)
    }

    /// The file can't be read: the rest comes from upstream, hashed from the start.
    fn leave_the_file(&mut self, error: &io::Error) -> Result<(), BodyError> {
        tracing::warn!(digest = %self.lease.digest(), %error, "a running fill can't be read");
        let verifier = Verifier::new(self.lease.digest());
        self.solo = Some(Box::new(self.alone(verifier)?));
        Ok(())
    }

    /// The disk has failed the fill: the rest comes from upstream, hashed on from where the file ends.
    fn go_on_alone(&mut self, left: &Detached) -> Result<(), BodyError> {
        let mut solo = self.alone(left.verifier.clone())?;
        // What the file still has for a reader that is behind the frontier.
        let kept = self.at..left.hashed.min(self.range.end);
        if let (Release::WithholdEnd, false, Some(file)) =
            (self.rule, kept.is_empty(), self.lease.file.get())
        {
            solo.read_first(Arc::clone(file), kept);
        }
        self.solo = Some(Box::new(solo));
        Ok(())
    }

    /// What is left of the body, straight from upstream. A range that has to wait for the digest of a whole blob has
    /// nowhere to wait in.
    fn alone(&self, verifier: Verifier) -> Result<Solo, BodyError> {
        let source = self.source.clone();
        match self.rule {
            Release::WithholdEnd => Ok(Solo::verifying(source, verifier, self.at, self.range.end)),
            Release::AsTheyCome => Ok(Solo::range(
                source,
                self.lease.digest(),
                self.at..self.range.end,
            )),
            Release::Verified => Err(BodyError::Cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Extents;

    const TOTAL: u64 = 1_000_000;

    /// A fill that has hashed `hashed` bytes and has `far` bytes at its end as well.
    fn growing(hashed: u64, far: u64) -> Progress {
        let mut extents = Extents::default();
        extents.insert(0..hashed);
        extents.insert(TOTAL - far..TOTAL);
        Progress::Growing {
            extents: Arc::new(extents),
            hashed,
            total: TOTAL,
        }
    }

    fn release(range: Range<u64>, progress: &Progress, strict: bool) -> u64 {
        let bounded = range.end < TOTAL;
        let rule = Release::rule(&range, TOTAL, bounded, strict);
        released(rule, range.start, &range, progress) - range.start
    }

    #[test]
    fn a_whole_body_goes_out_as_far_as_it_is_hashed_but_for_its_end() {
        assert_eq!(release(0..TOTAL, &growing(0, 0), false), 0);
        assert_eq!(release(0..TOTAL, &growing(500_000, 0), false), 500_000);
        assert_eq!(
            release(0..TOTAL, &growing(TOTAL, 0), false),
            TOTAL - WITHHELD
        );
        assert_eq!(
            release(0..TOTAL, &Progress::Verified { size: TOTAL }, false),
            TOTAL
        );
    }

    #[test]
    fn what_is_on_disk_ahead_of_the_frontier_is_not_hashed_and_stays() {
        assert_eq!(release(0..TOTAL, &growing(1000, 900_000), false), 1000);
        assert_eq!(
            release(TOTAL - 500_000..TOTAL, &growing(1000, 900_000), false),
            0
        );
    }

    #[test]
    fn a_body_no_longer_than_what_is_withheld_waits_for_the_digest() {
        let tail = TOTAL - WITHHELD..TOTAL;
        assert_eq!(release(tail.clone(), &growing(TOTAL, 0), false), 0);
        assert_eq!(
            release(tail, &Progress::Verified { size: TOTAL }, false),
            WITHHELD
        );
    }

    #[test]
    fn a_bounded_range_goes_out_as_it_comes_unless_ranges_are_strict() {
        let far = TOTAL - 5000..TOTAL - 1000;
        assert_eq!(release(far.clone(), &growing(0, 0), false), 0);
        assert_eq!(release(far.clone(), &growing(0, 4000), false), 0);
        assert_eq!(release(far.clone(), &growing(0, 5000), false), 4000);
        assert_eq!(release(far.clone(), &growing(0, 5000), true), 0);
        assert_eq!(
            release(far, &Progress::Verified { size: TOTAL }, true),
            4000
        );
    }

    #[test]
    fn a_range_whose_last_byte_is_named_is_bounded_even_at_the_end_of_the_blob() {
        let footer = TOTAL - 51..TOTAL;
        assert_eq!(
            Release::rule(&footer, TOTAL, true, false),
            Release::AsTheyCome
        );
        assert_eq!(
            Release::rule(&footer, TOTAL, false, false),
            Release::WithholdEnd
        );
        assert_eq!(
            Release::rule(&(0..TOTAL), TOTAL, true, false),
            Release::WithholdEnd
        );
    }

    #[test]
    fn a_failed_fill_releases_nothing() {
        for failure in [Failure::Mismatch, Failure::Paused, Failure::Abandoned] {
            assert_eq!(release(0..TOTAL, &Progress::Failed(failure), false), 0);
        }
    }
}
