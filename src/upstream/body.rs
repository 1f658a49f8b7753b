//! Bodies of answers: small ones whole and bounded, blobs piece by piece under an idle timeout.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use tokio::time::timeout;

use super::error::{ErrorKind, UpstreamError};
use super::range::content_length;
use super::transport::host_of;

/// Reads a body of at most `limit` bytes. The time in all is bounded by the caller.
pub(crate) async fn read_small(
    response: &mut Response,
    limit: usize,
    idle: Duration,
) -> Result<Bytes, UpstreamError> {
    let host = host_of(response.url());
    let too_large =
        || UpstreamError::invalid(&host, format!("an answer of more than {limit} bytes"));
    let length =
        content_length(response.headers()).map_err(|what| UpstreamError::invalid(&host, what))?;
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    while let Some(chunk) = next_chunk(response, idle, &host).await? {
        if read.len() + chunk.len() > limit {
            return Err(too_large());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
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
    pub(crate) fn new(response: Response, length: Option<u64>, idle: Duration) -> BlobBody {
        BlobBody {
            host: host_of(response.url()),
            response,
            left: length,
            idle,
        }
    }

    /// The next bytes; `None` after the last. Waits no longer than the idle timeout, which only runs
    /// here: a caller that is slow to ask costs the upstream nothing.
    ///
    /// A body that ends short of its length is an error of kind [`ErrorKind::Cut`], one that goes on
    /// beyond it of kind [`ErrorKind::Invalid`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let chunk = next_chunk(&mut self.response, self.idle, &self.host).await?;
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
