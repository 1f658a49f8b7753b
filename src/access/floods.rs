//! Wrong logins, counted by where they come from: beyond a few, none from there is looked at, since to check a password costs
//! as much of a core as thousands of requests, since a registry would take the mirror for whoever guesses, and since one
//! could be guessed otherwise.
//!
//! Behind one address there may be a whole site. So a check counts only while it runs and where it ends as wrong, only a few
//! of an address run at once, and the next ones wait for what these turn out to be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

use super::recent::Recent;
use crate::sync::lock;

/// How many passwords may turn out wrong in a row.
const BURST: u32 = 10;
/// How long it takes until one more may.
const EACH: Duration = Duration::from_secs(6);
/// A site of an IPv6 network, which has as many places as it likes, is let as many as these may have.
const PLACES_OF_SITE: u32 = 8;
/// How many checks for one place run at once.
const AT_ONCE: usize = 2;
/// How many more may wait for those.
const WAITING: usize = 256;
/// Most places and sites that are remembered. Those that had no wrong login for the longest are forgotten first; where all of
/// them are new, what bounds the cost is how many checks run at once.
const MOST: usize = 1 << 16;

/// See the file's own words.
#[derive(Debug)]
pub struct Floods(Mutex<State>);

#[derive(Debug)]
struct State {
    counts: Recent<Origin, Count>,
    checks: HashMap<Origin, Checks>,
}

/// What is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    /// An IPv4 address, or what one network of an IPv6 site has.
    Place(IpAddr),
    /// What one customer of an IPv6 network has at most.
    Site(Ipv6Addr),
}

/// What is left is `left`, and one more for each that the origin has by now.
#[derive(Clone, Copy, Debug)]
struct Count {
    left: u32,
    at: Instant,
}

/// What runs for an origin, and who waits for it to end.
#[derive(Debug, Default)]
struct Checks {
    running: usize,
    waiting: usize,
    ended: Arc<Notify>,
}

/// Why there is no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many were wrong; one more may be after so long.
    TooMany(Duration),
    /// Too many wait already.
    Busy,
}

/// What a check is begun with. It counts as wrong unless it is given back.
#[derive(Debug)]
pub(super) struct Ticket {
    floods: Arc<Floods>,
    address: IpAddr,
    is_wrong: bool,
}

/// What becomes of a login that is to be looked at.
#[derive(Debug)]
pub(super) enum Entry {
    /// It may be.
    Begun(Ticket),
    /// It is to ask again after this.
    After(Waiter),
}

/// One that waits for another to be looked at.
#[derive(Debug)]
pub(super) struct Waiter {
    floods: Arc<Floods>,
    at: Origin,
    ended: Option<OwnedNotified>,
}

enum Step {
    Begun,
    Refused(Duration),
    /// For a check for this origin to end.
    Wait(Origin),
}

impl Default for Floods {
    fn default() -> Self {
        Self(Mutex::new(State {
            counts: Recent::new(MOST),
            checks: HashMap::new(),
        }))
    }
}

impl Floods {
    /// Lets a login from `address` be looked at, or says what that depends on.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Entry, Refused> {
        let mut state = lock(&self.0);
        match state.begin(address, Instant::now()) {
            Step::Begun => Ok(Entry::Begun(Ticket {
                floods: Arc::clone(self),
                address,
                is_wrong: true,
            })),
            Step::Refused(after) => Err(Refused::TooMany(after)),
            Step::Wait(at) => {
                let ended = state.wait(at).ok_or(Refused::Busy)?;
                Ok(Entry::After(Waiter {
                    floods: Arc::clone(self),
                    at,
                    ended: Some(ended),
                }))
            }
        }
    }

    /// Takes one of those that are left at an address, or says when there is one again. For logins that are looked at
    /// elsewhere, and were wrong.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut state = lock(&self.0);
        if let Some(after) = state.refuses(address, now) {
            return Err(after);
        }
        state.take(address, now);
        Ok(())
    }

    /// When one is looked at again from an address where too many were wrong.
    pub fn refuses(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        lock(&self.0).refuses(address, now)
    }
}

impl Ticket {
    /// The login was right, or was not looked at.
    pub(super) fn give_back(mut self) {
        self.is_wrong = false;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.floods.0).end(self.address, self.is_wrong);
    }
}

