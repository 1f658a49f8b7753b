//! The driver of a fill: a task that belongs to no client.
//!
//! It asks the plan what to request, runs the connections, hands what they bring to the writer in batches, and
//! publishes how far it has come. Owns the plan, the connections and the writer; everything that others see goes
//! through [`Fill`].

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics;
use crate::mirror::error::MirrorError;
use crate::mirror::fill::fetch::{self, Event};
use crate::mirror::fill::plan::{AfterFailure, ConnectionId, Opened, Plan};
use crate::mirror::fill::settle::{self, End};
use crate::mirror::fill::table::Env;
use crate::mirror::fill::{Fill, Progress};
use crate::mirror::range::within;
use crate::store::{BlobWriter, StoreError, Written};
use crate::upstream::{Access, ErrorKind, UpstreamError};

/// A batch goes to the writer as it is when this many bytes wait; until it is written no more are taken in.
const BATCH: usize = 1 << 20;
/// Chunks that connections may have read ahead of the driver.
const AHEAD: usize = 8;
/// Progress is published at the first of these two, so that thousands of readers are not woken for each packet.
const PUBLISH_BYTES: u64 = 256 << 10;
const PUBLISH_EVERY: Duration = Duration::from_millis(10);
/// Waits between tries: full jitter below a bound that doubles from the first to the last of these.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);

type Writing = Pin<Box<dyn Future<Output = (BlobWriter, Result<Written, StoreError>)> + Send>>;

/// Runs `fill` to its end and settles what it leaves behind.
pub async fn run(env: Arc<Env>, fill: Arc<Fill>) {
    let abandoned = settle::Abandoned::watch(&env, &fill);
    let _running = metrics::fill_running();
    let end = match start(&env, &fill).await {
        Ok(mut driver) => {
            let end = driver.run().await;
            let writer = driver.into_writer().await;
            settle::settle(&env, &fill, writer, end).await
        }
        Err(end) => settle::without_writer(&env, &fill, end),
    };
    metrics::fill_finished(end);
    abandoned.disarm();
}

/// Waits for a place and opens the file.
async fn start<'a>(env: &'a Arc<Env>, fill: &'a Arc<Fill>) -> Result<Driver<'a>, End> {
    let place = tokio::select! {
        place = env.places.acquire() => place.map_err(|_| End::Paused)?,
        () = unread(fill.readers.subscribe(), env.settings.linger) => return Err(End::Paused),
        () = env.stop.cancelled() => return Err(End::Paused),
    };
    let size = fill.sources.current().size;
    let writer = env
        .store
        .begin(fill.digest, size)
        .await
        .map_err(|error| match error {
            // An earlier fill committed it after this one was asked for: its readers look again and find it.
            StoreError::AlreadyStored => End::Paused,
            error => End::Disk(error),
        })?;
    if writer.hashed() > 0 {
        metrics::fill_resumed();
    }
    // Nobody else sets it: there is one driver a fill.
    let _ = fill.file.set(writer.reader());
    Ok(Driver::new(env, fill, writer, size, place))
}

/// Returns once nobody has read for `linger`.
async fn unread(mut readers: watch::Receiver<usize>, linger: Duration) {
    loop {
        // The sender lives in the fill, which outlives its driver.
        let _ = readers.wait_for(|readers| *readers == 0).await;
        let read = readers.wait_for(|readers| *readers > 0);
        if tokio::time::timeout(linger, read).await.is_err() {
            return;
        }
    }
}

/// What woke the driver.
#[expect(clippy::large_enum_variant, reason = "one at a time, moved once")]
enum Turn {
    Event(Event),
    Written(BlobWriter, Result<Written, StoreError>),
    Publish,
    Retry,
    Wanted,
    Unread,
    Stop,
}

struct Driver<'a> {
    env: &'a Arc<Env>,
    fill: &'a Arc<Fill>,
    plan: Plan,
    connections: HashMap<ConnectionId, AbortOnDropHandle<()>>,
    events: mpsc::Receiver<Event>,
    reports: mpsc::Sender<Event>,
    batch: Vec<(u64, Bytes)>,
    batch_bytes: usize,
    /// Here, or in `writing`.
    writer: Option<BlobWriter>,
    writing: Option<Writing>,
    published: u64,
    published_at: Instant,
    publish_at: Option<Instant>,
    /// No request before then.
    backoff: Option<Instant>,
    /// Something has changed that may allow another request.
    ask: bool,
    _place: tokio::sync::SemaphorePermit<'a>,
}

