//! Summaries of what was measured more than once.

use serde::Serialize;

/// What several rounds have given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of any number of values; all zero without any.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Self { median, min, max }
    }

    /// As people read it: the median, and from where to where it goes, as far as that shows.
    pub fn told(&self, format: impl Fn(f64) -> String) -> String {
        let [median, min, max] = [self.median, self.min, self.max].map(format);
        if min == max {
            return median;
        }
        format!("{median} ({min} to {max})")
    }
}

/// The median of any number of values; zero without any.
pub fn median(values: &[f64]) -> f64 {
    Spread::of(values).median
}

/// The value that `percent` of 100 are below, of what is `sorted`; the default of nothing.
pub fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let index = sorted.len() * percent / 100;
    let last = sorted.len().saturating_sub(1);
    sorted.get(index.min(last)).copied().unwrap_or_default()
}

/// A count to reckon with.
#[expect(
    clippy::cast_precision_loss,
    reason = "what is measured has fewer digits than it keeps"
)]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_whatever_the_order() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        let wanted = Spread {
            median: 2.0,
            min: 1.0,
            max: 3.0,
        };
        assert_eq!(spread, wanted);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert_eq!(Spread::of(&[]), Spread::default());
    }

    #[test]
    fn ends_are_told_where_they_show() {
        let told = |values: &[f64]| Spread::of(values).told(|value| format!("{value:.1}"));
        assert_eq!(told(&[1.0, 2.0, 4.0]), "2.0 (1.0 to 4.0)");
        assert_eq!(told(&[1.0, 1.01, 1.02]), "1.0");
    }

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let sorted: Vec<u32> = (1..=200).collect();
        let at = [50, 99, 100].map(|percent| percentile(&sorted, percent));
        assert_eq!(at, [101, 199, 200]);
        assert_eq!(percentile::<u32>(&[], 99), 0);
    }
}
