//! TLS of the listeners, and the configuration's reloads.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge};

use super::label::{Handshake, Listener, Loaded};

/// One handshake of a client came to its end.
pub fn handshake(listener: Listener, result: Handshake) {
    counter!("forebay_tls_handshakes_total",
        "listener" => listener.as_str(), "result" => result.as_str())
    .increment(1);
}

/// The files of a listener's certificate were read again.
pub fn certificate_loaded(listener: Listener, result: Loaded) {
    counter!("forebay_tls_loads_total",
        "listener" => listener.as_str(), "result" => result.as_str())
    .increment(1);
}

/// When the certificate that a listener shows is no longer valid.
pub fn certificate(listener: Listener, expires: SystemTime) {
    let at = expires.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("forebay_tls_certificate_expires_seconds", "listener" => listener.as_str())
        .set(at.as_secs_f64());
}

/// The configuration was read again.
pub fn config_reloaded(result: Loaded) {
    counter!("forebay_config_reloads_total", "result" => result.as_str()).increment(1);
}
