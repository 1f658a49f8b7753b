//! Which bytes of a blob to ask for next: the pure half of a fill.
//!
//! Owns what has been received, what is being asked for and by which connection, and how often in a row nothing came.
//! It does no I/O and reads no clock: the driver (`task`) tells it what happened and does what it says. Its invariants
//! are explored exhaustively in `plan/tests.rs`:
//!
//! - no byte is asked for while another connection is asked for it, nor once it has come;
//! - unless it is complete, there is always a connection to wait for or a request to send;
//! - it is complete only when every byte has come.
//!
//! A blob that is known to be large is asked for in bounded pieces from its first request on. An open-ended GET that is
//! cut short when it reaches another connection's piece has by then sent a socket buffer's worth of bytes too many. So
//! is one of unknown size: the answer to a bounded range tells the size, and leaves the rest to other connections. A
//! blob of less than two pieces is one request either way.
//!
//! How many connections there may be is the driver's to say ([`Plan::allow`]). What clients wait for may take all of
//! them, each range in its turn. What nobody waits for stays near the frontier, so that the page cache still has it
//! when it is to be hashed.

use std::ops::Range;

use crate::store::Extents;

mod choice;
mod terms;

pub use terms::{
    AfterFailure, Answer, Bounds, ConnectionId, Dishonest, Opened, OutOfRange, Request,
};

/// The end of a body whose length is not known yet.
const UNKNOWN_END: u64 = u64::MAX;

/// Ranges that are put first, at most. Beyond it one is served all the same, when the frontier gets there.
pub(super) const MOST_WANTED: usize = 256;

/// No blob is as large: a range from here on waits until the size is known, and is not tried on an upstream that may
/// not take such a number.
const FARTHEST: u64 = 1 << 40;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Running {
    id: ConnectionId,
    /// What this connection is to deliver; no other connection is asked for any of it.
    claim: Range<u64>,
    /// Where the next byte that it sends belongs.
    at: u64,
}

/// What has come of a blob and who is asked for the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plan {
    bounds: Bounds,
    /// Connections at once, as far as they bring the blob sooner.
    allowed: usize,
    /// The size as its upstream told it.
    total: Option<u64>,
    /// The size was told by a source that is not asked any more.
    inherited: bool,
    /// The size as a manifest of the repository gave it.
    hint: Option<u64>,
    received: Extents,
    running: Vec<Running>,
    /// Ranges that clients wait for, the one that was asked for last at the end.
    wanted: Vec<Range<u64>>,
    /// The upstream has answered a range with 206: more connections make sense.
    ranges_work: bool,
    /// The upstream has answered a range with 200: one connection, from the start.
    whole_only: bool,
    failures: u32,
    /// Bytes that have come since the last failure.
    progress: u64,
    next_id: u32,
}

impl Plan {
    /// A plan for a blob of which the first `have` bytes are on disk from an earlier run.
    pub fn new(bounds: Bounds, hint: Option<u64>, have: u64) -> Self {
        let mut received = Extents::default();
        if have > 0 {
            received.insert(0..have);
        }
        let mut plan = Self {
            bounds,
            allowed: 1,
            total: None,
            inherited: false,
            hint: None,
            received,
            running: Vec::new(),
            wanted: Vec::new(),
            ranges_work: false,
            whole_only: false,
            failures: 0,
            progress: 0,
            next_id: 0,
        };
        plan.expect(hint);
        plan
    }

    /// Takes up what a manifest says of the size. One that what is here has outgrown is not believed, and one that it
    /// has just reached leaves nothing to ask for: the digest decides.
    fn expect(&mut self, hint: Option<u64>) {
        let have = self.received.contiguous_from(0);
        self.hint = hint.filter(|hint| *hint >= self.received.end());
        if self.total.is_none() && have > 0 && self.hint == Some(have) {
            self.total = self.hint;
        }
    }

    /// The size of the blob as its upstream told it.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Whether no byte has come, in this run or an earlier one.
    pub fn is_untouched(&self) -> bool {
        self.received.is_empty()
    }

    /// Whether every byte has come.
    pub fn is_complete(&self) -> bool {
        self.total
            .is_some_and(|total| self.received.contiguous_from(0) >= total)
    }

    /// Whether nobody is being asked for anything.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// So many connections may run from now on, within the bounds; those that do go on.
    pub fn allow(&mut self, connections: usize) {
        self.allowed = connections;
    }

    /// A client waits for `range`: what of it nobody has been asked for yet comes next.
    pub fn promote(&mut self, range: Range<u64>) {
        // Else one connection brings everything in order; there is nothing to put first.
        let in_parts = self.in_pieces() || self.may_guess() && range.start < FARTHEST;
        if in_parts && self.wanted.len() < MOST_WANTED && !self.wanted.contains(&range) {
            self.wanted.push(range);
        }
    }

    /// Another source is asked from now on, which expects `hint` bytes; what the last one did is not held against it.
    pub fn change_source(&mut self, hint: Option<u64>) {
        self.running.clear();
        self.inherited = self.total.is_some();
        self.expect(hint);
        self.failures = 0;
        self.progress = 0;
        self.ranges_work = false;
        self.whole_only = false;
    }

    /// Whether the size was told by an earlier source, so that one that disagrees with it need not be the liar.
    pub fn size_is_inherited(&self) -> bool {
        self.inherited
    }

    /// The next request to send now, if there is one. It counts as sent.
    pub fn next_request(&mut self) -> Option<Request> {
        if self.is_complete() {
            return None;
        }
        let claim = self.next_claim()?;
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let reaches_end = claim.end >= self.expected().unwrap_or(UNKNOWN_END);
        let request = Request {
            id,
            start: claim.start,
            end: (!reaches_end).then_some(claim.end),
        };
        self.running.push(Running {
            id,
            at: claim.start,
            claim,
        });
        Some(request)
    }

