//! Byte ranges upstream: what is asked for, and whether a 206 is what was asked (RFC 9110
//! sections 14.2 to 14.4). A wrong splice would only show at the digest, after the whole blob.
//!
//! Pure.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue};

/// A part of a blob: from `start` to `end`, or to the blob's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// One past the last byte; `None` for the rest of the blob. Greater than `start`.
    pub end: Option<u64>,
}

impl ByteRange {
    /// All of a blob.
    pub const WHOLE: ByteRange = ByteRange {
        start: 0,
        end: None,
    };

    /// The first byte, the cheapest way to ask for a size.
    pub const FIRST: ByteRange = ByteRange {
        start: 0,
        end: Some(1),
    };

    pub(crate) fn header(&self) -> HeaderValue {
        let text = match self.end {
            Some(end) => format!("bytes={}-{}", self.start, end.saturating_sub(1)),
            None => format!("bytes={}-", self.start),
        };
        HeaderValue::try_from(text).expect("digits and a hyphen are a header value")
    }
}

/// Which bytes an answer's body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    /// One past the last byte, where the answer says.
    pub(crate) end: Option<u64>,
    /// The whole blob's size, where the answer says.
    pub(crate) total: Option<u64>,
}

impl Extent {
    /// The extent of a 200.
    pub(crate) fn whole(headers: &HeaderMap) -> Result<Extent, &'static str> {
        let length = content_length(headers)?;
        Ok(Extent {
            start: 0,
            end: length,
            total: length,
        })
    }

    /// The extent of a 206 to `asked`: starts exactly there, ends no later, and every number in it
    /// agrees with the others. It may end earlier; the rest is then asked for again.
    pub(crate) fn partial(headers: &HeaderMap, asked: &ByteRange) -> Result<Extent, &'static str> {
        let mut lines = headers.get_all(CONTENT_RANGE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err("a 206 needs one Content-Range");
        };
        let range = line
            .to_str()
            .ok()
            .and_then(ContentRange::parse)
            .ok_or("its Content-Range can't be read")?;
        if range.start != asked.start {
            return Err("its Content-Range starts elsewhere");
        }
        if asked.end.is_some_and(|end| range.end > end) {
            return Err("its Content-Range ends beyond what was asked for");
        }
        if content_length(headers)?.is_some_and(|length| length != range.end - range.start) {
            return Err("its Content-Length is not that of its Content-Range");
        }
        Ok(Extent {
            start: range.start,
            end: Some(range.end),
            total: range.total,
        })
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.end.map(|end| end - self.start)
    }
}

/// `bytes 0-99/1000` or `bytes 0-99/*`, its end made exclusive.
struct ContentRange {
    start: u64,
    end: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<ContentRange> {
        let (unit, rest) = text.split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.split_once('/')?;
        let (start, last) = range.split_once('-')?;
        let (start, last) = (digits(start)?, digits(last)?);
        let total = match total {
            "*" => None,
            total => Some(digits(total)?),
        };
        let end = last.checked_add(1)?;
        (start < end && total.is_none_or(|total| end <= total)).then_some(ContentRange {
            start,
            end,
            total,
        })
    }
}

/// The size in a 416's `Content-Range: bytes */1000`.
pub(crate) fn unsatisfied_total(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    digits(text.strip_prefix("bytes */")?)
}

/// `Content-Length`, refused where lines of it disagree.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    const UNREADABLE: &str = "its Content-Length can't be read";
    let mut found = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        let length = line.to_str().ok().and_then(digits).ok_or(UNREADABLE)?;
        if found.is_some_and(|found| found != length) {
            return Err(UNREADABLE);
        }
        found = Some(length);
    }
    Ok(found)
}

/// Digits only: `u64::from_str` would take a plus sign.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(start: u64) -> ByteRange {
        ByteRange { start, end: None }
    }

    fn between(start: u64, end: u64) -> ByteRange {
        ByteRange {
            start,
            end: Some(end),
        }
    }

    fn headers(range: Option<&str>, length: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(CONTENT_RANGE, range.parse().unwrap());
        }
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
        }
        headers
    }

    #[test]
    fn ranges_are_written_with_an_inclusive_end() {
        assert_eq!(from(7).header(), "bytes=7-");
        assert_eq!(ByteRange::FIRST.header(), "bytes=0-0");
        assert_eq!(between(5, 10).header(), "bytes=5-9");
    }

    #[test]
    fn honest_partial_answers_are_taken() {
        let extent = |range: &str, length: Option<&str>, asked: ByteRange| {
            Extent::partial(&headers(Some(range), length), &asked).unwrap()
        };
        let whole = extent("bytes 5-9/10", Some("5"), from(5));
        assert_eq!(
            (whole.start, whole.end, whole.total),
            (5, Some(10), Some(10))
        );
        let unknown = extent("bytes 5-9/*", None, between(5, 10));
        assert_eq!(unknown.total, None);
        let short = extent("bytes 5-6/10", Some("2"), between(5, 10));
        assert_eq!(short.length(), Some(2));
    }

    #[test]
    fn lying_partial_answers_are_refused() {
        let asked = between(5, 10);
        for (range, length) in [
            (None, Some("5")),
            (Some("bytes 4-9/100"), None),
            (Some("bytes 6-9/100"), None),
            (Some("bytes 5-10/100"), None),
            (Some("bytes 5-9/100"), Some("4")),
            (Some("bytes 5-4/100"), None),
            (Some("bytes 5-9/8"), None),
            (Some("bytes +5-9/100"), None),
            (Some("bytes 5-9"), None),
            (Some("items 5-9/100"), None),
            (Some("bytes */100"), None),
            (Some("bytes 5-18446744073709551615/*"), None),
            (Some("bytes 5-99999999999999999999/*"), None),
        ] {
            let answer = headers(range, length);
            assert!(Extent::partial(&answer, &asked).is_err(), "{answer:?}");
        }
        let mut two = headers(Some("bytes 5-9/100"), None);
        two.append(CONTENT_RANGE, "bytes 5-9/100".parse().unwrap());
        assert!(Extent::partial(&two, &asked).is_err());
    }

    #[test]
    fn length_of_a_whole_answer_is_the_blobs_size() {
        assert_eq!(
            Extent::whole(&headers(None, Some("7"))).unwrap().total,
            Some(7)
        );
        assert_eq!(Extent::whole(&headers(None, None)).unwrap().total, None);
        assert!(Extent::whole(&headers(None, Some("-8"))).is_err());
    }

    #[test]
    fn size_is_found_in_a_416() {
        assert_eq!(
            unsatisfied_total(&headers(Some("bytes */55"), None)),
            Some(55)
        );
        assert_eq!(
            unsatisfied_total(&headers(Some("bytes 0-1/55"), None)),
            None
        );
    }

    proptest::proptest! {
        #[test]
        fn any_content_range_is_survived(text in "[ -~]{0,40}", start: u64) {
            let _ = Extent::partial(&headers(Some(&text), None), &from(start));
        }

        #[test]
        fn an_accepted_range_starts_where_asked_and_ends_in_bounds(
            start in 0u64..100, first in 0u64..100, last in 0u64..100, total in 0u64..100,
        ) {
            let answer = headers(Some(&format!("bytes {first}-{last}/{total}")), None);
            if let Ok(extent) = Extent::partial(&answer, &from(start)) {
                proptest::prop_assert_eq!(extent.start, start);
                proptest::prop_assert!(extent.end.unwrap() <= total);
            }
        }
    }
}
