//! The recorder behind the metrics: installed once a process, rendered by the admin listener.

use std::sync::{Mutex, PoisonError};

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds for times to a response's head: a hit takes under a millisecond, and headers are promised
/// within 25 s.
const SECONDS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0,
];

/// What each metric tells, for the `# HELP` lines.
const HELP: &[(&str, &str)] = &[
    (
        "forebay_access_files_total",
        "Files of passwords and tokens that were read again",
    ),
    (
        "forebay_access_total",
        "Requests by whether their client may make them",
    ),
    (
        "forebay_accept_errors_total",
        "Failures to accept a connection",
    ),
    ("forebay_build_info", "The version that runs"),
    ("forebay_client_bytes_total", "Body bytes sent to clients"),
    (
        "forebay_client_delays_total",
        "Requests, and for bytes bodies, that were held for their client's limit",
    ),
    (
        "forebay_client_refusals_total",
        "Requests and connections that were refused for their client's limit",
    ),
    (
        "forebay_clients_limited",
        "Clients that are remembered for their limits",
    ),
    (
        "forebay_clients_unnamed_total",
        "Requests of trusted proxies that named no client, and were not limited",
    ),
    (
        "forebay_config_reloads_total",
        "Times that the configuration was read again",
    ),
    ("forebay_connections", "Open connections"),
    (
        "forebay_connections_closed_total",
        "Connections ended or refused by the server",
    ),
    ("forebay_connections_total", "Accepted connections"),
    (
        "forebay_entitlement_checks_total",
        "Checks whether a client's own login may pull a repository",
    ),
    ("forebay_evicted_bytes_total", "Bytes of evicted blobs"),
    ("forebay_evictions_total", "Evicted blobs"),
    (
        "forebay_fill_resumes_total",
        "Fills that asked again for what a cut or a restart had left",
    ),
    ("forebay_fills_running", "Fills that run"),
    ("forebay_fills_total", "Fills that ended"),
    ("forebay_followers", "Readers of fills started by others"),
    (
        "forebay_followers_total",
        "Requests that joined a fill started by another",
    ),
    (
        "forebay_guarded_evictions_total",
        "Evicted blobs that manifests served within the hour refer to: the cache is too small",
    ),
    (
        "forebay_logins_total",
        "Logins of clients that were shown to their upstream",
    ),
    (
        "forebay_password_checks_total",
        "Passwords of clients that were checked against their hashes",
    ),
    (
        "forebay_quota_left",
        "Pulls that an upstream's quota has left",
    ),
    (
        "forebay_quota_limit",
        "Pulls that an upstream's quota allows in a window",
    ),
    (
        "forebay_quota_refusals_total",
        "Pulls that were not made, since an upstream's quota had none left",
    ),
    (
        "forebay_quota_renews_seconds",
        "Time until an upstream's quota has a pull again at the latest, as of its last change",
    ),
    (
        "forebay_quota_wait_seconds",
        "Time that requests waited for an upstream's quota",
    ),
    (
        "forebay_quota_waiting",
        "Requests that wait for an upstream's quota",
    ),
    (
        "forebay_requests_held",
        "Requests that are held for their client's limits",
    ),
    (
        "forebay_requests_running",
        "Requests between head and last byte",
    ),
    ("forebay_requests_total", "Requests of clients"),
    (
        "forebay_response_head_seconds",
        "Time from a request's head to its response's head",
    ),
    (
        "forebay_responses_aborted_total",
        "Responses that ended before their last byte",
    ),
    (
        "forebay_rights_checks_total",
        "Checks of a repository's right to a private blob",
    ),
    (
        "forebay_served_bytes_total",
        "Body bytes of upstreams' manifests and blobs that clients were sent",
    ),
    (
        "forebay_served_requests_total",
        "Requests of clients that were answered with an upstream's manifest or blob",
    ),
    (
        "forebay_solo_running",
        "Readers passed through from upstream, past the store",
    ),
    (
        "forebay_solo_total",
        "Readers that went on from upstream, past the store",
    ),
    ("forebay_stale_served_total", "Stale tags and lists served"),
    ("forebay_store_blobs", "Committed blobs"),
    ("forebay_store_bytes", "Bytes of the cache on disk"),
    (
        "forebay_store_faults_total",
        "Faults of the cache's disk or index",
    ),
    (
        "forebay_store_guarded_bytes",
        "Bytes that manifests served within the hour refer to, spared by eviction",
    ),
    ("forebay_store_limit_bytes", "The cache's limit"),
    (
        "forebay_store_no_room_total",
        "Reservations that eviction could not make room for",
    ),
    (
        "forebay_store_read_bytes_total",
        "Bytes read from stored bodies",
    ),
    ("forebay_store_swept_total", "Files found outside the index"),
    (
        "forebay_tags_total",
        "Requests for tags, by how they were decided",
    ),
    (
        "forebay_tls_certificate_expires_seconds",
        "When the certificate that is shown ends, or one between it and its authority, in Unix seconds",
    ),
    (
        "forebay_tls_handshakes_total",
        "Handshakes of clients that came to their end",
    ),
    (
        "forebay_tls_loads_total",
        "Files of a certificate that were read again, since they had changed",
    ),
    ("forebay_token_fetches_total", "Token fetches"),
    (
        "forebay_upstream_breakers_open",
        "Hosts of upstreams that are left alone, or being tried again, since they have kept failing",
    ),
    (
        "forebay_upstream_bytes_total",
        "Body bytes received from upstreams",
    ),
    (
        "forebay_upstream_connections",
        "Blob connections to upstreams in use",
    ),
    (
        "forebay_upstream_head_seconds",
        "Time from a request upstream to its response's head",
    ),
    (
        "forebay_upstream_mismatches_total",
        "Bodies from upstreams that did not hash to their digest",
    ),
    (
        "forebay_upstream_requests_total",
        "Requests to upstreams, each attempt counted",
    ),
    (
        "forebay_upstream_retries_refused_total",
        "Failed requests that were not sent again, since too many were already",
    ),
    (
        "forebay_upstream_retries_total",
        "Requests to upstreams that were sent again",
    ),
];

