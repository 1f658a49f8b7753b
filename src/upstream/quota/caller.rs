//! For whom something is asked of an upstream.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Whose request it is, as far as fairness goes: a name that it has proven; or else an IPv4 address, or the /64 of an IPv6
/// address, which is what one customer of a network is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientKey(Key);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    /// What stands for a name in this process.
    Name(u64),
}

impl ClientKey {
    /// Of a client that has proven to be called this.
    pub fn named(name: &str) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(Key::Name(HASHER.hash_one(name)))
    }
}

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        const NETWORK: u128 = !0 << 64;
        Self(Key::Address(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
            address @ IpAddr::V4(_) => address,
        }))
    }
}

/// How long even one that does not wait waits for a registry to say how much is left.
const AT_ONCE: Duration = Duration::from_secs(2);

/// What a pull is for. A lesser one is admitted only while more than its reserve is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A client waits for what is not here.
    Client,
    /// A tag has moved, and what it pointed at before can be served.
    Moved,
    /// A hot tag is looked at ahead of its time.
    Refresh,
    /// Nobody has asked for it yet.
    Prefetch,
}

impl Priority {
    /// The share of the limit, in percent, that is left to the greater ones.
    pub(super) fn reserve(self) -> u64 {
        match self {
            Self::Client => 0,
            Self::Moved => 10,
            Self::Refresh => 25,
            Self::Prefetch => 50,
        }
    }

    /// Whether a limit of which `left` are left has one for it.
    pub(super) fn may_take(self, left: i64, limit: u64) -> bool {
        let reserved = u128::from(limit) * u128::from(self.reserve());
        u128::try_from(left).is_ok_and(|left| left > 0 && left * 100 > reserved)
    }
}

/// Says of a piece of work whether it only waits for its turn: nothing is lost then if it ends, since nobody wants it any
/// more.
#[derive(Debug, Clone)]
pub struct Hold(Arc<watch::Sender<bool>>);

/// While this is there, the work waits.
pub(crate) struct Holding(Hold);

impl Default for Hold {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Hold {
    /// It waits from now on.
    pub(crate) fn begin(&self) -> Holding {
        self.0.send_replace(true);
        Holding(self.clone())
    }

    /// Whether it waits now.
    pub fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it does.
    pub async fn begun(&self) {
        // The sender is here.
        let _ = self.0.subscribe().wait_for(|is_on| *is_on).await;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.0.send_replace(false);
    }
}

/// For whom an upstream is asked.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(super) priority: Priority,
    pub(super) client: Option<ClientKey>,
    /// How long it waits for a pull that a quota does not have now; `None` for not at all.
    pub(super) until: Option<Instant>,
    /// Whether anything was waited for on its behalf; its clones share it.
    waited: Arc<AtomicBool>,
    /// The work that waits with it.
    holds: Vec<Hold>,
}

impl Caller {
    /// A client that waits for its answer, and for its turn at a quota until `until`.
    pub fn client(client: Option<ClientKey>, until: Instant) -> Self {
        Self {
            priority: Priority::Client,
            client,
            until: Some(until),
            waited: Arc::default(),
            holds: Vec::new(),
        }
    }

    /// How long it waits from now on for what it may need to know of a quota.
    pub(crate) fn patience(&self) -> Duration {
        let until = |until: Instant| until.saturating_duration_since(Instant::now());
        self.until.map_or(AT_ONCE, until)
    }

    /// As this one, but not to wait.
    pub(crate) fn at_once(&self) -> Self {
        Self {
            until: None,
            ..self.clone()
        }
    }

    /// Work that waits for no quota: there is something to serve meanwhile, or nobody waits.
    pub fn impatient(priority: Priority) -> Self {
        Self {
            priority,
            client: None,
            until: None,
            waited: Arc::default(),
            holds: Vec::new(),
        }
    }

    /// Whether it has waited for a pull.
    pub fn has_waited(&self) -> bool {
        self.waited.load(Ordering::Relaxed)
    }

    pub(super) fn waits(&self) {
        self.waited.store(true, Ordering::Relaxed);
    }

    /// As this one, for a piece of work that is to know when it only waits.
    #[must_use]
    pub fn held_by(mut self, hold: Hold) -> Self {
        self.holds.push(hold);
        self
    }

    /// Whether it would still wait.
    pub fn has_patience(&self) -> bool {
        self.until.is_some_and(|until| until > Instant::now())
    }

    /// It waits for its turn.
    pub(super) fn hold(&self) -> Vec<Holding> {
        self.holds.iter().map(Hold::begin).collect()
    }

    /// What it is for.
    pub fn priority(&self) -> Priority {
        self.priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_its_ipv4_address_or_its_ipv6_network() {
        let key = |text: &str| ClientKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }

    #[test]
    fn lesser_priorities_leave_their_reserve_to_the_greater_ones() {
        let least = |priority: Priority| (0..=100).find(|left| priority.may_take(*left, 100));
        assert_eq!(least(Priority::Client), Some(1));
        assert_eq!(least(Priority::Moved), Some(11));
        assert_eq!(least(Priority::Refresh), Some(26));
        assert_eq!(least(Priority::Prefetch), Some(51));
        assert!(!Priority::Client.may_take(-1, 100));
        assert!(Priority::Moved.may_take(1, 5));
        assert!(Priority::Prefetch.may_take(i64::MAX, 1 << 63));
    }
}
