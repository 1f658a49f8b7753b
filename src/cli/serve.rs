//! `forebay serve`

use clap::Args;

use super::Exit;
use super::options::Options;
use crate::app;

/// Runs the mirror until it is told to stop.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) options: Options,
}

impl Serve {
    pub(super) fn run(self) -> Exit {
        let config = match self.options.load() {
            Ok(config) => config,
            Err(exit) => return exit,
        };
        match app::run(&config) {
            Ok(()) => Exit::Success,
            Err(error) => {
                eprintln!("error: {error}");
                if error.is_bad_config() {
                    Exit::BadConfig
                } else {
                    Exit::Failure
                }
            }
        }
    }
}
