//! The end of a fill: what is kept, what its readers are told, and when it leaves the table.
//!
//! The order matters. Readers are told that a blob is verified before anything is synced, and can join until its index
//! row is visible. A writer is gone before its fill leaves the table, so that the next fill of the digest can have it.

use std::sync::Arc;

use crate::metrics::{self, FillOutcome};
use crate::mirror::error::MirrorError;
use crate::oci::{Mismatch, Verified, Verifier};
use crate::store::{BlobWriter, Complete, StoreError};

use super::table::Env;
use super::{Detached, Failure, Fill, Progress};

/// How a driver's run ended.
#[derive(Debug)]
pub enum End {
    /// Every byte is on disk.
    Complete,
    /// What is on disk can't be a part of the blob.
    Mismatch,
    /// Nobody reads it, or the mirror stops.
    Paused,
    /// The store has it already.
    Stored,
    /// No source could give it.
    Failed(MirrorError),
    /// The disk failed or has no room.
    Disk(StoreError),
}

/// Settles a fill that had a writer.
pub async fn settle(env: &Arc<Env>, fill: &Arc<Fill>, writer: BlobWriter, end: End) -> FillOutcome {
    // Whatever came in between, a blob that is all here is not left lying.
    if writer.size() == Some(writer.hashed()) && !matches!(end, End::Mismatch) {
        return complete(env, fill, writer).await;
    }
    match end {
        End::Complete | End::Mismatch => {
            writer.discard().await;
            mismatch(env, fill)
        }
        End::Disk(error) => {
            let left = Detached {
                hashed: writer.hashed(),
                verifier: writer.verifier().clone(),
                total: writer.size(),
            };
            keep_partial(writer).await;
            detach(env, fill, left, &error)
        }
        End::Failed(error) => {
            keep_partial(writer).await;
            leave(env, fill, Failure::Sources(error));
            FillOutcome::Failed
        }
        End::Paused | End::Stored => {
            keep_partial(writer).await;
            leave(env, fill, Failure::Paused);
            FillOutcome::Paused
        }
    }
}

/// What has come stays on disk for the next fill of the digest; where nothing has, nothing is left behind.
async fn keep_partial(writer: BlobWriter) {
    if writer.extents().is_empty() {
        writer.discard().await;
    }
}

/// Settles a fill that never got a writer.
pub fn without_writer(env: &Arc<Env>, fill: &Arc<Fill>, end: End) -> FillOutcome {
    if let End::Disk(error) = end {
        let left = Detached {
            hashed: 0,
            verifier: Verifier::new(fill.digest),
            total: None,
        };
        return detach(env, fill, left, &error);
    }
    let stored = matches!(end, End::Stored);
    let failure = if stored {
        Failure::Stored
    } else {
        Failure::Paused
    };
    leave(env, fill, failure);
    FillOutcome::Paused
}

async fn complete(env: &Arc<Env>, fill: &Arc<Fill>, writer: BlobWriter) -> FillOutcome {
    let (verified, complete) = match writer.finish() {
        Ok(finished) => finished,
        Err(wrong) => {
            report(fill, &wrong);
            return mismatch(env, fill);
        }
    };
    env.rights.confirm(fill.take_learned());
    fill.progress.send_replace(Progress::Verified {
        size: verified.size(),
    });
    let outcome = commit(env, fill, verified, complete).await;
    env.remove(fill);
    outcome
}

/// Puts the blob into the cache, and writes down whose it is. Its readers have their bytes whatever comes of it.
async fn commit(env: &Env, fill: &Fill, verified: Verified, complete: Complete) -> FillOutcome {
    match complete.commit(verified).await {
        Ok(()) => {
            env.rights.persist(&fill.digest).await;
            FillOutcome::Committed
        }
        Err(error) => {
            tracing::warn!(digest = %fill.digest, %error, "a verified blob could not be kept");
            env.rights.forget_unwritten(&fill.digest);
            FillOutcome::Uncached
        }
    }
}

fn report(fill: &Fill, wrong: &Mismatch) {
    metrics::upstream_mismatch(fill.sources.current().upstream.label());
    tracing::warn!(
        digest = %fill.digest,
        actual = %wrong.actual,
        bytes = wrong.size,
        source = %fill.sources.current().repository(),
        attempt = fill.attempt,
        "the bytes that came do not match their digest; they are discarded"
    );
}

fn mismatch(env: &Arc<Env>, fill: &Arc<Fill>) -> FillOutcome {
    drop(fill.take_learned());
    // The new fill stands in the table before the readers of this one are told, so that they find it.
    env.start_over(fill);
    fill.progress
        .send_replace(Progress::Failed(Failure::Mismatch));
    FillOutcome::Mismatch
}

fn detach(env: &Env, fill: &Arc<Fill>, left: Detached, error: &StoreError) -> FillOutcome {
    tracing::warn!(digest = %fill.digest, %error, "the cache can't take this blob; its readers go on without it");
    drop(fill.take_learned());
    env.remove(fill);
    fill.progress
        .send_replace(Progress::Detached(Arc::new(left)));
    FillOutcome::Uncached
}

fn leave(env: &Arc<Env>, fill: &Arc<Fill>, failure: Failure) {
    drop(fill.take_learned());
    env.remove(fill);
    fill.progress.send_replace(Progress::Failed(failure));
}

/// Tells the readers when a driver goes away without an end: a panic, or a runtime that shuts down.
pub struct Abandoned {
    env: Arc<Env>,
    fill: Arc<Fill>,
    armed: bool,
}

impl Abandoned {
    /// Watches over `fill`.
    pub fn watch(env: &Arc<Env>, fill: &Arc<Fill>) -> Self {
        Self {
            env: Arc::clone(env),
            fill: Arc::clone(fill),
            armed: true,
        }
    }

    /// The driver has settled its end.
    pub fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if self.armed {
            leave(&self.env, &self.fill, Failure::Abandoned);
        }
    }
}
