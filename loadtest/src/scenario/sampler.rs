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

/// What a process has resident, in bytes, and those that it has started: a server may leave the work to them.
fn resident(pid: u32) -> Option<u64> {
    let own = resident_alone(pid)?;
    // Not every kernel has the list.
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    Some(own + children.filter_map(resident_alone).sum::<u64>())
}

fn resident_alone(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process_group};

    use super::*;

    #[test]
    fn memory_is_seen_of_processes_that_there_are() {
        assert!(resident(std::process::id()).unwrap() > 100_000);
        assert_eq!(resident(0), None);
    }

    #[test]
    fn memory_of_a_process_is_that_of_its_children_too() {
        let script = "sleep 60 & echo; wait";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        // It says so once the other one is there.
        let mut line = [0];
        shell.stdout.take().unwrap().read_exact(&mut line).unwrap();
        let [alone, together] = [resident_alone, resident].map(|of| of(shell.id()).unwrap());
        kill_process_group(Pid::from_child(&shell), Signal::KILL).unwrap();
        shell.wait().unwrap();
        assert!(together > alone, "{together} of {alone}");
    }
}
