//! `forebay check`

use std::io::{self, ErrorKind, Write};

use clap::Args;

use super::Exit;
use super::options::Options;
use crate::config::render;

/// Prints the configuration that applies, secrets left out.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    options: Options,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        let config = match self.options.load() {
            Ok(config) => config,
            Err(exit) => return exit,
        };
        match io::stdout().lock().write_all(render(&config).as_bytes()) {
            Ok(()) => Exit::Success,
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Success,
            Err(error) => {
                eprintln!("error: the configuration cannot be printed: {error}");
                Exit::Failure
            }
        }
    }
}
