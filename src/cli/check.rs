//! `forebay check`

mod online;
mod print;
mod target;

use std::io::{self, Write};

use clap::Args;

use super::options::Options;
use super::{Exit, ended};
use crate::app;
use crate::config::{Config, render};

/// Prints the configuration that applies, secrets left out; or, with --online, whether its upstreams can be pulled from.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    options: Options,

    /// Go to each upstream as a pull does: resolve, connect, log in; say what is wrong and what to change
    #[arg(long)]
    online: bool,

    /// Print what --online finds as JSON
    #[arg(long, requires = "online")]
    json: bool,

    #[arg(
        value_name = "REGISTRY|IMAGE",
        requires = "online",
        help = "What --online looks at, such as ghcr.io, a registry of a family, or docker.io/library/alpine:3.20, which is \
                asked for by HEAD and costs no quota; not given: every upstream that is one registry"
    )]
    targets: Vec<String>,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        let config = match self.options.load() {
            Ok(config) => config,
            Err(exit) => return exit,
        };
        for warning in config.warnings() {
            eprintln!("warning: {warning}");
        }
        match app::look(&config) {
            Ok(warnings) => {
                for warning in warnings {
                    eprintln!("warning: {warning}");
                }
            }
            Err(error) => {
                eprintln!("error: {error}");
                return Exit::BadConfig;
            }
        }
        if self.online {
            online::run(&config, &self.targets, self.json)
        } else {
            show(&config)
        }
    }
}

fn show(config: &Config) -> Exit {
    ended(
        io::stdout()
            .lock()
            .write_all(render(config).as_bytes())
            .map(|()| Exit::Success),
    )
}
