//! The process's file descriptors: how many there are, and how many of them connections may use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::place;

/// Taken for an unlimited number, so that what is derived from it stays sensible.
const UNLIMITED: u64 = 1 << 20;
/// A connection costs memory too, so a very high descriptor limit does not carry over.
const MAX_CONNECTIONS: u64 = 1 << 16;
/// For the index, the log, listeners, timers, and logins at upstreams.
const OWN: u64 = 64;
/// A connection has its own, and that of the blob that it reads or of what it asks an upstream; a fill has that of the blob, and
/// that of what it notes of it.
const EACH: u64 = 2;
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

/// What may be open beside clients' connections, as configured.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// `cache.open_files`
    pub files: usize,
    /// `fetch.connections_total`
    pub upstreams: usize,
    /// `fetch.max_fills`
    pub fills: usize,
    /// Places of the operators' listener.
    pub operators: usize,
}

impl Beside {
    /// The default connection cap under a limit of `descriptors`: what all else leaves; where that is little, a quarter, since
    /// all else is seldom open at once.
    pub fn default_connections(self, descriptors: u64) -> usize {
        let left = descriptors.saturating_sub(self.all() + count(place::beyond(usize::MAX)));
        let connections = (left / EACH).max(descriptors / 4);
        let connections = connections.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS);
        usize::try_from(connections).unwrap_or(usize::MAX)
    }

    /// Why a limit of `descriptors` is too low for it and for so many connections, and what to do; `None` where it is not.
    pub fn shortage(self, connections: usize, descriptors: u64) -> Option<String> {
        let Self {
            files,
            upstreams,
            fills,
            ..
        } = self;
        let needed = EACH * count(connections) + count(place::beyond(connections)) + self.all();
        let named = EACH * count(connections) + count(files + upstreams) + EACH * count(fills);
        let more = needed - named;
        (needed > descriptors).then(|| {
            format!(
                "{descriptors} file descriptors are allowed, and {needed} may be needed: two each for {connections} \
                 connections and what is read on them (`limits.max_connections`) and for {fills} fills (`fetch.max_fills`), \
                 {files} for blobs (`cache.open_files`), {upstreams} for fetches (`fetch.connections_total`) and {more} \
                 more; raise the limit (LimitNOFILE= of systemd, `ulimit -n`), or lower one of these"
            )
        })
    }

    fn all(self) -> u64 {
        let Self {
            files,
            upstreams,
            fills,
            operators,
        } = self;
        let operators = operators + place::beyond(operators);
        OWN + count(files + upstreams + operators) + EACH * count(fills)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Beside = Beside {
        files: 512,
        upstreams: 64,
        fills: 256,
        operators: 64,
    };

    /// Twice 700 and 256, 512, 64, and 304 more: 44 that wait for a place, 64 that are told, 132 of operators, our own 64.
    #[test]
    fn a_limit_that_is_too_low_for_what_is_configured_is_told() {
        assert_eq!(DEFAULTS.shortage(700, 2792), None);
        let told = DEFAULTS.shortage(700, 2791).unwrap();
        for part in [
            "2791 file",
            "2792 may",
            "700 conn",
            "256 fills",
            "304 more",
            "LimitNOFILE",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }

    /// The defaults of all fit each other, but for a limit that is of no use to a server.
    #[test]
    fn the_usual_limits_are_enough_for_the_defaults() {
        for (descriptors, is_enough) in [
            (256, false),
            (1024, false),
            (4096, true),
            (20_000, true),
            (65_536, true),
            (UNLIMITED, true),
        ] {
            let connections = DEFAULTS.default_connections(descriptors);
            assert_eq!(
                DEFAULTS.shortage(connections, descriptors).is_none(),
                is_enough,
                "{connections} of {descriptors}"
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
    fn connections_get_what_all_else_leaves() {
        for (descriptors, connections) in [
            (8, 16),
            (1024, 256),
            (20_000, 9_198),
            (65_536, 31_966),
            (UNLIMITED, 65_536),
        ] {
            assert_eq!(DEFAULTS.default_connections(descriptors), connections);
        }
    }
}
