//! What all servers of an origin share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use super::auth::{Auth, Guard};
use super::cdn::{Blobs, Signer};
use super::quirks::Quirks;
use super::quota::{Ledger, Quota};
use super::record::Log;
use super::repository::Repository;
use super::script::Table;

/// What the builder decided.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) auth: Auth,
    pub(crate) blobs: Blobs,
    pub(crate) quirks: Quirks,
    pub(crate) referrers: bool,
}

impl Settings {
    pub(crate) fn token_path(&self) -> &'static str {
        match &self.auth {
            Auth::Token(auth) => auth.path,
            Auth::Open | Auth::Basic => "/token",
        }
    }
}

/// Where clients reach the servers, as `host:port`.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    pub(crate) registry: String,
    pub(crate) token: String,
    pub(crate) cdn: String,
}

/// Everything that a request may need.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) hosts: Hosts,
    pub(crate) guard: Guard,
    pub(crate) signer: Signer,
    pub(crate) ledger: Ledger,
    pub(crate) quota: Mutex<Option<Quota>>,
    pub(crate) faults: Arc<Table>,
    pub(crate) log: Arc<Log>,
    repositories: RwLock<HashMap<String, Arc<Repository>>>,
    /// Held while a repository is changed, which can take a while; readers of
    /// `repositories` never wait for that.
    edits: Mutex<()>,
}

impl State {
    pub(crate) fn new(
        settings: Settings,
        hosts: Hosts,
        users: HashMap<String, String>,
        quota: Option<Quota>,
        repositories: HashMap<String, Arc<Repository>>,
    ) -> Self {
        Self {
            settings,
            hosts,
            guard: Guard::new(users),
            signer: Signer::new(),
            ledger: Ledger::default(),
            quota: Mutex::new(quota),
            faults: Arc::default(),
            log: Arc::default(),
            repositories: RwLock::new(repositories),
            edits: Mutex::new(()),
        }
    }

    /// A repository as it is now.
    pub(crate) fn repository(&self, name: &str) -> Option<Arc<Repository>> {
        let repositories = self
            .repositories
            .read()
            .expect("nobody panics with the lock");
        repositories
            .get(self.settings.quirks.own_name(name))
            .cloned()
    }

    /// Changes a repository, which is made if there is none. Requests see it
    /// before or after the change, not in between.
    pub(crate) fn edit<R>(&self, name: &str, change: impl FnOnce(&mut Repository) -> R) -> R {
        let _edits = self
            .edits
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut repository = self
            .repository(name)
            .map_or_else(|| Repository::new(name), |known| (*known).clone());
        let result = change(&mut repository);
        let mut repositories = self
            .repositories
            .write()
            .expect("nobody panics with the lock");
        repositories.insert(name.to_owned(), Arc::new(repository));
        result
    }

    pub(crate) fn quota(&self) -> Option<Quota> {
        self.quota
            .lock()
            .expect("nobody panics with the lock")
            .clone()
    }

    pub(crate) fn token_url(&self) -> String {
        format!("http://{}{}", self.hosts.token, self.settings.token_path())
    }

    pub(crate) fn cdn_url(&self) -> String {
        format!("http://{}", self.hosts.cdn)
    }
}
