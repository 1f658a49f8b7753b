//! What has come, on its way to the disk, and how far the readers are told.
//!
//! Owns the writer and the batch that waits for it. While one batch is written, the next one gathers; at a
//! mebibyte no more is taken in. A batch may be empty: what was written ahead of the frontier is hashed a part at a time.
//! Each write is a trip to another thread and back, so that what arrives in small parts is written a few hundred times a
//! second.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::store::{BlobWriter, StoreError, Written};

use super::{Fill, Progress};

/// No more is taken in while so many bytes wait to be written.
const BATCH: usize = 1 << 20;
/// A write is started at the first of these two since the last one.
const WRITE_BYTES: usize = 256 << 10;
const WRITE_EVERY: Duration = Duration::from_millis(5);
/// Progress is published at the first of these two, so that thousands of readers are not woken for each packet.
const PUBLISH_BYTES: u64 = 256 << 10;
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

type Writing = Pin<Box<dyn Future<Output = (BlobWriter, Result<Written, StoreError>)> + Send>>;

/// The writer's side of a fill.
pub struct Ingest<'a> {
    fill: &'a Fill,
    /// Here, or in `writing`.
    writer: Option<BlobWriter>,
    writing: Option<Writing>,
    batch: Vec<(u64, Bytes)>,
    batch_bytes: usize,
    /// When the last write was started.
    started: Option<Instant>,
    /// Bytes behind the frontier that are written and not hashed yet.
    behind: u64,
    total: Option<u64>,
    published: u64,
    published_at: Instant,
    publish_at: Option<Instant>,
}

impl fmt::Debug for Ingest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest")
            .field("batch_bytes", &self.batch_bytes)
            .field("behind", &self.behind)
            .finish_non_exhaustive()
    }
}

impl<'a> Ingest<'a> {
    /// Takes in bytes for `writer`.
    pub fn new(fill: &'a Fill, writer: BlobWriter) -> Self {
        Self {
            fill,
            writer: Some(writer),
            writing: None,
            batch: Vec::new(),
            batch_bytes: 0,
            started: None,
            behind: 0,
            total: None,
            published: 0,
            published_at: Instant::now(),
            publish_at: None,
        }
    }

    /// Whether it takes more in.
    pub fn has_room(&self) -> bool {
        self.batch_bytes < BATCH
    }

    /// Takes in the bytes that belong at `offset`.
    pub fn take(&mut self, offset: u64, bytes: Bytes) {
        self.batch_bytes += bytes.len();
        self.batch.push((offset, bytes));
    }

    /// The size is known: room for it is made, and the readers are told.
    pub async fn set_total(&mut self, total: u64) -> Result<(), StoreError> {
        self.settle().await?;
        if let Some(writer) = &mut self.writer {
            writer.set_size(total).await?;
        }
        self.total = Some(total);
        self.publish();
        Ok(())
    }

    /// Starts to write what waits, where that is due and no write is under way. Where `all_came`, nothing more is waited for.
    pub fn start_write(&mut self, all_came: bool) {
        let is_due = all_came
            || self.batch_bytes >= WRITE_BYTES
            || self.started.is_none_or(|at| at.elapsed() >= WRITE_EVERY);
        if self.behind == 0 && (self.batch.is_empty() || !is_due) {
            return;
        }
        if let Some(writer) = self.writer.take() {
            let batch = std::mem::take(&mut self.batch);
            self.batch_bytes = 0;
            self.started = Some(Instant::now());
            self.writing = Some(Box::pin(writer.write(batch)));
        }
    }

    /// When what waits is to be written, though it is little.
    pub fn write_at(&self) -> Option<Instant> {
        let waits = self.writer.is_some() && !self.batch.is_empty();
        self.started.filter(|_| waits).map(|at| at + WRITE_EVERY)
    }

    /// Returns when the write under way is done; never, where there is none.
    pub async fn written(&mut self) -> Result<(), StoreError> {
        let Some(writing) = &mut self.writing else {
            return std::future::pending().await;
        };
        let (writer, result) = writing.await;
        self.writing = None;
        self.writer = Some(writer);
        self.behind = result?.behind;
        self.publish_if_due();
        Ok(())
    }

    /// Waits for the write under way, where there is one.
    async fn settle(&mut self) -> Result<(), StoreError> {
        if self.writing.is_some() {
            self.written().await?;
        }
        Ok(())
    }

    /// Whether everything that was taken in is on disk and hashed.
    pub fn is_dry(&self) -> bool {
        self.batch.is_empty() && self.writing.is_none() && self.behind == 0
    }

    /// When the readers are to be told of what they were not told at once.
    pub fn publish_at(&self) -> Option<Instant> {
        self.publish_at
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

    /// Tells the readers how far it has come.
    pub fn publish(&mut self) {
        self.publish_at = None;
        // A write under way publishes when it is done.
        let (Some(total), Some(writer)) = (self.total, &self.writer) else {
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

    /// Gives the writer back, after everything that was taken in is written: nobody is to ask for it again.
    pub async fn into_writer(mut self) -> BlobWriter {
        loop {
            // The write's own error adds nothing: the fill has ended already, or the next one meets it.
            let _ = self.settle().await;
            if self.batch.is_empty() {
                break;
            }
            self.start_write(true);
        }
        match self.writer {
            Some(writer) => writer,
            None => unreachable!("the writer is here or in `writing`"),
        }
    }
}
