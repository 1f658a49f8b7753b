//! Looks on while a scenario is played, ten times a second.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::engine::Live;
use super::outcome::{Sample, UpstreamSample};
use crate::fleet::Tally;
use crate::origin::Origin;

const EVERY: Duration = Duration::from_millis(100);

/// What there is to see.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) tally: Arc<Tally>,
    pub(super) origin: Option<Arc<Origin>>,
    /// The mirror's process, which may become another one; 0 while there is none.
    pub(super) pid: AtomicU32,
}

/// Takes samples until it is dropped.
#[derive(Debug)]
pub(super) struct Sampler {
    pub(super) sight: Arc<Sight>,
    samples: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

impl Sampler {
    pub(super) fn start(sight: Sight, live: Live) -> Self {
        let (sight, samples) = (Arc::new(sight), Arc::default());
        let (look, kept) = (Arc::clone(&sight), Arc::clone(&samples));
        let task = tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let sample = keep(&look, &kept);
                live.send_modify(|now| now.sample = sample);
            }
        });
        Self {
            sight,
            samples,
            task,
        }
    }

    /// All samples so far, and one of right now.
    pub(super) fn samples(&self) -> Vec<Sample> {
        keep(&self.sight, &self.samples);
        self.samples
            .lock()
            .expect("nobody panics with the lock")
            .clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn keep(sight: &Sight, samples: &Mutex<Vec<Sample>>) -> Sample {
    let mut samples = samples.lock().expect("nobody panics with the lock");
    let sample = sight.look();
    samples.push(sample);
    sample
}

impl Sight {
    fn look(&self) -> Sample {
        let upstream = self.origin.as_ref().map(|origin| {
            let counts = origin.counts();
            UpstreamSample {
                requests: counts.total(),
                bytes: counts.body_bytes(),
                quota_left: origin.quota_left(),
            }
        });
        Sample {
            at: self.tally.age().as_secs_f64(),
            clients: self.tally.sums(),
            upstream,
            resident: resident(self.pid.load(Ordering::Relaxed)),
        }
    }
}

/// What a process has resident, in bytes.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_seen_of_processes_that_there_are() {
        assert!(resident(std::process::id()).unwrap() > 100_000);
        assert_eq!(resident(0), None);
    }
}