    /// The response head of `id` has come.
    pub fn opened(&mut self, id: ConnectionId, answer: Answer) -> Result<Opened, Dishonest> {
        if !self.running.iter().any(|running| running.id == id) {
            return Ok(Opened::Drop);
        }
        if let Some(said) = answer.total {
            self.agree_on_total(said)?;
        }
        if !answer.whole && self.is_guess(id) {
            // A part that is not said to be the last, nor to have more behind it.
            self.running.retain(|running| running.id != id);
            self.whole_only = true;
            return Ok(Opened::Drop);
        }
        let total = self.total;
        let alone = self.running.len() == 1;
        let Some(running) = self.running.iter_mut().find(|running| running.id == id) else {
            return Ok(Opened::Drop);
        };
        let asked_for_all =
            running.claim.start == 0 && total.is_none_or(|t| running.claim.end >= t);
        if let Some(total) = total {
            running.claim.end = running.claim.end.min(total);
        }
        if !answer.whole {
            self.ranges_work = true;
            return Ok(Opened::Read);
        }
        running.claim = 0..total.or(self.hint).unwrap_or(UNKNOWN_END);
        running.at = 0;
        self.whole_only = !asked_for_all;
        if alone {
            return Ok(Opened::Read);
        }
        self.running.retain(|running| running.id != id);
        Ok(Opened::Drop)
    }

    /// `length` bytes have come on `id`. Of the range that they fill, these parts are new and belong on disk.
    pub fn received(
        &mut self,
        id: ConnectionId,
        length: u64,
    ) -> Result<Vec<Range<u64>>, Dishonest> {
        let Some(running) = self.running.iter_mut().find(|running| running.id == id) else {
            return Ok(Vec::new());
        };
        let end = running.at.saturating_add(length);
        if end > running.claim.end {
            return Err(Dishonest::TooLong {
                expected: running.claim.end,
            });
        }
        let came = running.at..end;
        running.at = end;
        let new = missing(&self.received, &came);
        for range in &new {
            self.progress += range.end - range.start;
            self.received.insert(range.clone());
        }
        if self.progress >= self.bounds.progress {
            self.failures = 0;
        }
        if self.total.is_none()
            && self.received.contiguous_from(0) >= self.hint.unwrap_or(UNKNOWN_END)
        {
            // A body of untold length that has reached the expected size is not waited for any longer: the digest
            // decides whether that was all.
            self.total = self.hint;
        }
        Ok(new)
    }

    /// Where the bytes that `id` sends next belong.
    pub fn position(&self, id: ConnectionId) -> Option<u64> {
        let running = self.running.iter().find(|running| running.id == id)?;
        Some(running.at)
    }

    /// The body of `id` has ended as its head promised. `Some` where that is too early, as [`Plan::failed`] has it.
    pub fn ended(&mut self, id: ConnectionId) -> Result<Option<AfterFailure>, Dishonest> {
        let Some(index) = self.running.iter().position(|running| running.id == id) else {
            return Ok(None);
        };
        let (at, end) = (self.running[index].at, self.running[index].claim.end);
        if end == UNKNOWN_END {
            self.running.remove(index);
            self.agree_on_total(at)?;
            return Ok(None);
        }
        if at < end {
            return Ok(Some(self.failed(id)));
        }
        self.running.remove(index);
        if self.total.is_none() && self.hint == Some(end) {
            // A body of untold length that ends where a manifest said it would.
            self.total = self.hint;
        }
        Ok(None)
    }

    /// The connection `id` has failed; what it had not delivered is free again.
    pub fn failed(&mut self, id: ConnectionId) -> AfterFailure {
        self.running.retain(|running| running.id != id);
        let enough = self.progress >= self.bounds.progress;
        self.failures = if enough { 0 } else { self.failures + 1 };
        self.progress = 0;
        if self.failures >= self.bounds.failures {
            AfterFailure::GiveUp
        } else {
            AfterFailure::Retry {
                failures: self.failures,
            }
        }
    }

    /// The upstream says that what `id` asks for lies outside the blob, and, where `size` is there, where that ends.
    pub fn out_of_range(&mut self, id: ConnectionId, size: Option<u64>) -> OutOfRange {
        if self.is_guess(id) {
            self.running.retain(|running| running.id != id);
            match size {
                Some(size) if size < self.received.end() => return OutOfRange::NotTheBlob,
                Some(size) => self.total = Some(size),
                None => self.whole_only = true,
            }
            return OutOfRange::GoOn;
        }
        let after = self.failed(id);
        if self.total.is_none() && size == Some(self.received.contiguous_from(0)) {
            self.total = size;
        }
        if size.is_some() && self.is_complete() {
            OutOfRange::GoOn
        } else if self.total.is_none() {
            OutOfRange::NotTheBlob
        } else {
            OutOfRange::Failed(after)
        }
    }

    fn expected(&self) -> Option<u64> {
        self.total.or(self.hint)
    }

    fn agree_on_total(&mut self, said: u64) -> Result<(), Dishonest> {
        match self.expected() {
            Some(expected) if expected != said => Err(Dishonest::Size { said, expected }),
            _ => {
                self.total = Some(said);
                Ok(())
            }
        }
    }
}

/// The parts of `range` that are not in `extents`.
fn missing(extents: &Extents, range: &Range<u64>) -> Vec<Range<u64>> {
    let gaps = extents.gaps(range.end).into_iter();
    gaps.filter_map(|gap| overlap(&gap, range)).collect()
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> Option<Range<u64>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}

#[cfg(test)]
mod tests;
