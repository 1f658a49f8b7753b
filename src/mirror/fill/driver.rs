//! The driver of a fill: asks the plan what to request, runs the connections, and hands on what they bring.
//!
//! Owns the plan and the connections; what has come belongs to [`Ingest`]. Whatever a connection reports after it was
//! let go of is ignored: it may speak for a source that is not asked any more.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::mirror::error::MirrorError;
use crate::mirror::range::within;
use crate::store::{BlobWriter, StoreError};
use crate::upstream::{ErrorKind, UpstreamError};

use super::Fill;
use super::fetch::{self, Event};
use super::ingest::Ingest;
use super::plan::{AfterFailure, Answer, ConnectionId, Dishonest, Opened, OutOfRange, Plan};
use super::ramp::{Flow, Ramp};
use super::settle::End;
use super::sources::Source;
use super::table::Env;
use super::task::unread;

/// Chunks that connections may have read ahead of the driver.
const AHEAD: usize = 8;
/// Waits between tries: full jitter below a bound that doubles from the first to the last of these.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);

/// What woke the driver.
enum Turn {
    Event(Event),
    Written(Result<(), StoreError>),
    Publish,
    Retry,
    /// For what is looked at in every turn.
    Look,
    Wanted,
    Unread,
    Stop,
}

struct Connection {
    source: Source,
    asked: Instant,
    /// Its response head has come.
    open: bool,
    _task: AbortOnDropHandle<()>,
}

