//! A fill's task: it belongs to no client, and it ends by itself, by linger, or when the mirror stops.
//!
//! Waits for a place, opens the file, lets the driver run, and settles what that leaves behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{SemaphorePermit, watch};

use crate::metrics;
use crate::store::{BlobWriter, StoreError};

use super::Fill;
use super::driver::Driver;
use super::settle::{self, End};
use super::table::Env;

/// How long opening the file may take. The store may be hashing the same digest for reasons of its own.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Runs `fill` to its end and settles what it leaves behind.
pub async fn run(env: Arc<Env>, fill: Arc<Fill>) {
    let abandoned = settle::Abandoned::watch(&env, &fill);
    let _running = metrics::fill_running();
    let outcome = match start(&env, &fill).await {
        Ok((writer, _place)) => {
            let (writer, end) = Driver::new(&env, &fill, writer).run().await;
            settle::settle(&env, &fill, writer, end).await
        }
        Err(end) => settle::without_writer(&env, &fill, end),
    };
    metrics::fill_finished(outcome);
    abandoned.disarm();
}

/// Waits for a place and opens the file. A fill that nobody waits for any more does not start, but for one that starts
/// over: those who were told of the mismatch are on their way to it.
async fn start<'a>(env: &'a Env, fill: &Fill) -> Result<(BlobWriter, SemaphorePermit<'a>), End> {
    let patience = if fill.attempt == 0 {
        Duration::ZERO
    } else {
        env.settings.linger
    };
    let place = tokio::select! {
        place = env.places.acquire() => place.map_err(|_| End::Paused)?,
        () = unread(fill.readers.subscribe(), patience) => return Err(End::Paused),
        () = env.stop.cancelled() => return Err(End::Paused),
    };
    // Not given up half-way: the store would go on opening the file, and the next fill would find it taken. Of unknown
    // size, until the upstream has told it: room is made for what exists, not for what a manifest claims.
    let begun = tokio::time::timeout(OPEN_WITHIN, env.store.begin(fill.digest, None)).await;
    let begun = begun.unwrap_or(Err(StoreError::Busy));
    let writer = begun.map_err(|error| match error {
        StoreError::AlreadyStored => End::Stored,
        error => End::Disk(error),
    })?;
    if writer.hashed() > 0 {
        metrics::fill_resumed();
    }
    // Nobody else sets it: there is one task a fill.
    let _ = fill.file.set(writer.reader());
    Ok((writer, place))
}

/// Returns once nobody has read for `linger`.
pub(super) async fn unread(mut readers: watch::Receiver<usize>, linger: Duration) {
    loop {
        // The sender lives in the fill, which outlives its task.
        let _ = readers.wait_for(|readers| *readers == 0).await;
        let read = readers.wait_for(|readers| *readers > 0);
        if tokio::time::timeout(linger, read).await.is_err() {
            return;
        }
    }
}
