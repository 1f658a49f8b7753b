//! The command line: one file a command. Parses, runs the command, and says how it ended.

mod check;
mod client;
mod marks;
mod options;
mod serve;
mod status;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A pull-through caching mirror for OCI (Docker) registries.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the mirror.
    Serve(serve::Serve),
    /// Print the configuration that applies, or everything that is wrong with it; --online tries its upstreams.
    Check(check::Check),
    /// Show how a running mirror stands: what is wrong, what is left of quotas, what upstreams were saved.
    ///
    /// Ends with 0 if nothing is wrong, 1 if the mirror can't be asked, 3 if it answers and something is wrong.
    Status(status::Status),
    /// Show what points a client at the mirror; --write puts it in place, --undo takes it back.
    Client(client::Client),
}

/// How printing ended, and with it the command.
fn ended(printed: io::Result<Exit>) -> Exit {
    match printed {
        Ok(exit) => exit,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => {
            eprintln!("error: the answer cannot be printed: {error}");
            Exit::Failure
        }
    }
}

/// How a command ended. Most usage errors end in clap already, with 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Success,
    Failure,
    /// What was asked for can't be done, whatever is on the machine.
    Usage,
    /// What was looked at can be seen, and something is wrong with it.
    Wrong,
    /// `EX_CONFIG` of sysexits.h.
    BadConfig,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Failure => Self::FAILURE,
            Exit::Usage => Self::from(2),
            Exit::Wrong => Self::from(3),
            Exit::BadConfig => Self::from(78),
        }
    }
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Status(status) => status.run(),
        Command::Client(client) => client.run(),
    };
    exit.into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_serve_are_parsed() {
        let line =
            "forebay serve --config f.toml --listen 127.0.0.1:0 --listen [::1]:0 --cache-dir /x";
        let Command::Serve(serve) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!()
        };
        let sources = serve.options.sources();
        assert_eq!(sources.file, Some("f.toml".into()));
        assert_eq!(
            sources.overrides.listen,
            ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]
        );
        assert_eq!(sources.overrides.cache_dir, Some("/x".into()));
    }

    #[test]
    fn what_is_not_understood_is_a_usage_error() {
        for (line, kind) in [
            (
                "forebay",
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ),
            ("forebay serf", ErrorKind::InvalidSubcommand),
            (
                "forebay serve --listen localhost",
                ErrorKind::ValueValidation,
            ),
            ("forebay check --colour", ErrorKind::UnknownArgument),
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
        }
    }
}
