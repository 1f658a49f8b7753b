//! Which byte ranges of a growing file have been written.
//!
//! Pure: a sorted set of half-open ranges that neither overlap nor touch. Knows nothing of files,
//! hashing or the total length.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of half-open byte ranges, merged where they touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extents {
    /// Start of each range to its end.
    ranges: BTreeMap<u64, u64>,
}

impl Extents {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The set that holds `0..end`.
    pub fn prefix(end: u64) -> Self {
        let mut extents = Self::new();
        extents.insert(0..end);
        extents
    }

    /// Adds a range; an empty one changes nothing.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        if let Some((&before, &before_end)) = self.ranges.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.ranges.range(start..=end).next() {
            self.ranges.remove(&next);
            end = end.max(next_end);
        }
        self.ranges.insert(start, end);
    }

    /// Whether every byte of `range` is in the set; an empty range always is.
    pub fn contains(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.contiguous_from(range.start) >= range.end
    }

    /// The end of the run of bytes that starts at `position`; `position` itself where its byte is
    /// not in the set.
    pub fn contiguous_from(&self, position: u64) -> u64 {
        match self.ranges.range(..=position).next_back() {
            Some((_, &end)) if end > position => end,
            _ => position,
        }
    }

    /// What is missing of `0..total`, in order.
    pub fn gaps(&self, total: u64) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut position = 0;
        for (&start, &end) in self.ranges.range(..total) {
            if start > position {
                gaps.push(position..start);
            }
            position = end;
        }
        if position < total {
            gaps.push(position..total);
        }
        gaps
    }

    /// The ranges of the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// How many bytes the set holds.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// One past the last byte of the set.
    pub fn end(&self) -> u64 {
        self.ranges.values().next_back().copied().unwrap_or(0)
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut extents = Extents::new();
        extents.insert(10..20);
        extents.insert(30..40);
        extents.insert(20..30);
        assert_eq!(extents.iter().collect::<Vec<_>>(), vec![10..40]);
        assert_eq!(extents.contiguous_from(0), 0);
        assert_eq!(extents.contiguous_from(10), 40);
        assert_eq!(extents.contiguous_from(40), 40);
    }

    #[test]
    fn gaps_stop_at_the_total() {
        let mut extents = Extents::prefix(5);
        extents.insert(8..12);
        assert_eq!(extents.gaps(10), vec![5..8]);
        assert_eq!(extents.gaps(20), vec![5..8, 12..20]);
        assert_eq!(extents.gaps(3), Vec::<Range<u64>>::new());
    }

    fn index(at: u64) -> usize {
        usize::try_from(at).unwrap()
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_single_bytes(
            ranges in prop::collection::vec((0_u64..64, 0_u64..16), 0..24),
            total in 0_u64..80,
        ) {
            let mut extents = Extents::new();
            let mut bytes = [false; 96];
            for (start, length) in ranges {
                extents.insert(start..start + length);
                for at in start..start + length {
                    bytes[index(at)] = true;
                }
            }
            let expected_end = |from: u64| (from..96).find(|&at| !bytes[index(at)]).unwrap();
            for position in 0..80 {
                prop_assert_eq!(extents.contiguous_from(position), expected_end(position));
            }
            prop_assert_eq!(extents.bytes(), bytes.iter().filter(|&&set| set).count() as u64);
            let mut rebuilt = extents.clone();
            for gap in extents.gaps(total) {
                prop_assert!(!gap.is_empty());
                prop_assert!(gap.clone().all(|at| !bytes[index(at)]));
                rebuilt.insert(gap);
            }
            prop_assert!(rebuilt.contains(&(0..total)));
            let ranges: Vec<_> = extents.iter().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
