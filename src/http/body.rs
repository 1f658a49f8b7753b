//! Response bodies: bytes on their way to a client, with everything that must live until the last of
//! them.
//!
//! A body's length is known when it is made, and it ends cleanly only after exactly that many bytes.
//! Its [`Record`] rides along and is written when the body goes, whoever lets it go.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::limit::{Admitted, Pace};
use super::record::Record;
use crate::mirror::{BlobBody, BodyError, Chunk};

/// Bytes after which a body lets others run. hyper asks a second time in the same turn, so that this is
/// half of what one turn of a fast reader takes; parts of files, which are twice as long and cost half as much, go one at a time.
const TURN: u64 = 128 << 10;
/// What a paced body gives away at once: a client of the least rate is not long without a byte.
const PACED: usize = 32 << 10;
/// A source that gives nothing for this long is given up, so that its client can try elsewhere.
const STALL: Duration = Duration::from_mins(1);

/// Why a body ends before its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Aborted {
    /// The bytes stopped coming; those sent are good. The client sees FIN and may resume.
    #[error("the body was cut short")]
    Cut,
    /// The bytes are proven wrong. The client sees RST and must not resume.
    #[error("the body does not match its digest")]
    Mismatch,
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, Aborted>> + Send>>;

enum Source {
    Bytes(Bytes),
    /// Not asked for anything yet.
    Blob(Option<Box<BlobBody>>),
    Chunks(Chunks),
    /// Failed; the next poll says so.
    Failed(Aborted),
}

/// A body of known length.
pub struct ResponseBody {
    source: Source,
    /// Bytes still to come.
    left: u64,
    /// Bytes since others had their turn.
    since_turn: u64,
    stall: Stall,
    /// A chunk that is not paid for yet.
    unpaid: Option<Chunk>,
    /// What its client has taken for it, and the pace that it is given away at.
    admitted: Admitted,
    /// Apart: a response is moved many times before it is sent.
    record: Option<Box<Record>>,
}

impl ResponseBody {
    /// No bytes.
    pub fn empty() -> Self {
        Self::new(Source::Bytes(Bytes::new()), 0)
    }

    /// The place of `length` bytes in the answer to a HEAD, which never sends them.
    pub(super) fn absent(length: u64) -> Self {
        Self::new(Source::Failed(Aborted::Cut), length)
    }

