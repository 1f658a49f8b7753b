//! What is cached: blobs and manifests, as fast as they go.

use std::io;

use super::{A_CORE, BY_THE_CLOCK};
use crate::compare::bench::{Asked, Bench, Tls, blob_path, manifest_path};
use crate::compare::figure::{Expected, Figure, Measured, Who};
use crate::measure::{Usage, evict};
use crate::origin::Kind;
use crate::peers::{Peer, Running};
use crate::raw::{Load, Tally, Target, get};
use crate::report::Unit;
use crate::stats::float;

const LARGE: u64 = 150_000_000;
/// Blobs that are read from the disk, all of them over and over: few and small enough that they come into memory that was theirs
/// a moment ago. What a virtual machine's host has taken back meanwhile it gives again at a price that is none of the server's.
const FROM_DISK: usize = 8;
const LAYER: u64 = 30_000_000;
/// How often they are read before it counts, and then.
const PASSES: (usize, usize) = (4, 40);
/// Connections that ask for blobs, and for manifests.
const CONNECTIONS: usize = 4;
const ASKING: usize = 64;

pub(super) fn figures() -> Vec<Figure> {
    let from_memory = "4 blobs of 150 MB that are in the page cache, in turn, over 4 connections that are kept. A core is bytes \
        of bodies in a second of the server's CPU time.";
    let from_disk = "8 blobs of 30 MB, each once, over 4 connections, after the kernel was told to forget them, and all of that \
        40 times: there is memory that was used a moment ago, and no host has to give it first. A core is bytes of bodies in a \
        second of the server's CPU time; how fast the disk is does not show there.";
    let manifests = "A manifest of an image with 6 layers by its tag, over 64 connections that are kept. A core is answers in \
        a second of the server's CPU time.";
    let tls = Asked {
        tls: Tls::WithClients,
        ..Asked::default()
    };
    let logged = Asked {
        logged: true,
        ..Asked::default()
    };
    let mut all = vec![
        Figure::new(
            "hits",
            "Blob hits from the page cache",
            from_memory,
            |bench, who| blobs(bench, who, Asked::default()),
        )
        .expect([
            Expected::times(Peer::Nginx, A_CORE, 1.1),
            Expected::times(Peer::DockerRegistry, A_CORE, 1.35),
        ]),
        Figure::new(
            "hits-tls",
            "Blob hits over TLS",
            from_memory,
            move |bench, who| blobs(bench, who, tls),
        )
        .expect([Expected::times(Peer::Nginx, A_CORE, 1.0)]),
        Figure::new(
            "hits-disk",
            "Blob hits from the disk",
            from_disk,
            blobs_from_disk,
        )
        .expect([Expected::times(Peer::Nginx, A_CORE, 1.0)]),
        Figure::new(
            "manifests",
            "Manifest hits by tag, without logs",
            manifests,
            |bench, who| by_tag(bench, who, Asked::default()),
        )
        .expect([
            Expected::times(Peer::Nginx, A_CORE, 1.1),
            Expected::times(Peer::DockerRegistry, A_CORE, 100.0),
        ]),
        Figure::new(
            "manifests-logged",
            "Manifest hits by tag, a line in the log for each",
            manifests,
            move |bench, who| by_tag(bench, who, logged),
        )
        .expect([Expected::times(Peer::Nginx, A_CORE, 1.0)]),
    ];
    for figure in &mut all {
        figure.sendfile = ["hits", "hits-disk"].contains(&figure.name);
    }
    all
}

fn blobs(bench: &Bench<'_>, who: Who, asked: Asked) -> io::Result<Measured> {
    let (server, target) = bench.serve_peer(who, asked)?;
    let mut load = load(bench, &target, 1, CONNECTIONS, LARGE)?;
    load.run_each(CONNECTIONS)?;
    let (tally, used) = rate(bench, &server, &mut load, &[Kind::BlobGet])?;
    Ok(told(Unit::BytesPerSecond, tally.bytes, &tally, &used))
}

