//! Each fault, as a client meets it.

mod answers;
mod bodies;
mod waits;

use reqwest::Response;

const SIZE: u64 = 300_000;

/// Reads until the end or an error; gives what came, and how it ended.
async fn drain(mut response: Response) -> (Vec<u8>, Option<reqwest::Error>) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, None),
            Err(error) => return (body, Some(error)),
        }
    }
}
