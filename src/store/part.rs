//! Parts of files on their way from the page cache to a socket, without a copy in this process.
//!
//! `sendfile` has no flag like `RWF_NOWAIT`: what is not in memory is waited for on the spot. So a part is lent only if its first
//! and its last byte can be read at once. Memory comes and goes in the order of a file, so that what has been read in part, or
//! taken back in part, shows at one of the ends; only for a hole within 240 KiB does an async thread wait. With nine looks a part
//! they took 18 % of the sender's time, with two they take 5.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::fs::sendfile;
use rustix::io::{Errno, ReadWriteFlags, preadv2, retry_on_intr};
use rustix::net::{SendFlags, send};
use tokio::task::JoinHandle;

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
    fetch: Option<JoinHandle<()>>,
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

    /// Ready when it is in memory, as far as can be told: at once, where it was not left for a while.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(fetch) = &mut self.fetch {
                // Where that failed, sending it says why.
                let _ = ready!(Pin::new(fetch).poll(cx));
                self.fetch = None;
                self.is_stale = false;
            }
            if !self.is_stale || self.is_resident() {
                self.is_stale = false;
                return Poll::Ready(());
            }
            self.fetch = Some(
                self.file
                    .reads()
                    .fetch_later(&self.file, self.at, self.left),
            );
        }
    }

    /// Whether all of it is in memory, as far as can be told.
    pub(super) fn is_resident(&self) -> bool {
        let last = self.left.saturating_sub(1) as u64;
        // In this order: a look at what is not there has the system read ahead from there on.
        self.has(self.at) && self.has(self.at + last)
    }

    fn has(&self, at: u64) -> bool {
        let mut byte = [0];
        let mut to = [IoSliceMut::new(&mut byte)];
        let read = preadv2(self.file.file(), &mut to, at, ReadWriteFlags::NOWAIT);
        if let Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) = read {
            self.file.reads().nowait.store(false, Ordering::Relaxed);
        }
        read == Ok(1)
    }

    /// Sends what goes into one segment, or less, and says how much it was. `socket` must not block.
    ///
    /// # Errors
    /// `WouldBlock` where the socket takes nothing. Any other is the socket's, or the file's: of one that the disk does not give
    /// back the store has heard then.
    pub fn send(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let socket = socket.as_fd();
        let count = self.left.min(SMALL);
        let mut at = self.at;
        let sent = retry_on_intr(|| sendfile(socket, self.file.file(), Some(&mut at), count));
        let sent = match sent {
            Ok(sent) if sent > 0 => sent,
            Err(error @ Errno::AGAIN) => return Err(error.into()),
            refused => self.send_copy(socket, count, refused.err())?,
        };
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
        let bytes = read.inspect_err(|error| {
            let is_lost = error.kind() == io::ErrorKind::UnexpectedEof || is_damage(error);
            if is_lost && let Some(store) = self.store.upgrade() {
                store.drop_unreadable(self.file.digest());
            }
        })?;
        let sent = retry_on_intr(|| send(socket, &bytes, SendFlags::NOSIGNAL))?;
        if let Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) = refused {
            // The file system, or what this process is shut in, has no such call: it is not asked again.
            self.file.reads().lends.store(false, Ordering::Relaxed);
        }
        Ok(sent)
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