    /// Bytes in memory.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Self::new(Source::Bytes(bytes), length)
    }

    /// `length` bytes as they come. One that ends early is cut; so is one that goes on too long.
    pub fn stream(
        length: u64,
        chunks: impl Stream<Item = Result<Bytes, Aborted>> + Send + 'static,
    ) -> Self {
        let chunks = chunks.map(|chunk| chunk.map(Chunk::Bytes));
        Self::new(Source::Chunks(Box::pin(chunks)), length)
    }

    /// Chunks as they are.
    #[cfg(test)]
    pub(crate) fn of_chunks(chunks: Vec<Chunk>) -> Self {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let chunks = stream::iter(chunks.into_iter().map(Ok));
        Self::new(Source::Chunks(Box::pin(chunks)), length)
    }

    /// The `length` bytes of a blob's body.
    pub(super) fn blob(length: u64, body: Box<BlobBody>) -> Self {
        Self::new(Source::Blob(Some(body)), length)
    }

    fn new(source: Source, left: u64) -> Self {
        Self {
            source,
            left,
            since_turn: 0,
            stall: Stall::default(),
            unpaid: None,
            admitted: Admitted::default(),
            record: None,
        }
    }

    /// Bytes that are still to come: at the start, the `Content-Length`.
    pub fn length(&self) -> u64 {
        self.left
    }

    /// Lets the record ride along.
    pub(super) fn carry(&mut self, mut record: Box<Record>) {
        record.expect(self.left);
        self.record = Some(record);
    }

    /// Keeps what the client has taken for this, to the last byte.
    pub(super) fn admitted(&mut self, admitted: Admitted) {
        self.admitted = admitted;
    }

    /// Has [`poll_chunk`](Self::poll_chunk) give parts of files where it can. To be said before the first chunk, by who has a
    /// socket to send them to.
    pub fn lend(&mut self) {
        // What is paid for by and by is given away in small parts.
        let lends = self.pace().is_none();
        self.begin(lends);
    }

    fn pace(&mut self) -> Option<&mut Pace> {
        self.admitted.pace.as_mut()
    }

    fn sent(&mut self, chunk: &Chunk) {
        let bytes = chunk.len() as u64;
        self.left -= bytes;
        self.since_turn += bytes;
        if let Some(record) = &mut self.record {
            record.sent(bytes);
        }
    }

    /// Notes the failure and lets hyper write what it has before it hears of it.
    fn fail(&mut self, why: Aborted, cx: &Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        if let Some(record) = &mut self.record {
            record.aborted(why);
        }
        self.source = Source::Failed(why);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next bytes, as they are or as a part of a file.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        let chunk = match self.unpaid.take() {
            Some(chunk) => chunk,
            None => match ready!(self.poll_source(cx)) {
                Some(Ok(chunk)) => {
                    if let Some(pace) = self.pace() {
                        pace.owe(chunk.len());
                    }
                    chunk
                }
                end => return Poll::Ready(end),
            },
        };
        if let Some(pace) = self.pace()
            && pace.poll_paid(cx).is_pending()
        {
            self.unpaid = Some(chunk);
            return Poll::Pending;
        }
        self.sent(&chunk);
        Poll::Ready(Some(Ok(chunk)))
    }

    /// Makes a stream of a blob's body, which has to know by then who takes it.
    fn begin(&mut self, lends: bool) {
        if let Source::Blob(body) = &mut self.source
            && let Some(body) = body.take()
        {
            self.source = Source::Chunks(Box::pin(chunks(*body, lends)));
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        self.begin(false);
        let most = self.pace().map_or(usize::MAX, |_| PACED);
        let next = match &mut self.source {
            Source::Failed(why) => return Poll::Ready(Some(Err(*why))),
            _ if self.left == 0 => return Poll::Ready(None),
            _ if self.since_turn >= TURN => {
                self.since_turn = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Source::Bytes(bytes) => {
                let chunk = bytes.split_to(bytes.len().min(most));
                Some(Ok(Chunk::Bytes(chunk)))
            }
            Source::Blob(_) => None,
            Source::Chunks(chunks) => match chunks.as_mut().poll_next(cx) {
                Poll::Ready(next) => {
                    self.stall.over();
                    next
                }
                Poll::Pending if self.stall.poll_late(cx).is_ready() => None,
                Poll::Pending => return Poll::Pending,
            },
        };
        match next {
            Some(Ok(chunk)) if chunk.len() as u64 <= self.left => Poll::Ready(Some(Ok(chunk))),
            Some(Ok(_)) => {
                tracing::error!("a body is longer than its length; this is a bug");
                self.fail(Aborted::Cut, cx)
            }
            Some(Err(why)) => self.fail(why, cx),
            None => self.fail(Aborted::Cut, cx),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let chunk = ready!(self.poll_chunk(cx));
        let bytes = match chunk {
            Some(Ok(Chunk::Bytes(bytes))) => Ok(bytes),
            Some(Ok(Chunk::Part(_))) => {
                tracing::error!("a part of a file is lent to nobody; this is a bug");
                Err(Aborted::Cut)
            }
            Some(Err(why)) => Err(why),
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && !matches!(self.source, Source::Failed(_))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The mirror's body as a stream; its one allocation is the box it is put in.
fn chunks(body: BlobBody, lends: bool) -> impl Stream<Item = Result<Chunk, Aborted>> {
    stream::try_unfold(body, move |mut body| async move {
        match body.next(lends).await {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk, body))),
            Err(BodyError::Cut) => Err(Aborted::Cut),
            Err(BodyError::Mismatch) => Err(Aborted::Mismatch),
        }
    })
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// Bounds the wait for a source, in time in which it is asked.
#[derive(Default)]
struct Stall {
    since: Option<Instant>,
    /// Set again only when it fires, so that a short wait costs no timer.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    fn over(&mut self) {
        self.since = None;
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = *self.since.get_or_insert_with(Instant::now) + STALL;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(end)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    fn chunks(
        parts: Vec<Result<&'static [u8], Aborted>>,
    ) -> impl Stream<Item = Result<Bytes, Aborted>> {
        stream::iter(parts.into_iter().map(|part| part.map(Bytes::from_static)))
    }

    async fn read(body: ResponseBody) -> (Vec<u8>, Option<Aborted>) {
        let mut body = body;
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap()),
                Err(why) => return (read, Some(why)),
            }
        }
        (read, None)
    }

    #[tokio::test]
    async fn a_body_ends_after_its_length() {
        let body = ResponseBody::stream(4, chunks(vec![Ok(b"ab"), Ok(b"cd")]));
        assert_eq!(body.size_hint().exact(), Some(4));
        assert_eq!(read(body).await, (b"abcd".to_vec(), None));
        assert_eq!(
            read(ResponseBody::whole("xyz")).await,
            (b"xyz".to_vec(), None)
        );
        assert!(ResponseBody::empty().is_end_stream());
    }

    #[tokio::test]
    async fn a_source_that_ends_early_or_late_or_fails_cuts_the_body() {
        for (parts, read_before, why) in [
            (vec![Ok(&b"ab"[..])], &b"ab"[..], Aborted::Cut),
            (vec![Ok(b"ab"), Ok(b"cde")], b"ab", Aborted::Cut),
            (vec![Ok(b"ab"), Err(Aborted::Cut)], b"ab", Aborted::Cut),
            (
                vec![Ok(b"ab"), Err(Aborted::Mismatch)],
                b"ab",
                Aborted::Mismatch,
            ),
        ] {
            let body = ResponseBody::stream(4, chunks(parts));
            assert_eq!(read(body).await, (read_before.to_vec(), Some(why)));
        }
    }

    #[tokio::test]
    async fn a_failed_body_never_looks_ended() {
        let mut body = ResponseBody::stream(2, chunks(vec![Err(Aborted::Mismatch)]));
        assert!(body.frame().await.is_some_and(|frame| frame.is_err()));
        assert!(!body.is_end_stream());
        assert!(body.frame().await.is_some_and(|frame| frame.is_err()));
    }

    #[tokio::test]
    async fn a_fast_reader_lets_others_run() {
        static CHUNK: [u8; 32 << 10] = [0; 32 << 10];
        let chunk: &[u8] = &CHUNK;
        let mut body = ResponseBody::stream(32 * chunk.len() as u64, chunks(vec![Ok(chunk); 32]));
        let mut in_one_turn = 0;
        let largest = std::future::poll_fn(|cx| {
            let mut largest = 0;
            loop {
                match Pin::new(&mut body).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => {
                        in_one_turn += frame.unwrap().into_data().unwrap().len();
                    }
                    Poll::Ready(None) => return Poll::Ready(largest),
                    Poll::Pending => in_one_turn = 0,
                }
                largest = largest.max(in_one_turn);
            }
        });
        assert_eq!(largest.await as u64, TURN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_stalls_is_given_up() {
        let body = ResponseBody::stream(4, stream::pending());
        assert_eq!(read(body).await, (Vec::new(), Some(Aborted::Cut)));
    }
}
