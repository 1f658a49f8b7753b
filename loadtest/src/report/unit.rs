//! Numbers as people read them.

use serde::Serialize;

/// What a number counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Things.
    #[default]
    Count,
    /// Things in a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Bytes in a second.
    BytesPerSecond,
    /// Time.
    Seconds,
    /// Hundredths.
    Percent,
    /// How many times as much as something else.
    Times,
}

impl Unit {
    /// A value with its unit, three digits of it that count.
    pub fn format(self, value: f64) -> String {
        match self {
            Self::Count => count(value),
            Self::PerSecond => format!("{}/s", count(value)),
            Self::Bytes => bytes(value),
            Self::BytesPerSecond => format!("{}/s", bytes(value)),
            Self::Seconds => seconds(value),
            Self::Percent => format!("{} %", digits(value)),
            Self::Times => format!("{}x", digits(value)),
        }
    }
}

/// Whole numbers from 1000 on, a comma before each three digits.
fn count(value: f64) -> String {
    if value.abs() < 1_000.0 {
        return digits(value);
    }
    let whole = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{text}")
}

fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = value;
    let mut unit = 0;
    // What is shown as 1000 is the next unit's 1.
    while value.abs() >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    format!("{} {}", digits(value), UNITS[unit])
}

fn seconds(value: f64) -> String {
    match value.abs() {
        0.0 => "0 s".to_owned(),
        below if below < 1e-3 => format!("{} us", digits(value * 1e6)),
        below if below < 1.0 => format!("{} ms", digits(value * 1e3)),
        below if below < 600.0 => format!("{} s", digits(value)),
        _ => format!("{} min", digits(value / 60.0)),
    }
}

/// Three digits that count, without zeros at the end of a fraction.
fn digits(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let places = match value.abs() {
        below if below < 9.995 => 2,
        below if below < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.places$}");
    if !text.contains('.') {
        return text;
    }
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_three_digits_that_count_and_their_unit() {
        let written = [
            (Unit::Count, 0.0, "0"),
            (Unit::Count, -0.001, "0"),
            (Unit::Count, 1.0, "1"),
            (Unit::Count, 99.97, "100"),
            (Unit::Count, 1_234_567.0, "1,234,567"),
            (Unit::Count, -1_000.0, "-1,000"),
            (Unit::PerSecond, 137_000.4, "137,000/s"),
            (Unit::Bytes, 999.0, "999 B"),
            (Unit::Bytes, 999_999.0, "1 MB"),
            (Unit::Bytes, 15e6, "15 MB"),
            (Unit::BytesPerSecond, 4.713e9, "4.71 GB/s"),
            (Unit::Seconds, 0.000_25, "250 us"),
            (Unit::Seconds, 0.25, "250 ms"),
            (Unit::Seconds, 5.204, "5.2 s"),
            (Unit::Seconds, 1_200.0, "20 min"),
            (Unit::Percent, 12.5, "12.5 %"),
            (Unit::Times, 1.105, "1.1x"),
            (Unit::Times, f64::NAN, "-x"),
        ];
        for (unit, value, text) in written {
            assert_eq!(unit.format(value), text, "{value} {unit:?}");
        }
    }
}
