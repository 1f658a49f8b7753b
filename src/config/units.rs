//! Sizes and durations as people write them: `20GiB`, `1h30m`.
//!
//! Written here, because what is printed has to read back as the same, and because the crates for it
//! take more than one would want to guess at (`1M` as a month, `1g` as a gigabyte).

use std::fmt::Write as _;
use std::time::Duration;

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// In milliseconds, the longest first.
const DURATIONS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Longest duration: what may be added to any clock.
const MAX_DURATION: Duration = Duration::from_hours(3650 * 24);

/// Shortest window of a quota.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

/// Largest size, which is what a file may have.
const MAX_SIZE: u64 = i64::MAX as u64;

/// Bytes: digits alone, or digits with a unit of [`SIZES`], a space between them or not.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let refused = || {
        format!(
            "`{}` is not a size: write a whole number of B, KB, MB, GB, TB, KiB, MiB, GiB or TiB, such as \"20GiB\"",
            text.escape_debug()
        )
    };
    let (digits, unit) = split_number(text);
    let number: u64 = digits.parse().map_err(|_| refused())?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let factor = match unit {
        "" => 1,
        _ => SIZES
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor)
            .ok_or_else(refused)?,
    };
    number
        .checked_mul(factor)
        .filter(|size| *size <= MAX_SIZE)
        .ok_or_else(|| format!("`{text}` is more than a file system holds"))
}

/// A size in the largest unit that gives a whole number.
pub(super) fn print_size(size: u64) -> String {
    let fits = |factor: u64| size >= factor && size.is_multiple_of(factor);
    let largest = SIZES
        .iter()
        .filter(|(_, factor)| fits(*factor))
        .max_by_key(|(_, factor)| factor);
    largest.map_or_else(
        || format!("{size}B"),
        |(unit, factor)| format!("{}{unit}", size / factor),
    )
}

/// One or more of days, hours, minutes, seconds and milliseconds, in this order.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused = || {
        format!(
            "`{}` is not a duration: write whole numbers of d, h, m, s or ms, such as \"90s\" or \"1h30m\"",
            text.escape_debug()
        )
    };
    let mut rest = text;
    let mut units = DURATIONS.iter();
    let mut total: u64 = 0;
    if text.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let (digits, tail) = split_number(rest);
        let number: u64 = digits.parse().map_err(|_| refused())?;
        let unit = &tail[..tail
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(tail.len())];
        // Each unit only once, and only after the larger ones.
        let (_, millis) = units.find(|(name, _)| *name == unit).ok_or_else(refused)?;
        total = number
            .checked_mul(*millis)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(refused)?;
        rest = &tail[unit.len()..];
    }
    let duration = Duration::from_millis(total);
    if duration > MAX_DURATION {
        return Err(format!(
            "`{text}` is too long: write at most \"{}\"",
            print_duration(MAX_DURATION)
        ));
    }
    Ok(duration)
}

/// A duration, to the millisecond, as [`parse_duration`] reads it.
pub(super) fn print_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, millis) in DURATIONS {
        if rest >= millis {
            let _ = write!(text, "{}{unit}", rest / millis);
            rest %= millis;
        }
    }
    text
}

/// So much in so long, with how much still to be read: `100/s`, `5000/10m`. A unit alone is one of it.
pub(super) fn parse_rate(text: &str) -> Result<(&str, Duration), String> {
    let refused = || {
        format!(
            "`{}` is not a rate: write how much, a slash and a duration, such as \"100/s\" or \"5000/10m\"",
            text.escape_debug()
        )
    };
    let (amount, per) = text.split_once('/').ok_or_else(refused)?;
    let bare = DURATIONS.iter().any(|(unit, _)| *unit == per);
    let per = if bare {
        parse_duration(&format!("1{per}"))
    } else {
        parse_duration(per)
    };
    match per {
        Ok(per) if !per.is_zero() => Ok((amount, per)),
        _ => Err(refused()),
    }
}

/// A rate as [`parse_rate`] reads it.
pub(super) fn print_rate(amount: &str, per: Duration) -> String {
    let per = print_duration(per);
    let one = per
        .strip_prefix('1')
        .filter(|unit| DURATIONS.iter().any(|(known, _)| known == unit));
    format!("{amount}/{}", one.unwrap_or(&per))
}

