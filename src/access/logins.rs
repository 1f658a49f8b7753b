//! Whose login it is: a token's, or a user's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::files::Watched;
use super::passwords::{Fingerprint, Passwords, Users};
use super::{Account, Attempt, LoginError};
use crate::config::{self, Htpasswd, Secret};
use crate::files::LOOK_AGAIN;
use crate::sync::lock;

/// The logins that are known now, and what it takes to check one.
#[derive(Debug)]
pub(super) struct Logins {
    checks: Arc<Passwords>,
    known: Mutex<Known>,
    files: Vec<File>,
}

#[derive(Clone, Debug)]
struct Known {
    users: Option<Arc<Users>>,
    tokens: Arc<HashMap<Fingerprint, Arc<str>>>,
}

/// A file of logins.
#[derive(Clone, Debug)]
enum File {
    Passwords(PathBuf),
    Token(Arc<str>, PathBuf),
}

/// What a file that has changed holds.
enum Found {
    Users(Htpasswd),
    Token(Arc<str>, Secret),
}

impl Logins {
    pub(super) fn new(access: &config::Access, checks: Arc<Passwords>) -> Self {
        let passwords = access.passwords.as_ref();
        let tokens = access.tokens.iter().map(|token| {
            let name: Arc<str> = token.name.as_str().into();
            (checks.of_token(&token.secret), name)
        });
        let known = Known {
            users: passwords.map(|file| Arc::new(Users::new(file.users.clone()))),
            tokens: Arc::new(tokens.collect()),
        };
        let of_tokens = access
            .tokens
            .iter()
            .map(|token| File::Token(token.name.as_str().into(), token.path.clone()));
        let of_passwords = passwords.map(|file| File::Passwords(file.path.clone()));
        Self {
            checks,
            known: Mutex::new(known),
            files: of_passwords.into_iter().chain(of_tokens).collect(),
        }
    }

    /// Whose it is; asked from `address`.
    pub(super) async fn whose(
        &self,
        attempt: &Attempt,
        address: Option<IpAddr>,
    ) -> Result<Account, LoginError> {
        let known = lock(&self.known).clone();
        let named = |secret: &Secret| known.tokens.get(&self.checks.of_token(secret));
        match attempt {
            Attempt::Bearer(token) => match named(token) {
                Some(name) => Ok(Account::Token(Arc::clone(name))),
                None => Err(LoginError::Wrong),
            },
            Attempt::Basic { user, password } => match (named(password), &known.users) {
                (Some(name), _) if **name == **user => Ok(Account::Token(Arc::clone(name))),
                (_, Some(users)) => {
                    let checks = &self.checks;
                    checks.check(users, user, password, address).await
                }
                (_, None) => Err(LoginError::Wrong),
            },
        }
    }

    /// Looks at the files for ever.
    pub(super) async fn keep_up(&self) {
        let mut watched: Vec<_> = self
            .files
            .iter()
            .map(|file| (file.clone(), Watched::new(file.path())))
            .collect();
        loop {
            // One look at a time: a file system that hangs takes one thread.
            let looked = tokio::task::spawn_blocking(move || {
                let found = look(&mut watched);
                (watched, found)
            });
            let Ok((back, found)) = looked.await else {
                return std::future::pending().await;
            };
            watched = back;
            for (at, found) in found {
                if self.take(found) {
                    watched[at].1.replaced();
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Has what was found count from now on; whether it is anything new.
    fn take(&self, found: Found) -> bool {
        let mut known = lock(&self.known);
        match found {
            Found::Users(file) => {
                if known.users.as_ref().is_some_and(|users| users.file == file) {
                    return false;
                }
                known.users = Some(Arc::new(Users::new(file)));
            }
            Found::Token(name, secret) => {
                let fingerprint = self.checks.of_token(&secret);
                match known.tokens.get(&fingerprint) {
                    Some(other) if *other == name => return false,
                    Some(other) => {
                        tracing::warn!(%name, %other, "two tokens of [access] are the same; what was read before goes on counting");
                        return false;
                    }
                    None => {}
                }
                let mut tokens: HashMap<_, _> = (*known.tokens).clone();
                tokens.retain(|_, other| *other != name);
                tokens.insert(fingerprint, name);
                known.tokens = Arc::new(tokens);
            }
        }
        true
    }
}

/// What is in those that have changed, each with its place.
fn look(watched: &mut [(File, Watched)]) -> Vec<(usize, Found)> {
    let look = |(file, watched): &mut (File, Watched)| match file {
        File::Passwords(_) => watched.look(Htpasswd::read).map(Found::Users),
        File::Token(name, _) => {
            let found = watched.look(config::read_token);
            found.map(|secret| Found::Token(Arc::clone(name), secret))
        }
    };
    let found = watched.iter_mut().map(look).enumerate();
    found.filter_map(|(at, found)| Some((at, found?))).collect()
}

impl File {
    fn path(&self) -> &std::path::Path {
        match self {
            Self::Passwords(path) | Self::Token(_, path) => path,
        }
    }
}