impl Waiter {
    /// Waits until one of those that run has ended.
    pub(super) async fn ended(mut self) {
        if let Some(ended) = self.ended.take() {
            ended.await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        lock(&self.floods.0).leave(self.at);
    }
}

impl State {
    fn begin(&mut self, address: IpAddr, now: Instant) -> Step {
        let running = |state: &Self, at| state.checks.get(&at).map_or(0, |checks| checks.running);
        let place = Origin::Place(place(address));
        if running(self, place) >= AT_ONCE {
            return Step::Wait(place);
        }
        for at in Origin::of(address) {
            if let Some(after) = self.refuses_at(at, now) {
                // What runs may be right, and be given back.
                let may_end_well = running(self, at) > 0;
                return if may_end_well {
                    Step::Wait(at)
                } else {
                    Step::Refused(after)
                };
            }
        }
        self.take(address, now);
        for at in Origin::of(address) {
            self.checks.entry(at).or_default().running += 1;
        }
        Step::Begun
    }

    /// To be told when the next check for an origin ends; `None` where too many wait for that.
    fn wait(&mut self, at: Origin) -> Option<OwnedNotified> {
        let checks = self.checks.entry(at).or_default();
        if checks.waiting >= WAITING * at.places() {
            return None;
        }
        checks.waiting += 1;
        Some(Arc::clone(&checks.ended).notified_owned())
    }

    fn leave(&mut self, at: Origin) {
        self.change(at, |checks| checks.waiting -= 1);
    }

    fn end(&mut self, address: IpAddr, is_wrong: bool) {
        for at in Origin::of(address) {
            if !is_wrong && let Some(count) = self.counts.touch(at) {
                count.left = (count.left + 1).min(at.burst());
            }
            self.change(at, |checks| {
                checks.running -= 1;
                checks.ended.notify_waiters();
            });
        }
    }

    fn change(&mut self, at: Origin, change: impl FnOnce(&mut Checks)) {
        if let Some(checks) = self.checks.get_mut(&at) {
            change(checks);
            if checks.running == 0 && checks.waiting == 0 {
                self.checks.remove(&at);
            }
        }
    }

    fn refuses(&mut self, address: IpAddr, now: Instant) -> Option<Duration> {
        let all = Origin::of(address);
        all.filter_map(|at| self.refuses_at(at, now)).max()
    }

    fn refuses_at(&mut self, at: Origin, now: Instant) -> Option<Duration> {
        let count = self.counts.touch(at)?;
        count.refill(at, now);
        let after = at
            .each()
            .saturating_sub(now.saturating_duration_since(count.at));
        (count.left == 0).then_some(after)
    }

    fn take(&mut self, address: IpAddr, now: Instant) {
        for at in Origin::of(address) {
            let full = Count {
                left: at.burst(),
                at: now,
            };
            let count = self.counts.touch_or_insert(at, full);
            count.refill(at, now);
            count.left = count.left.saturating_sub(1);
        }
    }
}

impl Count {
    fn refill(&mut self, at: Origin, now: Instant) {
        let each = at.each();
        let since = now.saturating_duration_since(self.at);
        let more = u32::try_from(since.as_millis() / each.as_millis()).unwrap_or(u32::MAX);
        if self.left.saturating_add(more) >= at.burst() {
            (self.left, self.at) = (at.burst(), now);
        } else {
            self.left += more;
            self.at += each * more;
        }
    }
}

impl Origin {
    fn of(address: IpAddr) -> impl Iterator<Item = Self> {
        let site = match address.to_canonical() {
            IpAddr::V6(v6) => Some(Self::Site(first_bits(v6, 48))),
            IpAddr::V4(_) => None,
        };
        std::iter::once(Self::Place(place(address))).chain(site)
    }

    fn places(self) -> usize {
        match self {
            Self::Place(_) => 1,
            Self::Site(_) => PLACES_OF_SITE as usize,
        }
    }

    fn burst(self) -> u32 {
        match self {
            Self::Place(_) => BURST,
            Self::Site(_) => BURST * PLACES_OF_SITE,
        }
    }

    fn each(self) -> Duration {
        match self {
            Self::Place(_) => EACH,
            Self::Site(_) => EACH / PLACES_OF_SITE,
        }
    }
}

/// An IPv4 address, or what one network of an IPv6 site has.
pub(super) fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => first_bits(v6, 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn first_bits(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (!0 << (128 - bits)))
}

#[cfg(test)]
mod tests;