/// So many in a duration: `100/6h`.
pub(super) fn parse_quota(text: &str) -> Result<(u64, Duration), String> {
    let refused = || {
        format!(
            "`{}` is not a quota: write a whole number of pulls and in what time, such as \"100/6h\"",
            text.escape_debug()
        )
    };
    let (pulls, window) = parse_rate(text).map_err(|_| refused())?;
    let pulls = match split_number(pulls) {
        (digits, "") => digits.parse().map_err(|_| refused())?,
        _ => return Err(refused()),
    };
    if pulls == 0 || window < SHORTEST_WINDOW {
        return Err(format!(
            "`{text}` lets nothing through: write at least one pull in \"{}\" or more, or leave it out for no limit",
            print_duration(SHORTEST_WINDOW)
        ));
    }
    Ok((pulls, window))
}

/// A quota as [`parse_quota`] reads it.
pub(super) fn print_quota(pulls: u64, window: Duration) -> String {
    print_rate(&pulls.to_string(), window)
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, size) in [
            ("0", 0),
            ("1024", 1024),
            ("10B", 10),
            ("20GB", 20_000_000_000),
            ("100GiB", 100 << 30),
            ("100 GiB", 100 << 30),
            ("8388607TiB", 8_388_607 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in [
            "", "GiB", "-1", "+1", "1.5GiB", "1G", "1gib", "1Gb", "1  GiB", "1GiB ", " 1", "1e9",
            "ten", "1_000",
        ] {
            assert!(parse_size(text).unwrap_err().contains("such as"), "{text}");
        }
        assert!(parse_size("8388608TiB").is_err());
        assert!(parse_size("99999999999999999999TiB").is_err());
    }

    #[test]
    fn sizes_are_printed_in_the_unit_they_were_meant_in() {
        for text in ["0B", "20GiB", "20GB", "1TiB", "1500MiB", "1537B", "1KB"] {
            assert_eq!(print_size(parse_size(text).unwrap()), text);
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90m", 5_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "", "0", "10", "s", "-1s", "1.5s", "1 s", "1M", "1min", "1sec", "1w", "1y", "30m1h",
            "1s1s", "1ms1s", "1h ", "ä",
        ] {
            assert!(
                parse_duration(text).unwrap_err().contains("such as"),
                "{text}"
            );
        }
        assert!(parse_duration("3651d").unwrap_err().contains("3650d"));
        assert!(parse_duration("99999999999999999d").is_err());
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, amount, seconds, printed) in [
            ("100/s", "100", 1, "100/s"),
            ("100/1s", "100", 1, "100/s"),
            ("100/6h", "100", 21_600, "100/6h"),
            ("5000/90s", "5000", 90, "5000/1m30s"),
            ("50MiB/s", "50MiB", 1, "50MiB/s"),
            ("1/d", "1", 86_400, "1/d"),
        ] {
            let per = Duration::from_secs(seconds);
            assert_eq!(parse_rate(text), Ok((amount, per)), "{text}");
            assert_eq!(print_rate(amount, per), printed);
        }
        for text in [
            "", "100", "100/", "/0s", "100/0s", "100/10", "100/S", "1/s/s",
        ] {
            assert!(parse_rate(text).unwrap_err().contains("such as"), "{text}");
        }
    }

    #[test]
    fn quotas_are_read_as_people_write_them() {
        let hours = Duration::from_hours;
        for (text, quota) in [
            ("100/6h", (100, hours(6))),
            ("1/s", (1, Duration::from_secs(1))),
            ("5000/1d12h", (5000, hours(36))),
        ] {
            assert_eq!(parse_quota(text), Ok(quota), "{text}");
            assert_eq!(print_quota(quota.0, quota.1), text);
        }
        for text in [
            "", "100", "/6h", "100/", "-1/6h", "1e2/6h", "100 / 6h", "100/6", "6h/100", "1/0s",
        ] {
            assert!(parse_quota(text).unwrap_err().contains("such as"), "{text}");
        }
        for text in ["0/6h", "1/999ms"] {
            assert!(
                parse_quota(text).unwrap_err().contains("at least"),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn sizes_round_trip(size in 0..=MAX_SIZE, shift in 0..40_u32) {
            let size = size >> shift << shift;
            prop_assert_eq!(parse_size(&print_size(size)), Ok(size));
        }

        #[test]
        fn durations_round_trip(millis in 0..=315_360_000_000_u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&print_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,30}", digits in "[0-9]{0,25}[a-zA-Z ]{0,4}") {
            for text in [&text, &digits] {
                let _ = parse_size(text);
                let _ = parse_duration(text);
            }
        }
    }
}
