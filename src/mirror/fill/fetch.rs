//! One connection of a fill: sends a request to a source and reports what comes.
//!
//! Owns nothing but its response. It is tied to its driver, which aborts it by dropping its handle.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::oci::Digest;
use crate::upstream::{Access, BlobPermit, BlobResponse, ByteRange, ErrorKind, UpstreamError};

use super::plan::{Answer, ConnectionId, Request};
use super::sources::Source;

/// What a connection reports to its driver.
#[derive(Debug)]
pub enum Event {
    /// The response head has come.
    Opened {
        /// The connection.
        id: ConnectionId,
        /// Where its body starts, and the blob's size.
        answer: Answer,
        /// Whether our credentials were used.
        access: Access,
    },
    /// Bytes have come.
    Chunk {
        /// The connection.
        id: ConnectionId,
        /// The bytes.
        bytes: Bytes,
    },
    /// The body has ended as its head promised.
    Ended {
        /// The connection.
        id: ConnectionId,
    },
    /// There was no response, or its body broke off.
    Failed {
        /// The connection.
        id: ConnectionId,
        /// Why.
        error: UpstreamError,
        /// Whether a response head had come.
        opened: bool,
    },
    /// The task behind it panicked.
    Panicked {
        /// The connection.
        id: ConnectionId,
    },
}

impl Event {
    /// Whose report it is.
    pub fn id(&self) -> ConnectionId {
        match self {
            Self::Opened { id, .. }
            | Self::Chunk { id, .. }
            | Self::Ended { id }
            | Self::Failed { id, .. }
            | Self::Panicked { id } => *id,
        }
    }
}

/// Fetches `request` of `digest` from `source`, reporting to `events`, as long as the handle lives.
pub fn spawn(
    source: Source,
    digest: Digest,
    request: Request,
    permit: Option<BlobPermit>,
    events: mpsc::Sender<Event>,
) -> AbortOnDropHandle<()> {
    let (id, reports) = (request.id, events.clone());
    let fetch = Box::pin(run(source, digest, request, permit, events));
    // Tied to the driver by its handle.
    AbortOnDropHandle::new(tokio::spawn(async move {
        if AssertUnwindSafe(fetch).catch_unwind().await.is_err() {
            // A driver that is gone needs no report.
            let _ = reports.send(Event::Panicked { id }).await;
        }
    }))
}

async fn run(
    source: Source,
    digest: Digest,
    request: Request,
    permit: Option<BlobPermit>,
    events: mpsc::Sender<Event>,
) {
    let id = request.id;
    // The driver's first connection waits its turn here; it holds its place to its last byte.
    let _permit = match permit {
        Some(permit) => permit,
        None => source.upstream.connection().await,
    };
    let range = ByteRange {
        start: request.start,
        end: request.end,
    };
    let outcome = match open(&source, &digest, range).await {
        Ok(response) => forward(id, response, &events).await,
        Err(error) => Err((error, false)),
    };
    if let Err((error, opened)) = outcome {
        // A driver that is gone needs no report.
        let _ = events.send(Event::Failed { id, error, opened }).await;
    }
}

/// A response of known size: where its head tells none, the source is asked for it.
pub async fn open(
    source: &Source,
    digest: &Digest,
    range: ByteRange,
) -> Result<BlobResponse, UpstreamError> {
    let wanted = (range != ByteRange::WHOLE).then_some(range);
    let mut response = source
        .upstream
        .get_blob(&source.name, digest, wanted)
        .await?;
    if response.total.is_none() {
        response.total = size(source, digest).await.ok().flatten();
    }
    Ok(response)
}

/// The size of a blob as its upstream tells it: by HEAD, or where that is a redirect, which proves the blob and tells
/// nothing more, by GET of its first byte.
pub async fn size(source: &Source, digest: &Digest) -> Result<Option<u64>, UpstreamError> {
    let confirmed = source.upstream.confirm_blob(&source.name, digest).await?;
    match confirmed.size {
        Some(size) => Ok(Some(size)),
        None => size_by_first_byte(source, digest).await,
    }
}

/// The size of a blob as a GET of its first byte tells it, for those who know already that HEAD does not.
pub async fn size_by_first_byte(
    source: &Source,
    digest: &Digest,
) -> Result<Option<u64>, UpstreamError> {
    let first = Some(ByteRange::FIRST);
    match source.upstream.get_blob(&source.name, digest, first).await {
        Ok(response) => Ok(response.total),
        Err(error) => match error.kind() {
            // An empty blob has no first byte.
            ErrorKind::RangeUnsatisfiable { size } => Ok(size),
            _ => Err(error),
        },
    }
}

async fn forward(
    id: ConnectionId,
    mut response: BlobResponse,
    events: &mpsc::Sender<Event>,
) -> Result<(), (UpstreamError, bool)> {
    let opened = Event::Opened {
        id,
        answer: Answer {
            whole: response.whole,
            total: response.total,
        },
        access: response.access,
    };
    let mut open = events.send(opened).await.is_ok();
    while open {
        let event = match response.body.chunk().await {
            Ok(Some(bytes)) => Event::Chunk { id, bytes },
            Ok(None) => {
                let _ = events.send(Event::Ended { id }).await;
                return Ok(());
            }
            Err(error) => return Err((error, true)),
        };
        open = events.send(event).await.is_ok();
    }
    Ok(())
}
