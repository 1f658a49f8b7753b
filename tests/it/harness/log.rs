//! What a mirror writes to its log.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStderr;
use tokio::sync::watch;

/// What a mirror's log has told of its start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) clients: Option<SocketAddr>,
    pub(super) admin: Option<SocketAddr>,
    /// Its cache is open, and its alone. It listens before that.
    open: bool,
}

impl Told {
    pub(super) fn is_ready(&self) -> bool {
        self.clients.is_some() && self.admin.is_some() && self.open
    }
}

/// Picks from the log where the mirror listens, and keeps it.
pub(super) fn follow(stderr: ChildStderr) -> (watch::Receiver<Told>, watch::Receiver<String>) {
    let (addresses, listening) = watch::channel(Told::default());
    let (log, kept) = watch::channel(String::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let event = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default();
            let address = event["fields"]["address"]
                .as_str()
                .and_then(|text| text.parse().ok());
            let listener = event["fields"]["listener"].as_str();
            if event["fields"]["message"] == "listening" {
                addresses.send_modify(|told| match listener {
                    Some("admin") => told.admin = address,
                    _ => told.clients = address,
                });
            }
            if event["fields"]["message"] == "ready" {
                addresses.send_modify(|told| told.open = true);
            }
            log.send_modify(|log| {
                log.push_str(&line);
                log.push('\n');
            });
        }
    });
    (listening, kept)
}
