//! A small HTTP server on a port of the system's choice, which ends when it is dropped.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(super) type Answer = Response<String>;

/// An answer of a status, a content type and a body.
pub(super) fn answer_of(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<String>,
) -> Answer {
    let mut answer = Response::new(text.into());
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// What answers requests.
pub(super) trait Service: Send + Sync + 'static {
    fn answer(&self, request: &Request<Bytes>) -> Answer;
}

/// A header of a request; empty where there is none.
pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(service: Arc<impl Service>) -> io::Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                let serve = service_fn(move |request| answer(service.clone(), request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                // A client that leaves is no matter.
                tokio::spawn(async { drop(connection.await) });
            }
        });
        Ok(Server { address, task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    service: Arc<impl Service>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let request = Request::from_parts(head, body.unwrap_or_default());
    Ok(service.answer(&request).map(Full::from))
}
