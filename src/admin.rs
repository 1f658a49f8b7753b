//! The operators' listener: is it alive, is it ready, and what does it do?
//!
//! `/healthz` says that the process answers, `/readyz` whether clients should be sent here, `/metrics`
//! gives the metrics. It is up before the cache is open and until the last transfer has ended, so
//! that both can be watched.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::metrics::Recorder;
use crate::mirror::Mirror;

/// How long the cache may take to show that it can be written.
const PROBE: Duration = Duration::from_secs(2);
/// How often the metrics' samples are folded together.
const UPKEEP: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers operators. Cloning shares it.
#[derive(Clone)]
pub struct Admin {
    recorder: Recorder,
    phase: Arc<Mutex<Phase>>,
}

/// Where the process is in its life.
#[derive(Clone)]
enum Phase {
    Starting,
    Serving(Mirror),
    Draining,
}

impl Admin {
    /// For a process that is starting.
    pub fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            phase: Arc::new(Mutex::new(Phase::Starting)),
        }
    }

    /// The cache is open, and clients are served from `mirror`.
    pub fn serving(&self, mirror: Mirror) {
        self.enter(Phase::Serving(mirror));
    }

    /// The process is on its way out: no new clients, please.
    pub fn draining(&self) {
        self.enter(Phase::Draining);
    }

    fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Answers one request.
    pub async fn answer(&self, method: &Method, path: &str) -> Response<String> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.readiness().await {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/metrics" => typed(StatusCode::OK, PROMETHEUS, self.recorder.render()),
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz and /metrics\n",
            ),
        }
    }

    async fn readiness(&self) -> Result<(), String> {
        let phase = self
            .phase
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mirror = match phase {
            Phase::Starting => return Err("starting: the cache is not open yet".into()),
            Phase::Draining => return Err("draining".into()),
            Phase::Serving(mirror) => mirror,
        };
        match tokio::time::timeout(PROBE, mirror.ready()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the cache cannot be written: {error}")),
            Err(_) => Err("the cache's disk does not answer".into()),
        }
    }

    /// Keeps the metrics small between scrapes, for as long as it is polled.
    pub async fn upkeep(self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.recorder.upkeep();
        }
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<String> {
    typed(status, TEXT, body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(admin: &Admin, path: &str) -> (u16, String) {
        let response = admin.answer(&Method::GET, path).await;
        (response.status().as_u16(), response.into_body())
    }

    #[tokio::test]
    async fn a_starting_process_is_alive_and_not_ready() {
        let admin = Admin::new(Recorder::install().unwrap());
        assert_eq!(get(&admin, "/healthz").await, (200, "alive\n".into()));
        assert_eq!(get(&admin, "/readyz").await.0, 503);
        admin.draining();
        assert_eq!(get(&admin, "/readyz").await, (503, "draining\n".into()));
        assert_eq!(get(&admin, "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn metrics_are_rendered_and_nothing_else_is_served() {
        let admin = Admin::new(Recorder::install().unwrap());
        let (status, body) = get(&admin, "/metrics").await;
        assert!(
            status == 200 && body.contains("forebay_build_info"),
            "{body}"
        );
        assert_eq!(get(&admin, "/v2/").await.0, 404);
        let refused = admin.answer(&Method::POST, "/metrics").await;
        assert_eq!(refused.status(), 405);
    }
}
