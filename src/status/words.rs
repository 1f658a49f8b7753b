//! Figures as people read them.

const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// Seconds in at most two units, rounded up.
pub fn duration(seconds: u64) -> String {
    let pair = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    let minutes = seconds.div_ceil(60);
    let hours = seconds.div_ceil(3600);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{minutes} min"),
        7_200..172_800 => pair(minutes / 60, "h", minutes % 60, "min"),
        _ => pair(hours / 24, "d", hours % 24, "h"),
    }
}

/// The time of day of a moment in Unix seconds.
pub fn clock(at: u64) -> String {
    let minutes = at / 60 % (24 * 60);
    format!("{:02}:{:02} UTC", minutes / 60, minutes % 60)
}

/// How long it takes, and when that will be where it is today or tomorrow.
pub fn within(seconds: u64, at: Option<u64>) -> String {
    match at.filter(|_| (120..86_400).contains(&seconds)) {
        Some(at) => format!("within {}, by {}", duration(seconds), clock(at)),
        None => format!("within {}", duration(seconds)),
    }
}

/// Bytes, with one digit after the point.
pub fn bytes(bytes: u64) -> String {
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for larger in UNITS {
        if tenths < 10 * 1024 {
            break;
        }
        (tenths, unit) = ((tenths + 512) / 1024, larger);
    }
    match (tenths % 10, unit) {
        (0, _) | (_, "B") => format!("{} {unit}", tenths / 10),
        (tenth, _) => format!("{}.{tenth} {unit}", tenths / 10),
    }
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of a thing.
pub fn some(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (121, "3 min"),
            (7_200, "2 h"),
            (21_599, "6 h"),
            (8_041, "2 h 15 min"),
            (172_800, "2 d"),
            (31 * 86_400 - 1, "31 d"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
        assert_eq!(clock(1_763_769_721), "00:02 UTC");
        assert_eq!(
            within(8_041, Some(1_763_769_721)),
            "within 2 h 15 min, by 00:02 UTC"
        );
        assert_eq!(within(30, Some(1_763_769_721)), "within 30 s");
    }

    #[test]
    fn sizes_and_counts_are_short() {
        for (size, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1 KiB"),
            (1_536, "1.5 KiB"),
            (13_207_024_435, "12.3 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(size), text, "{size}");
        }
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(some(1, "blob", "blobs"), "1 blob");
        assert_eq!(some(2_000, "blob", "blobs"), "2,000 blobs");
    }
}
