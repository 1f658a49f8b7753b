//! `forebay status`
//!
//! ```text
//! $ forebay status
//! forebay 0.1.0 at http://127.0.0.1:5001, serving for 3 h 12 min
//!   FAIL  docker.io  no pull is left of 100 in 6 h, counted for 192.0.2.7, renewed within 2 h 15 min, by 14:10 UTC; 12 requests wait for a pull
//!         change     nobody is logged in there; set `username` and `password_file` under [upstreams."docker.io"] of the mirror's configuration, or wait
//!
//! cache    12.3 GiB of 100 GiB, 3,412 blobs; 17 evicted since the start (1.2 GiB)
//! fills    3 running
//!
//! quota      counted for  left      window  resets                           waiting
//! docker.io  192.0.2.7    0 of 100  6 h     within 2 h 15 min, by 14:10 UTC       12
//!
//! upstream   pulls asked  clients' pulls  received   served  saved  failed  stale    refused
//! docker.io          100          40,000   1.2 GiB  600 GiB   99 %       0  7 quota  3 reported
//! nothing was asked of: ghcr.io, quay.io
//! ```

mod ask;
mod table;
mod text;
mod trust;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::options::{report, sources};
use super::{Exit, ended};
use crate::config::{Config, Overrides};
use crate::status;
use ask::{Admin, Asker};

/// Clears a terminal, and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Shows how a running mirror stands.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[arg(
        long,
        value_name = "URL",
        help = "The mirror's admin listener, such as http://127.0.0.1:5001; not given: `listen` in [admin] of its configuration"
    )]
    admin: Option<Admin>,

    /// Go on showing it, until interrupted
    #[arg(long)]
    watch: bool,

    /// Seconds between two looks of --watch
    #[arg(long, value_name = "SECONDS", default_value_t = 2, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: u64,

    /// Print the document as JSON; with --watch, one in each line
    #[arg(long)]
    json: bool,

    #[arg(
        long,
        value_name = "FILE",
        help = "Configuration file of the mirror [env: FOREBAY_CONFIG]"
    )]
    config: Option<PathBuf>,
}

impl Status {
    pub(super) fn run(self) -> Exit {
        match self.asker() {
            Ok(asker) if self.watch => self.watch(&asker),
            Ok(asker) => self.look(&asker),
            Err(exit) => exit,
        }
    }

    fn asker(&self) -> Result<Asker, Exit> {
        let admin = match &self.admin {
            Some(admin) => admin.clone(),
            None => self.configured()?,
        };
        Asker::new(admin).map_err(failed)
    }

    /// Where the configuration has the listener.
    fn configured(&self) -> Result<Admin, Exit> {
        let overrides = Overrides {
            // No cache is opened here.
            cache_dir: Some("/".into()),
            ..Overrides::default()
        };
        let config = Config::load(sources(self.config.clone(), overrides));
        let config = config.map_err(|errors| report(&errors))?;
        Admin::configured(&config.admin).map_err(failed)
    }

    fn look(&self, asker: &Asker) -> Exit {
        let status = match asker.ask() {
            Ok(status) => status,
            Err(error) => return failed(error),
        };
        let exit = if status.is_wrong() {
            Exit::Wrong
        } else {
            Exit::Success
        };
        ended(self.print(&status, asker).map(|()| exit))
    }

    /// Looks again and again. It begins only where the mirror can be asked; after that, people are told when it can't be, and
    /// programs by the end.
    fn watch(&self, asker: &Asker) -> Exit {
        let mut was_seen = false;
        loop {
            let printed = match asker.ask() {
                Ok(status) => {
                    was_seen = true;
                    self.print(&status, asker)
                }
                Err(error) if !was_seen || self.json => return failed(error),
                Err(error) => self.show(&format!("{error}\n")),
            };
            if printed.is_err() {
                return ended(printed.map(|()| Exit::Success));
            }
            thread::sleep(Duration::from_secs(self.interval));
        }
    }

    fn print(&self, status: &status::Status, asker: &Asker) -> io::Result<()> {
        if !self.json {
            return self.show(&text::of(
                status,
                &asker.to_string(),
                super::marks::Marks::of_stdout(),
            ));
        }
        let mut text = if self.watch {
            serde_json::to_string(status)?
        } else {
            serde_json::to_string_pretty(status)?
        };
        text.push('\n');
        write(&text)
    }

    /// In place of what was shown before, or after it.
    fn show(&self, text: &str) -> io::Result<()> {
        match (self.watch, io::stdout().is_terminal()) {
            (true, true) => write(&format!("{CLEAR}{text}")),
            (true, false) => write(&format!("{text}\n")),
            (false, _) => write(text),
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn failed(error: impl std::fmt::Display) -> Exit {
    eprintln!("error: {error}");
    Exit::Failure
}
