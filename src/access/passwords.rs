//! Passwords, checked against the hashes of a password file.
//!
//! A check takes some hundredths of a second of a core by design. So its verdict is remembered for a while, one check
//! serves all requests that come with the same login meanwhile, and they run off the async threads, as many at once and
//! waiting as [`super::queue`] lets in. A user that is not in the file costs as much as one that is.
//!
//! - `memory`: verdicts.

mod memory;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::floods::{self, Entry, Floods, Refused, Ticket};
use super::queue::{Queue, SOON, Standing, Turn};
use super::{Account, LoginError};
use crate::config::{Htpasswd, Secret};
use crate::login::Keyed;
use crate::metrics;
use crate::sync::lock;
use memory::{Known, Memory};

/// The longest password, in bytes: bcrypt looks at no more, so that a longer one would be as good as its beginning.
const LONGEST: usize = 72;
/// The cost of what is checked where there is no such user, if there is none at all.
const COST: u32 = 10;

/// What stands for a login or a token where it is looked up. To compare such hashes tells nothing of how much of a guess was
/// right, and to read them out of memory gives no password.
pub(super) type Fingerprint = [u8; 32];

/// What is known of passwords, and what bounds their checks, over all password files that are ever read.
#[derive(Debug)]
pub(super) struct Passwords {
    key: Keyed,
    memory: Mutex<Memory>,
    pub(super) floods: Arc<Floods>,
    queue: Arc<Queue>,
}

/// A password file.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) file: Htpasswd,
    /// Those of all users, in order.
    costs: Vec<u32>,
}

/// The hash to check a password against.
#[derive(Debug, PartialEq, Eq)]
struct Hash<'a> {
    text: Cow<'a, str>,
    cost: u32,
    /// Whether it is a user's; else it is one that nobody has the password of.
    is_users: bool,
}

impl Users {
    pub(super) fn new(file: Htpasswd) -> Self {
        let mut costs: Vec<_> = file.costs().collect();
        costs.sort_unstable();
        Self { file, costs }
    }

    /// The hash to check against, of nobody where there is no such user. Its cost is that of a user by lot, always the same
    /// one for a name: how long a check takes must not tell who is in the file.
    fn hash_of(&self, user: &str, key: &Keyed) -> Hash<'_> {
        if let Some(hash) = self.file.hash_of(user) {
            return Hash {
                text: hash.expose().into(),
                cost: hash.cost(),
                is_users: true,
            };
        }
        let [high, low, ..] = key.hash(&["cost", user]);
        let lot = usize::from(u16::from_be_bytes([high, low]));
        let cost = self.costs.get((lot * self.costs.len()) >> 16);
        let cost = cost.copied().unwrap_or(COST);
        Hash {
            text: nobodys(cost).into(),
            cost,
            is_users: false,
        }
    }
}

impl Passwords {
    /// With a key of its own, for checks on so many cores.
    pub(super) fn new(cores: usize) -> Self {
        Self {
            key: Keyed::new(),
            memory: Mutex::new(Memory::new()),
            floods: Arc::default(),
            queue: Arc::new(Queue::new(cores)),
        }
    }

    /// What stands for a token.
    pub(super) fn of_token(&self, token: &Secret) -> Fingerprint {
        self.key.hash(&["token", token.expose()])
    }

    /// Whose login this is; asked from `address`.
    pub(super) async fn check(
        self: &Arc<Self>,
        users: &Users,
        user: &str,
        password: &Secret,
        address: Option<IpAddr>,
    ) -> Result<Account, LoginError> {
        if password.expose().len() > LONGEST {
            return Err(LoginError::Wrong);
        }
        let question = Question {
            hash: users.hash_of(user, &self.key),
            user,
            password,
            place: address.map(floods::place),
        };
        let fingerprint = question.fingerprint(&self.key);
        let known = loop {
            let known = lock(&self.memory).known(fingerprint, question.place, Instant::now());
            if let Some(known) = known {
                break known;
            }
            let entry = address.map(|address| self.floods.enter(address));
            match entry.transpose()? {
                Some(Entry::After(waiter)) => waiter.ended().await,
                Some(Entry::Begun(ticket)) => {
                    break self.begin(fingerprint, &question, Some(ticket))?;
                }
                None => break self.begin(fingerprint, &question, None)?,
            }
        };
        match known.right().await {
            Some(true) => Ok(Account::User(user.into())),
            Some(false) => Err(LoginError::Wrong),
            None => Err(LoginError::Busy { retry_after: SOON }),
        }
    }