impl<'a> Driver<'a> {
    fn new(
        env: &'a Arc<Env>,
        fill: &'a Arc<Fill>,
        writer: BlobWriter,
        size: Option<u64>,
        place: tokio::sync::SemaphorePermit<'a>,
    ) -> Self {
        let (reports, events) = mpsc::channel(AHEAD);
        Self {
            env,
            fill,
            plan: Plan::new(env.settings.bounds, size, writer.hashed()),
            connections: HashMap::new(),
            events,
            reports,
            batch: Vec::new(),
            batch_bytes: 0,
            published: 0,
            published_at: Instant::now(),
            publish_at: None,
            writer: Some(writer),
            writing: None,
            backoff: None,
            ask: true,
            _place: place,
        }
    }

    async fn run(&mut self) -> End {
        let mut unread = pin!(unread(
            self.fill.readers.subscribe(),
            self.env.settings.linger
        ));
        loop {
            self.launch();
            self.start_write();
            if self.is_done() {
                return End::Complete;
            }
            let turn = tokio::select! {
                Some(event) = self.events.recv(), if self.batch_bytes < BATCH => Turn::Event(event),
                (writer, result) = written(&mut self.writing) => Turn::Written(writer, result),
                () = until(self.publish_at) => Turn::Publish,
                () = until(self.backoff) => Turn::Retry,
                () = self.fill.nudge.notified() => Turn::Wanted,
                () = &mut unread => Turn::Unread,
                () = self.env.stop.cancelled() => Turn::Stop,
            };
            if let Err(end) = self.take(turn).await {
                return end;
            }
        }
    }

    async fn take(&mut self, turn: Turn) -> Result<(), End> {
        match turn {
            Turn::Event(event) => self.take_event(event).await?,
            Turn::Written(writer, result) => {
                self.writer = Some(writer);
                result.map_err(End::Disk)?;
                self.publish_if_due();
            }
            Turn::Publish => self.publish(),
            Turn::Retry => {
                self.backoff = None;
                self.ask = true;
            }
            Turn::Wanted => {
                for range in self.fill.take_wanted() {
                    self.plan.promote(range);
                }
                self.ask = true;
            }
            Turn::Unread | Turn::Stop => return Err(End::Paused),
        }
        Ok(())
    }

