//! Who asks: what a connection tells of a client, and what it has proven beside that.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::ClientPattern;

/// What is known of a client before it says who it is.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Where it is; `None` where a proxy asks for it and does not say.
    pub address: Option<IpAddr>,
    /// What its wrong logins are counted by: the same, or that of its proxy.
    pub counted_at: Option<IpAddr>,
    /// Whether the request tells that somebody else asks from there. Then the address lets nobody in, and still keeps out.
    pub passed_on: bool,
    /// The names of the certificate that it has shown, verified, as rules write them.
    pub certificate: Arc<[String]>,
}

/// Who asks, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Client {
    pub(super) address: Option<IpAddr>,
    pub(super) certificate: Arc<[String]>,
    pub(super) account: Option<Account>,
    /// Whether its address is enough.
    pub(super) trusted: bool,
    /// Whether its address may be that of somebody who asks for it.
    pub(super) passed_on: bool,
}

/// Whom a login is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// A user of the password file.
    User(Arc<str>),
    /// The name of a token.
    Token(Arc<str>),
}

impl Client {
    pub(super) fn new(facts: Facts, account: Option<Account>, trusted: &[IpNet]) -> Self {
        let is_in = |address: IpAddr| trusted.iter().any(|range| range.contains(&address));
        Self {
            trusted: facts.address.is_some_and(is_in) && !facts.passed_on,
            passed_on: facts.passed_on,
            address: facts.address,
            certificate: facts.certificate,
            account,
        }
    }

    /// Whether it is known: by a login, a certificate or its address.
    pub fn is_known(&self) -> bool {
        self.account.is_some() || !self.certificate.is_empty() || self.trusted
    }

    /// Whether it has logged in.
    pub fn has_login(&self) -> bool {
        self.account.is_some()
    }

    /// The name that it has proven: of its login, or else of its certificate. Of the same form as in rules.
    pub fn name(&self) -> Option<String> {
        match (&self.account, self.certificate.first()) {
            (Some(account), _) => Some(account.to_string()),
            (None, Some(name)) => Some(format!("certificate:{name}")),
            (None, None) => None,
        }
    }

    /// Whether a rule's pattern means it. One that has proven several things is meant by each, and by an address that may not
    /// be its own where that does not `allow` it anything.
    pub(super) fn is(&self, pattern: &ClientPattern, allow: bool) -> bool {
        match pattern {
            ClientPattern::Anyone => true,
            ClientPattern::Anonymous => !self.is_known(),
            ClientPattern::Authenticated => self.is_known(),
            ClientPattern::Address(_) => {
                let counts = !(allow && self.passed_on);
                counts && self.address.is_some_and(|at| pattern.has_address(at))
            }
            ClientPattern::User(wanted) => {
                matches!(&self.account, Some(Account::User(name)) if ClientPattern::names(wanted, name))
            }
            ClientPattern::Token(wanted) => {
                matches!(&self.account, Some(Account::Token(name)) if ClientPattern::names(wanted, name))
            }
            ClientPattern::Certificate(wanted) => {
                let mut names = self.certificate.iter();
                names.any(|name| ClientPattern::names_certificate(wanted, name))
            }
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Token(name) => write!(f, "token:{name}"),
        }
    }
}
