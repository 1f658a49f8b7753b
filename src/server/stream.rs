//! What a connection speaks through: its paced socket as it is, or TLS over it.
//!
//! The clocks are below TLS, so that they count what passes the wire. How a connection ends is said on both layers: one that
//! is finished, or had nothing to do, ends with `close_notify` and FIN; one that is cut short with FIN alone, so that it can't
//! be taken for finished by a client that does not count; one that was proven wrong with RST.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::pace::Paced;

/// A connection's bytes.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Paced),
    Tls(Box<TlsStream<Paced>>),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All was said.
    Finished,
    /// In the middle: what was sent holds as far as it goes.
    Short,
    /// What was sent is not to be built upon.
    Wrong,
}

/// How long a client may take for the rest of what TLS holds. Shorter than it takes to leave a connection behind that was cut.
const PARTING: Duration = Duration::from_secs(3);

impl Stream {
    /// Whether it was given up while nothing was asked for on it.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_idle(),
            Self::Tls(stream) => stream.get_ref().0.is_idle(),
        }
    }

    pub(super) async fn end(self, end: End) {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(mut stream) => {
                if !stream.get_ref().0.is_stuck() {
                    let part = parting(&mut stream, end);
                    // Neither an error nor being late matters: the socket is closed next.
                    let _ = tokio::time::timeout(PARTING, part).await;
                }
                stream.into_inner().0
            }
        };
        match end {
            End::Finished | End::Short => socket.close().await,
            End::Wrong => socket.reset(),
        }
    }
}

/// What is still to be said above the socket.
async fn parting(stream: &mut TlsStream<Paced>, end: End) -> io::Result<()> {
    match end {
        End::Finished => stream.shutdown().await,
        End::Short => stream.flush().await,
        End::Wrong => Ok(()),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
