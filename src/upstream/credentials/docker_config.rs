//! The logins of docker and podman: a `config.json` or `auth.json`, and the helpers that it names.
//!
//! What counts, first things first: the registry's own helper, an entry for a path below the registry (podman's, which asks
//! in this order), the helper for all, an entry for the registry. A registry without any is read without a login.

mod file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::files::{LOOK_AGAIN, Watched};
use super::helper::Helper;
use super::{Issued, Issuing, Login, LoginError, Source};
use crate::config;
use crate::oci::RepositoryName;
use crate::sync::lock;
use crate::upstream::address::Origin;
use file::{File, Place};

/// The files that are configured, as they were at the start. Members of a family come into being while requests are waiting,
/// and a disk that hangs would hold up their thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoginFiles(Arc<HashMap<PathBuf, Arc<File>>>);

impl LoginFiles {
    /// Reads them. One that can't be read is complained of when a login is asked for.
    pub(crate) fn read<'a>(all: impl Iterator<Item = &'a config::Credentials>) -> LoginFiles {
        let read = all.filter_map(|credentials| match credentials {
            config::Credentials::DockerConfig(settings) => {
                let file = File::read(&settings.path).unwrap_or_default();
                Some((settings.path.clone(), Arc::new(file)))
            }
            _ => None,
        });
        LoginFiles(Arc::new(read.collect()))
    }

    fn get(&self, path: &Path) -> Arc<File> {
        self.0.get(path).cloned().unwrap_or_default()
    }
}

/// A file of logins.
#[derive(Debug)]
pub(super) struct DockerConfig {
    settings: config::DockerConfig,
    watched: Watched,
    /// As it was when it was last read.
    file: Mutex<Arc<File>>,
}

impl DockerConfig {
    pub(super) fn new(settings: config::DockerConfig, files: &LoginFiles) -> DockerConfig {
        let file = files.get(&settings.path);
        DockerConfig {
            watched: Watched::new(settings.path.clone()),
            settings,
            file: Mutex::new(file),
        }
    }

    fn file(&self) -> Arc<File> {
        lock(&self.file).clone()
    }

    /// Reads the file again, since people log in while the mirror runs.
    async fn read_again(&self) -> Result<Arc<File>, LoginError> {
        let file = Arc::new(self.watched.read(File::read).await?);
        *lock(&self.file) = file.clone();
        Ok(file)
    }

    async fn look_up(&self, place: &Place) -> Result<Login, LoginError> {
        let file = self.read_again().await?;
        if !place.is_whole_registry()
            && let Some(login) = file.login(place)?
        {
            return Ok(login);
        }
        let registry = place.registry();
        if let Some(name) = file.helper(&registry) {
            let helper = Helper::new(name, self.settings.helper_timeout);
            if let Some(login) = helper.get(&registry.server()).await? {
                return Ok(login);
            }
        }
        Ok(file.login(&registry)?.unwrap_or(Login::Anonymous))
    }
}

impl Source for DockerConfig {
    fn account(&self, registry: &Origin, name: Option<&RepositoryName>) -> String {
        let registry = Place::registry_at(&registry.authority());
        match name {
            Some(name) => self.file().most_specific(&registry, name).to_string(),
            None => registry.to_string(),
        }
    }

    fn issue<'a>(&'a self, _: &'a Origin, account: &'a str) -> Issuing<'a> {
        Box::pin(async move {
            let login = self.look_up(&Place::of_key(account)).await?;
            Ok(Issued::looked_up(login, LOOK_AGAIN))
        })
    }
}

#[cfg(test)]
mod tests;
