//! The operators' listener: is it alive, is it ready, and what does it do?
//!
//! `/healthz` says that the process answers, `/readyz` whether clients should be sent here, `/metrics`
//! gives the metrics, `/api/status` tells how things stand ([`crate::status`]). A mirror that cannot
//! write its cache is ready, if degraded: it passes through what it cannot keep, and without it
//! clients would have nothing. The listener is up before the cache is open and until the last
//! transfer has ended, so that both can be watched.

mod document;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::metrics::Recorder;
use crate::mirror::Mirror;
use crate::status::{self, State, Status};
use crate::sync::lock;

/// How long the cache may take to show that it can be written.
const PROBE: Duration = Duration::from_secs(2);
/// How often the metrics' samples are folded together.
const UPKEEP: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers operators. Cloning shares it.
#[derive(Clone)]
pub struct Admin {
    recorder: Recorder,
    started: Instant,
    phase: Arc<Mutex<Phase>>,
    configuration: Arc<Mutex<Configured>>,
    /// Where the listeners' certificates can be asked after.
    certificates: Arc<OnceLock<Certificates>>,
    /// Where files of logins can be.
    access_files: Arc<OnceLock<AccessFiles>>,
    /// The cache could not be written when last asked.
    degraded: Arc<AtomicBool>,
}

/// How the listeners' certificates stand.
pub type Certificates = Box<dyn Fn() -> Vec<status::Certificate> + Send + Sync>;

/// Which files of logins do not count as they are.
pub type AccessFiles = Box<dyn Fn() -> Vec<status::AccessFile> + Send + Sync>;

/// Which configuration is gone by.
#[derive(Clone, Debug)]
pub struct Configured {
    /// When it was read.
    pub at: SystemTime,
    /// Keys that it sets, and that count after a restart only.
    pub staying: Vec<String>,
    /// Why a later one is not gone by, where there is one.
    pub problem: Option<String>,
}

