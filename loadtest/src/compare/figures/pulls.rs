//! One client alone that pulls what nobody has yet.

use std::io;

use super::{A_CORE, BY_THE_CLOCK};
use crate::compare::bench::{Asked, Bench, Tls, blob_path};
use crate::compare::figure::{Bound, Expected, Figure, Measured, Who};
use crate::measure::ready;
use crate::origin::{Fault, Pace};
use crate::peers::Running;
use crate::raw::{Load, get};
use crate::report::Unit;
use crate::stats::float;

const TIME: &str = "time";
const BODIES: &str = "upstream bodies";
const HUGE: u64 = 1 << 30;

/// What holds the origin's bodies back.
#[derive(Clone, Copy, Debug)]
enum Held {
    Not,
    /// Each to so many bytes a second.
    Each(u64),
    /// All together to so many.
    Together(u64),
}

pub(super) fn figures() -> Vec<Figure> {
    let alone = "One client, one cold blob of 1 GiB. Free memory is touched before, so that no host has to give it first. A core is \
        bytes of the blob in a second of the server's CPU time, with all that it does after the last byte has gone out.";
    let alone_tls = "The same from an origin that speaks TLS 1.3, as registries do.";
    let capped = "One client, one cold blob of 1 GiB, from an origin that sends each of its bodies at 50 MB/s at most; and the \
        same client without anything between it and that origin.";
    let paced = "One client, one cold blob of 1 GiB, from an origin that sends all of its bodies together at 300 MB/s; and the \
        same client without anything between it and that origin.";
    let figure = |name, title, text, held, tls| {
        let mut figure = Figure::new(name, title, text, move |bench: &Bench<'_>, who| {
            measure(bench, who, held, tls)
        })
        .expect([Expected::at_most(BODIES, 1.01)]);
        figure.direct = !matches!(held, Held::Not);
        figure
    };
    let mut capped = figure(
        "capped",
        "A cold pull where each connection is slow",
        capped,
        Held::Each(50_000_000),
        Tls::Nowhere,
    )
    .expect([Expected::times_direct(BY_THE_CLOCK, Bound::AtLeast(3.5))]);
    capped.rounds = 3;
    capped.once_for_others = true;
    let paced = figure(
        "paced",
        "A cold pull where the whole origin is slow",
        paced,
        Held::Together(300_000_000),
        Tls::Nowhere,
    )
    .expect([Expected::times_direct(TIME, Bound::AtMost(1.05))]);
    vec![
        figure("cold", "A cold pull", alone, Held::Not, Tls::Nowhere),
        figure(
            "cold-tls",
            "A cold pull over TLS",
            alone_tls,
            Held::Not,
            Tls::WithOrigin,
        ),
        capped,
        paced,
    ]
}

fn measure(bench: &Bench<'_>, who: Who, held: Held, tls: Tls) -> io::Result<Measured> {
    let blob = bench.blob(2, bench.sizes.bytes(HUGE));
    let on = bench.origin.on_body(&blob.digest);
    let scripted = match held {
        Held::Not => None,
        Held::Each(rate) => Some(on.always(Fault::Throttle(rate))),
        Held::Together(rate) => Some(on.always(Fault::ThrottleTotal(Pace::new(rate)))),
    };
    bench.origin.reset();
    let asked = Asked {
        tls,
        ..Asked::default()
    };
    let measured = pull(bench, who, asked, &blob_path(&blob), blob.size);
    if let Some(scripted) = scripted {
        scripted.remove();
    }
    let measured = measured?
        .with("connections", Unit::Count, float(bench.body_requests()))
        .with(BODIES, Unit::Count, bench.bodies(&blob));
    Ok(measured)
}

fn pull(bench: &Bench<'_>, who: Who, asked: Asked, path: &str, size: u64) -> io::Result<Measured> {
    let (server, target) = match who {
        Who::Direct => (None, bench.direct()?),
        Who::Peer(peer) => {
            let (server, target) = bench.serve(peer, asked)?;
            (Some(server), target)
        }
    };
    let mut load = Load::open(&target, 1, vec![get(&target, path)])?;
    ready(2 * size);
    let before = server.as_ref().map(Running::usage).transpose()?;
    let (tally, times) = load.run_each(1)?;
    let elapsed = tally.elapsed.as_secs_f64();
    let first = times.first().map(|times| times.first.as_secs_f64());
    let mut measured = Measured::default()
        .with(TIME, Unit::Seconds, elapsed)
        .with("first byte", Unit::Seconds, first.unwrap_or_default())
        .with(BY_THE_CLOCK, Unit::BytesPerSecond, float(size) / elapsed);
    if let (Some(server), Some(before)) = (&server, before) {
        server.settle()?;
        let after = server.usage()?;
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        measured = measured
            .with(A_CORE, Unit::BytesPerSecond, float(size) / cpu)
            .with("CPU a gigabyte", Unit::Seconds, cpu / float(size) * 1e9)
            .with("most resident", Unit::Bytes, float(after.peak));
    }
    Ok(measured)
}
