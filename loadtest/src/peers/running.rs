//! A peer's process: started on one processor, stopped by its id.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::{Peer, Place, Setting};
use crate::measure::{Usage, pin};

/// How long a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether something has happened.
const PAUSE: Duration = Duration::from_millis(20);
/// Who takes no CPU time for so long has nothing to do.
const QUIET: Duration = Duration::from_millis(400);

/// Taken for as long as a process is being started, and for good by who ends them all.
static STARTS: Mutex<()> = Mutex::new(());

/// Keeps peers from being started for as long as this lives: whoever ends all of them would miss one that is started meanwhile.
pub fn no_more_starts() -> MutexGuard<'static, ()> {
    STARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How its process is started, again and again.
#[derive(Debug)]
struct Start {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Option<(&'static str, PathBuf)>,
    core: usize,
}

impl Start {
    fn child(&self, dir: &Path) -> io::Result<Child> {
        let log = |name| {
            let path = dir.join(name);
            OpenOptions::new().create(true).append(true).open(path)
        };
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            // What is set in the environment may configure it as well.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir)
            .envs(self.environment.clone())
            .stdin(Stdio::null())
            .stdout(log("out.log")?)
            .stderr(log("err.log")?)
            // Whatever it starts is ended with it.
            .process_group(0);
        let _ends_later = no_more_starts();
        pin(self.core, || command.spawn())?
    }
}

/// How a process is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is told to stop.
    Stopped,
    /// It is killed.
    Killed,
}

/// A peer that runs. Dropping it stops it, and takes away what it has kept.
#[derive(Debug)]
pub struct Running {
    peer: Peer,
    child: Child,
    start: Start,
    place: Place,
    /// Its own as long as it runs: a port that is bound goes to nobody else.
    _port: TcpSocket,
    _dir: TempDir,
}

impl Running {
    /// Starts it in a new directory below `dir`, on a processor of its own, and waits until it listens.
    ///
    /// # Errors
    /// Where it does not, with what it says.
    pub fn start(
        peer: Peer,
        program: &Path,
        setting: &Setting,
        core: usize,
        dir: &Path,
    ) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(peer.name())
            .tempdir_in(dir)?;
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let place = Place {
            dir: dir.path().to_owned(),
            address: port.local_addr()?,
        };
        fs::create_dir(place.cache())?;
        let config = place.dir.join("config");
        fs::write(&config, peer.config(setting, &place))?;
        let start = Start {
            program: program.to_owned(),
            arguments: peer.arguments(&config, &place),
            environment: peer.environment(setting),
            core,
        };
        let mut running = Self {
            peer,
            child: start.child(&place.dir)?,
            start,
            place,
            _port: port,
            _dir: dir,
        };
        running.listens()?;
        Ok(running)
    }

    /// Ends it, and starts it again where it was, with the cache that it had. Blocks until it listens.
    ///
    /// # Errors
    /// Where it does not end, or not start.
    pub fn again(&mut self, end: End) -> io::Result<()> {
        match end {
            End::Stopped => self.stop()?,
            End::Killed => self.kill()?,
        }
        self.child = self.start.child(&self.place.dir)?;
        self.listens()
    }

    fn listens(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.place.address).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                let said = self.said();
                let peer = self.peer;
                return Err(io::Error::other(format!("{peer} does not start: {said}")));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The end of what it has written to its logs.
    fn said(&self) -> String {
        let logs = ["out.log", "err.log", "error.log"];
        let texts = logs.map(|log| fs::read(self.place.dir.join(log)).unwrap_or_default());
        let text = texts.concat();
        let end = &text[text.len().saturating_sub(2_000)..];
        String::from_utf8_lossy(end).into_owned()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.place.address
    }

    /// Its process; those that it has started are its children.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps what it has fetched.
    pub fn cache(&self) -> PathBuf {
        self.place.cache()
    }

    /// What it has taken so far.
    ///
    /// # Errors
    /// Where it runs no more.
    pub fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.child.id())
    }

    /// Waits until it has nothing more to do, such as writing to the disk what it has served.
    ///
    /// # Errors
    /// Where it runs no more, or is busy all the time.
    pub fn settle(&self) -> io::Result<()> {
        let began = Instant::now();
        let mut cpu = self.usage()?.cpu;
        let mut since = Instant::now();
        while since.elapsed() < QUIET {
            std::thread::sleep(PAUSE);
            let now = self.usage()?.cpu;
            // A step of the clock is what timers take that do nothing.
            if now > cpu + Duration::from_millis(10) {
                (cpu, since) = (now, Instant::now());
            }
            if began.elapsed() > 2 * PATIENCE {
                let peer = self.peer;
                return Err(io::Error::other(format!("{peer} is busy without requests")));
            }
        }
        Ok(())
    }

    /// Asks it to end and waits until it has; what it has started is its own to end.
    fn stop(&mut self) -> io::Result<()> {
        kill_process(self.group(), Signal::TERM)?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                return self.kill();
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Kills it with what it has started, which would keep its port, and waits until nothing of it is left.
    fn kill(&mut self) -> io::Result<()> {
        let group = self.group();
        // Before it is waited for: until then its id is nobody else's.
        kill_process_group(group, Signal::KILL)?;
        self.child.wait()?;
        let began = Instant::now();
        while test_kill_process_group(group).is_ok() && began.elapsed() < PATIENCE {
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Its process, which leads a group of its own.
    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended by itself, perhaps.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cores;

    #[test]
    fn peer_that_ends_instead_of_listening_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let setting = Setting::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        let core = Cores::first().unwrap().server;
        let program = Path::new("/bin/false");
        let started = Running::start(Peer::Nginx, program, &setting, core, dir.path());
        let error = started.unwrap_err().to_string();
        assert!(error.contains("nginx does not start"), "{error}");
        assert!(
            dir.path().read_dir().unwrap().next().is_none(),
            "something is left"
        );
    }
}
