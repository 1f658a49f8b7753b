//! Keeps logins that have to be asked for: one question at a time for each account, at half of a login's life, and the
//! old login goes on serving while a new one can't be had.
//!
//! So it does when it is refused: that may be about one repository, and for the others it is as good as before.
//!
//! Owns the logins of one upstream. A question belongs to no client: it goes on when the one who made it leaves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::Instant;

use super::{Identity, Issued, Login, LoginError, Source};
use crate::oci::RepositoryName;
use crate::sync::lock;
use crate::upstream::address::Origin;
use crate::upstream::token::Whose;

/// How long after an answer, good or bad, the source is not asked again. A refused login and a broken source then cost a
/// question now and then, not one a request.
const PAUSE: Duration = Duration::from_secs(10);

/// A login, and when it came.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) login: Login,
    pub(crate) identity: Identity,
    /// What stands for the client that has brought it.
    brought: Option<String>,
    /// Whether it has opened something.
    proved: AtomicBool,
    /// `None` for one that came with the configuration.
    term: Option<Term>,
}

/// The account that a login is for, and its times.
#[derive(Debug)]
struct Term {
    account: String,
    issued_at: Instant,
    renew_at: Instant,
    expires_at: Option<Instant>,
}

impl Held {
    /// When it came from its source, which may have another by now. `None` for one that came with the configuration.
    pub(crate) fn issued_at(&self) -> Option<std::time::Instant> {
        self.term.as_ref().map(|term| term.issued_at.into_std())
    }

    /// Whether its source says when it ends.
    pub(crate) fn ends(&self) -> bool {
        let term = self.term.as_ref();
        term.is_some_and(|term| term.expires_at.is_some())
    }

    /// A login that the configuration holds.
    pub(crate) fn fixed(login: Login) -> Held {
        Held {
            identity: identity(&login, ""),
            login,
            brought: None,
            proved: AtomicBool::new(false),
            term: None,
        }
    }

    /// A login that a client has brought, told apart from others of its name by `account`.
    pub(crate) fn brought(login: Login, account: &str) -> Held {
        Held {
            identity: identity(&login, account),
            brought: Some(account.to_owned()),
            ..Held::fixed(login)
        }
    }

    /// What came in the place of `old`. Where it is the same login, it is as good as that one was.
    fn issued(account: &str, issued: Issued, old: Option<&Held>) -> Held {
        let now = Instant::now();
        let proved = old.is_some_and(|old| old.is_proved() && old.login == issued.login);
        Held {
            identity: identity(&issued.login, account),
            login: issued.login,
            brought: None,
            proved: AtomicBool::new(proved),
            term: Some(Term {
                account: account.to_owned(),
                issued_at: now,
                renew_at: now + issued.renew_after,
                expires_at: issued.expires_after.map(|life| now + life),
            }),
        }
    }
}

impl Held {
    /// Notes that it has opened something: if it is refused later, another one may be better.
    pub(crate) fn prove(&self) {
        self.proved.store(true, Ordering::Relaxed);
    }

    /// What stands for the client that has brought it, if one has.
    pub(crate) fn brought_by(&self) -> Option<&str> {
        self.brought.as_deref()
    }

    /// Whose it is, and whether it is known to be good.
    pub(crate) fn whose(&self) -> Whose {
        match (self.brought.is_some(), self.is_proved()) {
            (false, _) => Whose::Own,
            // Nobody can have made it up.
            (true, _) if self.login == Login::Anonymous => Whose::Proven,
            (true, true) => Whose::Proven,
            (true, false) => Whose::Unproven,
        }
    }

    fn is_proved(&self) -> bool {
        self.proved.load(Ordering::Relaxed)
    }
}

fn identity(login: &Login, account: &str) -> Identity {
    match login {
        Login::Anonymous => Identity::Anonymous,
        Login::Password { username, .. } => Identity::User {
            name: username.clone(),
            account: account.to_owned(),
        },
        Login::IdentityToken(_) => Identity::Holder(account.to_owned()),
    }
}

/// The logins of one upstream.
#[derive(Debug)]
pub(crate) struct Keeper {
    source: Arc<dyn Source>,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
}

#[derive(Debug, Default)]
struct Account {
    state: Mutex<State>,
    /// Held by the question that is under way.
    turn: Arc<Turn<()>>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Arc<Held>>,
    /// The last answer, if it was none, and when it came.
    failed: Option<(LoginError, Instant)>,
    /// When the last question was answered that was asked because a login was refused.
    doubted: Option<Instant>,
}

/// Why a source is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Because {
    /// There is no login, or it is time for another one.
    Due,
    /// The one at hand was refused.
    Refused,
}

/// What there is to do about an account.
enum Next {
    /// There is an answer, and nothing to do.
    Settled(Result<Arc<Held>, LoginError>),
    /// This one still serves while another is asked for.
    Renew(Arc<Held>),
    /// There is none.
    Ask,
}

impl State {
    /// The last failure, if it is so new that asking again would bring the same.
    fn failure(&self, now: Instant) -> Option<LoginError> {
        let (error, at) = self.failed.as_ref()?;
        (now < *at + PAUSE).then(|| error.clone())
    }

