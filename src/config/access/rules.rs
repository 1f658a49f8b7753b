//! Reads `[[access.rules]]`, and says which clients their patterns match; `super::repositories` does so for what they are
//! about.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::repositories::{self, RepositoryPattern};
use crate::config::limits::addresses_of;
use crate::config::pattern::RegistryPattern;
use crate::config::section::{Reported, Section};
use crate::config::tree::Node;
use crate::config::values::{boolean, text};
use crate::oci::{Registry, RepositoryName};

/// A table of `[[access.rules]]`
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRule {
    /// Whom it is for; never empty.
    pub clients: Vec<ClientPattern>,
    /// What it is about; never empty.
    pub repositories: Vec<RepositoryPattern>,
    /// What it says of them.
    pub allow: bool,
}

/// Some of the clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPattern {
    /// `user:NAME`, of the password file.
    User(String),
    /// `token:NAME`
    Token(String),
    /// `certificate:NAME`, in lower case; `certificate:email:NAME` or `certificate:uri:NAME` as written
    Certificate(String),
    /// `address:RANGE`
    Address(IpNet),
    /// Who is not known.
    Anonymous,
    /// Who is: by a login, a certificate or a trusted address.
    Authenticated,
    /// Everybody.
    Anyone,
}

const ANONYMOUS: &str = "anonymous";
const AUTHENTICATED: &str = "authenticated";
const ANYONE: &str = "*";
/// What stands before those of a certificate's names that are no names of hosts.
const CERTIFICATE_KINDS: [&str; 2] = ["email", "uri"];

impl AccessRule {
    /// Whether it says something of this repository.
    pub fn is_about(&self, registry: &Registry, name: &RepositoryName) -> bool {
        self.repositories
            .iter()
            .any(|pattern| pattern.matches(registry, name))
    }

    /// Whether it says something of every repository.
    pub fn is_about_all(&self) -> bool {
        self.repositories.iter().any(RepositoryPattern::is_all)
    }
}

impl ClientPattern {
    /// Whether a name of the pattern's kind is meant; a `*` in the pattern stands for any part of a name.
    pub fn names(pattern: &str, name: &str) -> bool {
        let mut parts = pattern.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let mut parts: Vec<_> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }

    /// Whether a certificate's name is meant. What only looks like a name of another kind is none: kinds have to be equal, but
    /// for `*` alone, which stands for every certificate. In a host's name a `*` stays within one label. A `*` in the
    /// certificate's own name stands for itself.
    pub fn names_certificate(pattern: &str, name: &str) -> bool {
        match (kind(pattern), kind(name)) {
            _ if pattern == ANYONE => true,
            (None, None) => {
                let count = |text: &str| text.split('.').count();
                let mut pairs = pattern.split('.').zip(name.split('.'));
                count(pattern) == count(name)
                    && pairs.all(|(pattern, label)| Self::names(pattern, label))
            }
            (of, other) => of == other && Self::names(pattern, name),
        }
    }

    /// Whether an address is meant.
    pub fn has_address(&self, address: IpAddr) -> bool {
        matches!(self, Self::Address(range) if range.contains(&address))
    }
}

impl fmt::Display for ClientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Certificate(name) => write!(f, "certificate:{name}"),
            Self::Address(range) => write!(f, "address:{range}"),
            Self::Anonymous => f.write_str(ANONYMOUS),
            Self::Authenticated => f.write_str(AUTHENTICATED),
            Self::Anyone => f.write_str(ANYONE),
        }
    }
}

/// `known` are the tables of `[upstreams]`.
pub(super) fn read(
    section: &Section<'_>,
    known: &[RegistryPattern],
) -> Result<Vec<AccessRule>, Reported> {
    // So that the keys are known where there is no rule.
    let _ = raw(&section.absent("rules"), known);
    let mut rules = Vec::new();
    let mut reported = Ok(());
    for table in section.tables("rules")? {
        let raw = raw(&table, known);
        table.finish();
        match raw.and_then(|raw| rule(&table, raw)) {
            Ok(rule) => rules.push(rule),
            Err(error) => reported = Err(error),
        }
    }
    reported.map(|()| rules)
}

type Raw = (Vec<ClientPattern>, Vec<RepositoryPattern>, Option<bool>);

fn raw(table: &Section<'_>, known: &[RegistryPattern]) -> Result<Raw, Reported> {
    let clients = table.list("clients", client);
    let repositories = table.list("repositories", |node| repositories::read(node, known));
    let allow = table.optional("allow", boolean);
    Ok((clients?, repositories?, allow?))
}

