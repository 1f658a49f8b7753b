//! Which processor a thread runs on, and whatever it starts.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// One processor for what is measured, another for all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The server's.
    pub server: usize,
    /// That of its clients and of its origin.
    pub client: usize,
}

impl Cores {
    /// The first two that this process may use. With one alone all share it.
    ///
    /// # Errors
    /// As the kernel has them.
    pub fn first() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let server = cores.next().unwrap_or(0);
        Ok(Self {
            server,
            client: cores.next().unwrap_or(server),
        })
    }

    /// Whether server and clients have to share one.
    pub fn are_shared(self) -> bool {
        self.server == self.client
    }
}

/// Runs something on a thread of its own that has this processor alone, as have all threads and processes that it starts.
///
/// # Errors
/// Where the processor can't be had.
///
/// # Panics
/// Where `work` does.
pub fn pin<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            let mut only = CpuSet::new();
            only.set(core);
            sched_setaffinity(None, &only)?;
            Ok(work())
        });
        match pinned.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn pinned_thread_and_what_it_starts_have_one_processor() {
        let core = Cores::first().unwrap().client;
        let (own, childs) = pin(core, || {
            let own = sched_getaffinity(None).unwrap();
            let status = Command::new("cat").arg("/proc/self/status").output();
            (own, String::from_utf8(status.unwrap().stdout).unwrap())
        })
        .unwrap();
        assert!(own.count() == 1 && own.is_set(core));
        let allowed = format!("Cpus_allowed_list:\t{core}\n");
        assert!(childs.contains(&allowed), "{childs}");
    }

    #[test]
    fn processor_that_is_not_there_is_an_error() {
        assert!(pin(CpuSet::MAX_CPU - 1, || ()).is_err());
    }
}
