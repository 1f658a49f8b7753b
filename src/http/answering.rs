//! A response that is there already, or on its way.
//!
//! Most hits need nobody: their response is made where the request is read, and costs neither a task's worth of memory nor
//! another turn.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::Response;

use super::body::ResponseBody;

type Later = Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>;

/// A response, or the wait for one.
pub struct Answering(Either<Ready<Response<ResponseBody>>, Later>);

impl Answering {
    /// One that is there.
    pub fn now(response: Response<ResponseBody>) -> Self {
        Self(Either::Left(ready(response)))
    }

    /// One that has to be waited for.
    pub fn later(response: impl Future<Output = Response<ResponseBody>> + Send + 'static) -> Self {
        Self(Either::Right(Box::pin(response)))
    }
}

impl Future for Answering {
    type Output = Response<ResponseBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}
