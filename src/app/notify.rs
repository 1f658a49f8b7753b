//! What a service manager is told of the process, where there is one that wants to know: `sd_notify(3)`.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Tells it. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Notifier(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notifier {
    /// For who started this process, if it asks to be told.
    pub(super) fn of_process() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let bytes = name.as_encoded_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let opened = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        match opened {
            Ok(opened) => Self(Some(Arc::new(opened))),
            Err(error) => {
                tracing::warn!(%error, "the service manager can't be told anything: NOTIFY_SOCKET");
                Self(None)
            }
        }
    }

    /// Clients are served; after a reload, by what was read.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is being read again; [`Self::ready`] follows.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The process is on its way out.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Says that the process lives, for as long as it is polled and where a manager waits for it.
    pub(super) async fn live(self) {
        let Some(every) = watchdog(|name| env::var(name).ok()) else {
            return;
        };
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, what: &str) {
        let Some(opened) = &self.0 else { return };
        let (socket, address) = &**opened;
        if let Err(error) = socket.send_to_addr(what.as_bytes(), address) {
            tracing::debug!(%error, what, "the service manager can't be told");
        }
    }
}

/// How often a sign of life is due: twice in the time after which the process counts as dead.
fn watchdog(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    let micros = variable("WATCHDOG_USEC")?.parse().ok()?;
    let every = Duration::from_micros(micros) / 2;
    (is_ours && !every.is_zero()).then_some(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_told_twice_in_its_time_and_only_by_whom_it_watches() {
        let own = std::process::id().to_string();
        let of = |micros: Option<&str>, pid: Option<&str>| {
            watchdog(|name| match name {
                "WATCHDOG_USEC" => micros.map(str::to_owned),
                _ => pid.map(str::to_owned),
            })
        };
        let two = Some(Duration::from_secs(2));
        assert_eq!(of(Some("4000000"), None), two);
        assert_eq!(of(Some("4000000"), Some(&own)), two);
        assert_eq!(of(Some("4000000"), Some("1")), None);
        for micros in [None, Some(""), Some("0"), Some("x")] {
            assert_eq!(of(micros, None), None);
        }
    }
}
