//! The `Range` and `If-Range` headers (RFC 9110, sections 14.2 and 13.1.5).
//!
//! A request for several ranges gets the one that covers them, as a plain 206. RFC 9110, section 15.3.7, lets a server
//! coalesce ranges, and gives it two other answers, neither of which serves a client better:
//!
//! - The whole, as a 200, is a layer that stargz has to wait for before it can read a file.
//! - `multipart/byteranges` is a body of many parts from one fill, each with its own end to guard, for one client.
//!
//! Of the clients that the tests in `tests/it/protocol` replay, stargz alone sends several ranges, and it takes one part
//! with more in it than it asked for: it reads `Content-Range` of what it gets, and where a server refuses, it asks for
//! that part itself. dockerd, containerd, buildkitd, podman and its kin, crane and its kin, oras, SOCI, nydus and overlaybd
//! send one range at the most. One part is never more than the whole, so that nobody gains by asking for many.

use http::HeaderMap;
use http::header::{IF_RANGE, RANGE};

use crate::mirror::RangeSpec;

/// The range that a GET is given. `None` means the whole body: there is no range, or none that this
/// server understands, which RFC 9110 lets a server ignore.
///
/// With `If-Range`, the range counts only if that is the body's `etag`; a date never matches, since
/// none is ever sent.
pub(super) fn requested(headers: &HeaderMap, etag: &str) -> Option<RangeSpec> {
    let mut fields = headers.get_all(RANGE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    if headers
        .get_all(IF_RANGE)
        .iter()
        .any(|validator| validator != etag)
    {
        return None;
    }
    parse(field.to_str().ok()?)
}

fn parse(field: &str) -> Option<RangeSpec> {
    let (unit, ranges) = field.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = ranges.split(',').map(one);
    let first = ranges.next()??;
    ranges.try_fold(first, |all, next| cover(all, next?))
}

fn one(range: &str) -> Option<RangeSpec> {
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    match (first, last) {
        ("", "") => None,
        ("", length) => Some(RangeSpec::Suffix(number(length)?)),
        (first, "") => Some(RangeSpec::From {
            first: number(first)?,
            last: None,
        }),
        // An end before the start selects nothing, which is for the answer to say (416).
        (first, last) => Some(RangeSpec::From {
            first: number(first)?,
            last: Some(number(last)?),
        }),
    }
}

/// The range from where the first of two begins to where the last of them ends. `None` where the size alone could tell
/// that, or one of them is backwards.
fn cover(a: RangeSpec, b: RangeSpec) -> Option<RangeSpec> {
    let ends = |spec| match spec {
        RangeSpec::From { first, last } if last.is_none_or(|last| first <= last) => {
            Some((first, last))
        }
        _ => None,
    };
    let ((a, a_last), (b, b_last)) = (ends(a)?, ends(b)?);
    Some(RangeSpec::From {
        first: a.min(b),
        last: a_last.zip(b_last).map(|(a, b)| a.max(b)),
    })
}

/// Decimal digits; what does not fit lies beyond any body.
fn number(digits: &str) -> Option<u64> {
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    decimal.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const ETAG: &str = "\"sha256:00\"";

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it stands for what a header means"
    )]
    fn from(first: u64, last: impl Into<Option<u64>>) -> Option<RangeSpec> {
        Some(RangeSpec::From {
            first,
            last: last.into(),
        })
    }

    #[test]
    fn single_ranges_are_understood() {
        for (field, spec) in [
            ("bytes=0-", from(0, None)),
            ("bytes=0-0", from(0, 0)),
            ("bytes=5-9", from(5, 9)),
            ("bytes=500-0", from(500, 0)),
            ("bytes=-7", Some(RangeSpec::Suffix(7))),
            ("bytes=-0", Some(RangeSpec::Suffix(0))),
            ("Bytes= 1-2 ", from(1, 2)),
            ("bytes=99999999999999999999-", from(u64::MAX, None)),
            ("bytes=0-99999999999999999999", from(0, u64::MAX)),
        ] {
            assert_eq!(parse(field), spec, "{field}");
        }
    }

    #[test]
    fn several_ranges_are_covered_by_one() {
        for (field, spec) in [
            ("bytes=0-0,5-6", from(0, 6)),
            ("bytes=5-6,0-0", from(0, 6)),
            ("bytes=10-20, 12-15,\t30-40", from(10, 40)),
            ("bytes=10-20,30-", from(10, None)),
            ("bytes=30-,10-20", from(10, None)),
            ("bytes=1-2,1-99999999999999999999", from(1, u64::MAX)),
        ] {
            assert_eq!(parse(field), spec, "{field}");
        }
    }

    #[test]
    fn what_is_no_range_of_bytes_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=--1",
            "bytes=a-b",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0-,",
            "bytes=,0-1",
            "bytes=0-1,-7",
            "bytes=0-1,7-5",
            "bytes=7-5,0-1",
            "bytes=0-1,x",
            "items=0-1",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes=\u{661}-",
        ] {
            assert_eq!(parse(field), None, "{field}");
        }
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn several_range_fields_are_ignored() {
        let mut two = headers(&[("range", "bytes=0-1")]);
        two.append(RANGE, HeaderValue::from_static("bytes=2-3"));
        assert_eq!(requested(&two, ETAG), None);
    }

    #[test]
    fn if_range_counts_only_for_the_same_content() {
        let range = ("range", "bytes=0-1");
        for (validator, spec) in [
            (ETAG, from(0, 1)),
            ("\"sha256:11\"", None),
            ("W/\"sha256:00\"", None),
            ("Sat, 21 Nov 2026 09:28:44 GMT", None),
        ] {
            assert_eq!(
                requested(&headers(&[range, ("if-range", validator)]), ETAG),
                spec,
                "{validator}"
            );
        }
        assert_eq!(requested(&headers(&[range]), ETAG), from(0, 1));
    }

    proptest! {
        #[test]
        fn the_covering_range_has_every_range_and_ends_where_they_do(
            ranges in prop::collection::vec((0_u64..1000, 0_u64..1000), 1..8),
        ) {
            let ranges: Vec<_> = ranges.iter().map(|&(first, length)| (first, first + length)).collect();
            let field: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
            let first = ranges.iter().map(|range| range.0).min().unwrap();
            let last = ranges.iter().map(|range| range.1).max().unwrap();
            prop_assert_eq!(parse(&format!("bytes={}", field.join(","))), from(first, last));
        }

        #[test]
        fn no_field_panics(field in ".{0,60}", range in "bytes=[0-9, -]{0,30}") {
            let _ = parse(&field);
            let _ = parse(&range);
        }
    }
}