/// See the module.
pub(super) struct Driver<'a> {
    env: &'a Env,
    fill: &'a Fill,
    plan: Plan,
    ramp: Ramp,
    flow: Flow,
    ingest: Ingest<'a>,
    /// The size that the readers were told.
    total: Option<u64>,
    connections: HashMap<ConnectionId, Connection>,
    events: mpsc::Receiver<Event>,
    reports: mpsc::Sender<Event>,
    /// No request before then.
    backoff: Option<Instant>,
    /// Something has changed that may allow another request.
    ask: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn new(env: &'a Env, fill: &'a Fill, writer: BlobWriter) -> Self {
        let (reports, events) = mpsc::channel(AHEAD);
        let size = fill.sources.current().size;
        let bounds = env.settings.bounds;
        Self {
            env,
            fill,
            plan: Plan::new(bounds, size, writer.hashed()),
            ramp: Ramp::new(bounds.connections),
            flow: Flow { own: 0, all: 0 },
            ingest: Ingest::new(fill, writer),
            total: None,
            connections: HashMap::new(),
            events,
            reports,
            backoff: None,
            ask: true,
        }
    }

    /// Runs until there is an end, and gives the writer back.
    pub(super) async fn run(mut self) -> (BlobWriter, End) {
        let end = match self.turns().await {
            Ok(()) => End::Complete,
            Err(end) => end,
        };
        self.connections.clear();
        (self.ingest.into_writer().await, end)
    }

    async fn turns(&mut self) -> Result<(), End> {
        let readers = self.fill.readers.subscribe();
        let mut unread = pin!(unread(readers, self.env.settings.linger));
        let stop = self.env.stop.clone();
        let mut stopped = pin!(stop.cancelled());
        // What is waited for already says what to ask for first.
        self.promote_wanted();
        loop {
            self.tell_total().await?;
            self.measure();
            self.launch()?;
            self.ingest.start_write(self.plan.is_complete());
            if self.plan.is_complete() && self.ingest.is_dry() {
                return Ok(());
            }
            let (write_at, publish_at) = (self.ingest.write_at(), self.ingest.publish_at());
            let has_room = self.ingest.has_room();
            let turn = tokio::select! {
                Some(event) = self.events.recv(), if has_room => Turn::Event(event),
                result = self.ingest.written() => Turn::Written(result),
                () = until(write_at) => Turn::Look,
                () = until(publish_at) => Turn::Publish,
                () = until(self.backoff) => Turn::Retry,
                () = until(self.ramp.due()) => Turn::Look,
                () = self.fill.nudge.notified() => Turn::Wanted,
                () = &mut unread => Turn::Unread,
                () = &mut stopped => Turn::Stop,
            };
            self.take(turn)?;
        }
    }

    fn take(&mut self, turn: Turn) -> Result<(), End> {
        match turn {
            Turn::Event(event) => self.take_event(event),
            Turn::Written(result) => result.map_err(disk),
            Turn::Publish => {
                self.ingest.publish();
                Ok(())
            }
            Turn::Retry => {
                self.backoff = None;
                self.ask = true;
                Ok(())
            }
            Turn::Look => Ok(()),
            Turn::Wanted => {
                self.promote_wanted();
                self.ask = true;
                Ok(())
            }
            Turn::Unread | Turn::Stop => Err(End::Paused),
        }
    }

    fn promote_wanted(&mut self) {
        for range in self.fill.take_wanted() {
            self.plan.promote(range);
        }
    }

    fn take_event(&mut self, event: Event) -> Result<(), End> {
        let Some(connection) = self.connections.get(&event.id()) else {
            return Ok(());
        };
        match event {
            Event::Opened { id, answer, access } => {
                let source = connection.source.clone();
                if self.fill.sources.prove() {
                    let (rights, digest) = (&self.env.rights, &self.fill.digest);
                    let fact = rights.provisional(&source.upstream, &source.name, digest, access);
                    self.fill.learn(fact);
                }
                self.take_opened(id, answer)
            }
            Event::Chunk { id, bytes } => {
                let length = bytes.len() as u64;
                self.flow = Flow {
                    own: self.flow.own + length,
                    all: connection.source.upstream.note_received(length),
                };
                self.take_chunk(id, &bytes)
            }
            Event::Ended { id } => self.take_end(id),
            Event::Failed { id, error, opened } => self.take_failure(id, &error, opened),
            Event::Panicked { .. } => Err(End::Failed(MirrorError::Internal)),
        }
    }

    fn take_opened(&mut self, id: ConnectionId, answer: Answer) -> Result<(), End> {
        self.ask = true;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.open = true;
            self.ramp.opened(connection.asked.elapsed());
        }
        match self.plan.opened(id, answer) {
            Ok(Opened::Read) => {}
            Ok(Opened::Drop) => drop(self.connections.remove(&id)),
            Err(lie) => return self.lied_to(lie),
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
                    self.ingest.take(range.start, bytes.slice(part));
                }
                Ok(())
            }
            Err(lie) => self.lied_to(lie),
        }
    }

    fn take_end(&mut self, id: ConnectionId) -> Result<(), End> {
        self.connections.remove(&id);
        self.ask = true;
        match self.plan.ended(id) {
            Ok(None) => Ok(()),
            Ok(Some(after)) => {
                let digest = self.fill.digest;
                self.after_failure(after, None, || MirrorError::cut_short(&digest))
            }
            Err(lie) => self.lied_to(lie),
        }
    }

    fn take_failure(
        &mut self,
        id: ConnectionId,
        error: &UpstreamError,
        opened: bool,
    ) -> Result<(), End> {
        let Some(connection) = self.connections.remove(&id) else {
            return Ok(());
        };
        let sources = &self.fill.sources;
        let untouched = self.plan.is_untouched();
        let no_range = match error.kind() {
            ErrorKind::RangeUnsatisfiable { size } => Some(size),
            // It may do better without a range, which nothing but the wish to know the size calls for.
            ErrorKind::Invalid | ErrorKind::Unsupported if !opened && self.plan.is_guess(id) => {
                Some(None)
            }
            _ => None,
        };
        let after = if let Some(size) = no_range {
            match self.plan.out_of_range(id, size) {
                OutOfRange::GoOn => {
                    self.ask = true;
                    return Ok(());
                }
                OutOfRange::NotTheBlob => return Err(End::Mismatch),
                OutOfRange::Failed(after) => after,
            }
        } else {
            self.plan.failed(id)
        };
        tracing::debug!(digest = %self.fill.digest, %error, ?after, "a connection of a fill failed");
        // Before the first byte the upstream client has done its own retries; a refusal stays one; and where another
        // source waits, one that does not answer is not waited for.
        let refused = !sources.is_proven() && !error.may_retry();
        let hopeless = !opened && (untouched || refused || sources.has_untried());
        let after = if hopeless {
            AfterFailure::GiveUp
        } else {
            after
        };
        let digest = self.fill.digest;
        self.after_failure(after, error.retry_after(), || {
            MirrorError::from_blob(error, &connection.source.repository(), &digest)
        })
    }

    fn after_failure(
        &mut self,
        after: AfterFailure,
        asked_to_wait: Option<Duration>,
        error: impl FnOnce() -> MirrorError,
    ) -> Result<(), End> {
        match after {
            AfterFailure::Retry { failures } => {
                let asked = asked_to_wait.unwrap_or_default().min(BACKOFF_LAST);
                self.backoff = Some(Instant::now() + backoff(failures).max(asked));
                Ok(())
            }
            AfterFailure::GiveUp => self.next_source(error()),
        }
    }

    /// An answer that can't be true. Where it contradicts what an earlier source said, either may have lied, and what
    /// is on disk is worth nothing.
    fn lied_to(&mut self, lie: Dishonest) -> Result<(), End> {
        if self.plan.size_is_inherited() {
            return Err(End::Mismatch);
        }
        self.next_source(MirrorError::bad_blob(&self.fill.digest, &lie))
    }

    /// The source asked now is spent: goes on with the next one, or ends.
    fn next_source(&mut self, error: MirrorError) -> Result<(), End> {
        self.connections.clear();
        self.backoff = None;
        self.ask = true;
        let Some(next) = self.fill.sources.spend(error.clone()) else {
            return Err(End::Failed(error));
        };
        self.plan.change_source(next.size);
        self.ramp = Ramp::new(self.env.settings.bounds.connections);
        Ok(())
    }

    /// Once the size is known, room is made for it and the readers are told.
    async fn tell_total(&mut self) -> Result<(), End> {
        if self.total.is_none()
            && let Some(total) = self.plan.total()
        {
            self.total = Some(total);
            self.ingest.set_total(total).await.map_err(disk)?;
        }
        Ok(())
    }

    /// Sends the requests that the plan has, as far as the upstream's bound on connections allows. Only the first
    /// waits for its turn; what would speed up one fill never holds up another.
    fn launch(&mut self) -> Result<(), End> {
        if !std::mem::take(&mut self.ask) || self.backoff.is_some() {
            return Ok(());
        }
        loop {
            let source = self.fill.sources.current();
            let permit = if self.plan.is_idle() {
                None
            } else {
                match source.upstream.try_connection() {
                    Some(permit) => Some(permit),
                    None => return Ok(()),
                }
            };
            if let Some(request) = self.plan.next_request() {
                let (digest, reports) = (self.fill.digest, self.reports.clone());
                let task = fetch::spawn(source.clone(), digest, request, permit, reports);
                let connection = Connection {
                    source,
                    asked: Instant::now(),
                    open: false,
                    _task: task,
                };
                self.connections.insert(request.id, connection);
            } else if self.plan.is_idle() && !self.plan.is_complete() {
                // Nothing to ask for, nobody to wait for: what this source claims leaves no way on.
                self.next_source(MirrorError::cut_short(&self.fill.digest))?;
            } else {
                return Ok(());
            }
        }
    }

    /// Lets the plan have more connections, as long as they bring more.
    fn measure(&mut self) {
        let open = self.connections.values().filter(|it| it.open).count();
        self.ask |= self.ramp.turn(Instant::now(), open, self.flow);
        self.plan.allow(self.ramp.connections());
    }
}

/// What came of the disk's refusal. Bytes that can't be the blob's are no fault of the disk.
fn disk(error: StoreError) -> End {
    match error {
        StoreError::BeyondSize { .. } | StoreError::WrongBytes => End::Mismatch,
        error => End::Disk(error),
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A random wait below a bound that doubles with each failure in a row.
fn backoff(failures: u32) -> Duration {
    let bound = BACKOFF_FIRST
        .saturating_mul(1 << failures.min(10))
        .min(BACKOFF_LAST);
    bound.mul_f64(rand::random::<f64>())
}