fn rule(table: &Section<'_>, raw: Raw) -> Result<AccessRule, Reported> {
    let (clients, repositories, allow) = raw;
    let missing = |what: &str| Err(table.complain_of_all(what.to_owned()));
    if clients.is_empty() {
        return missing(
            "it is not said whom this rule is for: write `clients`, such as clients = [\"authenticated\"]",
        );
    }
    if repositories.is_empty() {
        return missing(
            "it is not said what this rule is about: write `repositories`, such as repositories = [\"docker.io/**\"], or \
             [\"**\"] for all",
        );
    }
    let Some(allow) = allow else {
        return missing("it is not said what holds: write allow = true or allow = false");
    };
    Ok(AccessRule {
        clients,
        repositories,
        allow,
    })
}

fn client(node: &Node) -> Result<ClientPattern, String> {
    let text = text(node)?;
    match text {
        ANONYMOUS => return Ok(ClientPattern::Anonymous),
        AUTHENTICATED => return Ok(ClientPattern::Authenticated),
        ANYONE => return Ok(ClientPattern::Anyone),
        _ => {}
    }
    let name = |name: &str| check_name(name).map(|()| name.to_owned());
    match text.split_once(':') {
        Some(("user", user)) => name(user).map(ClientPattern::User),
        Some(("token", token)) => name(token).map(ClientPattern::Token),
        Some(("certificate", of)) if !of.is_empty() => certificate(of),
        Some(("address", range)) => addresses_of(range).map(ClientPattern::Address),
        _ => Err(format!(
            "`{}` is no client: write \"user:NAME\", \"token:NAME\", \"certificate:NAME\", \"address:RANGE\", \"anonymous\", \
             \"authenticated\" or \"*\"",
            text.escape_debug()
        )),
    }
}

/// Of the kinds that a certificate's names have, the one that is written before it. Names of hosts have none.
fn kind(name: &str) -> Option<&str> {
    let (kind, _) = name.split_once(':')?;
    CERTIFICATE_KINDS.contains(&kind).then_some(kind)
}

/// As the names of certificates are written that it is held to.
fn certificate(name: &str) -> Result<ClientPattern, String> {
    if kind(name).is_some() {
        return Ok(ClientPattern::Certificate(name.to_owned()));
    }
    if name.contains(':') {
        return Err(format!(
            "`certificate:{}` is no name of a certificate: write \"certificate:HOST\", \"certificate:email:ADDRESS\" or \
             \"certificate:uri:URI\"",
            name.escape_debug()
        ));
    }
    Ok(ClientPattern::Certificate(name.to_ascii_lowercase()))
}

/// What may be a user's or a token's name: it stands in headers and logs.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let ok = |c: char| !c.is_control() && !c.is_whitespace() && c != ':';
    if !name.is_empty() && name.len() <= 128 && name.chars().all(ok) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no name: write at most 128 bytes without spaces and colons",
        name.chars().take(128).collect::<String>().escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_part_of_a_name() {
        for (pattern, name, matches) in [
            ("ci", "ci", true),
            ("ci", "ci2", false),
            ("ci-*", "ci-7", true),
            ("ci-*", "ci", false),
            ("*.ci.example.org", "a.ci.example.org", true),
            ("*.ci.example.org", "ci.example.org", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(
                ClientPattern::names(pattern, name),
                matches,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_name_of_a_certificate_is_meant_by_patterns_of_its_kind_alone() {
        for (pattern, name, matches) in [
            ("*.example.org", "ci.example.org", true),
            ("*.example.org", "a.ci.example.org", false),
            ("*.*.example.org", "a.ci.example.org", true),
            ("ci-*", "ci-7", true),
            ("ci-*", "ci-7.example.org", false),
            ("*.example.org", "email:bob@mail.example.org", false),
            ("*.example.org", "uri:https://a.example.org", false),
            ("email:*@example.org", "email:bob@example.org", true),
            ("email:*@example.org", "uri:x@example.org", false),
            ("uri:spiffe://a/*", "uri:spiffe://a/ci", true),
            ("e*", "email:bob@example.org", false),
            ("*", "email:bob@example.org", true),
            ("*", "ci.example.org", true),
            ("ci.example.org", "*.example.org", false),
            ("*.example.org", "*.example.org", true),
        ] {
            assert_eq!(
                ClientPattern::names_certificate(pattern, name),
                matches,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_pattern_of_certificates_is_written_as_their_names_are() {
        let lower = certificate("CI.Example.org").unwrap();
        assert_eq!(lower.to_string(), "certificate:ci.example.org");
        let kept = certificate("email:Bob@example.org").unwrap();
        assert_eq!(kept.to_string(), "certificate:email:Bob@example.org");
        let told = certificate("mail:bob@example.org").unwrap_err();
        assert!(told.contains("certificate:email:ADDRESS"), "{told}");
    }
}