impl Configured {
    /// All of it, as it was read at the start.
    pub fn now() -> Self {
        Self {
            at: SystemTime::now(),
            staying: Vec::new(),
            problem: None,
        }
    }
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
            started: Instant::now(),
            phase: Arc::new(Mutex::new(Phase::Starting)),
            configuration: Arc::new(Mutex::new(Configured::now())),
            certificates: Arc::default(),
            access_files: Arc::default(),
            degraded: Arc::default(),
        }
    }

    /// The cache is open, and clients are served from `mirror`.
    pub fn serving(&self, mirror: Mirror) {
        self.enter(Phase::Serving(mirror));
    }

    /// Clients are served from `mirror` from now on, which goes by another configuration.
    pub fn reconfigured(&self, mirror: Mirror) {
        let mut phase = lock(&self.phase);
        if let Phase::Serving(present) = &mut *phase {
            *present = mirror;
        }
    }

    /// This configuration is gone by.
    pub fn configured(&self, configured: Configured) {
        *lock(&self.configuration) = configured;
    }

    /// The configuration was read again, and can't be gone by.
    pub fn refused(&self, problem: String) {
        lock(&self.configuration).problem = Some(problem);
    }

    /// Where certificates can be asked after; the first time counts.
    pub fn certificates(&self, certificates: Certificates) {
        let _ = self.certificates.set(certificates);
    }

    /// Where files of logins can be asked after; the first time counts.
    pub fn access_files(&self, files: AccessFiles) {
        let _ = self.access_files.set(files);
    }

    /// The process is on its way out: no new clients, please.
    pub fn draining(&self) {
        self.enter(Phase::Draining);
    }

    fn enter(&self, phase: Phase) {
        *lock(&self.phase) = phase;
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
            "/readyz" => self.readiness().await,
            "/metrics" => typed(StatusCode::OK, PROMETHEUS, self.recorder.render()),
            status::PATH => document(&self.status().await),
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz, /metrics and /api/status\n",
            ),
        }
    }

    /// Answers one request of who has not shown the certificate that operators have: what probes ask for, and no more.
    pub async fn answer_stranger(&self, method: &Method, path: &str) -> Response<String> {
        match path {
            "/healthz" | "/readyz" => self.answer(method, path).await,
            _ => text(
                StatusCode::FORBIDDEN,
                "show a certificate of the authority that client_ca_file in [admin.tls] names: only /healthz and /readyz take none\n",
            ),
        }
    }

    async fn readiness(&self) -> Response<String> {
        let not_ready = |why| text(StatusCode::SERVICE_UNAVAILABLE, why);
        let phase = lock(&self.phase).clone();
        let mirror = match phase {
            Phase::Starting => return not_ready("starting: the cache is not open yet\n"),
            Phase::Draining => return not_ready("draining\n"),
            Phase::Serving(mirror) => mirror,
        };
        self.ready(cache_of(&mirror).await)
    }

    /// The answer while clients are served.
    fn ready(&self, cache: Result<(), String>) -> Response<String> {
        match self.noted(cache) {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(why) => text(StatusCode::OK, format!("degraded: {why}\n")),
        }
    }

    /// A change of the cache's state is logged.
    fn noted(&self, cache: Result<(), String>) -> Result<(), String> {
        let was_degraded = self.degraded.swap(cache.is_err(), Ordering::Relaxed);
        match &cache {
            Ok(()) if was_degraded => tracing::info!("the cache can be written again"),
            Err(why) if !was_degraded => {
                tracing::warn!(%why, "degraded: content is passed through and not kept; check the disk of `cache.dir`");
            }
            _ => {}
        }
        cache
    }

    async fn status(&self) -> Status {
        let uptime = self.started.elapsed();
        let phase = lock(&self.phase).clone();
        let mut status = match phase {
            Phase::Starting => document::without_mirror(State::Starting, uptime),
            Phase::Draining => document::without_mirror(State::Draining, uptime),
            Phase::Serving(mirror) => {
                let cache = self.noted(cache_of(&mirror).await);
                document::of(&mirror, uptime, cache.err())
            }
        };
        let configuration = lock(&self.configuration).clone();
        status.configuration = Some(document::configuration(configuration));
        status.certificates = self
            .certificates
            .get()
            .map(|tell| tell())
            .unwrap_or_default();
        let files = self.access_files.get();
        status.access_files = files.map(|tell| tell()).unwrap_or_default();
        status
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

/// Whether a mirror can write its cache, or why not.
async fn cache_of(mirror: &Mirror) -> Result<(), String> {
    match tokio::time::timeout(PROBE, mirror.ready()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the cache cannot be written: {error}")),
        Err(_) => Err("the cache's disk does not answer".into()),
    }
}

fn document(status: &Status) -> Response<String> {
    match serde_json::to_string(status) {
        Ok(body) => typed(StatusCode::OK, JSON, body + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
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
    async fn the_status_of_a_process_without_a_mirror_says_where_it_is() {
        let admin = Admin::new(Recorder::install().unwrap());
        for (state, enter) in [(State::Starting, false), (State::Draining, true)] {
            if enter {
                admin.draining();
            }
            let (code, body) = get(&admin, status::PATH).await;
            let told: Status = serde_json::from_str(&body).unwrap();
            assert_eq!((code, told.state), (200, state));
            assert!(told.cache.is_none() && told.is_wrong());
        }
    }

    #[test]
    fn a_mirror_that_cannot_write_its_cache_is_still_ready() {
        let admin = Admin::new(Recorder::install().unwrap());
        let ready = |cache| {
            let response = admin.ready(cache);
            (response.status().as_u16(), response.into_body())
        };
        let full = || Err("no room".to_owned());
        assert_eq!(ready(full()), (200, "degraded: no room\n".into()));
        assert_eq!(ready(full()), (200, "degraded: no room\n".into()));
        assert_eq!(ready(Ok(())), (200, "ready\n".into()));
    }

    #[tokio::test]
    async fn metrics_are_rendered_and_nothing_else_is_served() {
        let admin = Admin::new(Recorder::install().unwrap());
        let (status, body) = get(&admin, "/metrics").await;
        assert!(
            status == 200 && body.contains("forebay_build_info"),
            "{body}"
        );
        let told = get(&admin, "/v2/").await;
        assert!(told.0 == 404 && told.1.contains(status::PATH), "{told:?}");
        let refused = admin.answer(&Method::POST, "/metrics").await;
        assert_eq!(refused.status(), 405);
    }
}
