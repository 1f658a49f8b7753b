//! Whole configurations: what loads, what is said of those that do not, and that the template is
//! complete.

mod access;
mod builds;
#[cfg(all(feature = "azure", feature = "gcp"))]
mod clouds;
mod exposed;
mod files;
mod mistakes;
mod secrets;
mod sources;
mod template;
mod tls;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::Upstream;

fn load_text(text: &str) -> Result<Config, ConfigErrors> {
    load_with(text, &[])
}

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    Config::load(Sources {
        file: Some(file),
        environment: variables(environment),
        ..sources()
    })
}

fn sources() -> Sources {
    Sources {
        user_cache: Some("/home/me/.cache".into()),
        user_logins: None,
        ..Sources::default()
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

/// The errors without the directory of the file.
fn errors(loaded: Result<Config, ConfigErrors>) -> Vec<String> {
    let short = |error: &ConfigError| {
        let text = error.to_string();
        text.find("f.toml:")
            .map_or(text.clone(), |at| text[at..].to_owned())
    };
    loaded.unwrap_err().iter().map(short).collect()
}

fn upstream<'a>(config: &'a Config, name: &str) -> &'a Upstream {
    config
        .upstreams
        .iter()
        .find(|upstream| upstream.registry.to_string() == name)
        .unwrap()
}
