//! `forebay serve`

use clap::Args;

use super::Exit;
use super::options::{Options, report};
use crate::app;
use crate::config::Config;

/// Runs the mirror until it is told to stop.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) options: Options,
}

impl Serve {
    pub(super) fn run(self) -> Exit {
        let sources = self.options.sources();
        let config = match Config::load(sources.clone()) {
            Ok(config) => config,
            Err(errors) => return report(&errors),
        };
        match app::run(&config, sources) {
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
