//! Passwords, checked against the hashes of a password file.
//!
//! A check takes some hundredths of a second of a core by design. So its verdict is remembered for a while, one check
//! serves all requests that come with the same login meanwhile, they run off the async threads, no more at once than there
//! are cores, and no more wait than can be served soon. A user that is not in the file costs as much as one that is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::floods::Floods;
use super::{Account, LoginError};
use crate::config::{Htpasswd, Secret};
use crate::login::Keyed;
use crate::metrics;
use crate::sync::lock;

/// How long a right password is remembered.
const RIGHT_FOR: Duration = Duration::from_mins(5);
/// How long a wrong one is: whoever repeats it, as an unattended machine does, costs nothing.
const WRONG_FOR: Duration = Duration::from_secs(30);
/// Most verdicts that are remembered.
const REMEMBERED: usize = 1 << 13;
/// Most checks that run or wait.
const WAITING: usize = 64;
/// The cost of what is checked where there is no such user, if there is none at all.
const COST: u32 = 10;
/// When to come back where too many wait.
const SOON: Duration = Duration::from_secs(2);

/// What stands for a login or a token where it is looked up. To compare such hashes tells nothing of how much of a guess was
/// right, and to read them out of memory gives no password.
pub(super) type Fingerprint = [u8; 32];

/// Bounds on checks, over all password files that were ever read.
#[derive(Debug)]
pub(super) struct Bounds {
    floods: Arc<Floods>,
    /// Those that run.
    cores: Arc<Semaphore>,
    /// Those that run or wait.
    places: Arc<Semaphore>,
}

/// A password file, and what is known of logins for it.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) file: Htpasswd,
    verdicts: Mutex<HashMap<Fingerprint, Verdict>>,
}

#[derive(Debug)]
enum Verdict {
    Running(watch::Receiver<Option<bool>>),
    Known { right: bool, until: Instant },
}

impl Bounds {
    pub(super) fn new(floods: Arc<Floods>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            floods,
            cores: Arc::new(Semaphore::new(cores)),
            places: Arc::new(Semaphore::new(WAITING)),
        }
    }
}

impl Users {
    pub(super) fn new(file: Htpasswd) -> Self {
        Self {
            file,
            verdicts: Mutex::default(),
        }
    }

    /// Whose login this is; asked from `address`.
    pub(super) async fn check(
        self: &Arc<Self>,
        user: &str,
        password: &Secret,
        key: &Keyed,
        bounds: &Arc<Bounds>,
        address: Option<IpAddr>,
    ) -> Result<Account, LoginError> {
        let fingerprint = key.hash(&[user, password.expose()]);
        let mut running =
            match self.verdict_or_check(fingerprint, user, password, bounds, address)? {
                Asked::Known(right) => return account(user, right),
                Asked::Running(running) => running,
            };
        // The check is a task of its own: it ends however many leave.
        let verdict = running.wait_for(Option::is_some).await;
        let right = verdict.is_ok_and(|verdict| *verdict == Some(true));
        account(user, right)
    }

    fn verdict_or_check(
        self: &Arc<Self>,
        fingerprint: Fingerprint,
        user: &str,
        password: &Secret,
        bounds: &Arc<Bounds>,
        address: Option<IpAddr>,
    ) -> Result<Asked, LoginError> {
        let now = Instant::now();
        let mut verdicts = lock(&self.verdicts);
        match verdicts.get(&fingerprint) {
            // A check that came to no end is begun anew.
            Some(Verdict::Running(running)) if running.has_changed().is_ok() => {
                return Ok(Asked::Running(running.clone()));
            }
            Some(Verdict::Known { right, until }) if *until > now => {
                return Ok(Asked::Known(*right));
            }
            _ => {}
        }
        if let Some(address) = address {
            let taken = bounds.floods.take(address, now);
            taken.map_err(|retry_after| LoginError::TooMany { retry_after })?;
        }
        let Ok(place) = Arc::clone(&bounds.places).try_acquire_owned() else {
            if let Some(address) = address {
                bounds.floods.give_back(address);
            }
            return Err(LoginError::Busy { retry_after: SOON });
        };
        make_room(&mut verdicts, now);
        let (tell, running) = watch::channel(None);
        verdicts.insert(fingerprint, Verdict::Running(running.clone()));
        drop(verdicts);
        let check = Check {
            users: Arc::clone(self),
            bounds: Arc::clone(bounds),
            fingerprint,
            hash: self.hash_of(user),
            is_user: self.file.hash_of(user).is_some(),
            password: password.clone(),
            address,
        };
        // Detached: its verdict is for whoever asks next as well.
        tokio::spawn(async move {
            let right = check.run().await;
            drop(place);
            tell.send_replace(Some(right));
        });
        Ok(Asked::Running(running))
    }

    /// The hash to check against, of somebody where there is no such user.
    fn hash_of(&self, user: &str) -> String {
        let known = self.file.hash_of(user);
        known.map_or_else(
            || nobodys(self.file.cost().unwrap_or(COST)),
            |hash| hash.expose().to_owned(),
        )
    }
}

enum Asked {
    Known(bool),
    Running(watch::Receiver<Option<bool>>),
}

/// One check.
struct Check {
    users: Arc<Users>,
    bounds: Arc<Bounds>,
    fingerprint: Fingerprint,
    hash: String,
    is_user: bool,
    password: Secret,
    address: Option<IpAddr>,
}

impl Check {
    async fn run(self) -> bool {
        let _core = Arc::clone(&self.bounds.cores).acquire_owned().await;
        metrics::password_check();
        let (password, hash) = (self.password, self.hash);
        let same =
            tokio::task::spawn_blocking(move || bcrypt::verify(password.expose(), &hash)).await;
        let right = self.is_user && matches!(same, Ok(Ok(true)));
        if right && let Some(address) = self.address {
            self.bounds.floods.give_back(address);
        }
        let lasts = if right { RIGHT_FOR } else { WRONG_FOR };
        let until = Instant::now() + lasts;
        lock(&self.users.verdicts).insert(self.fingerprint, Verdict::Known { right, until });
        right
    }
}

fn account(user: &str, right: bool) -> Result<Account, LoginError> {
    if right {
        Ok(Account::User(user.into()))
    } else {
        Err(LoginError::Wrong)
    }
}

/// A hash that nobody has the password of.
fn nobodys(cost: u32) -> String {
    format!("$2b${cost:02}${:u<53}", "forebay")
}

/// Verdicts that are over go first, then wrong ones, then all that nobody waits for.
fn make_room(verdicts: &mut HashMap<Fingerprint, Verdict>, now: Instant) {
    let mut keep = |kept: fn(bool) -> bool| {
        if verdicts.len() >= REMEMBERED {
            verdicts.retain(|_, verdict| match verdict {
                Verdict::Running(_) => true,
                Verdict::Known { right, until } => *until > now && kept(*right),
            });
        }
    };
    keep(|_| true);
    keep(|right| right);
    keep(|_| false);
}

#[cfg(test)]
mod tests;
