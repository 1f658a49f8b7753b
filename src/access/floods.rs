//! Wrong logins, counted by where they come from: beyond a few, none from there is looked at, since to check a password costs
//! as much of a core as thousands of requests, since a registry would take the mirror for whoever guesses, and since one
//! could be guessed otherwise.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::lock;

/// How many passwords may turn out wrong in a row.
const BURST: u32 = 10;
/// How long it takes until one more may.
const EACH: Duration = Duration::from_secs(6);
/// Most addresses that are remembered. Where there are more, those that began first to be counted are no better than the
/// others: all are forgotten, and what bounds the cost is how many checks run at once.
const MOST: usize = 1 << 16;

/// See the file's own words.
#[derive(Debug, Default)]
pub struct Floods(Mutex<HashMap<IpAddr, Counted>>);

/// What is left is `left`, and one more for each [`EACH`] since `at`.
#[derive(Clone, Copy, Debug)]
struct Counted {
    left: u32,
    at: Instant,
}

impl Counted {
    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at);
        let more = u32::try_from(since.as_millis() / EACH.as_millis()).unwrap_or(BURST);
        if self.left.saturating_add(more) >= BURST {
            (self.left, self.at) = (BURST, now);
        } else {
            self.left += more;
            self.at += EACH * more;
        }
    }
}

impl Floods {
    /// Takes one check of those that are left at an address, or says when there is one again.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut counted = lock(&self.0);
        if counted.len() >= MOST {
            counted.retain(|_, each| {
                each.refill(now);
                each.left < BURST
            });
            if counted.len() >= MOST {
                counted.clear();
            }
        }
        let full = Counted {
            left: BURST,
            at: now,
        };
        let each = counted.entry(place(address)).or_insert(full);
        each.refill(now);
        match each.left.checked_sub(1) {
            Some(left) => {
                each.left = left;
                Ok(())
            }
            None => Err(EACH.saturating_sub(now.saturating_duration_since(each.at))),
        }
    }

    /// When one is looked at again from an address where too many were wrong. For checks that are bounded otherwise, so that
    /// only what was wrong is taken, afterwards.
    pub fn refuses(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut counted = lock(&self.0);
        let each = counted.get_mut(&place(address))?;
        each.refill(now);
        let left = || EACH.saturating_sub(now.saturating_duration_since(each.at));
        (each.left == 0).then(left)
    }

    /// Gives one back: the password was right, or was not looked at.
    pub fn give_back(&self, address: IpAddr) {
        if let Some(each) = lock(&self.0).get_mut(&place(address)) {
            each.left = (each.left + 1).min(BURST);
        }
    }
}

/// An IPv4 address, or what one customer of an IPv6 network has.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_place_is_stopped_and_no_other_place_notices() {
        let floods = Floods::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Instant::now();
        for _ in 0..BURST {
            floods.take(one, now).unwrap();
        }
        assert_eq!(floods.take(one, now), Err(EACH));
        assert_eq!(floods.refuses(one, now), Some(EACH));
        assert_eq!(floods.refuses(other, now), None);
        assert_eq!(floods.take(other, now), Ok(()));
        let later = now + EACH / 2;
        assert_eq!(floods.take(one, later), Err(EACH / 2));
        assert_eq!(floods.refuses(one, now + EACH), None);
        assert_eq!(floods.take(one, now + EACH), Ok(()));
        assert_eq!(floods.take(one, now + EACH), Err(EACH));
        // As if nothing had been.
        let long_after = now + EACH * 1000;
        for _ in 0..BURST {
            floods.take(one, long_after).unwrap();
        }
        assert!(floods.take(one, long_after).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_are_not_counted() {
        let floods = Floods::default();
        let one = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        let now = Instant::now();
        for _ in 0..1000 {
            floods.take(one, now).unwrap();
            floods.give_back(neighbour);
        }
        assert_eq!(lock(&floods.0).len(), 1, "a /64 is one place");
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_without_number_are_not_remembered() {
        let floods = Floods::default();
        let now = Instant::now();
        for number in 0..=MOST {
            let number = u32::try_from(number).unwrap();
            floods.take(IpAddr::V4(number.into()), now).unwrap();
        }
        assert!(lock(&floods.0).len() <= MOST);
    }
}
