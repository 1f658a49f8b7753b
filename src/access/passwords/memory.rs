//! What checks of passwords have come to. That a password has a hash, or has not, stays true for ever: what is remembered
//! outlives the file that the hash was in, and ends only so that no more is kept than is of use.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Fingerprint;
use crate::access::recent::Recent;

/// How long a right password is remembered after it was used last, and where it came from.
const RIGHT_FOR: Duration = Duration::from_hours(24);
/// How long a wrong one is: whoever repeats it, as an unattended machine does, costs nothing.
const WRONG_FOR: Duration = Duration::from_secs(30);
/// Most of each kind.
const REMEMBERED: usize = 1 << 13;

/// See the file's own words.
#[derive(Debug)]
pub(super) struct Memory {
    running: HashMap<Fingerprint, Running>,
    /// Until when.
    right: Recent<Fingerprint, Instant>,
    wrong: Recent<Fingerprint, Instant>,
    places: Recent<IpAddr, Instant>,
}

/// Tells whether the password was right, once that is known; ends without a word where the check came to no end.
pub(super) type Running = watch::Receiver<Option<bool>>;

/// What is known of a password.
pub(super) enum Known {
    Is { right: bool },
    Will(Running),
}

impl Known {
    /// Waits until it is; `None` where the check came to no end.
    pub(super) async fn right(self) -> Option<bool> {
        match self {
            Self::Is { right } => Some(right),
            Self::Will(mut running) => *running.wait_for(Option::is_some).await.ok()?,
        }
    }
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            running: HashMap::new(),
            right: Recent::new(REMEMBERED),
            wrong: Recent::new(REMEMBERED),
            places: Recent::new(REMEMBERED),
        }
    }

    /// What is known already of one that comes from `place` now.
    pub(super) fn known(
        &mut self,
        fingerprint: Fingerprint,
        place: Option<IpAddr>,
        now: Instant,
    ) -> Option<Known> {
        if let Some(until) = self.right.touch(fingerprint)
            && *until > now
        {
            *until = now + RIGHT_FOR;
            self.was_right_at(place, now);
            return Some(Known::Is { right: true });
        }
        if let Some(until) = self.wrong.touch(fingerprint)
            && *until > now
        {
            return Some(Known::Is { right: false });
        }
        let running = self.running.get(&fingerprint)?;
        // One that came to no end is begun anew.
        let runs = running.has_changed().is_ok();
        runs.then(|| Known::Will(running.clone()))
    }

    /// Whether some password was right lately that came from there.
    pub(super) fn knows(&mut self, place: IpAddr, now: Instant) -> bool {
        let until = self.places.touch(place);
        until.is_some_and(|until| *until > now)
    }

    /// A check was begun.
    pub(super) fn begun(&mut self, fingerprint: Fingerprint, running: Running) {
        self.running.insert(fingerprint, running);
    }

    /// It came to an end, or to none.
    pub(super) fn ended(
        &mut self,
        fingerprint: Fingerprint,
        right: Option<bool>,
        place: Option<IpAddr>,
        now: Instant,
    ) {
        self.running.remove(&fingerprint);
        match right {
            Some(true) => {
                self.right.insert(fingerprint, now + RIGHT_FOR);
                self.was_right_at(place, now);
            }
            Some(false) => self.wrong.insert(fingerprint, now + WRONG_FOR),
            None => {}
        }
    }

    fn was_right_at(&mut self, place: Option<IpAddr>, now: Instant) {
        if let Some(place) = place {
            self.places.insert(place, now + RIGHT_FOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(number: usize) -> Fingerprint {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&number.to_le_bytes());
        fingerprint
    }

    fn is(memory: &mut Memory, number: usize, now: Instant) -> Option<bool> {
        match memory.known(fingerprint(number), None, now)? {
            Known::Is { right } => Some(right),
            Known::Will(_) => None,
        }
    }

    #[test]
    fn right_ones_stay_while_they_are_used_and_wrong_ones_for_a_moment() {
        let mut memory = Memory::new();
        let place = IpAddr::from([192, 0, 2, 1]);
        let now = Instant::now();
        memory.ended(fingerprint(1), Some(true), Some(place), now);
        memory.ended(fingerprint(2), Some(false), None, now);
        assert_eq!(is(&mut memory, 2, now + WRONG_FOR / 2), Some(false));
        assert_eq!(is(&mut memory, 2, now + WRONG_FOR), None);
        let mut later = now;
        for _ in 0..10 {
            later += Duration::from_hours(23);
            let known = memory.known(fingerprint(1), Some(place), later);
            assert!(matches!(known, Some(Known::Is { right: true })));
            assert!(memory.knows(place, later));
        }
        assert_eq!(is(&mut memory, 1, later + RIGHT_FOR), None);
        assert!(!memory.knows(place, later + RIGHT_FOR));
    }

    #[test]
    fn they_are_bounded_and_wrong_ones_push_out_no_right_one() {
        let mut memory = Memory::new();
        let now = Instant::now();
        memory.ended(fingerprint(0), Some(true), None, now);
        for number in 1..=REMEMBERED * 2 {
            memory.ended(fingerprint(number), Some(false), None, now);
        }
        assert!(memory.wrong.len() <= REMEMBERED);
        assert_eq!(is(&mut memory, 0, now), Some(true));
    }
}
