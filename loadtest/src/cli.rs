//! The command line: one file a command.

mod bars;
mod compare;
mod demo;
mod fleet;
mod greedy;
mod interrupts;
mod modest;
mod origin;
mod run;
mod slow;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use forebay_loadtest::units;

/// Upstream and load for container registry mirrors.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compare(compare::Args),
    Demo(demo::Args),
    Fleet(fleet::Args),
    Greedy(greedy::Args),
    Origin(Box<origin::Args>),
    Run(Box<run::Args>),
    Slow(slow::Args),
}

impl Cli {
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Runtime::new();
        let result = runtime.and_then(|runtime| match self.command {
            Command::Compare(args) => args.run(runtime.handle()),
            Command::Demo(args) => runtime.block_on(args.run()),
            Command::Fleet(args) => runtime.block_on(args.run()),
            Command::Greedy(args) => runtime.block_on(args.run()),
            Command::Origin(args) => runtime.block_on(args.run()),
            Command::Run(args) => args.run(&runtime),
            Command::Slow(args) => runtime.block_on(args.run()),
        });
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("forebay-loadtest: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
