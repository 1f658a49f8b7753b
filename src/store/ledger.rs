//! The space ledger: every byte that the cache has on disk, or has promised to a writer, under one
//! limit.
//!
//! Invariant: the total is at most `limit` after every successful call. The only entries that may
//! take it over are those for bytes that are found on disk (start-up with a smaller limit, files
//! that the index did not know); while it is over, nothing new is let in.
//!
//! Committed blobs are a plain sum, the index's own; everything else is held by a [`Charge`], which
//! gives its bytes back when it is dropped.

use std::sync::{Arc, Mutex};

use super::sync::lock;

/// The unit in which file systems hand out space.
pub(crate) const BLOCK: u64 = 4096;

/// What is kept free for the index's next step: redb doubles its file, up to a region of 4 GiB at a
/// time, and a new one starts with a little more than 1 MiB.
const INDEX_STEP_MIN: u64 = 3 << 19;
const INDEX_STEP_MAX: u64 = 4 << 30;

/// What a file of `size` bytes is charged: its blocks, and one more for each 2 MiB, for the tree of
/// extents that the file system keeps for it, which `du` counts too.
pub(crate) fn charged(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK)
        .and_then(|blocks| blocks.checked_add((size >> 21) * BLOCK))
        .unwrap_or(u64::MAX)
}

/// Why a charge is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A running writer's reservation.
    Running,
    /// A partial file that nobody writes.
    Paused,
    /// A file that was removed while readers had it open.
    Unlinked,
    /// A file under `blobs/` that the index does not know.
    Orphaned,
    /// A blob whose file is removed and whose row is not yet: bytes that the committed sum still
    /// contains and that are free, so these count against the total.
    Gone,
}

/// The sums, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) committed: u64,
    pub(crate) running: u64,
    pub(crate) paused: u64,
    pub(crate) unlinked: u64,
    pub(crate) orphaned: u64,
    pub(crate) gone: u64,
    pub(crate) other: u64,
    pub(crate) index: u64,
    /// The part of `running` that is not on disk yet.
    unwritten: u64,
}

impl Sums {
    /// Everything on disk or promised.
    pub(crate) fn total(&self) -> u64 {
        let held = self.running + self.paused + self.unlinked + self.orphaned + self.other;
        (self.committed + self.index + held).saturating_sub(self.gone)
    }

    /// What eviction could free.
    pub(crate) fn evictable(&self) -> u64 {
        (self.committed + self.paused).saturating_sub(self.gone)
    }

    /// What is kept free so that the index can take its next step.
    pub(crate) fn headroom(&self) -> u64 {
        self.index.clamp(INDEX_STEP_MIN, INDEX_STEP_MAX)
    }

    fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Running => &mut self.running,
            Kind::Paused => &mut self.paused,
            Kind::Unlinked => &mut self.unlinked,
            Kind::Orphaned => &mut self.orphaned,
            Kind::Gone => &mut self.gone,
        }
    }
}

/// Why a reservation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortfall {
    /// How many bytes have to go first.
    pub(crate) missing: u64,
    /// Whether evicting everything that can be evicted would not do.
    pub(crate) hopeless: bool,
}

/// The ledger of one cache directory.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: u64,
    min_free: u64,
    sums: Mutex<Sums>,
}