    /// A login that came since `refused` did.
    fn newer_than(&self, refused: &Held) -> Option<Arc<Held>> {
        let held = self.held.as_ref()?;
        (held.login != refused.login).then(|| held.clone())
    }

    /// Whether to ask for a login in the place of one that was refused. One that never opened anything and is new would be
    /// followed by its like.
    fn may_ask(&self, refused: &Held, now: Instant) -> bool {
        let is_new = |at: Instant| now < at + PAUSE;
        let term = self.held.as_deref().unwrap_or(refused).term.as_ref();
        let untried = !refused.is_proved() && term.is_some_and(|term| is_new(term.issued_at));
        !untried && !self.doubted.is_some_and(is_new)
    }

    fn next(&self, now: Instant) -> Next {
        let failure = self.failure(now);
        let held = self.held.as_ref().and_then(|held| {
            let term = held.term.as_ref()?;
            let serves = term.expires_at.is_none_or(|end| now < end);
            serves.then_some((held.clone(), now < term.renew_at))
        });
        match (held, failure) {
            (Some((held, true)), _) | (Some((held, false)), Some(_)) => Next::Settled(Ok(held)),
            (Some((held, false)), None) => Next::Renew(held),
            (None, Some(error)) => Next::Settled(Err(error)),
            (None, None) => Next::Ask,
        }
    }
}

impl Account {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn next(&self) -> Next {
        self.state().next(Instant::now())
    }
}

impl Keeper {
    pub(crate) fn new(source: Arc<dyn Source>) -> Keeper {
        Keeper {
            source,
            accounts: Mutex::default(),
        }
    }

    /// Which of the source's accounts a repository is read with.
    pub(crate) fn name_of(&self, registry: &Origin, name: &RepositoryName) -> String {
        self.source.account(registry, Some(name))
    }

    /// The login for a repository, or for the registry itself: the one at hand, or an answer of the source.
    pub(crate) async fn login(
        &self,
        registry: &Origin,
        name: Option<&RepositoryName>,
    ) -> Result<Arc<Held>, LoginError> {
        let key = self.source.account(registry, name);
        let account = self.account(&key);
        match account.next() {
            Next::Settled(answer) => return answer,
            Next::Renew(held) => {
                if let Ok(turn) = account.turn.clone().try_lock_owned() {
                    self.ask(Because::Due, registry, &key, &account, turn);
                }
                return Ok(held);
            }
            Next::Ask => {}
        }
        let turn = account.turn.clone().lock_owned().await;
        // Who waited for its turn finds what the question before it brought.
        match account.next() {
            Next::Settled(answer) => answer,
            Next::Renew(held) => Ok(held),
            Next::Ask => {
                let asking = self.ask(Because::Due, registry, &key, &account, turn);
                answered(asking).await
            }
        }
    }

    /// A login in the place of one that was refused; `None` if the source has no other, or was asked for one a moment ago.
    pub(crate) async fn another(
        &self,
        registry: &Origin,
        refused: &Held,
    ) -> Result<Option<Arc<Held>>, LoginError> {
        let Some(term) = &refused.term else {
            return Ok(None);
        };
        let account = self.account(&term.account);
        let turn = account.turn.clone().lock_owned().await;
        {
            let (state, now) = (account.state(), Instant::now());
            // Who waited for its turn finds what the question before it brought.
            if let Some(held) = state.newer_than(refused) {
                return Ok(Some(held));
            }
            if let Some(error) = state.failure(now) {
                return Err(error);
            }
            if !state.may_ask(refused, now) {
                return Ok(None);
            }
        }
        let asking = self.ask(Because::Refused, registry, &term.account, &account, turn);
        let held = answered(asking).await?;
        Ok(Some(held).filter(|held| held.login != refused.login))
    }

    fn account(&self, key: &str) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        if let Some(account) = accounts.get(key) {
            return account.clone();
        }
        accounts.entry(key.to_owned()).or_default().clone()
    }

    /// Asks the source in a task of its own, and writes down what it says.
    fn ask(
        &self,
        because: Because,
        registry: &Origin,
        key: &str,
        account: &Arc<Account>,
        turn: OwnedMutexGuard<()>,
    ) -> Asking {
        let (source, registry, account) = (self.source.clone(), registry.clone(), account.clone());
        let key = key.to_owned();
        tokio::spawn(async move {
            let answer = source.issue(&registry, &key).await;
            let mut state = account.state();
            if because == Because::Refused {
                state.doubted = Some(Instant::now());
            }
            let answer = match answer {
                Ok(issued) => {
                    let held = Arc::new(Held::issued(&key, issued, state.held.as_deref()));
                    state.held = Some(held.clone());
                    state.failed = None;
                    Ok(held)
                }
                Err(error) => {
                    tracing::warn!(registry = %registry.host(), %error, "there is no new login");
                    state.failed = Some((error.clone(), Instant::now()));
                    Err(error)
                }
            };
            drop(state);
            drop(turn);
            answer
        })
    }
}

/// A question under way.
type Asking = tokio::task::JoinHandle<Result<Arc<Held>, LoginError>>;

async fn answered(asking: Asking) -> Result<Arc<Held>, LoginError> {
    let failed = || LoginError::Broken("asking for a login failed".to_owned());
    asking.await.unwrap_or_else(|_| Err(failed()))
}

#[cfg(test)]
mod tests;
