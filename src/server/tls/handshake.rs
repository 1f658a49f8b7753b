//! One handshake, as a part of its connection's task.
//!
//! The socket's own clocks bound it: the header timeout runs from the connection's start, and so it does for who waits for a
//! turn. Computing is taken in turns, of which there are few, so that many handshakes at once leave the processors to those who
//! are being served. A turn lasts for one stretch of computing; who waits for its client has none, so that no stalled handshake
//! is in another's way.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::PollSemaphore;

use super::{Identity, Length, Tls};
use crate::http::ClientAddr;
use crate::metrics::{self, Handshake};
use crate::server::pace::{Paced, TLS_HANDSHAKE};
use crate::sync::lock;

/// For who speaks plain HTTP where TLS is expected.
const PLAIN: &str = "this port speaks HTTPS: write https:// before its address\n";

/// A connection after its handshake, and who its client has proven to be.
pub(in crate::server) type Shaken = (Box<TlsStream<Paced>>, Identity);

/// Shakes hands on a new connection, within `patience`. `None` where that failed: the connection is over.
pub(in crate::server) async fn shake(
    mut socket: Paced,
    client: ClientAddr,
    patience: Duration,
    tls: &Tls,
) -> Option<Shaken> {
    let end = Instant::now() + patience;
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
    // Before what it is about: what changes meanwhile is looked at once more.
    let generation = tls.generation();
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.present().config));
    socket.bound(Some(Length::new(&tls.0.long)));
    let accept = acceptor.accept(socket).into_fallible();
    let Some(accepted) = in_turns(&tls.0.turns, end, accept).await else {
        metrics::handshake(listener, Handshake::Late);
        metrics::connection_closed(metrics::Closed::HeaderTimeout);
        return None;
    };
    match accepted {
        Ok(mut stream) => {
            metrics::handshake(listener, Handshake::Done);
            stream.get_mut().0.bound(None);
            let identity = Identity::new(tls, generation, stream.get_ref().1);
            Some((Box::new(stream), identity))
        }
        Err((error, socket)) => {
            tls.failed(client, &error);
            // What was sent last says why.
            socket.close().await;
            None
        }
    }
}

impl Tls {
    /// Counts it, and says so now and then: a client that does not trust the certificate is told nothing by anyone else.
    fn failed(&self, client: ClientAddr, error: &io::Error) {
        let listener = self.0.listener;
        let outcome = outcome(error);
        metrics::handshake(listener, outcome);
        let listener = listener.as_str();
        if outcome == Handshake::Failed && lock(&self.0.failing).due() {
            tracing::info!(%client, %error, listener, "a TLS handshake failed; the next ones of this minute are only counted");
        } else {
            tracing::debug!(%client, %error, listener, "a TLS handshake failed");
        }
    }
}

fn outcome(error: &io::Error) -> Handshake {
    match error.kind() {
        io::ErrorKind::TimedOut => Handshake::Late,
        _ => Handshake::Failed,
    }
}

/// Polls `work` in its turns only. `None` where no turn came until `end`: nobody waits for what would be computed then.
async fn in_turns<F: Future>(turns: &Arc<Semaphore>, end: Instant, work: F) -> Option<F::Output> {
    let mut turns = PollSemaphore::new(Arc::clone(turns));
    let mut work = pin!(work);
    // Made where there is something to wait for.
    let mut late: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let Poll::Ready(_turn) = turns.poll_acquire(cx) else {
            let late = late.get_or_insert_with(|| Box::pin(sleep_until(end)));
            ready!(late.as_mut().poll(cx));
            return Poll::Ready(None);
        };
        if late.is_some() && Instant::now() >= end {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
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

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A client that has left is no reason to compute a signature.
    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_waits_for_its_turn_too_long_is_over_and_computes_nothing() {
        let turns = Arc::new(Semaphore::new(1));
        let _taken = Arc::clone(&turns).acquire_owned().await.unwrap();
        let began = Instant::now();
        let work = poll_fn(|_| -> Poll<()> { panic!("it computes") });
        assert_eq!(in_turns(&turns, began + PATIENCE, work).await, None);
        assert!(began.elapsed() >= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_whose_turn_comes_late_is_not_begun() {
        let turns = Arc::new(Semaphore::new(1));
        let taken = Arc::clone(&turns).acquire_owned().await.unwrap();
        let end = Instant::now() + PATIENCE;
        let work = poll_fn(|_| -> Poll<()> { panic!("it computes") });
        let mut waiting = pin!(in_turns(&turns, end, work));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        tokio::time::advance(2 * PATIENCE).await;
        drop(taken);
        assert_eq!(waiting.await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_in_time_is_taken() {
        let turns = Arc::new(Semaphore::new(1));
        let end = Instant::now() + PATIENCE;
        let done = in_turns(&turns, end, std::future::ready("done")).await;
        assert_eq!(done, Some("done"));
    }
}