/// The process's recorder, once one of them is installed: `metrics` allows one a process.
static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// The recorder could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up metrics: {0}")]
pub struct InstallError(#[from] BuildError);

/// A handle on the process's metrics.
#[derive(Clone)]
pub struct Recorder(PrometheusHandle);

impl Recorder {
    /// Installs the process's recorder, or returns the one that is installed.
    pub fn install() -> Result<Self, InstallError> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = installed.as_ref() {
            return Ok(Self(handle.clone()));
        }
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
            .install_recorder()?;
        describe();
        super::build_info(env!("CARGO_PKG_VERSION"));
        *installed = Some(handle.clone());
        Ok(Self(handle))
    }

    /// The present values, in the Prometheus text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds recorded samples together; to be called every few seconds, since histograms otherwise
    /// grow until the next scrape.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

fn describe() {
    for &(name, help) in HELP {
        if name.ends_with("_seconds") {
            metrics::describe_histogram!(name, Unit::Seconds, help);
        } else if name.ends_with("_total") {
            metrics::describe_counter!(name, help);
        } else {
            metrics::describe_gauge!(name, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::metrics;

    /// The files in which metrics are recorded: all but this one.
    fn functions() -> String {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let beside = fs::read_dir(src.join("metrics")).unwrap();
        let beside = beside.map(|entry| entry.unwrap().path());
        let files = beside.filter(|path| !path.ends_with("recorder.rs"));
        let files = files.chain([src.join("metrics.rs")]);
        files
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }

    #[test]
    fn every_metric_has_a_line_of_help() {
        let functions = functions();
        let named = functions
            .split('"')
            .filter(|word| word.starts_with("forebay_"));
        for name in named {
            assert!(
                HELP.iter().any(|(helped, _)| *helped == name),
                "{name} has no help"
            );
        }
        for (name, _) in HELP {
            assert!(
                functions.contains(&format!("\"{name}\"")),
                "{name} is not recorded"
            );
        }
    }

    /// Records into a recorder of the test's own, since other tests share the process's.
    fn recorded(test: impl FnOnce(&PrometheusHandle)) {
        let recorder = PrometheusBuilder::new().build_recorder();
        ::metrics::with_local_recorder(&recorder, || test(&recorder.handle()));
    }

    #[test]
    fn a_gauge_falls_when_its_guard_goes() {
        recorded(|handle| {
            let first = metrics::solo();
            let second = metrics::solo();
            drop(first);
            assert!(handle.render().contains("forebay_solo_running 1"));
            drop(second);
            assert!(handle.render().contains("forebay_solo_running 0"));
        });
    }

    #[test]
    fn series_carry_enums_and_configured_names_only() {
        recorded(|handle| {
            let name = metrics::UpstreamName::configured("*.pkg.dev");
            metrics::upstream_bytes(&name, metrics::UpstreamKind::BlobGet).add(3);
            metrics::request(metrics::RequestKind::Blob, 299, metrics::Cache::Hit);
            let text = handle.render();
            let upstream =
                r#"forebay_upstream_bytes_total{upstream="*.pkg.dev",kind="blob_get"} 3"#;
            let request = r#"forebay_requests_total{kind="blob",code="other",cache="hit"} 1"#;
            assert!(text.contains(upstream) && text.contains(request), "{text}");
        });
    }

    #[test]
    fn a_second_install_returns_the_same_recorder() {
        let first = Recorder::install().expect("installs");
        let second = Recorder::install().expect("installs again");
        for recorder in [first, second] {
            recorder.upkeep();
            assert!(recorder.render().contains("forebay_build_info{version="));
        }
    }
}
