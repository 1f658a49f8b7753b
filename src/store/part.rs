//! Parts of files on their way from the page cache to a socket, without a copy in this process.
//!
//! `sendfile` has no flag like `RWF_NOWAIT`: what is not in memory is waited for on the spot. So a part is lent only if its last
//! byte can be read at once, and its first one, unless the one before it was the last of a part that was lent so. Files are
//! mostly read and forgotten in their order, so that where memory ends is seen at one of them; for a hole within a part, as ranges
//! may leave it, an async thread does wait. Each look takes some 2 % of what sending 240 KiB takes, which is why there are no
//! more.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rustix::fs::sendfile;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendFlags, send};

use super::error::is_damage;
use super::file::DiskFile;
use super::inner::Inner;
use super::reads::SMALL;

/// Bytes of a part, at most: few turns of a connection for many bytes, and not many for a socket that stops taking them.
pub const PART: usize = 4 * SMALL;

/// What a reader is given.
#[derive(Debug)]
pub enum Chunk {
    /// A copy.
    Bytes(Bytes),
    /// A part of a file, for a socket to take from there.
    Part(Part),
}

impl Chunk {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Part(part) => part.len(),
        }
    }

    /// Whether there are no bytes in it: the end of a file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How long a part may wait for the disk, as long as any body waits for its source.
const STALL: Duration = Duration::from_mins(1);

/// What one reader of a file, who goes on from where it was, has seen of what is in memory.
#[derive(Debug, Default)]
pub struct Trail {
    /// The part that ends here was there, as far as can be told.
    seen_to: Option<u64>,
}

impl Trail {
    /// Whether all of `part` is in memory, as far as can be told. What follows is one look cheaper then.
    pub(super) fn finds(&mut self, part: &Part) -> bool {
        let goes_on = self.seen_to == Some(part.at);
        let is_there = if goes_on {
            part.has_end()
        } else {
            part.is_resident()
        };
        self.seen_to = is_there.then_some(part.at + part.left as u64);
        is_there
    }
}

type Fetch = Pin<Box<dyn Future<Output = io::Result<usize>> + Send>>;

/// A part of a blob's file that was in memory when it was lent. The file stays open, and these bytes of it as they are, for as
/// long as this is there.
pub struct Part {
    file: Arc<DiskFile>,
    /// Whom to tell that the disk does not give it back; nobody of a file that is being written.
    store: Weak<Inner>,
    at: u64,
    left: usize,
    /// It was left for a while, in which what was in memory may have gone.
    is_stale: bool,
    /// Brings it to memory again.
    fetch: Option<Fetch>,
}

