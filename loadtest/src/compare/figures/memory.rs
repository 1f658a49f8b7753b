//! What a server takes of memory.

use std::io;
use std::time::Duration;

use crate::compare::bench::{Asked, Bench, blob_path, manifest_path};
use crate::compare::figure::{Expected, Figure, Measured, Who};
use crate::measure::tcp_memory;
use crate::raw::{Load, Slow, get};
use crate::report::Unit;
use crate::stats::float;

const MIB: f64 = 1_048_576.0;
const RESIDENT: &str = "resident";
/// What each slow download reads in a second: 15 MB would take it four minutes.
const SLOWLY: usize = 64 << 10;

pub(super) fn figures() -> Vec<Figure> {
    let idle = "A server that was just started and has nothing to do; and after it was asked for a manifest and one blob of \
        150 MB. Of a server with several processes, what they share counts for each.";
    let slow = "1,000 clients, each of which reads 64 KiB a second of one blob of 15 MB that is cached, and whose kernel \
        takes 64 KiB ahead of it. Resident is the most that was seen in 10 s; the kernel's is what it has for TCP, on \
        the clients' side too.";
    vec![
        Figure::new("idle", "Memory of an idle server", idle, at_rest)
            .expect([Expected::at_most(RESIDENT, 20.0 * MIB)]),
        Figure::new("slow", "Memory with 1,000 slow downloads", slow, downloads)
            .expect([Expected::at_most(RESIDENT, 150.0 * MIB)]),
    ]
}

fn at_rest(bench: &Bench<'_>, who: Who) -> io::Result<Measured> {
    let (server, target) = bench.serve_peer(who, Asked::default())?;
    server.settle()?;
    let fresh = server.usage()?;
    let blob = bench.blob(1, bench.sizes.bytes(150_000_000));
    let requests = [manifest_path(), blob_path(&blob)];
    let requests = requests.iter().map(|path| get(&target, path)).collect();
    Load::open(&target, 1, requests)?.run_each(2)?;
    server.settle()?;
    let after = server.usage()?;
    Ok(Measured::default()
        .with(RESIDENT, Unit::Bytes, float(fresh.resident))
        .with("of it anonymous", Unit::Bytes, float(fresh.anonymous))
        .with("after a pull", Unit::Bytes, float(after.resident))
        .with("of that anonymous", Unit::Bytes, float(after.anonymous)))
}

fn downloads(bench: &Bench<'_>, who: Who) -> io::Result<Measured> {
    let (server, target) = bench.serve_peer(who, Asked::default())?;
    let blob = bench.blob(1, bench.sizes.bytes(15_000_000));
    let request = get(&target, &blob_path(&blob));
    Load::open(&target, 1, vec![request.clone()])?.run_each(1)?;
    server.settle()?;
    let before = server.usage()?;
    let kernel = tcp_memory()?;
    let clients = bench.sizes.clients(1_000);
    let (mut most, mut most_of_kernel) = (before, kernel);
    let mut slow = Slow::open(&target, clients, &request, SLOWLY)?;
    let running = slow.run_for(Duration::from_secs(10), || {
        let now = server.usage()?;
        most.resident = most.resident.max(now.resident);
        most.anonymous = most.anonymous.max(now.anonymous);
        most_of_kernel = most_of_kernel.max(tcp_memory()?);
        Ok(())
    })?;
    if running < clients {
        let message = format!("{running} of {clients} downloads are under way");
        return Err(io::Error::other(message));
    }
    let each = most.resident.saturating_sub(before.resident) / clients as u64;
    let kernel = most_of_kernel.saturating_sub(kernel);
    Ok(Measured::default()
        .with(RESIDENT, Unit::Bytes, float(most.resident))
        .with("of it anonymous", Unit::Bytes, float(most.anonymous))
        .with("resident before", Unit::Bytes, float(before.resident))
        .with("for each client", Unit::Bytes, float(each))
        .with("the kernel's", Unit::Bytes, float(kernel)))
}
