//! The flags of every command that reads the configuration.

use std::convert::Infallible;
use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::Exit;
use crate::config::{Config, ConfigErrors, Overrides, Sources, parse_address};

/// Names the configuration file where no flag does.
const CONFIG_FILE: &str = "FOREBAY_CONFIG";

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[arg(
        long,
        value_name = "FILE",
        help = "Configuration file, in TOML, laid over the built-in default [env: FOREBAY_CONFIG]"
    )]
    config: Option<PathBuf>,

    /// Address to listen on for clients, such as 0.0.0.0:5000; may be given more than once
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    listen: Vec<SocketAddr>,

    /// Directory of the cache
    #[arg(long, value_name = "DIR", value_parser = path)]
    cache_dir: Option<PathBuf>,
}

/// A path in UTF-8, as in the file.
#[expect(clippy::unnecessary_wraps, reason = "clap's parsers can fail")]
fn path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(text.into())
}

impl Options {
    /// Everything that the configuration is made of.
    pub(super) fn sources(self) -> Sources {
        let overrides = Overrides {
            listen: self.listen,
            cache_dir: self.cache_dir,
        };
        sources(self.config, overrides)
    }

    /// Loads the configuration; says on stderr what is wrong with it.
    pub(super) fn load(self) -> Result<Config, Exit> {
        Config::load(self.sources()).map_err(|errors| report(&errors))
    }
}

/// What the configuration is made of, where a flag may name its file.
pub(super) fn sources(file: Option<PathBuf>, overrides: Overrides) -> Sources {
    let variable = || {
        env::var_os(CONFIG_FILE)
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
    };
    Sources::of_process(file.or_else(variable), overrides)
}

/// Says on stderr what is wrong with the configuration.
pub(super) fn report(errors: &ConfigErrors) -> Exit {
    for error in errors.iter() {
        eprintln!("error: {error}");
    }
    Exit::BadConfig
}