impl Ledger {
    pub(crate) fn new(limit: u64, min_free: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            min_free,
            sums: Mutex::default(),
        })
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn sums(&self) -> Sums {
        *lock(&self.sums)
    }

    /// Takes `bytes` for a writer, where the limit and the file system's `free` bytes allow it.
    #[cfg(test)]
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64, free: u64) -> Result<Charge, Shortfall> {
        let mut charge = self.hold(Kind::Running, 0);
        charge.grow(bytes, free)?;
        Ok(charge)
    }

    /// Takes `bytes` that are on disk whatever the limit says.
    pub(crate) fn hold(self: &Arc<Self>, kind: Kind, bytes: u64) -> Charge {
        *lock(&self.sums).of(kind) += bytes;
        Charge {
            ledger: Arc::clone(self),
            kind,
            bytes,
            unwritten: 0,
        }
    }

    /// After a commit of the index: its sum of blobs, and the charges that this sum now contains.
    pub(crate) fn settle(&self, committed: u64, absorbed: impl IntoIterator<Item = Charge>) {
        let mut absorbed: Vec<Charge> = absorbed.into_iter().collect();
        let mut sums = lock(&self.sums);
        sums.committed = committed;
        for charge in &mut absorbed {
            charge.give_back(&mut sums, charge.bytes);
        }
        drop(sums);
    }

    /// The index was lost: its blobs are still on disk, and nobody knows them.
    pub(crate) fn orphan_committed(self: &Arc<Self>) -> Charge {
        let mut sums = lock(&self.sums);
        let bytes = std::mem::take(&mut sums.committed);
        sums.orphaned += bytes;
        Charge {
            ledger: Arc::clone(self),
            kind: Kind::Orphaned,
            bytes,
            unwritten: 0,
        }
    }

    /// Charges bytes that no [`Charge`] gives back: directories, indexes that were set aside.
    pub(crate) fn fix(&self, bytes: u64) {
        lock(&self.sums).other += bytes;
    }

    /// Gives back what [`Ledger::fix`] charged.
    pub(crate) fn unfix(&self, bytes: u64) {
        let mut sums = lock(&self.sums);
        sums.other = sums.other.saturating_sub(bytes);
    }

    /// The index file is to become `length` bytes long; `false` where the limit forbids it.
    pub(crate) fn resize_index(&self, length: u64) -> bool {
        let mut sums = lock(&self.sums);
        let fits = sums.total().saturating_sub(sums.index) + length <= self.limit;
        if fits || length <= sums.index {
            sums.index = length;
            return true;
        }
        false
    }

    /// The index file is `length` bytes long.
    pub(crate) fn set_index(&self, length: u64) {
        lock(&self.sums).index = length;
    }

    /// How many bytes have to go until no more than `target` are used, the index's headroom
    /// included, and the file system keeps its `min_free`.
    pub(crate) fn excess(&self, target: u64, free: u64) -> u64 {
        let sums = lock(&self.sums);
        let over = (sums.total() + sums.headroom()).saturating_sub(target);
        let short = (self.min_free + sums.unwritten).saturating_sub(free);
        over.max(short)
    }

    fn shortfall(&self, sums: &Sums, bytes: u64, free: u64) -> Option<Shortfall> {
        let wanted = sums
            .total()
            .saturating_add(sums.headroom())
            .saturating_add(bytes);
        let over = wanted.saturating_sub(self.limit);
        let short = self
            .min_free
            .saturating_add(sums.unwritten)
            .saturating_add(bytes)
            .saturating_sub(free);
        let missing = over.max(short);
        (missing > 0).then(|| Shortfall {
            missing,
            hopeless: missing > sums.evictable(),
        })
    }
}

/// Bytes held in the ledger; dropped, they are free again.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    kind: Kind,
    bytes: u64,
    /// How many of them a running writer has not put on disk yet.
    unwritten: u64,
}

