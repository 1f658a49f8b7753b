//! What a run, or a part of it, is measured by: differences of what is counted, from a mark on.

use std::collections::HashMap;
use std::time::Duration;

use super::measure::{Measure, float};
use super::outcome::{Fate, Measures, Pull, Sample};
use super::stage::Upstream;
use crate::fleet::{Role, Sums, Tally};
use crate::origin::{Counts, Kind, Request};
use crate::stats::percentile;

/// How everything stood when a part began.
pub(super) struct Mark {
    at: f64,
    sums: Sums,
    ended: usize,
    upstream: Option<Requests>,
}

/// How far the upstream's record had come.
struct Requests {
    counts: Counts,
    next: u64,
}

impl Mark {
    pub(super) fn at(tally: &Tally, upstream: Option<&Upstream>) -> Self {
        Self {
            at: tally.age().as_secs_f64(),
            sums: tally.sums(),
            ended: tally.ended(),
            upstream: upstream.map(|upstream| {
                let counts = upstream.origin.counts();
                let next = counts.total();
                Requests { counts, next }
            }),
        }
    }

    /// What was measured since.
    pub(super) fn measures(
        &self,
        tally: &Tally,
        upstream: Option<&Upstream>,
        samples: &[Sample],
        pulls: &[Pull],
    ) -> Measures {
        let mut measures = of_pulls(pulls);
        let sums = self.of_clients(tally, &mut measures);
        if let (Some(upstream), Some(before)) = (upstream, &self.upstream) {
            before.of_upstream(upstream, &sums, &mut measures);
            // Only the upstream knows what its tags point at.
            let stale = pulls.iter().filter(|pull| pull.fate == Fate::Stale).count();
            measures.insert(Measure::StalePulls, float(stale as u64));
        }
        let since = samples.iter().filter(|sample| sample.at >= self.at);
        if let Some(most) = since.filter_map(|sample| sample.resident).max() {
            measures.insert(Measure::MemoryMax, float(most));
        }
        measures
    }

    fn of_clients(&self, tally: &Tally, measures: &mut Measures) -> Sums {
        let (now, then) = (tally.sums(), self.sums);
        let sums = Sums {
            requests: now.requests - then.requests,
            around: now.around - then.around,
            refusals: now.refusals - then.refusals,
            errors: now.errors - then.errors,
            cut: now.cut - then.cut,
            unanswered: now.unanswered - then.unanswered,
            bytes: now.bytes - then.bytes,
            bytes_around: now.bytes_around - then.bytes_around,
        };
        measures.extend([
            (Measure::Requests, float(sums.requests)),
            (Measure::Refusals, float(sums.refusals)),
            (Measure::Errors, float(sums.errors)),
            (Measure::CutBodies, float(sums.cut)),
            (Measure::Bytes, float(sums.bytes)),
        ]);
        let asked = tally.asked(self.ended);
        let answered = asked
            .iter()
            .filter(|it| it.role == Role::Mirror && it.status.is_some());
        let mut waits: Vec<_> = answered.map(|it| it.first_byte).collect();
        waits.sort_unstable();
        for (measure, percent) in [
            (Measure::FirstByteP50, 50),
            (Measure::FirstByteP99, 99),
            (Measure::FirstByteMax, 100),
        ] {
            measures.insert(measure, percentile(&waits, percent).as_secs_f64());
        }
        sums
    }
}

fn of_pulls(pulls: &[Pull]) -> Measures {
    let count =
        |wanted: fn(&Pull) -> bool| float(pulls.iter().filter(|it| wanted(it)).count() as u64);
    let mut times: Vec<Duration> = pulls
        .iter()
        .filter(|pull| !matches!(pull.fate, Fate::Failed(_)))
        .map(|pull| pull.took)
        .collect();
    times.sort_unstable();
    [
        (Measure::Pulls, float(pulls.len() as u64)),
        (
            Measure::FailedPulls,
            count(|pull| matches!(pull.fate, Fate::Failed(_))),
        ),
        (Measure::PullsAround, count(|pull| pull.around > 0)),
        (Measure::PullP50, percentile(&times, 50).as_secs_f64()),
        (Measure::PullP99, percentile(&times, 99).as_secs_f64()),
    ]
    .into()
}

impl Requests {
    fn of_upstream(&self, upstream: &Upstream, sums: &Sums, measures: &mut Measures) {
        let (now, then) = (upstream.origin.counts(), &self.counts);
        let requests = now.total() - then.total();
        let bytes = now.body_bytes() - then.body_bytes();
        let pulls = |counts: &Counts| counts.of(Kind::ManifestGet).ok;
        let mut since = upstream.origin.requests();
        since.retain(|request| request.number >= self.next);
        let refused = since.iter().filter(|it| it.status == Some(429)).count();
        let (worst, average) = bodies(&since, |digest| upstream.gallery.size(digest));
        let served = sums.bytes + sums.bytes_around;
        let asked = sums.requests + sums.around;
        measures.extend([
            (Measure::UpstreamRequests, float(requests)),
            (Measure::UpstreamBytes, float(bytes)),
            (Measure::QuotaUsed, float(pulls(&now) - pulls(then))),
            (Measure::UpstreamRefusals, float(refused as u64)),
            (Measure::BodiesPerBlob, worst),
            (Measure::BodiesOnAverage, average),
            (Measure::BytesSaved, saved(bytes, served)),
            (Measure::RequestsSaved, saved(requests, asked)),
        ]);
    }
}

/// How much less `upstream` is than `served`, in hundredths of that.
fn saved(upstream: u64, served: u64) -> f64 {
    if served == 0 {
        return 0.0;
    }
    100.0 * (1.0 - float(upstream) / float(served))
}

/// How often blobs were sent, by their bytes: the one that was sent most often, and all that were sent together.
fn bodies(requests: &[Request], size: impl Fn(&str) -> Option<u64>) -> (f64, f64) {
    let mut sent: HashMap<&str, u64> = HashMap::new();
    for request in requests.iter().filter(|request| request.is_body()) {
        if let Some(digest) = &request.reference {
            *sent.entry(digest).or_default() += request.body_bytes;
        }
    }
    let (mut worst, mut bytes, mut sizes) = (0.0_f64, 0, 0);
    for (digest, sent) in sent {
        let Some(size) = size(digest) else { continue };
        worst = worst.max(float(sent) / float(size.max(1)));
        bytes += sent;
        sizes += size;
    }
    (worst, float(bytes) / float(sizes.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_told_in_hundredths_of_what_was_served() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(saved(10, 1_000), 99.0));
        assert!(near(saved(0, 0), 0.0));
        assert!(saved(300, 100) < 0.0, "it may cost more than it serves");
    }
}
