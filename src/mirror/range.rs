//! A byte range as a client asks for it, and what it means on a body of known size.
//!
//! Pure. `http::range` parses the header into [`RangeSpec`]; the flows resolve it once they know the size.

use std::ops::Range;

/// One range of RFC 9110 section 14.1.2, not yet held against a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSpec {
    /// `first-` or `first-last`, `last` inclusive.
    From {
        /// The first byte.
        first: u64,
        /// The last byte, where the client named one.
        last: Option<u64>,
    },
    /// `-n`: the last `n` bytes.
    Suffix(u64),
}

/// The range lies outside the body; the answer is 416 with `bytes */size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsatisfiable {
    /// The size of the whole body in bytes.
    pub size: u64,
}

impl RangeSpec {
    /// The half-open range of a body of `size` bytes that this asks for; an end beyond the body is clamped.
    pub fn resolve(self, size: u64) -> Result<Range<u64>, Unsatisfiable> {
        let range = match self {
            Self::From { first, last } => {
                let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                if last.is_some_and(|last| last < first) {
                    return Err(Unsatisfiable { size });
                }
                first..end
            }
            Self::Suffix(length) => size.saturating_sub(length)..size,
        };
        if range.is_empty() {
            return Err(Unsatisfiable { size });
        }
        Ok(range)
    }
}

/// Where `part` of a blob lies in a buffer whose first byte is the blob's byte `at`.
///
/// # Panics
/// Where `part` starts before `at`, or the buffer could not be in memory.
pub fn within(at: u64, part: &Range<u64>) -> Range<usize> {
    let index = |position: u64| usize::try_from(position - at).expect("a buffer fits in memory");
    index(part.start)..index(part.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(first: u64, last: impl Into<Option<u64>>) -> RangeSpec {
        RangeSpec::From {
            first,
            last: last.into(),
        }
    }

    #[test]
    fn ranges_within_the_body_are_taken_as_they_are() {
        assert_eq!(from(0, 0).resolve(10), Ok(0..1));
        assert_eq!(from(3, 7).resolve(10), Ok(3..8));
        assert_eq!(from(3, None).resolve(10), Ok(3..10));
        assert_eq!(RangeSpec::Suffix(4).resolve(10), Ok(6..10));
    }

    #[test]
    fn an_end_beyond_the_body_is_clamped() {
        assert_eq!(from(3, 99).resolve(10), Ok(3..10));
        assert_eq!(from(3, u64::MAX).resolve(10), Ok(3..10));
        assert_eq!(RangeSpec::Suffix(99).resolve(10), Ok(0..10));
    }

    #[test]
    fn what_selects_no_byte_is_unsatisfiable() {
        let refused = Err(Unsatisfiable { size: 10 });
        assert_eq!(from(10, None).resolve(10), refused);
        assert_eq!(from(7, 3).resolve(10), refused);
        assert_eq!(RangeSpec::Suffix(0).resolve(10), refused);
        assert_eq!(from(0, None).resolve(0), Err(Unsatisfiable { size: 0 }));
    }
}
