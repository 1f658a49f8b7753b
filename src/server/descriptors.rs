//! The process's file descriptors: how many there are, and how many of them connections may use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Taken for an unlimited number, so that what is derived from it stays sensible.
const UNLIMITED: u64 = 1 << 20;
/// A connection costs memory too, so a very high descriptor limit does not carry over.
const MAX_CONNECTIONS: u64 = 1 << 16;
/// For the index, the log, listeners, timers, and logins at upstreams.
const OWN: u64 = 64;
/// With fewer the server is of no use.
const MIN_CONNECTIONS: u64 = 16;

/// Raises the soft descriptor limit to the hard one and returns what is then allowed. Without the
/// right to raise it, the present limit stays.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let effective = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    effective.unwrap_or(UNLIMITED).min(UNLIMITED)
}

/// The default connection cap under a limit of `descriptors`: three quarters, the rest being for
/// blob files, upstream connections and the index.
pub fn default_connections(descriptors: u64) -> usize {
    let connections = (descriptors / 4 * 3).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// What is configured to be open at once.
#[derive(Clone, Copy, Debug)]
pub struct AskedFor {
    /// `limits.max_connections`, or its default.
    pub connections: usize,
    /// `cache.open_files`
    pub files: usize,
    /// `fetch.connections_total`
    pub upstreams: usize,
}

impl AskedFor {
    /// Why a limit of `descriptors` is too low for it, and what to do; `None` where it is not.
    pub fn shortage(self, descriptors: u64) -> Option<String> {
        let Self {
            connections,
            files,
            upstreams,
        } = self;
        let needed = OWN + (connections + files + upstreams) as u64;
        (needed > descriptors).then(|| {
            format!(
                "{descriptors} file descriptors are allowed, and {needed} may be needed: for {connections} connections \
                 (`limits.max_connections`), {files} blobs (`cache.open_files`), {upstreams} fetches \
                 (`fetch.connections_total`) and {OWN} more; raise the limit (LimitNOFILE= of systemd, `ulimit -n`), or \
                 lower one of these"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_for_what_is_configured_is_told() {
        let asked_for = AskedFor {
            connections: 700,
            files: 200,
            upstreams: 60,
        };
        assert_eq!(asked_for.shortage(1024), None);
        let told = asked_for.shortage(1023).unwrap();
        for part in ["1023 file", "1024 may", "700 conn", "LimitNOFILE"] {
            assert!(told.contains(part), "{told}");
        }
    }

    /// The defaults of both fit each other, but for a limit that is of no use to a server.
    #[test]
    fn the_usual_limits_are_enough_for_the_defaults() {
        for (descriptors, is_enough) in [(256, false), (1024, false), (4096, true), (20_000, true)]
        {
            let asked_for = AskedFor {
                connections: default_connections(descriptors),
                files: 512,
                upstreams: 64,
            };
            assert_eq!(
                asked_for.shortage(descriptors).is_none(),
                is_enough,
                "{descriptors}"
            );
        }
    }

    #[test]
    fn raising_reaches_the_hard_limit() {
        let hard = getrlimit(Resource::Nofile)
            .maximum
            .unwrap_or(UNLIMITED)
            .min(UNLIMITED);
        assert_eq!(raise(), hard);
        assert_eq!(
            getrlimit(Resource::Nofile)
                .current
                .unwrap_or(UNLIMITED)
                .min(UNLIMITED),
            hard
        );
    }

    #[test]
    fn connections_leave_a_quarter_of_the_descriptors() {
        assert_eq!(default_connections(20_000), 15_000);
        assert_eq!(default_connections(8), 16);
        assert_eq!(default_connections(UNLIMITED), 65_536);
    }
}