fn by_tag(bench: &Bench<'_>, who: Who, asked: Asked) -> io::Result<Measured> {
    let (server, target) = bench.serve_peer(who, asked)?;
    let request = get(&target, &manifest_path());
    let mut load = Load::open(&target, ASKING, vec![request])?;
    load.run_each(1)?;
    // The reference registry asks for a tag each time.
    let kinds: &[Kind] = match who {
        Who::Peer(Peer::DockerRegistry) => &[Kind::BlobGet],
        _ => &[Kind::BlobGet, Kind::ManifestGet, Kind::ManifestHead],
    };
    let (tally, used) = rate(bench, &server, &mut load, kinds)?;
    Ok(told(Unit::PerSecond, tally.answers, &tally, &used))
}

/// Connections that ask for so many blobs, of which no two are alike.
fn load(
    bench: &Bench<'_>,
    target: &Target,
    seed: u64,
    count: usize,
    size: u64,
) -> io::Result<Load> {
    let requests = (0..count)
        .map(|number| bench.blob(seed + number as u64, bench.sizes.bytes(size)))
        .map(|blob| get(target, &blob_path(&blob)));
    Load::open(target, CONNECTIONS, requests.collect())
}

/// Warms a server up and measures it: no request of these kinds may come to the origin.
fn rate(
    bench: &Bench<'_>,
    server: &Running,
    load: &mut Load,
    kinds: &[Kind],
) -> io::Result<(Tally, Used)> {
    server.settle()?;
    load.run_for(bench.sizes.warm)?;
    bench.origin.reset();
    let before = server.usage()?;
    let tally = load.run_for(bench.sizes.measured)?;
    let used = Used::since(&before, server)?;
    nothing_from_the_origin(bench, kinds)?;
    Ok((tally, used))
}

fn blobs_from_disk(bench: &Bench<'_>, who: Who) -> io::Result<Measured> {
    let (server, target) = bench.serve_peer(who, Asked::default())?;
    let mut load = load(bench, &target, 100, FROM_DISK, LAYER)?;
    load.run_each(FROM_DISK)?;
    server.settle()?;
    bench.origin.reset();
    let mut pass = || {
        let evicted = evict(&server.cache())?;
        if evicted.resident * 20 > evicted.bytes {
            let message = format!("the kernel keeps the files in memory: {evicted:?}");
            return Err(io::Error::other(message));
        }
        load.run_each(FROM_DISK).map(|(tally, _)| tally)
    };
    for _ in 0..PASSES.0 {
        pass()?;
    }
    let before = server.usage()?;
    let mut tally = Tally::default();
    for _ in 0..PASSES.1 {
        tally += pass()?;
    }
    let used = Used::since(&before, &server)?;
    nothing_from_the_origin(bench, &[Kind::BlobGet])?;
    Ok(told(Unit::BytesPerSecond, tally.bytes, &tally, &used))
}

fn nothing_from_the_origin(bench: &Bench<'_>, kinds: &[Kind]) -> io::Result<()> {
    for kind in kinds {
        let asked = bench.origin.counts().requests(*kind);
        if asked > 0 {
            let message = format!("what should be cached was asked for again: {asked} {kind:?}");
            return Err(io::Error::other(message));
        }
    }
    Ok(())
}

/// The CPU time that a server took, in seconds.
struct Used(f64);

impl Used {
    fn since(before: &Usage, server: &Running) -> io::Result<Self> {
        let now = server.usage()?.cpu;
        Ok(Self(now.saturating_sub(before.cpu).as_secs_f64()))
    }
}

fn told(unit: Unit, count: u64, tally: &Tally, used: &Used) -> Measured {
    let elapsed = tally.elapsed.as_secs_f64();
    let share = |cpu: f64| cpu / elapsed * 100.0;
    Measured::default()
        .with(A_CORE, unit, float(count) / used.0)
        .with(BY_THE_CLOCK, unit, float(count) / elapsed)
        .with("server busy", Unit::Percent, share(used.0))
        .with("client busy", Unit::Percent, share(tally.cpu.as_secs_f64()))
}
