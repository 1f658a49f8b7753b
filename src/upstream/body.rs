//! Bodies of answers: small ones whole and bounded, blobs piece by piece under an idle timeout.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::error::{ErrorKind, UpstreamError};
use super::range::content_length;
use super::transport::host_of;
use crate::metrics::Tally;

/// JSON up to this size is read where it came.
const SMALL: usize = 64 << 10;

/// Reads a body of at most `limit` bytes, which takes no more than these of memory: it may be kept. The time in all is bounded by
/// the caller.
pub(crate) async fn read_small(
    response: &mut Response,
    limit: usize,
    idle: Duration,
) -> Result<Bytes, UpstreamError> {
    let host = host_of(response.url());
    let too_large =
        || UpstreamError::too_large(&host, format!("an answer of more than {limit} bytes"));
    let length =
        content_length(response.headers()).map_err(|what| UpstreamError::invalid(&host, what))?;
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    // What is announced may never come.
    let announced = length.and_then(|length| usize::try_from(length).ok());
    let mut read = Vec::with_capacity(announced.unwrap_or(0).min(SMALL));
    while let Some(chunk) = next_chunk(response, idle, &host).await? {
        if read.len() + chunk.len() > limit {
            return Err(too_large());
        }
        read.extend_from_slice(&chunk);
    }
    // It was made larger by doubling. Where it lies it can become smaller.
    read.shrink_to_fit();
    Ok(Bytes::from(read))
}

/// What a JSON body says, if anything. A long one is read where it holds up no other request.
pub(super) async fn read_json<T>(body: &Bytes) -> Option<T>
where
    T: DeserializeOwned + Send + 'static,
{
    if body.len() <= SMALL {
        return serde_json::from_slice(body).ok();
    }
    let body = body.clone();
    let read = tokio::task::spawn_blocking(move || serde_json::from_slice(&body).ok());
    read.await.ok().flatten()
}

/// The next bytes, waited for no longer than `idle`.
async fn next_chunk(
    response: &mut Response,
    idle: Duration,
    host: &str,
) -> Result<Option<Bytes>, UpstreamError> {
    match timeout(idle, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(UpstreamError::from_body(host, error)),
        Err(_) => {
            let message = format!("sent nothing for {idle:?}");
            Err(UpstreamError::timeout(host, message))
        }
    }
}

/// The body of a blob's answer. Dropping it ends the transfer.
pub struct BlobBody {
    response: Response,
    host: String,
    /// What is still to come, where the length is known.
    left: Option<u64>,
    idle: Duration,
    pace: Pace,
    /// Where its bytes are counted.
    tally: Tally,
}

/// Whether bytes trickle, so slowly that a transfer would never end though it is never idle.
/// Counts only the time that was spent waiting for them.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Bytes a second; a modem does better.
    const LEAST: u64 = 1 << 10;

    /// Notes that `bytes` came after a wait; false once a `window` of waiting has brought too few.
    fn note(&mut self, waited: Duration, bytes: u64, window: Duration) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < window {
            return true;
        }
        let enough =
            u128::from(self.bytes) * 1000 >= u128::from(Self::LEAST) * self.waited.as_millis();
        *self = Pace::default();
        enough
    }
}

/// By hand, since the response would print its URL, which may be signed.
impl fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody")
            .field("host", &self.host)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl BlobBody {
    pub(crate) fn new(
        response: Response,
        length: Option<u64>,
        idle: Duration,
        tally: Tally,
    ) -> BlobBody {
        BlobBody {
            host: host_of(response.url()),
            response,
            left: length,
            idle,
            pace: Pace::default(),
            tally,
        }
    }

    /// The next bytes; `None` after the last. Waits no longer than the idle timeout, which only runs
    /// here: a caller that is slow to ask costs the upstream nothing. A trickle counts as standing still.
    ///
    /// A body that ends short of its length is an error of kind [`ErrorKind::Cut`], one that goes on
    /// beyond it of kind [`ErrorKind::Invalid`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let asked = Instant::now();
        let chunk = next_chunk(&mut self.response, self.idle, &self.host).await?;
        let bytes = chunk.as_ref().map_or(0, Bytes::len);
        self.tally.add(bytes);
        if chunk.is_some() && !self.pace.note(asked.elapsed(), bytes as u64, self.idle) {
            let message = format!("sends less than {} bytes a second", Pace::LEAST);
            return Err(UpstreamError::timeout(&self.host, message));
        }
        let Some(left) = &mut self.left else {
            return Ok(chunk);
        };
        match &chunk {
            Some(bytes) => {
                *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                    UpstreamError::invalid(&self.host, "sent more bytes than it announced")
                })?;
            }
            None if *left > 0 => {
                let message = format!("ended {left} bytes early");
                return Err(UpstreamError::new(ErrorKind::Cut, &self.host, message));
            }
            None => {}
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use serde::de::{Deserialize, Deserializer, IgnoredAny};

    use super::*;

    /// The thread that read it.
    struct ReadOn(ThreadId);

    impl<'de> Deserialize<'de> for ReadOn {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            IgnoredAny::deserialize(from)?;
            Ok(Self(thread::current().id()))
        }
    }

    /// A list of some megabytes held up every other request of its thread for as long as it took to read.
    #[tokio::test]
    async fn a_long_body_is_read_where_it_holds_up_nobody() {
        let json = |length: usize| Bytes::from(format!("\"{}\"", "x".repeat(length - 2)));
        let here = thread::current().id();
        for (length, is_here) in [(2, true), (SMALL, true), (SMALL + 1, false)] {
            let ReadOn(thread) = read_json(&json(length)).await.expect("it is JSON");
            assert_eq!(thread == here, is_here, "{length}");
        }
        for length in [10, SMALL + 10] {
            let broken = json(length).slice(1..);
            assert!(read_json::<IgnoredAny>(&broken).await.is_none());
        }
    }

    #[test]
    fn a_trickle_is_told_from_a_slow_line() {
        let (second, window) = (Duration::from_secs(1), Duration::from_secs(30));
        let last = |bytes: u64| {
            let mut pace = Pace::default();
            (0..90).all(|_| pace.note(second, bytes, window))
        };
        assert!(last(Pace::LEAST));
        assert!(!last(Pace::LEAST - 1));
        // A burst pays for its own window only.
        let mut pace = Pace::default();
        assert!(pace.note(window, 1 << 30, window));
        assert!(!pace.note(window, 1, window));
    }
}