/// The file does not give back what was lent: its reader has had what there is.
#[derive(Debug, thiserror::Error)]
#[error("a blob's file can't be sent on")]
pub struct Lost(#[source] io::Error);

impl Lost {
    /// Whether an error of [`Part`] is the file's, and not the socket's.
    pub fn caused(error: &io::Error) -> bool {
        let inner = error.get_ref();
        inner
            .and_then(|inner| inner.downcast_ref::<Self>())
            .is_some()
    }
}

impl Part {
    /// At most [`PART`] of the `max` bytes from `at`, of which the file has all.
    pub(super) fn of(file: &Arc<DiskFile>, store: &Weak<Inner>, at: u64, max: usize) -> Self {
        Self {
            file: Arc::clone(file),
            store: Weak::clone(store),
            at,
            left: max.min(PART),
            is_stale: false,
            fetch: None,
        }
    }

    /// A part of any file, whatever of it is in memory; before each read of it `disk` says with which `errno` it is to fail.
    #[cfg(test)]
    pub(crate) fn of_any(
        file: std::fs::File,
        at: u64,
        max: usize,
        disk: impl Fn() -> Option<i32> + Send + Sync + 'static,
    ) -> Self {
        use super::faults::{Fault, Faults, Op};
        let faults = Faults::hook(move |op, _| {
            assert_eq!(op, Op::Read);
            disk().map(Fault::Fail)
        });
        let digest = crate::oci::Digest::of(crate::oci::Algorithm::Sha256, b"any");
        let reads = super::reads::Reads::new(faults, tokio::runtime::Handle::current());
        let file = DiskFile::new(file, "any".into(), digest, &reads, &Arc::default());
        Self::of(&file, &Weak::new(), at, max)
    }

    /// Bytes that are still to be sent.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether all of it was sent.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The socket takes nothing for now. Before this goes on there is another look at what is in memory.
    pub fn rest(&mut self) {
        self.is_stale = true;
    }

    /// Whether it waits for the disk.
    pub fn is_fetched(&self) -> bool {
        self.fetch.is_some()
    }

    /// Ready when it is in memory, as far as can be told: at once, where it was not left for a while.
    ///
    /// # Errors
    /// [`Lost`], where the disk does not bring it there.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fetch.is_none() && (!self.is_stale || self.is_resident()) {
            self.is_stale = false;
            return Poll::Ready(Ok(()));
        }
        let (file, at, left) = (&self.file, self.at, self.left);
        let fetch = self.fetch.get_or_insert_with(|| {
            let (reads, file) = (Arc::clone(file.reads()), Arc::clone(file));
            let fetch = async move { reads.fetch(file, at, left).await };
            let in_time = tokio::time::timeout(STALL, fetch);
            Box::pin(in_time.map(|fetched| fetched.unwrap_or(Err(io::ErrorKind::TimedOut.into()))))
        });
        let fetched = ready!(fetch.as_mut().poll(cx));
        self.fetch = None;
        self.is_stale = false;
        Poll::Ready(match fetched {
            Ok(0) => Err(self.lose(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(self.lose(error)),
        })
    }

    /// Whether all of it is in memory, as far as can be told.
    pub(super) fn is_resident(&self) -> bool {
        // In this order: a look at what is not there has the system read ahead from there on.
        self.file.reads().has(&self.file, self.at) && self.has_end()
    }

    fn has_end(&self) -> bool {
        let last = self.left.saturating_sub(1) as u64;
        self.file.reads().has(&self.file, self.at + last)
    }

    /// Sends what goes into one segment, or less, and says how much it was. `socket` must not block.
    ///
    /// # Errors
    /// `WouldBlock` where the socket takes nothing, and any other of the socket's; [`Lost`] where it is the file's.
    pub fn send(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let socket = socket.as_fd();
        let count = self.left.min(SMALL);
        let mut at = self.at;
        let sent = retry_on_intr(|| sendfile(socket, self.file.file(), Some(&mut at), count));
        let sent = match sent {
            Ok(sent) if sent > 0 => sent,
            Err(error @ (Errno::AGAIN | Errno::PIPE | Errno::CONNRESET | Errno::TIMEDOUT)) => {
                return Err(error.into());
            }
            refused => self.send_copy(socket, count, refused.err())?,
        };
        self.file.reads().sent(sent);
        self.at += sent as u64;
        self.left -= sent;
        Ok(sent)
    }

    /// Does the same in two steps, of which one tells whose fault it is.
    fn send_copy(
        &self,
        socket: BorrowedFd<'_>,
        count: usize,
        refused: Option<Errno>,
    ) -> io::Result<usize> {
        let read = self.file.reads().read_now(&self.file, self.at, count);
        let bytes = read.map_err(|error| self.lose(error))?;
        let sent = retry_on_intr(|| send(socket, &bytes, SendFlags::NOSIGNAL))?;
        if let Some(refused) = refused {
            self.file.reads().refused(refused);
        }
        Ok(sent)
    }

    /// Tells whoever has to know. Other readers of the file find out by themselves, without `sendfile`.
    fn lose(&self, error: io::Error) -> io::Error {
        let (digest, at) = (self.file.digest(), self.at);
        tracing::warn!(%digest, at, %error, "a blob can't be sent on from its file; its client has to ask again");
        self.file.keep_back();
        let is_damaged = error.kind() == io::ErrorKind::UnexpectedEof || is_damage(&error);
        if is_damaged && let Some(store) = self.store.upgrade() {
            store.drop_unreadable(digest);
        }
        io::Error::other(Lost(error))
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("digest", &self.file.digest())
            .field("at", &self.at)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
