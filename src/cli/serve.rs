//! `forebay serve`

use clap::Args;

use super::Exit;
use super::options::Options;

/// Runs the mirror until it is told to stop.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) options: Options,
}

impl Serve {
    pub(super) fn run(self) -> Exit {
        match self.options.load() {
            Ok(_) => {
                eprintln!("error: this build has no server");
                Exit::Failure
            }
            Err(exit) => exit,
        }
    }
}
