//! Many clients that ask for one blob at once, which nobody has yet.

use std::io;

use crate::compare::bench::{Asked, Bench, blob_path};
use crate::compare::figure::{Expected, Figure, Measured, Who};
use crate::raw::{Load, Tally, Times, get};
use crate::report::Unit;
use crate::stats::float;

const BODIES: &str = "upstream bodies";
const SPREAD: &str = "last first byte after the first";
const RATIO: &str = "cold over warm";

const TEXT: &str = "All ask within a few milliseconds, each over a connection of its own that is open already. Upstream bodies \
    is how often the blob's bytes have left the origin. Warm is the same clients once more, from the cache.";

pub(super) fn figures() -> Vec<Figure> {
    vec![
        herd(
            "herd-32",
            32,
            150,
            "32 clients, one cold blob of 150 MB",
            false,
        ),
        herd(
            "herd-500",
            500,
            150,
            "500 clients, one cold blob of 150 MB",
            true,
        ),
        herd(
            "herd-1000",
            1_000,
            15,
            "1,000 clients, one cold blob of 15 MB",
            false,
        ),
        herd(
            "herd-5000",
            5_000,
            15,
            "5,000 clients, one cold blob of 15 MB",
            false,
        ),
    ]
}

fn herd(
    name: &'static str,
    clients: usize,
    megabytes: u64,
    title: &'static str,
    first_bytes: bool,
) -> Figure {
    let measure = move |bench: &Bench<'_>, who| measure(bench, who, clients, megabytes * 1_000_000);
    let mut figure = Figure::new(name, title, TEXT, measure).expect([
        Expected::at_most(BODIES, 1.01),
        Expected::at_most(RATIO, 1.25),
    ]);
    if first_bytes {
        figure = figure.expect([Expected::at_most(SPREAD, 0.25)]);
    }
    figure.rounds = 3;
    figure.once_for_others = true;
    figure
}

fn measure(bench: &Bench<'_>, who: Who, clients: usize, size: u64) -> io::Result<Measured> {
    let (server, target) = bench.serve_peer(who, Asked::default())?;
    let blob = bench.blob(1, bench.sizes.bytes(size));
    let clients = bench.sizes.clients(clients);
    bench.origin.reset();
    let request = get(&target, &blob_path(&blob));
    let mut load = Load::open(&target, clients, vec![request])?;
    let (cold, times) = load.run_each(clients)?;
    let bodies = bench.bodies(&blob);
    let peak = server.usage()?.peak;
    server.settle()?;
    let (warm, _) = load.run_each(clients)?;
    Ok(told(&cold, times, &warm, bodies, peak))
}

fn told(cold: &Tally, times: Vec<Times>, warm: &Tally, bodies: f64, peak: u64) -> Measured {
    let mut firsts: Vec<f64> = times
        .into_iter()
        .map(|times| times.first.as_secs_f64())
        .collect();
    firsts.sort_by(f64::total_cmp);
    let first = firsts.first().copied().unwrap_or_default();
    let last = firsts.last().copied().unwrap_or_default();
    let (cold, warm) = (cold.elapsed.as_secs_f64(), warm.elapsed.as_secs_f64());
    let mut measured = Measured::default()
        .with(BODIES, Unit::Count, bodies)
        .with("first byte", Unit::Seconds, first)
        .with(SPREAD, Unit::Seconds, last - first)
        .with("all done", Unit::Seconds, cold)
        .with("all done warm", Unit::Seconds, warm)
        .with(RATIO, Unit::Times, cold / warm)
        .with("most resident", Unit::Bytes, float(peak));
    measured.first_bytes = curve(&firsts);
    measured
}

/// A hundredth of the clients at each point.
fn curve(sorted: &[f64]) -> Vec<(f64, f64)> {
    if sorted.is_empty() {
        return Vec::new();
    }
    let at = |percent: u8| {
        let index = (sorted.len() - 1) * usize::from(percent) / 100;
        (sorted[index], f64::from(percent))
    };
    (0..=100).map(at).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn first_bytes_are_told_from_the_first_clients_to_the_last() {
        let times = [30, 10, 20].map(|millis| Times {
            first: Duration::from_millis(millis),
            last: Duration::from_secs(1),
        });
        let tally = |seconds| Tally {
            elapsed: Duration::from_secs(seconds),
            ..Tally::default()
        };
        let measured = told(&tally(3), times.to_vec(), &tally(2), 1.0, 0);
        let told = measured.to_string();
        assert!(
            told.contains("first byte 10 ms, last first byte after the first 20 ms"),
            "{told}"
        );
        assert!(told.contains("cold over warm 1.5x"), "{told}");
        let curve = &measured.first_bytes;
        assert_eq!(
            (curve[0], curve[50], curve[100]),
            ((0.01, 0.0), (0.02, 50.0), (0.03, 100.0))
        );
    }
}
