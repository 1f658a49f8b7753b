//! Logins that clients bring along for an upstream that lets each of them see what is theirs, and the tokens that stand for
//! such logins.
//!
//! A login is what its client gave. Whoever gives the same is the same: what is known of a login, its rights among it, is
//! kept by its id. That is a keyed hash, which tells nothing of the secret and means nothing to another process.
//!
//! - `keyed`: the hash.
//! - [`Sessions`]: the tokens. No text of one is kept.
//!
//! A leaf. Who proves a login is `upstream`; what it may see there, too.

mod keyed;
mod sessions;

use std::fmt;

use url::Url;

use crate::config::Secret;
use crate::oci::Registry;

pub use keyed::Keyed;
pub use sessions::{Session, Sessions};

/// What stands for a login where things are kept by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoginId([u8; 32]);

impl LoginId {
    /// As text: what keeps two logins of one name apart.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for LoginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

/// Who a client says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody: what everyone may see.
    Anyone,
    /// A user.
    User {
        /// The name.
        name: String,
        /// The password, an access token or the like.
        password: Secret,
    },
    /// Whoever holds a refresh token of the upstream's.
    Holder(Secret),
}

/// A client's own login at one registry. It is good nowhere else, and is shown to no other endpoint than the registry has
/// when it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    id: LoginId,
    registry: Registry,
    /// None for nobody's, which shows nothing.
    endpoint: Option<Url>,
    who: Who,
}

impl Login {
    /// The login of `who` at `registry`, which has this endpoint.
    pub fn new(keyed: &Keyed, registry: Registry, endpoint: Option<Url>, who: Who) -> Self {
        let parts: [&str; 3] = match &who {
            Who::Anyone => ["anyone", "", ""],
            Who::User { name, password } => ["user", name, password.expose()],
            Who::Holder(token) => ["holder", "", token.expose()],
        };
        let [kind, name, secret] = parts;
        let endpoint = endpoint.filter(|_| who != Who::Anyone);
        let at = endpoint.as_ref().map_or("", Url::as_str);
        let id = keyed.hash(&["login", registry.as_str(), at, kind, name, secret]);
        Self {
            id: LoginId(id),
            registry,
            endpoint,
            who,
        }
    }

    /// What stands for it.
    pub fn id(&self) -> LoginId {
        self.id
    }

    /// Where it is a login.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether it may be shown to an endpoint of its registry.
    pub fn is_for(&self, endpoint: &Url) -> bool {
        self.is_anyone() || self.endpoint.as_ref() == Some(endpoint)
    }

    /// Whose it is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Whether nobody has logged in with it.
    pub fn is_anyone(&self) -> bool {
        self.who == Who::Anyone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> Who {
        Who::User {
            name: name.to_owned(),
            password: Secret::new(password),
        }
    }

    #[test]
    fn a_login_is_another_one_where_anything_of_it_is() {
        let keyed = Keyed::new();
        let (here, there): (Registry, Registry) =
            ("a.io".parse().unwrap(), "b.io".parse().unwrap());
        let all = [
            (&here, "https://a.io", user("alice", "secret")),
            (&here, "https://a.example", user("alice", "secret")),
            (&there, "https://a.io", user("alice", "secret")),
            (&here, "https://a.io", user("alices", "ecret")),
            (&here, "https://a.io", user("alice", "other")),
            (&here, "https://a.io", user("alice", "")),
            (&here, "https://a.io", Who::Holder(Secret::new("secret"))),
            (&here, "https://a.io", Who::Anyone),
            (&there, "https://a.io", Who::Anyone),
        ];
        let id = |keyed: &Keyed, (registry, at, who): &(&Registry, &str, Who)| {
            let endpoint = Some(at.parse().unwrap());
            Login::new(keyed, (*registry).clone(), endpoint, who.clone()).id()
        };
        for (index, one) in all.iter().enumerate() {
            for (other_index, other) in all.iter().enumerate() {
                assert_eq!(id(&keyed, one) == id(&keyed, other), index == other_index);
            }
        }
        assert_ne!(id(&keyed, &all[0]), id(&Keyed::new(), &all[0]));
    }

    #[test]
    fn a_login_is_for_one_endpoint_and_nobodys_for_all() {
        let keyed = Keyed::new();
        let [one, other]: [Url; 2] =
            ["https://a.io", "https://b.io"].map(|url| url.parse().unwrap());
        let of = |endpoint: Option<&Url>, who| {
            Login::new(&keyed, "a.io".parse().unwrap(), endpoint.cloned(), who)
        };
        let alice = of(Some(&one), user("alice", "secret"));
        assert!(alice.is_for(&one) && !alice.is_for(&other));
        assert!(!of(None, user("alice", "secret")).is_for(&one));
        let anyone = of(Some(&one), Who::Anyone);
        assert!(anyone.is_for(&one) && anyone.is_for(&other));
        assert_eq!(anyone.id(), of(None, Who::Anyone).id());
    }

    #[test]
    fn a_login_prints_no_secret() {
        let login = Login::new(
            &Keyed::new(),
            "a.io".parse().unwrap(),
            None,
            user("alice", "canary-9"),
        );
        assert!(!format!("{login:?}").contains("canary"));
    }
}
