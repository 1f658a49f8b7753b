//! One handshake, as a part of its connection's task.
//!
//! The socket's own clocks bound it: the header timeout runs from the connection's start. Computing is taken in turns, of which
//! there are few, so that many handshakes at once leave the processors to those who are being served. A turn lasts for one
//! stretch of computing; who waits for its client has none, so that no stalled handshake is in another's way.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::ready;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::PollSemaphore;

use super::{Tls, names};
use crate::http::PeerCertificate;
use crate::metrics::{self, Handshake};
use crate::server::pace::{Paced, TLS_HANDSHAKE};

/// For who speaks plain HTTP where TLS is expected.
const PLAIN: &str = "this port speaks HTTPS: write https:// before its address\n";

/// A connection after its handshake, and who its client has proven to be.
pub(in crate::server) type Shaken = (Box<TlsStream<Paced>>, Option<PeerCertificate>);

/// Shakes hands on a new connection. `None` where that failed: the connection is over.
pub(in crate::server) async fn shake(mut socket: Paced, tls: &Tls) -> Option<Shaken> {
    let listener = tls.0.listener;
    match socket.first_byte().await {
        Ok(Some(TLS_HANDSHAKE)) => {}
        Ok(Some(_)) => {
            metrics::handshake(listener, Handshake::PlainHttp);
            refuse_plain(socket).await;
            return None;
        }
        // As whoever tests whether the port is open does.
        Ok(None) => return None,
        Err(error) => {
            metrics::handshake(listener, outcome(&error));
            return None;
        }
    }
    let acceptor = TlsAcceptor::from(tls.present().config);
    let accept = acceptor.accept(socket).into_fallible();
    match in_turns(&tls.0.turns, accept).await {
        Ok(stream) => {
            metrics::handshake(listener, Handshake::Done);
            let shown = stream.get_ref().1.peer_certificates();
            let client = shown.and_then(<[_]>::first).and_then(names::of_client);
            Some((Box::new(stream), client))
        }
        Err((error, socket)) => {
            metrics::handshake(listener, outcome(&error));
            tracing::debug!(%error, listener = listener.as_str(), "a TLS handshake failed");
            // What was sent last says why.
            socket.close().await;
            None
        }
    }
}

fn outcome(error: &io::Error) -> Handshake {
    match error.kind() {
        io::ErrorKind::TimedOut => Handshake::Late,
        _ => Handshake::Failed,
    }
}

/// Polls `work` in its turns only.
async fn in_turns<F: Future>(turns: &Arc<Semaphore>, work: F) -> F::Output {
    let mut turns = PollSemaphore::new(Arc::clone(turns));
    let mut work = pin!(work);
    poll_fn(|cx| {
        let _turn = ready!(turns.poll_acquire(cx));
        work.as_mut().poll(cx)
    })
    .await
}

async fn refuse_plain(mut socket: Paced) {
    let length = PLAIN.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{PLAIN}"
    );
    if socket.write_all(answer.as_bytes()).await.is_ok() {
        socket.close().await;
    }
}