    async fn take_event(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Opened { id, answer, access } => {
                self.prove(access);
                let knew_total = self.plan.total().is_some();
                match self.plan.opened(id, answer) {
                    Ok(Opened::Read) => {}
                    Ok(Opened::Drop) => drop(self.connections.remove(&id)),
                    Err(lie) => {
                        return self.next_source(MirrorError::bad_blob(&self.fill.digest, &lie));
                    }
                }
                self.ask = true;
                if let (false, Some(total)) = (knew_total, self.plan.total()) {
                    self.total_is_known(total).await?;
                }
            }
            Event::Chunk { id, bytes } => self.take_chunk(id, &bytes)?,
            Event::Ended { id } => {
                self.connections.remove(&id);
                self.ask = true;
                let knew_total = self.plan.total().is_some();
                match self.plan.ended(id) {
                    Ok(None) => {}
                    Ok(Some(after)) => {
                        self.after_failure(after, || MirrorError::cut_short(&self.fill.digest))?;
                    }
                    Err(lie) => {
                        return self.next_source(MirrorError::bad_blob(&self.fill.digest, &lie));
                    }
                }
                if let (false, Some(total)) = (knew_total, self.plan.total()) {
                    self.total_is_known(total).await?;
                }
            }
            Event::Failed { id, error, opened } => self.take_failure(id, &error, opened)?,
        }
        Ok(())
    }

    fn take_chunk(&mut self, id: ConnectionId, bytes: &Bytes) -> Result<(), End> {
        let Some(at) = self.plan.position(id) else {
            return Ok(());
        };
        match self.plan.received(id, bytes.len() as u64) {
            Ok(new) => {
                for range in new {
                    let part = within(at, &range);
                    self.batch_bytes += part.len();
                    self.batch.push((range.start, bytes.slice(part)));
                }
                Ok(())
            }
            Err(lie) => self.next_source(MirrorError::bad_blob(&self.fill.digest, &lie)),
        }
    }

    fn take_failure(
        &mut self,
        id: ConnectionId,
        error: &UpstreamError,
        opened: bool,
    ) -> Result<(), End> {
        self.connections.remove(&id);
        let source = self.fill.sources.current();
        let after = self.plan.failed(id);
        if matches!(error.kind(), ErrorKind::RangeUnsatisfiable { .. }) {
            // What is on disk is longer than the blob: it is not a part of it.
            return Err(End::Mismatch);
        }
        tracing::debug!(digest = %self.fill.digest, %error, ?after, "an upstream connection of a fill failed");
        // Before the first byte the upstream client has done its own retries, and a refusal stays one.
        let hopeless = !opened
            && (self.plan.is_untouched() || !self.fill.sources.is_proven() && !error.may_retry());
        let after = if hopeless {
            AfterFailure::GiveUp
        } else {
            after
        };
        self.after_failure(after, || {
            MirrorError::from_blob(error, &source.repository(), &self.fill.digest)
        })
    }

    fn after_failure(
        &mut self,
        after: AfterFailure,
        error: impl FnOnce() -> MirrorError,
    ) -> Result<(), End> {
        match after {
            AfterFailure::Retry { failures } => {
                self.backoff = Some(Instant::now() + backoff(failures));
                Ok(())
            }
            AfterFailure::GiveUp => self.next_source(error()),
        }
    }

    /// The source asked now is spent: goes on with the next one, or ends.
    fn next_source(&mut self, error: MirrorError) -> Result<(), End> {
        for (id, _) in self.connections.drain() {
            self.plan.failed(id);
        }
        self.backoff = None;
        self.ask = true;
        let Some(next) = self.fill.sources.spend(error.clone()) else {
            return Err(End::Failed(error));
        };
        self.plan.change_source(next.size);
        Ok(())
    }

    /// The source has answered: its repository holds the blob, and what was served says who else may read it.
    fn prove(&self, access: Access) {
        if self.fill.sources.prove() {
            let source = self.fill.sources.current();
            self.env
                .rights
                .remember(&source.upstream, &source.name, &self.fill.digest, access);
        }
    }

    async fn total_is_known(&mut self, total: u64) -> Result<(), End> {
        self.settle_write().await?;
        if let Some(writer) = &mut self.writer {
            writer.set_size(total).await.map_err(End::Disk)?;
        }
        self.publish();
        Ok(())
    }

    /// Sends the requests that the plan has, as far as the upstream's bound on connections allows. Only the first
    /// waits for its turn; what would speed up one fill never holds up another.
    fn launch(&mut self) {
        if !std::mem::take(&mut self.ask) || self.backoff.is_some() {
            return;
        }
        let source = self.fill.sources.current();
        loop {
            let permit = if self.plan.is_idle() {
                None
            } else {
                match source.upstream.try_connection() {
                    Some(permit) => Some(permit),
                    None => return,
                }
            };
            let Some(request) = self.plan.next_request() else {
                return;
            };
            let fetch = fetch::run(
                source.clone(),
                self.fill.digest,
                request,
                permit,
                self.reports.clone(),
            );
            // Tied to the driver by its handle.
            let handle = AbortOnDropHandle::new(tokio::spawn(fetch));
            self.connections.insert(request.id, handle);
        }
    }

    fn start_write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Some(writer) = self.writer.take() {
            let batch = std::mem::take(&mut self.batch);
            self.batch_bytes = 0;
            self.writing = Some(Box::pin(writer.write(batch)));
        }
    }

    /// Waits for the write under way.
    async fn settle_write(&mut self) -> Result<(), End> {
        if self.writing.is_some() {
            let (writer, result) = written(&mut self.writing).await;
            self.writer = Some(writer);
            result.map_err(End::Disk)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.plan.is_complete() && self.batch.is_empty() && self.writing.is_none()
    }

    fn publish_if_due(&mut self) {
        let hashed = self.writer.as_ref().map_or(0, BlobWriter::hashed);
        let due = self.published == 0
            || hashed.saturating_sub(self.published) >= PUBLISH_BYTES
            || self.published_at.elapsed() >= PUBLISH_EVERY;
        if due {
            self.publish();
        } else if self.publish_at.is_none() {
            self.publish_at = Some(self.published_at + PUBLISH_EVERY);
        }
    }

    fn publish(&mut self) {
        self.publish_at = None;
        // A write under way publishes when it is done.
        let (Some(total), Some(writer)) = (self.plan.total(), &self.writer) else {
            return;
        };
        self.published = writer.hashed();
        self.published_at = Instant::now();
        self.fill.progress.send_replace(Progress::Growing {
            extents: Arc::new(writer.extents().clone()),
            hashed: writer.hashed(),
            total,
        });
    }

    /// Lets go of the connections and gives the writer back, after the write under way.
    async fn into_writer(mut self) -> BlobWriter {
        self.connections.clear();
        // The write's own error adds nothing: the fill has ended already, or the next one meets it.
        let _ = self.settle_write().await;
        match self.writer {
            Some(writer) => writer,
            None => unreachable!("the writer is here or in `writing`"),
        }
    }
}

async fn written(writing: &mut Option<Writing>) -> (BlobWriter, Result<Written, StoreError>) {
    match writing {
        Some(write) => {
            let written = write.await;
            *writing = None;
            written
        }
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A random wait below a bound that doubles with each failure; none after one that had made progress.
fn backoff(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let bound = BACKOFF_FIRST
        .saturating_mul(1 << failures.min(10))
        .min(BACKOFF_LAST);
    bound.mul_f64(rand::random::<f64>())
}