impl Charge {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes a running writer's reservation at least `bytes`.
    pub(crate) fn grow(&mut self, bytes: u64, free: u64) -> Result<(), Shortfall> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut sums = lock(&self.ledger.sums);
        if let Some(shortfall) = self.ledger.shortfall(&sums, more, free) {
            return Err(shortfall);
        }
        *sums.of(self.kind) += more;
        sums.unwritten += more;
        self.bytes += more;
        self.unwritten += more;
        Ok(())
    }

    /// Gives back what exceeds `bytes`.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let ledger = Arc::clone(&self.ledger);
        self.give_back(&mut lock(&ledger.sums), self.bytes.saturating_sub(bytes));
    }

    /// Notes that `bytes` more of the reservation are on disk.
    pub(crate) fn written(&mut self, bytes: u64) {
        let done = bytes.min(self.unwritten);
        self.unwritten -= done;
        lock(&self.ledger.sums).unwritten -= done;
    }

    /// Holds the same bytes for another reason; nothing of them is to be written any more, unless
    /// a writer takes them.
    pub(crate) fn turn_into(mut self, kind: Kind) -> Self {
        {
            let mut sums = lock(&self.ledger.sums);
            *sums.of(self.kind) -= self.bytes;
            *sums.of(kind) += self.bytes;
            sums.unwritten -= self.unwritten;
        }
        self.unwritten = 0;
        self.kind = kind;
        self
    }

    /// Parts `bytes`, or all there are, from this charge.
    pub(crate) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            ledger: Arc::clone(&self.ledger),
            kind: self.kind,
            bytes,
            unwritten: 0,
        }
    }

    /// Takes another charge of the same kind into this one.
    pub(crate) fn merge(&mut self, mut other: Self) {
        debug_assert_eq!(self.kind, other.kind);
        self.bytes += std::mem::take(&mut other.bytes);
        self.unwritten += std::mem::take(&mut other.unwritten);
    }

    fn give_back(&mut self, sums: &mut Sums, bytes: u64) {
        let unwritten = bytes.min(self.unwritten);
        *sums.of(self.kind) -= bytes;
        sums.unwritten -= unwritten;
        self.bytes -= bytes;
        self.unwritten -= unwritten;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: u64 = 1 << 40;
    const MIB: u64 = 1 << 20;

    #[test]
    fn a_file_is_charged_in_blocks_and_a_little_for_its_extents() {
        assert_eq!(charged(0), 0);
        assert_eq!(charged(1), BLOCK);
        assert_eq!(charged(4096), BLOCK);
        assert_eq!(charged(4097), 2 * BLOCK);
        assert_eq!(charged(1 << 30), (1 << 30) + (1 << 21));
        assert_eq!(charged(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_limit_holds_the_index_and_its_next_step() {
        let ledger = Ledger::new(100 * MIB, 0);
        assert!(ledger.resize_index(20 * MIB));
        let charge = ledger.reserve(60 * MIB, PLENTY).unwrap();
        let refused = ledger.reserve(1, PLENTY).unwrap_err();
        assert_eq!(refused.missing, 1);
        assert!(refused.hopeless);
        assert!(ledger.resize_index(40 * MIB));
        assert!(!ledger.resize_index(40 * MIB + 1));
        drop(charge);
        assert!(ledger.resize_index(40 * MIB + 1));
    }

    #[test]
    fn what_can_be_evicted_makes_a_shortfall_worth_a_try() {
        let ledger = Ledger::new(100 * MIB, 0);
        ledger.settle(90 * MIB, []);
        let refused = ledger.reserve(20 * MIB, PLENTY).unwrap_err();
        assert_eq!(refused.missing, 10 * MIB + INDEX_STEP_MIN);
        assert!(!refused.hopeless);
        assert!(ledger.reserve(100 * MIB, PLENTY).unwrap_err().hopeless);
    }

    #[test]
    fn free_space_counts_what_writers_have_still_to_write() {
        let ledger = Ledger::new(100 * MIB, 50);
        let mut first = ledger.reserve(100, 200).unwrap();
        assert_eq!(ledger.reserve(60, 200).unwrap_err().missing, 10);
        first.written(100);
        drop(ledger.reserve(50, 100).unwrap());
        assert!(ledger.reserve(51, 100).is_err());
    }

    #[test]
    fn absorbed_charges_become_the_committed_sum_in_one_step() {
        let ledger = Ledger::new(100 * MIB, 0);
        let charge = ledger.reserve(300, PLENTY).unwrap();
        ledger.settle(250, [charge]);
        assert_eq!(ledger.sums().committed, 250);
        assert_eq!(ledger.sums().total(), 250);
        assert_eq!(ledger.sums().unwritten, 0);
    }

    #[test]
    fn charges_turn_split_and_give_back_without_losing_a_byte() {
        let ledger = Ledger::new(100 * MIB, 0);
        let mut charge = ledger.reserve(300, PLENTY).unwrap();
        charge.written(100);
        charge.shrink(250);
        let mut paused = charge.turn_into(Kind::Paused);
        assert_eq!(ledger.sums().paused, 250);
        let part = paused.split(100);
        assert_eq!((part.bytes(), paused.bytes()), (100, 150));
        drop(paused);
        assert_eq!(ledger.sums().total(), 100);
        drop(part.turn_into(Kind::Unlinked));
        assert_eq!(ledger.sums(), Sums::default());
    }
}