    /// Begins a check, unless somebody else has just now.
    fn begin(
        self: &Arc<Self>,
        fingerprint: Fingerprint,
        question: &Question<'_>,
        ticket: Option<Ticket>,
    ) -> Result<Known, LoginError> {
        let joined = self.join(fingerprint, question);
        let (known, begun) = match joined {
            Ok((known, Some(begun))) => (known, begun),
            Ok((known, None)) => {
                give_back(ticket);
                return Ok(known);
            }
            Err(retry_after) => {
                give_back(ticket);
                return Err(LoginError::Busy { retry_after });
            }
        };
        let check = Check {
            passwords: Arc::clone(self),
            fingerprint,
            place: question.place,
            hash: question.hash.text.clone().into_owned(),
            is_users: question.hash.is_users,
            password: question.password.clone(),
            ticket,
        };
        // Detached: it ends however many leave, and its verdict is for whoever asks next as well.
        tokio::spawn(check.run(begun));
        Ok(known)
    }

    /// What is known of a password already; or what will be, by a check that is to begin now.
    fn join(
        &self,
        fingerprint: Fingerprint,
        question: &Question<'_>,
    ) -> Result<(Known, Option<Begun>), Duration> {
        let now = Instant::now();
        let mut memory = lock(&self.memory);
        if let Some(known) = memory.known(fingerprint, question.place, now) {
            return Ok((known, None));
        }
        let standing = match question.place {
            Some(place) if memory.knows(place, now) => Standing::Known,
            _ => Standing::Stranger,
        };
        let turn = self.queue.enter(question.hash.cost, standing)?;
        let (tell, running) = watch::channel(None);
        memory.begun(fingerprint, running.clone());
        Ok((Known::Will(running), Some(Begun { turn, tell })))
    }
}

/// A login that is to be looked at.
struct Question<'a> {
    hash: Hash<'a>,
    user: &'a str,
    password: &'a Secret,
    place: Option<IpAddr>,
}

impl Question<'_> {
    /// With the hash in it: what becomes of the file says nothing of a verdict, but whether it is asked for.
    fn fingerprint(&self, key: &Keyed) -> Fingerprint {
        let kind = if self.hash.is_users { "user" } else { "nobody" };
        key.hash(&[kind, self.user, self.password.expose(), &self.hash.text])
    }
}

/// What a check that has begun is to go on with.
struct Begun {
    turn: Turn,
    tell: watch::Sender<Option<bool>>,
}

/// One check.
struct Check {
    passwords: Arc<Passwords>,
    fingerprint: Fingerprint,
    place: Option<IpAddr>,
    hash: String,
    is_users: bool,
    password: Secret,
    ticket: Option<Ticket>,
}

impl Check {
    async fn run(self, begun: Begun) {
        let (password, hash) = (self.password, self.hash);
        let verify = move || {
            metrics::password_check();
            bcrypt::verify(password.expose(), &hash)
        };
        let same = begun.turn.run(verify).await;
        let right = match same {
            Some(Ok(same)) => Some(same && self.is_users),
            Some(Err(_)) | None => None,
        };
        let now = Instant::now();
        lock(&self.passwords.memory).ended(self.fingerprint, right, self.place, now);
        if right != Some(false) {
            give_back(self.ticket);
        }
        begun.tell.send_replace(right);
    }
}

fn give_back(ticket: Option<Ticket>) {
    if let Some(ticket) = ticket {
        ticket.give_back();
    }
}

impl From<Refused> for LoginError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooMany(retry_after) => Self::TooMany { retry_after },
            Refused::Busy => Self::Busy { retry_after: SOON },
        }
    }
}

/// A hash that nobody has the password of.
fn nobodys(cost: u32) -> String {
    format!("$2b${cost:02}${:u<53}", "forebay")
}

#[cfg(test)]
mod tests;
