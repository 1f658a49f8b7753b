//! Whose login it is: a token's, or a user's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::files::{Trouble, Watched};
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
    troubles: Mutex<Vec<Trouble>>,
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
    /// `None` where it was taken back.
    Token(Arc<str>, Option<Secret>),
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
            troubles: Mutex::default(),
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

    /// Why files do not count as they are.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        lock(&self.troubles).clone()
    }

    /// Looks at the files for ever.
    pub(super) async fn keep_up(&self) {
        let files = || self.files.iter().map(File::watched).collect::<Vec<_>>();
        let mut watched = files();
        loop {
            // One look at a time: a file system that hangs takes one thread.
            let looked = tokio::task::spawn_blocking(move || {
                let found = look(&mut watched);
                (watched, found)
            });
            watched = match looked.await {
                Ok((mut watched, found)) => {
                    for (at, found) in found {
                        let taken = found.and_then(|found| self.take(found));
                        watched[at].1.took(taken);
                    }
                    let troubles = watched.iter().filter_map(|(_, file)| file.trouble());
                    *lock(&self.troubles) = troubles.cloned().collect();
                    watched
                }
                Err(error) => {
                    tracing::error!(%error, "files of [access] could not be looked at; they are read anew");
                    files()
                }
            };
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Has what was found count from now on; whether it is anything new.
    fn take(&self, found: Found) -> Result<bool, String> {
        let mut known = lock(&self.known);
        match found {
            Found::Users(file) => {
                if known.users.as_ref().is_some_and(|users| users.file == file) {
                    return Ok(false);
                }
                known.users = Some(Arc::new(Users::new(file)));
                Ok(true)
            }
            Found::Token(name, secret) => {
                let mut tokens: HashMap<_, _> = (*known.tokens).clone();
                // What it was is over, whatever comes of what it is.
                tokens.retain(|_, other| *other != name);
                let taken = secret.map_or(Ok(()), |secret| {
                    match tokens.entry(self.checks.of_token(&secret)) {
                        Entry::Vacant(entry) => {
                            entry.insert(name);
                            Ok(())
                        }
                        Entry::Occupied(other) => Err(format!(
                            "the file of `{name}` holds the token of `{}`, so that `{name}` has none: give each its own",
                            other.get()
                        )),
                    }
                });
                let is_new = tokens != *known.tokens;
                known.tokens = Arc::new(tokens);
                taken.map(|()| is_new)
            }
        }
    }
}

/// What is in those that may have changed, each with its place.
fn look(watched: &mut [(File, Watched)]) -> Vec<(usize, Result<Found, String>)> {
    let look = |(file, watched): &mut (File, Watched)| match file {
        File::Passwords(_) => {
            let found = watched.look(Htpasswd::read_again)?;
            Some(found.map(Found::Users))
        }
        File::Token(name, _) => {
            let found = watched.look(config::read_token_again)?;
            Some(found.map(|secret| Found::Token(Arc::clone(name), secret)))
        }
    };
    let found = watched.iter_mut().map(look).enumerate();
    found.filter_map(|(at, found)| Some((at, found?))).collect()
}

impl File {
    fn watched(&self) -> (Self, Watched) {
        (self.clone(), Watched::new(self.path()))
    }

    fn path(&self) -> &std::path::Path {
        match self {
            Self::Passwords(path) | Self::Token(_, path) => path,
        }
    }
}
