//! CPU time and memory, as the kernel tells them under `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What a process has taken, together with those that it started and that still run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in the program and in the kernel, in steps of 10 ms.
    pub cpu: Duration,
    /// Resident memory in bytes. What several of the processes share counts for each.
    pub resident: u64,
    /// The part of it that is no file's.
    pub anonymous: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

impl Usage {
    /// Of the process with this id.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(id: u32) -> io::Result<Self> {
        let mut all = Self::of_one(id)?;
        for child in descendants(id)? {
            // It may be over by now.
            if let Ok(its) = Self::of_one(child) {
                all.cpu += its.cpu;
                all.resident += its.resident;
                all.anonymous += its.anonymous;
                all.peak += its.peak;
            }
        }
        Ok(all)
    }

    fn of_one(id: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let times = Stat::parse(&stat).ok_or_else(|| io::Error::other("no times in /proc"))?;
        Ok(Self {
            cpu: times.cpu(clock_ticks_per_second()),
            resident: kib_after(&status, "VmRSS:"),
            anonymous: kib_after(&status, "RssAnon:"),
            peak: kib_after(&status, "VmHWM:"),
        })
    }
}

/// Asks all that this process has started to end, and what that has started.
///
/// # Errors
/// As reading `/proc` has them.
pub fn end_descendants() -> io::Result<()> {
    for id in descendants(std::process::id())? {
        let id = i32::try_from(id).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            // It may be over by now.
            let _ = kill_process(id, Signal::TERM);
        }
    }
    Ok(())
}

/// The children of a process, and theirs.
fn descendants(of: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        if let Some(stat) = Stat::parse(&stat) {
            parents.push((id, stat.parent));
        }
    }
    let mut found = vec![of];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = parents.iter().filter(|(_, its)| *its == parent);
        found.extend(children.map(|(id, _)| *id));
        next += 1;
    }
    found.remove(0);
    Ok(found)
}

/// A line of `/proc/PID/stat`, as far as it is needed.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    /// In the program and in the kernel, in ticks.
    times: [u64; 2],
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The program's name may hold anything, a parenthesis too.
        let (_, rest) = line.rsplit_once(')')?;
        let mut fields = rest.split_whitespace().skip(1);
        let parent = fields.next()?.parse().ok()?;
        let mut fields = fields.skip(9);
        let mut time = || fields.next()?.parse().ok();
        Some(Self {
            parent,
            times: [time()?, time()?],
        })
    }

    fn cpu(&self, ticks_per_second: u64) -> Duration {
        let ticks: u64 = self.times.iter().sum();
        Duration::from_nanos(ticks * (1_000_000_000 / ticks_per_second.max(1)))
    }
}

/// The CPU time of the thread that asks.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Bytes that the kernel has for TCP, for all sockets of this machine.
///
/// # Errors
/// As reading `/proc` has them.
pub fn tcp_memory() -> io::Result<u64> {
    let sockets = fs::read_to_string("/proc/net/sockstat")?;
    let tcp = sockets.lines().find(|line| line.starts_with("TCP:"));
    Ok(number_after(tcp.unwrap_or_default(), " mem ") * page_size() as u64)
}

/// Lets this process, and what it starts, have as many file descriptors as the system allows.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where it may not, it is left as it is.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn kib_after(text: &str, mark: &str) -> u64 {
    number_after(text, mark) * 1024
}

/// The number that stands after `mark`; 0 where there is none.
fn number_after(text: &str, mark: &str) -> u64 {
    let rest = text.split_once(mark).map_or("", |(_, rest)| rest).trim();
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn times_are_read_whatever_a_program_is_called() {
        let line = "41 (a) S b) S 7 41 41 0 -1 4194560 900 0 1 0 250 50 3 4 20 0 2 0 100 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.times), (7, [250, 50]));
        assert_eq!(stat.cpu(100), Duration::from_secs(3));
        assert_eq!(Stat::parse("41 (a) S 7"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn numbers_are_read_where_they_stand() {
        let status = "VmHWM:\t   9 kB\nVmRSS:\t   36012 kB\nRssAnon: 1 kB\n";
        assert_eq!(kib_after(status, "VmRSS:"), 36_012 << 10);
        let sockets = "TCP: inuse 6 orphan 0 tw 2 alloc 8 mem 3";
        assert_eq!(number_after(sockets, " mem "), 3);
        assert_eq!(number_after("", "VmRSS:"), 0);
    }

    #[test]
    fn what_a_process_has_started_counts_for_it() {
        // It says when its child runs, and both end with the pipe that they read.
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "exec 3<&0; (echo child; read end <&3) & read end; wait",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut out = std::io::BufReader::new(shell.stdout.take().unwrap());
        while !said.contains("child") {
            assert!(std::io::BufRead::read_line(&mut out, &mut said).unwrap() > 0);
        }
        assert_eq!(descendants(shell.id()).unwrap().len(), 1);
        let both = Usage::of(shell.id()).unwrap();
        let alone = Usage::of_one(shell.id()).unwrap();
        assert!(
            both.resident > alone.resident && alone.anonymous > 0,
            "{both:?}"
        );
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[test]
    fn threads_time_grows_with_what_it_does() {
        let began = own_cpu();
        let mut number = 1_u64;
        while own_cpu() == began {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(own_cpu() > began);
    }
}
