//! Where a value is along an axis.

use super::Axis;

/// From the least to the most that is shown.
#[derive(Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// One that has all `values`, and zero, as far as its axis can show them.
    pub(super) fn of(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let log = axis.log;
        let shown = values.filter(|value| value.is_finite() && (!log || *value > 0.0));
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let nothing = low > high;
        let (low, high) = match (nothing, log) {
            (true, false) => (0.0, 1.0),
            (true, true) => (1.0, 10.0),
            (false, false) => (low.min(0.0), high.max(0.0)),
            (false, true) => (power_below(low), power_above(high)),
        };
        // All the same, and zero: something has to be above it.
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, log }
    }

    /// The same with its end at a tick.
    pub(super) fn rounded(mut self) -> Self {
        if !self.log {
            let step = step(self.high - self.low);
            self.high = (self.high / step).ceil() * step;
            self.low = (self.low / step).floor() * step;
        }
        self
    }

    /// From 0 at the least to 1 at the most; none where the axis can't show it.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        if !value.is_finite() || (self.log && value <= 0.0) {
            return None;
        }
        let share = if self.log {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        Some(share.clamp(0.0, 1.0))
    }

    /// The values to be written beside the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let inside = |value: &f64| *value <= self.high * (1.0 + 1e-9);
        if !self.log {
            let step = step(self.high - self.low);
            let first = (self.low / step).ceil();
            let ticks = (0..32).map(|index| (first + f64::from(index)) * step);
            return ticks.take_while(inside).collect();
        }
        let powers = (self.high / self.low).log10().round();
        let factors: &[f64] = if powers <= 2.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let low = self.low;
        let ticks = (0..32).flat_map(|power| factors.iter().map(move |&it| (power, it)));
        let ticks = ticks.map(|(power, factor)| low * 10_f64.powi(power) * factor);
        ticks.take_while(inside).collect()
    }
}

/// 1, 2 or 5 times a power of ten, of which four to ten make up the range.
fn step(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    match rough / power {
        below if below < 1.5 => power,
        below if below < 3.5 => 2.0 * power,
        below if below < 7.5 => 5.0 * power,
        _ => 10.0 * power,
    }
}

fn power_below(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

fn power_above(value: f64) -> f64 {
    10_f64.powf((value * 1.000_001).log10().ceil())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Unit;

    fn axis() -> Axis {
        Axis::new("", Unit::Count)
    }

    fn near(values: &[f64], wanted: &[f64]) {
        assert_eq!(values.len(), wanted.len(), "{values:?}");
        for (value, wanted) in values.iter().zip(wanted) {
            assert!(
                (value - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
                "{values:?}"
            );
        }
    }

    #[test]
    fn axis_begins_at_zero_and_ends_at_a_tick_above_all() {
        let scale = Scale::of(&axis(), [3.0, 4.7].into_iter()).rounded();
        near(&scale.ticks(), &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(scale.place(2.5), Some(0.5));
        assert_eq!(scale.place(f64::NAN), None);
    }

    #[test]
    fn powers_of_ten_are_as_far_from_each_other() {
        let scale = Scale::of(&axis().by_powers(), [0.02, 0.0, 30.0].into_iter());
        near(&scale.ticks(), &[0.01, 0.1, 1.0, 10.0, 100.0]);
        assert_eq!(scale.place(0.0), None);
        near(&[scale.place(1.0).unwrap()], &[0.5]);
        let narrow = Scale::of(&axis().by_powers(), [20.0].into_iter());
        near(&narrow.ticks(), &[10.0, 20.0, 50.0, 100.0]);
    }

    #[test]
    fn nothing_to_show_is_an_axis_still() {
        for axis in [axis(), axis().by_powers()] {
            for values in [vec![], vec![0.0], vec![f64::NAN]] {
                let scale = Scale::of(&axis, values.into_iter()).rounded();
                assert!(scale.high > scale.low, "{scale:?}");
                assert!((2..12).contains(&scale.ticks().len()), "{scale:?}");
            }
        }
    }
}
