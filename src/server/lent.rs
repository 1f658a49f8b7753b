//! Parts of files on their way through hyper, which knows bytes alone.
//!
//! A body that has a part to give leaves it here, and gives hyper as many bytes that stand for it. hyper passes on what it is
//! given as it is, and does not look at it: where the socket is to write the stand-in, it sends the part. Nobody else has bytes
//! at that address, so that the two can't be taken for one another.

use std::collections::VecDeque;
use std::io;
use std::sync::{LazyLock, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::http::{PART, Part};
use crate::sync::lock;

/// Never read, so that no memory stands behind it.
static STAND_IN: LazyLock<Box<[u8]>> = LazyLock::new(|| vec![0; PART].into_boxed_slice());

/// The parts of files that a connection's responses have lent to its socket, in the order in which they are sent: few, for
/// hyper asks for no more while it has as many bytes as one of them.
#[derive(Debug, Default)]
pub(super) struct Lent(Mutex<VecDeque<Part>>);

impl Lent {
    /// Takes a part, and gives the bytes that stand for it.
    pub(super) fn lend(&self, part: Part) -> Bytes {
        let stand_in: &'static [u8] = &STAND_IN;
        let bytes = Bytes::from_static(&stand_in[..part.len()]);
        lock(&self.0).push_back(part);
        bytes
    }

    /// Sends `before`, and then as much as the socket takes of the part that `stand_in` stands for. What is in the way of more
    /// is told when it is in the way of all.
    ///
    /// # Errors
    /// The socket's and the file's; and where there is no part of so many bytes, for a stand-in is never to be sent itself.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        before: &[u8],
        stand_in: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut sent = 0;
        if !before.is_empty() {
            // There is room for both in one segment.
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            sent = ready!(poll_io(cx, socket, || Ok(send(socket, before, flags)?)))?;
            if sent < before.len() {
                return Poll::Ready(Ok(sent));
            }
        }
        let mut parts = lock(&self.0);
        let left = parts.front().map_or(0, Part::len);
        let Some(part) = parts.front_mut().filter(|_| left == stand_in.len()) else {
            let told = format!("{} bytes stand for {left} of a file", stand_in.len());
            tracing::error!("{told}; this is a bug");
            return Poll::Ready(Err(io::Error::other(told)));
        };
        while !part.is_empty() {
            match poll_part(cx, socket, part) {
                Poll::Ready(Ok(more)) => sent += more,
                stopped if sent == 0 => return stopped,
                _ => return Poll::Ready(Ok(sent)),
            }
        }
        parts.pop_front();
        Poll::Ready(Ok(sent))
    }

    /// Whether it is the disk that is waited for, and not the socket.
    pub(super) fn is_fetched(&self) -> bool {
        lock(&self.0).front().is_some_and(Part::is_fetched)
    }

    /// The socket takes nothing for now.
    pub(super) fn rest(&self) {
        lock(&self.0).iter_mut().for_each(Part::rest);
    }
}

/// Whether these bytes stand for a part of a file.
pub(super) fn stands_in(bytes: &[u8]) -> bool {
    !bytes.is_empty() && STAND_IN.as_ptr_range().contains(&bytes.as_ptr())
}

fn poll_part(cx: &mut Context<'_>, socket: &TcpStream, part: &mut Part) -> Poll<io::Result<usize>> {
    ready!(part.poll_ready(cx))?;
    poll_io(cx, socket, || part.send(socket))
}

/// Does what may find that it would block, once the socket takes something.
fn poll_io(
    cx: &mut Context<'_>,
    socket: &TcpStream,
    mut work: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, &mut work) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}
