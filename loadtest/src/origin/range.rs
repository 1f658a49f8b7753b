//! The `Range` header (RFC 9110, section 14) as a well-behaved origin reads it.

use std::ops::Range;

/// What a request wants of `total` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All: no range, one that is malformed, or several.
    Whole,
    /// One part, half-open.
    Part(Range<u64>),
    /// A range that the content does not have.
    Unsatisfiable,
}

impl Wanted {
    pub(crate) fn of(header: Option<&str>, total: u64) -> Self {
        let Some((first, last)) = header.and_then(single) else {
            return Self::Whole;
        };
        match (first, last) {
            (Some(first), Some(last)) if last < first => Self::Whole,
            (Some(first), _) if first >= total => Self::Unsatisfiable,
            (Some(first), last) => {
                let end = last.map_or(total, |last| total.min(last.saturating_add(1)));
                Self::Part(first..end)
            }
            (None, Some(0)) => Self::Unsatisfiable,
            (None, Some(_)) if total == 0 => Self::Unsatisfiable,
            (None, Some(suffix)) => Self::Part(total.saturating_sub(suffix)..total),
            (None, None) => Self::Whole,
        }
    }
}

/// First and last position of a lone range.
fn single(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    Some((position(first)?, position(last)?))
}

/// None for no number at all, `Some(None)` for an absent one.
#[expect(
    clippy::option_option,
    reason = "the outer is malformed, the inner is absent"
)]
fn position(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let cases = [
            (None, Wanted::Whole),
            (Some("bytes=0-0"), Wanted::Part(0..1)),
            (Some("bytes=0-"), Wanted::Part(0..100)),
            (Some("bytes=10-19"), Wanted::Part(10..20)),
            (Some("bytes=90-500"), Wanted::Part(90..100)),
            (Some("bytes=-10"), Wanted::Part(90..100)),
            (Some("bytes=-1000"), Wanted::Part(0..100)),
            (Some("bytes=99-"), Wanted::Part(99..100)),
            (Some("bytes=100-"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=20-10"), Wanted::Whole),
            (Some("bytes=0-1,5-6"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
            (Some("bytes=+1-2"), Wanted::Whole),
            (Some("lines=0-1"), Wanted::Whole),
        ];
        for (header, wanted) in cases {
            assert_eq!(Wanted::of(header, 100), wanted, "{header:?}");
        }
        assert_eq!(Wanted::of(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
        assert_eq!(Wanted::of(Some("bytes=-1"), 0), Wanted::Unsatisfiable);
    }
}
