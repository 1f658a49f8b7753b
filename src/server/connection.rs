//! One connection: whose it is, its TLS handshake, hyper over a paced socket, and how it ends.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;

use super::accept::{self, Arrival, Standing};
use super::pace::Paced;
use super::place::Place;
use super::proxy::{self, ProxyError, Source};
use super::stream::{End, Stream};
use super::turn::Turn;
use super::{Service, Shared, tls};
use crate::http::{Aborted, Certified, Chunk, ClientAddr, Peer, Remote, ResponseBody};
use crate::metrics;
use crate::sync::Aside;

/// What hyper holds of a response before it writes: one chunk of a body, as the store reads it. Its own is 400 KiB.
const BUFFER: usize = 60 << 10;
/// Bounds a request's head, to which the one above is no hard bound.
const HEAD: usize = 32 << 10;
/// Who is to be told that its connection is too many has to ask within this time: few can be told at once.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Serves one client until it leaves, a limit ends the connection, or the server is shut down.
pub(super) async fn serve(arrival: Arrival, shared: Arc<Shared>, service: Service) {
    let _open = metrics::connection(shared.settings.listener);
    let Some(arrival) = introduced(arrival, &shared).await else {
        return;
    };
    let Some(Arrival {
        stream,
        mut peer,
        standing,
        place,
    }) = placed(arrival, &shared).await
    else {
        return;
    };
    let surplus = match &standing {
        Standing::Surplus(surplus) => Some(*surplus),
        _ => shared.places.surplus(&place),
    };
    let mut limits = shared.settings;
    if surplus.is_some() {
        limits.header_timeout = limits.header_timeout.min(TOLD_WITHIN);
    }
    let turn = Arc::new(Turn::default());
    let under_tls = shared.tls.is_some();
    let spares = shared.places.spares_with(&place);
    let socket = Paced::new(stream, Arc::clone(&turn), &limits, spares, under_tls);
    let spoken = spoken(socket, &peer, limits.header_timeout, &shared);
    let Some((stream, identity)) = spoken.await else {
        return;
    };
    if under_tls {
        peer = peer.over_tls();
    }
    let answer = service_fn(|request| {
        turn.pass();
        let proven = identity.as_ref().map(tls::Identity::now);
        let is_outdated = proven == Some(tls::Proven::Outdated);
        let is_barred = proven == Some(tls::Proven::Barred);
        let certified = match proven {
            Some(tls::Proven::By(Some(certificate))) => Certified::By(certificate),
            Some(tls::Proven::Nothing | tls::Proven::Outdated) => Certified::Nothing,
            Some(tls::Proven::By(None) | tls::Proven::Barred) | None => Certified::Unasked,
        };
        let remote = Remote {
            peer,
            certified,
            surplus,
        };
        let response = (!is_barred).then(|| service(request, remote));
        let (turn, shared) = (Arc::clone(&turn), &shared);
        async move {
            let mut response = response.ok_or(Barred)?.await;
            let is_wanted = shared.places.spares.are_owed();
            if is_wanted && surplus.is_none() {
                metrics::connection_closed(metrics::Closed::Cap);
            }
            if is_wanted || is_outdated || surplus.is_some() {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Barred>(response.map(|mut body| {
                if !under_tls {
                    body.lend();
                }
                Running { body, turn }
            }))
        }
    });
    let mut connection = builder().serve_connection(TokioIo::new(stream), answer);
    let cut = pin!(shared.cut.cancelled());
    let ended = tokio::select! {
        biased;
        // The client may resume elsewhere. A cut comes before all else.
        () = Aside::new(cut) => Ok(End::Short),
        ended = drive(&mut connection, &shared) => ended.map(|()| End::Finished),
    };
    let stream = connection.into_parts().io.into_inner();
    let end = ended.unwrap_or_else(|error| {
        if is_mismatch(&error) {
            return End::Wrong;
        }
        if caused_by::<Barred>(&error).is_some() {
            metrics::connection_closed(metrics::Closed::Certificate);
            return End::Finished;
        }
        if stream.is_idle() {
            // Nothing was asked for: all that was said is whole.
            return End::Finished;
        }
        tracing::debug!(%error, client = %peer.address, "connection ended early");
        End::Short
    });
    stream.end(end).await;
}

/// Shakes hands where TLS is spoken. `None` where that failed, or shutdown came before its end: nothing was asked for yet.
async fn spoken(
    socket: Paced,
    peer: &Peer,
    patience: Duration,
    shared: &Shared,
) -> Option<(Stream, Option<tls::Identity>)> {
    let Some(tls) = &shared.tls else {
        return Some((Stream::Plain(socket), None));
    };
    let shaken = tokio::select! {
        shaken = tls::shake(socket, peer.address, patience, tls) => shaken,
        () = shared.shutdown.cancelled() => None,
    };
    shaken.map(|(stream, identity)| (Stream::Tls(stream), Some(identity)))
}

/// Waits for the word of a proxy where one is to come: from then on, its client is the connection's other end. `None` where it
/// does not come.
async fn introduced(mut arrival: Arrival, shared: &Shared) -> Option<Arrival> {
    if !matches!(arrival.standing, Standing::Proxied) {
        return Some(arrival);
    }
    let header = proxy::read(&mut arrival.stream);
    let header = tokio::select! {
        header = tokio::time::timeout(shared.settings.header_timeout, header) => header,
        () = shared.shutdown.cancelled() => return None,
    };
    match header {
        Ok(Ok(source)) => {
            arrival.peer = match source {
                Source::Client(address) => Peer::from(ClientAddr::from(address)).introduced(),
                Source::Proxy => arrival.peer.speaking_for_itself(),
            };
            arrival.standing = Standing::of(arrival.peer.address, &shared.clients);
            if matches!(arrival.standing, Standing::Surplus(_)) {
                // It waits with those who are told so, and leaves its place to others.
                arrival.place = accept::telling(shared)?;
            }
            return Some(arrival);
        }
        // As a proxy's test does whether the port is open.
        Ok(Err(error @ ProxyError::Ended(_))) => {
            tracing::debug!(%error, proxy = %arrival.peer.address, "connection closed");
        }
        Ok(Err(error @ ProxyError::Malformed)) => {
            metrics::connection_closed(metrics::Closed::ProxyHeader);
            tracing::warn!(%error, proxy = %arrival.peer.address, "connection closed");
        }
        Err(_) => metrics::connection_closed(metrics::Closed::HeaderTimeout),
    }
    None
}

/// Waits for a connection's place where it has none yet. `None` where it is to be closed without a word.
async fn placed(arrival: Arrival, shared: &Shared) -> Option<Arrival> {
    let Place::Awaited(waiting) = arrival.place else {
        return Some(arrival);
    };
    let place = tokio::select! {
        place = shared.places.awaited(waiting) => place?,
        () = shared.shutdown.cancelled() => return None,
    };
    Some(Arrival { place, ..arrival })
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // A client may end its side once it has asked: that is no reason to withhold the answer. One
        // that is gone is noticed at the next write.
        .half_close(true)
        // `Paced` keeps this time, apart from idle time.
        .header_read_timeout(None)
        .max_buf_size(BUFFER)
        // What is copied into one buffer can't be told from what stands for a part of a file.
        .writev(true)
        .max_header_size(HEAD)
        .pipeline_flush(false);
    builder
}

/// Polls the connection to its end; at shutdown, lets it finish its present response only.
async fn drive<S>(
    connection: &mut http1::Connection<TokioIo<Stream>, S>,
    shared: &Shared,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = Running, Error = Barred>,
{
    let mut finished = poll_fn(|cx: &mut Context<'_>| Pin::new(&mut *connection).poll(cx));
    let shutdown = pin!(shared.shutdown.cancelled());
    tokio::select! {
        biased;
        () = Aside::new(shutdown) => {}
        ended = &mut finished => return ended,
    }
    Pin::new(&mut *connection).graceful_shutdown();
    poll_fn(|cx| Pin::new(&mut *connection).poll(cx)).await
}

/// Whether the response's body was proven wrong.
fn is_mismatch(error: &hyper::Error) -> bool {
    matches!(caused_by(error), Some(Aborted::Mismatch))
}

fn caused_by<T: Error + 'static>(error: &hyper::Error) -> Option<&T> {
    error.source().and_then(|source| source.downcast_ref())
}

/// A client whose certificate does not count any more, where nobody is answered without one. It is told by the end of its
/// connection: as after any that was kept too long, it asks again on a new one, and there it shows what it has by now.
#[derive(Debug, thiserror::Error)]
#[error("the certificate of its client does not count any more")]
struct Barred;

/// A response's body, which tells the connection's clocks when it is over.
///
/// It gives nothing while the socket takes nothing. hyper would ask it for a chunk more than the one that is being written,
/// and keep both for as long as a slow client needs for the first.
struct Running {
    body: ResponseBody,
    turn: Arc<Turn>,
}

impl Body for Running {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if self.turn.is_full() {
            return Poll::Pending;
        }
        let chunk = ready!(self.body.poll_chunk(cx));
        let bytes = chunk.map(|chunk| match chunk {
            Ok(Chunk::Bytes(bytes)) => Ok(bytes),
            Ok(Chunk::Part(part)) => Ok(self.turn.lent.lend(part)),
            Err(why) => Err(why),
        });
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.turn.pass();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_body_is_asked_for_nothing_while_the_socket_takes_nothing() {
        let turn = Arc::<Turn>::default();
        let mut running = Running {
            body: ResponseBody::whole("abc"),
            turn: Arc::clone(&turn),
        };
        let mut poll = || {
            let mut cx = Context::from_waker(Waker::noop());
            Pin::new(&mut running).poll_frame(&mut cx)
        };
        turn.fill(true);
        assert!(poll().is_pending());
        turn.fill(false);
        assert!(matches!(poll(), Poll::Ready(Some(Ok(_)))));
    }
}
