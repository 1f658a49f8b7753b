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
            let (message, listener, address) = told_by(&line);
            if message == "listening" {
                addresses.send_modify(|told| match listener.as_deref() {
                    Some("admin") => told.admin = address,
                    _ => told.clients = address,
                });
            }
            if message == "ready" {
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

/// What a line says, of which listener, and at which address, in either of the log's formats.
fn told_by(line: &str) -> (String, Option<String>, Option<SocketAddr>) {
    let event = serde_json::from_str::<serde_json::Value>(line).ok();
    let field = |name: &str| {
        if let Some(event) = &event {
            return event["fields"][name].as_str().map(str::to_owned);
        }
        let mut words = line.split(' ');
        let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches('"').to_owned())
    };
    let message = field("message").or_else(|| {
        let (_, said) = line.split_once(": ")?;
        said.split(' ').next().map(str::to_owned)
    });
    let address = field("address").and_then(|text| text.parse().ok());
    (message.unwrap_or_default(), field("listener"), address)
}
