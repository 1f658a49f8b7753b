//! Sizes and durations as people write them.

use std::time::Duration;

/// Bytes: `1000`, `64KiB`, `15MB`.
///
/// # Errors
/// What to write instead.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err("write a size as 1000, 64KiB or 15MB".to_owned()),
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| "the size is too large".to_owned())
}

/// `50ms`, `10s`, `5m`, `6h`.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err("write a duration as 50ms, 10s, 5m or 6h".to_owned()),
    };
    milliseconds
        .map(Duration::from_millis)
        .ok_or_else(|| "the duration is too long".to_owned())
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number = text[..end]
        .parse()
        .map_err(|_| "a whole number comes first".to_owned())?;
    Ok((number, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_with_their_units() {
        assert_eq!(size("1000"), Ok(1000));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("15 MB"), Ok(15_000_000));
        assert_eq!(duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("6h"), Ok(Duration::from_hours(6)));
        for bad in ["", "x", "-1", "1.5MiB", "9XB", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(duration("10").is_err());
    }
}
