//! Which part of a blob the next request is for, and how many may run.

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
    pub(super) fn is_guess(&self, id: ConnectionId) -> bool {
        let running = self.running.iter().find(|running| running.id == id);
        self.expected().is_none() && running.is_some_and(|it| it.claim.end < UNKNOWN_END)
    }

    pub(super) fn connection_limit(&self) -> usize {
        if self.in_pieces() && self.ranges_work && self.failures == 0 {
            self.bounds.connections
        } else {
            1
        }
    }

    /// The free range to ask for next: what clients wait for first, else what is nearest the frontier.
    pub(super) fn next_claim(&mut self) -> Option<Range<u64>> {
        let free = self.free();
        let frontier = free.first()?.clone();
        if !self.in_pieces() && !self.may_guess() {
            return Some(frontier);
        }
        self.wanted
            .retain(|wanted| free.iter().any(|gap| overlap(gap, wanted).is_some()));
        let promoted = self.wanted.iter().find_map(|wanted| {
            let gap = free.iter().find(|gap| overlap(gap, wanted).is_some())?;
            Some(wanted.start.max(gap.start)..gap.end)
        });
        let piece = self.bounds.piece;
        if self.may_guess() {
            return Some(
                promoted.map_or(frontier.clone(), |wanted| guess(&frontier, &wanted, piece)),
            );
        }
        let gap = promoted.unwrap_or(frontier);
        // A last piece of less than half a length goes with the one before it.
        let end = gap.start + piece;
        let end = if end + piece / 2 > gap.end {
            gap.end
        } else {
            end
        };
        Some(gap.start..end)
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

/// What to ask for first of a blob of unknown size, where a client waits for `wanted`: that, where it is far from the
/// `frontier`. Else what comes first, and as much of it as a blob may have that is asked for in one.
fn guess(frontier: &Range<u64>, wanted: &Range<u64>, piece: u64) -> Range<u64> {
    let far = wanted.start - frontier.start >= piece;
    let (gap, length) = if far {
        (wanted, piece)
    } else {
        (frontier, 2 * piece)
    };
    gap.start..gap.end.min(gap.start.saturating_add(length))
}
