//! What a process has of memory, and the kernel for all TCP of the machine.

use std::fmt;
use std::io;

use forebay_loadtest::measure::{Usage, tcp_memory};

/// At one moment, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Resident, of the process; 0 where none is looked at.
    resident: u64,
    /// Of the kernel, for TCP: all sockets of this machine, the slow clients' own included.
    tcp: u64,
}

impl Memory {
    pub(super) fn of(process: Option<u32>) -> io::Result<Self> {
        let usage = process.map(Usage::of).transpose()?;
        Ok(Self {
            resident: usage.unwrap_or_default().resident,
            tcp: tcp_memory()?,
        })
    }

    /// How much more this is than `before`, for each of `count`.
    pub(super) fn more_than(&self, before: &Self, count: usize) -> String {
        let each = |now: u64, then: u64| now.saturating_sub(then) / (count.max(1) as u64);
        let (process, tcp) = (
            each(self.resident, before.resident),
            each(self.tcp, before.tcp),
        );
        format!("{process} bytes of the process, {tcp} of the kernel's for TCP")
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [resident, tcp] = [self.resident, self.tcp].map(|bytes| bytes >> 20);
        write!(
            f,
            "{resident} MiB resident, {tcp} MiB of the kernel's for TCP"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_one_takes_is_told_in_bytes() {
        let memory = |resident, tcp| Memory { resident, tcp };
        let told = memory(300 << 10, 40 << 10).more_than(&memory(100 << 10, 60 << 10), 100);
        assert_eq!(told, "2048 bytes of the process, 0 of the kernel's for TCP");
    }
}
