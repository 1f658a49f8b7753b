//! The process's file descriptors: how many there are, and how many of them connections may use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Taken for an unlimited number, so that what is derived from it stays sensible.
const UNLIMITED: u64 = 1 << 20;
/// A connection costs memory too, so a very high descriptor limit does not carry over.
const MAX_CONNECTIONS: u64 = 1 << 16;
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

#[cfg(test)]
mod tests {
    use super::*;

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
