//! What a process has of memory, and the kernel for all TCP of the machine.

use std::fmt;
use std::io;

/// At one moment, in KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Resident, of the process; 0 where none is looked at.
    resident: u64,
    /// Of the kernel, for TCP: all sockets of this machine, the slow clients' own included.
    tcp: u64,
}

impl Memory {
    pub(super) fn of(process: Option<u32>) -> io::Result<Self> {
        let resident = match process {
            Some(id) => {
                let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
                number_after(&status, "VmRSS:")
            }
            None => 0,
        };
        let sockets = std::fs::read_to_string("/proc/net/sockstat")?;
        let tcp = sockets.lines().find(|line| line.starts_with("TCP:"));
        // In pages, which are of 4 KiB wherever this runs.
        let tcp = number_after(tcp.unwrap_or_default(), " mem ") * 4;
        Ok(Self { resident, tcp })
    }

    /// How much more this is than `before`, for each of `count`.
    pub(super) fn more_than(&self, before: &Self, count: usize) -> String {
        let each = |now: u64, then: u64| {
            let bytes = now.saturating_sub(then) * 1024;
            bytes / (count.max(1) as u64)
        };
        let (process, tcp) = (
            each(self.resident, before.resident),
            each(self.tcp, before.tcp),
        );
        format!("{process} bytes of the process, {tcp} of the kernel's for TCP")
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [resident, tcp] = [self.resident, self.tcp].map(|kib| kib / 1024);
        write!(
            f,
            "{resident} MiB resident, {tcp} MiB of the kernel's for TCP"
        )
    }
}

fn number_after(text: &str, mark: &str) -> u64 {
    let rest = text.split_once(mark).map_or("", |(_, rest)| rest).trim();
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_where_they_stand() {
        let status = "VmHWM:\t   9 kB\nVmRSS:\t   36012 kB\nRssAnon: 1 kB\n";
        assert_eq!(number_after(status, "VmRSS:"), 36012);
        let sockets = "TCP: inuse 6 orphan 0 tw 2 alloc 8 mem 3";
        assert_eq!(number_after(sockets, " mem "), 3);
        assert_eq!(number_after("", "VmRSS:"), 0);
    }

    #[test]
    fn what_each_one_takes_is_told_in_bytes() {
        let memory = |resident, tcp| Memory { resident, tcp };
        let told = memory(300, 40).more_than(&memory(100, 60), 100);
        assert_eq!(told, "2048 bytes of the process, 0 of the kernel's for TCP");
    }
}
