//! A peer's process: started on one processor, stopped by its id.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
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

/// A peer that runs. Dropping it stops it, and takes away what it has kept.
#[derive(Debug)]
pub struct Running {
    peer: Peer,
    child: Child,
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
        let mut command = Command::new(program);
        command
            .args(peer.arguments(&config, &place))
            // What is set in the environment may configure it as well.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &place.dir)
            .envs(peer.environment(setting))
            .stdin(Stdio::null())
            .stdout(File::create(place.dir.join("out.log"))?)
            .stderr(File::create(place.dir.join("err.log"))?);
        let child = pin(core, || command.spawn())??;
        let mut running = Self {
            peer,
            child,
            place,
            _port: port,
            _dir: dir,
        };
        running.listens()?;
        Ok(running)
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

    /// Asks it to end and waits until it has.
    fn stop(&mut self) -> io::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            kill_process(id, Signal::TERM)?;
        }
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                self.child.kill()?;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
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
