//! What stands in a file of logins, and the ways in which its keys name a registry.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

use crate::config::Secret;
use crate::oci::RepositoryName;
use crate::upstream::credentials::{Login, LoginError};

/// The most that such a file holds.
const MAX_FILE: u64 = 1 << 20;

/// The names of Docker Hub, which has one login under all of them.
const HUB: &str = "docker.io";
const HUB_TOO: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// What docker calls it towards helpers.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// A registry, or a path below one, as a key means it: without scheme and API version, and with one name for Docker Hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(String);

impl Place {
    /// The registry at `host[:port]`.
    pub(super) fn registry_at(authority: &str) -> Place {
        Place::of_key(authority)
    }

    /// What a key names. With a scheme it is a registry, whatever path it has: `https://index.docker.io/v1/`. Without
    /// one, podman names a path below the registry.
    pub(super) fn of_key(key: &str) -> Place {
        let (has_scheme, rest) = match key.split_once("://") {
            Some((_, rest)) => (true, rest),
            None => (false, key),
        };
        let rest = rest.trim_end_matches('/');
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.to_ascii_lowercase();
        let host = if HUB_TOO.contains(&host.as_str()) {
            HUB.to_owned()
        } else {
            host
        };
        if path.is_empty() || has_scheme || matches!(path, "v1" | "v2") {
            Place(host)
        } else {
            Place(format!("{host}/{path}"))
        }
    }

    /// The registry that it is in.
    pub(super) fn registry(&self) -> Place {
        let host = self.0.split('/').next().unwrap_or_default();
        Place(host.to_owned())
    }

    pub(super) fn is_whole_registry(&self) -> bool {
        !self.0.contains('/')
    }

    /// What helpers know the registry as.
    pub(super) fn server(&self) -> String {
        if self.0 == HUB {
            HUB_SERVER.to_owned()
        } else {
            self.0.clone()
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file, its keys read.
#[derive(Debug, Default)]
pub(super) struct File {
    logins: BTreeMap<Place, Entry>,
    /// An empty name keeps the helper for all away.
    helpers: BTreeMap<Place, String>,
    store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Written {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
    creds_store: Option<String>,
}

/// An entry of `auths`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `user:password` in base64.
    #[serde(deserialize_with = "or_null")]
    auth: String,
    #[serde(deserialize_with = "or_null")]
    username: String,
    #[serde(deserialize_with = "or_null")]
    password: String,
    #[serde(deserialize_with = "or_null")]
    identitytoken: String,
    #[serde(deserialize_with = "or_null")]
    registrytoken: String,
}

/// A null is as good as nothing, as in docker and podman.
fn or_null<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(text)?.unwrap_or_default())
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Secret::REDACTED)
    }
}

impl Entry {
    /// docker leaves entries without a login where a helper has it.
    fn is_empty(&self) -> bool {
        let Entry {
            auth,
            username,
            password,
            identitytoken,
            registrytoken,
        } = self;
        [auth, username, password, identitytoken, registrytoken]
            .iter()
            .all(|text| text.is_empty())
    }

    /// The login, or what is wrong with the entry.
    fn login(&self) -> Result<Login, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Login::IdentityToken(Secret::new(
                self.identitytoken.as_str(),
            )));
        }
        if self.auth.is_empty() && self.username.is_empty() {
            return Err(if self.registrytoken.is_empty() {
                "has no login that can be used"
            } else {
                "is a `registrytoken`, which the mirror can't use: log in with a user name, or an identity token"
            });
        }
        if self.auth.is_empty() {
            return Ok(Login::Password {
                username: self.username.clone(),
                password: Secret::new(self.password.as_str()),
            });
        }
        let pair = STANDARD
            .decode(self.auth.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or("has an `auth` that is not base64")?;
        let (username, password) = pair
            .split_once(':')
            .ok_or("has an `auth` without a colon")?;
        Ok(Login::Password {
            username: username.to_owned(),
            // Old versions of docker fill it up.
            password: Secret::new(password.trim_end_matches('\0')),
        })
    }
}

impl File {
    /// Reads it. Nothing of it stands in an error.
    pub(super) fn read(path: &Path) -> Result<File, String> {
        let problem = |what: &str| format!("{} {what}", path.display());
        let size = std::fs::metadata(path)
            .map_err(|error| problem(&format!("can't be read: {error}")))?
            .len();
        if size > MAX_FILE {
            return Err(problem("is too large for a file of logins"));
        }
        let bytes =
            std::fs::read(path).map_err(|error| problem(&format!("can't be read: {error}")))?;
        File::parse(&bytes).map_err(|what| problem(&what))
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<File, String> {
        let written: Written = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("is no docker config.json (line {line}, column {column})")
        })?;
        let mut file = File {
            store: written.creds_store.filter(|name| !name.is_empty()),
            ..File::default()
        };
        for (key, helper) in written.cred_helpers.into_iter().flatten() {
            let helper = helper.unwrap_or_default();
            file.helpers.insert(Place::of_key(&key), helper);
        }
        // A key without scheme is the newer way to write it, and counts for more.
        let (old, new): (Vec<_>, Vec<_>) = written
            .auths
            .into_iter()
            .flatten()
            .filter_map(|(key, entry)| Some((key, entry?)))
            .filter(|(_, entry)| !entry.is_empty())
            .partition(|(key, _)| key.contains("://"));
        for (key, entry) in old.into_iter().chain(new) {
            file.logins.insert(Place::of_key(&key), entry);
        }
        Ok(file)
    }

    /// The longest place of a login that a repository is in, or else its registry, which may have a helper of its own for
    /// all that is in it.
    pub(super) fn most_specific(&self, registry: &Place, name: &RepositoryName) -> Place {
        if self
            .helpers
            .get(registry)
            .is_some_and(|own| !own.is_empty())
        {
            return registry.clone();
        }
        let mut below = format!("{registry}/{name}");
        while below.len() > registry.0.len() {
            let place = Place(below);
            if self.logins.contains_key(&place) {
                return place;
            }
            below = place.0;
            below.truncate(below.rfind('/').unwrap_or(0));
        }
        registry.clone()
    }

    /// The helper that knows a registry's login.
    pub(super) fn helper(&self, registry: &Place) -> Option<&str> {
        let own = self.helpers.get(registry);
        let helper = own.or(self.store.as_ref()).map(String::as_str);
        helper.filter(|name| !name.is_empty())
    }

    /// The login that stands in the file itself for a place.
    pub(super) fn login(&self, place: &Place) -> Result<Option<Login>, LoginError> {
        let entry = self.logins.get(place).map(Entry::login).transpose();
        entry.map_err(|what| LoginError::Broken(format!("docker's login for {place} {what}")))
    }
}
