//! Loads the configuration: the embedded default, the user's file over it, then the environment,
//! then the command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::env::{PREFIX, merge_environment};
use super::error::{ConfigError, ConfigErrors};
use super::exposed::exposed;
use super::merge::{canonical_upstreams, merge};
use super::read;
use super::section::{Report, Section};
use super::tree::{Node, Origin, Source, Table, Value, parse};
use super::types::Config;
use super::values;

/// The embedded default, which is the template for a user's file too.
pub const DEFAULT: &str = include_str!("../../config/default.toml");

/// What the configuration is made of, besides the embedded default.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The user's file, if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables; those without our prefix are passed over.
    pub environment: Vec<(String, OsString)>,
    /// What the command line says.
    pub overrides: Overrides,
    /// Where the user's caches are, for when `cache.dir` is not set.
    pub user_cache: Option<PathBuf>,
    /// Where docker or podman keep the user's logins.
    pub user_logins: Option<PathBuf>,
}

/// What the command line can override.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`, if given.
    pub listen: Vec<SocketAddr>,
    /// `--cache-dir`.
    pub cache_dir: Option<PathBuf>,
}

impl Sources {
    /// This process's environment, with a file and what the command line says.
    pub fn of_process(file: Option<PathBuf>, overrides: Overrides) -> Self {
        let environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Self {
            file,
            environment,
            overrides,
            user_cache: user_cache(),
            user_logins: user_logins(),
        }
    }
}

/// `$XDG_CACHE_HOME`, or `~/.cache`. A process without `HOME` is a service, and what the user
/// database calls its home is no place for a cache that nobody chose.
fn user_cache() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    etcetera::choose_base_strategy()
        .ok()
        .map(|base| base.cache_dir())
}

/// `$REGISTRY_AUTH_FILE` as podman has it, `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`.
fn user_logins() -> Option<PathBuf> {
    let of = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    of("REGISTRY_AUTH_FILE")
        .map(PathBuf::from)
        .or_else(|| of("DOCKER_CONFIG").map(|dir| Path::new(&dir).join("config.json")))
        .or_else(|| of("HOME").map(|home| Path::new(&home).join(".docker/config.json")))
}

impl Config {
    /// Loads and validates; the error has everything that is wrong.
    pub fn load(sources: Sources) -> Result<Self, ConfigErrors> {
        let Sources {
            file,
            environment,
            overrides,
            user_cache,
            user_logins,
        } = sources;
        let file = file
            .map(|path| read_file(&path))
            .transpose()
            .map_err(ConfigErrors::from)?;
        let mut errors = Vec::new();
        let mut table = files(file, &mut errors).map_err(ConfigErrors::from)?;
        merge_environment(&mut table, environment, &mut errors);
        merge(&mut table, flags(overrides), &mut errors);
        finish(&table, errors, user_cache, user_logins.as_deref())
    }

    /// The embedded default with `text` over it, as if it were a file; no environment. For tests and
    /// tools.
    pub fn from_toml(text: &str) -> Result<Self, ConfigErrors> {
        let file = (
            Source::File(Path::new("forebay.toml").into()),
            text.to_owned(),
        );
        let mut errors = Vec::new();
        let table = files(Some(file), &mut errors).map_err(ConfigErrors::from)?;
        finish(&table, errors, user_cache(), user_logins().as_deref())
    }
}

fn read_file(path: &Path) -> Result<(Source, String), ConfigError> {
    let source = Source::File(path.into());
    match values::read_text(path) {
        Ok(text) => Ok((source, text)),
        Err(message) => Err(ConfigError::new(
            Origin::new(source),
            String::new(),
            message,
        )),
    }
}

/// The default and what lies over it.
fn files(
    file: Option<(Source, String)>,
    errors: &mut Vec<ConfigError>,
) -> Result<Table, ConfigError> {
    let mut table = parse(DEFAULT, &Source::Default)?;
    if let Some((source, text)) = file {
        let mut over = parse(&text, &source)?;
        canonical_upstreams(&mut over, errors);
        merge(&mut table, over, errors);
    }
    Ok(table)
}

fn flags(overrides: Overrides) -> Table {
    let mut table = Table::new();
    if !overrides.listen.is_empty() {
        let source = Source::Flag("--listen");
        let address = |address: SocketAddr| Node::text(address.to_string(), source.clone());
        let list = Value::List(overrides.listen.into_iter().map(address).collect());
        let node = Node {
            value: list,
            origin: Origin::new(source.clone()),
        };
        table.insert("server".into(), node.nested(&["listen".into()]));
    }
    if let Some(dir) = overrides.cache_dir {
        let node = Node::text(
            dir.to_string_lossy().into_owned(),
            Source::Flag("--cache-dir"),
        );
        table.insert("cache".into(), node.nested(&["dir".into()]));
    }
    table
}

fn finish(
    table: &Table,
    errors: Vec<ConfigError>,
    user_cache: Option<PathBuf>,
    user_logins: Option<&Path>,
) -> Result<Config, ConfigErrors> {
    let report = Report::new(errors);
    let config = read::config(&Section::root(table, &report), user_cache, user_logins);
    let errors = report.into_errors();
    match config {
        Ok(mut config) if errors.is_empty() => {
            config.exposed = exposed(table);
            Ok(config)
        }
        _ => Err(ConfigErrors::new(errors)),
    }
}

#[cfg(test)]
mod tests;
