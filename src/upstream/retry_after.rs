//! How long an upstream asks to be left alone: `Retry-After` in seconds or as a date (RFC 9110
//! section 10.2.3), and the Go duration that GHCR writes (`985.86µs`), in the header or the message.
//!
//! Pure; takes `now`.

use std::time::{Duration, SystemTime};

/// Nobody is asked again sooner, whatever the answer says.
const FLOOR: Duration = Duration::from_secs(1);
/// Docker Hub's window; a longer wait than that is a mistake or malice.
const CAP: Duration = Duration::from_hours(6);

/// Reads a `Retry-After` value; `None` when it is none of the three forms.
pub(crate) fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if let Ok(seconds) = value.parse::<u64>() {
        Duration::from_secs(seconds)
    } else if let Ok(date) = httpdate::parse_http_date(value) {
        date.duration_since(now).unwrap_or_default()
    } else {
        go_duration(value)?
    };
    Some(wait.clamp(FLOOR, CAP))
}

/// Finds `retry-after: <value>` in an error message.
pub(crate) fn in_message(message: &str, now: SystemTime) -> Option<Duration> {
    const LABEL: &str = "retry-after:";
    let lower = message.to_ascii_lowercase();
    let rest = message[lower.find(LABEL)? + LABEL.len()..].trim_start();
    let end = rest
        .find(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | ')'))
        .unwrap_or(rest.len());
    parse(&rest[..end], now)
}

/// Go's `time.Duration` as it prints itself: `1h2m3.5s`, `985.86µs`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                // The micro sign and the Greek letter are different characters.
                "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    if text.is_empty() {
        return None;
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read_within_floor_and_cap() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text: &str| parse(text, now).map(|wait| wait.as_secs());
        for (text, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", Some(1)),
            ("99999999", Some(21_600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(1)),
            ("985.86µs", Some(1)),
            ("1h2m3s", Some(3723)),
            ("1m0.5s", Some(60)),
            ("300000ms", Some(300)),
            ("9999999h", Some(21_600)),
            ("", None),
            ("-5", None),
            ("soon", None),
            ("5 s", None),
            ("1.2.3s", None),
            ("5x", None),
        ] {
            assert_eq!(read(text), seconds, "{text:?}");
        }
    }

    #[test]
    fn duration_is_found_in_a_message() {
        let now = SystemTime::UNIX_EPOCH;
        let message = "retry-after: 44.5s, allowed: 44000/minute";
        assert_eq!(
            in_message(message, now),
            Some(Duration::from_millis(44_500))
        );
        assert_eq!(in_message("Retry-After:985.86µs", now), Some(FLOOR));
        assert_eq!(in_message("slow down", now), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,40}", message in "\\PC{0,80}") {
            let now = SystemTime::UNIX_EPOCH;
            if let Some(wait) = parse(&text, now) {
                proptest::prop_assert!((FLOOR..=CAP).contains(&wait));
            }
            let _ = in_message(&format!("{message}retry-after:{text}"), now);
        }
    }
}
