//! Which part of a blob the next request is for, if another may run.

use std::ops::Range;

use super::{ConnectionId, Plan, UNKNOWN_END, overlap};

impl Plan {
    pub(super) fn in_pieces(&self) -> bool {
        let large = self
            .expected()
            .is_some_and(|total| total >= 2 * self.bounds.piece);
        large && !self.whole_only && self.bounds.connections > 1
    }

    /// Whether a part may be asked for before the size is known.
    pub(super) fn may_guess(&self) -> bool {
        self.expected().is_none() && !self.whole_only && self.bounds.connections > 1
    }

    /// Whether `id` was asked for a part, and the size is not known yet.
    pub fn is_guess(&self, id: ConnectionId) -> bool {
        let running = self.running.iter().find(|running| running.id == id);
        self.expected().is_none() && running.is_some_and(|it| it.claim.end < UNKNOWN_END)
    }

    /// Connections that may run while `wanted` says whether a client waits for what nobody is asked for.
    fn connection_limit(&self, wanted: bool) -> usize {
        if !self.in_pieces() || !self.ranges_work || self.failures > 0 {
            1
        } else if wanted {
            self.bounds.connections
        } else {
            self.allowed.clamp(1, self.bounds.connections)
        }
    }

    /// The free range to ask for next, where another request may be sent: what clients wait for, one after the other,
    /// else what is nearest the frontier.
    pub(super) fn next_claim(&mut self) -> Option<Range<u64>> {
        let free = self.free();
        self.forget_served();
        let waits = self.next_wanted(&free);
        if self.running.len() >= self.connection_limit(waits.is_some()) {
            return None;
        }
        let nearest = free.first()?;
        let piece = self.bounds.piece;
        if self.may_guess() {
            let wanted = waits.map(|index| self.turn_of(index, &free));
            return Some(guess(nearest, wanted.as_ref(), piece));
        }
        if !self.in_pieces() {
            return Some(nearest.clone());
        }
        let gap = match waits {
            Some(index) => self.turn_of(index, &free),
            None if nearest.start - self.frontier() < self.bounds.ahead => nearest.clone(),
            None => return None,
        };
        // A last piece of less than half a length goes with the one before it.
        let end = gap.start + piece;
        let end = if end + piece / 2 > gap.end {
            gap.end
        } else {
            end
        };
        Some(gap.start..end)
    }

    /// A client waits for a range until it has come: a connection that was to bring it may fail.
    fn forget_served(&mut self) {
        let end = self.expected().unwrap_or(UNKNOWN_END);
        let received = &self.received;
        self.wanted.retain(|wanted| {
            wanted.start < end && !received.contains(&(wanted.start..wanted.end.min(end)))
        });
    }

    /// The next client in turn that waits for what nobody is asked for.
    fn next_wanted(&self, free: &[Range<u64>]) -> Option<usize> {
        let waits = |wanted: &Range<u64>| free.iter().any(|gap| overlap(gap, wanted).is_some());
        self.wanted.iter().position(waits)
    }

    /// What is free from the first byte on that this client waits for. The others come before it then.
    fn turn_of(&mut self, index: usize, free: &[Range<u64>]) -> Range<u64> {
        let wanted = self.wanted.remove(index);
        let mut gaps = free.iter().filter(|gap| overlap(gap, &wanted).is_some());
        let gap = gaps
            .next()
            .map_or(wanted.clone(), |gap| wanted.start.max(gap.start)..gap.end);
        self.wanted.push(wanted);
        gap
    }

    /// Up to where everything has come.
    fn frontier(&self) -> u64 {
        self.received.contiguous_from(0)
    }

    /// What has neither come nor been asked for, in order.
    fn free(&self) -> Vec<Range<u64>> {
        let mut taken = self.received.clone();
        for running in &self.running {
            taken.insert(running.claim.clone());
        }
        let end = self.expected().unwrap_or(UNKNOWN_END);
        taken.gaps(end)
    }
}

/// What to ask for first of a blob of unknown size: what a client waits for, where that is far from what comes first,
/// `nearest`. Else that, and as much of it as a blob may have that is asked for in one.
fn guess(nearest: &Range<u64>, wanted: Option<&Range<u64>>, piece: u64) -> Range<u64> {
    let far = wanted.filter(|wanted| wanted.start - nearest.start >= piece);
    let (gap, length) = match far {
        Some(wanted) => (wanted, piece),
        None => (nearest, 2 * piece),
    };
    gap.start..gap.end.min(gap.start.saturating_add(length))
}
