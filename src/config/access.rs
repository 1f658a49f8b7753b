//! Reads `[access]`: who is known to the mirror, and who may pull what. A table without a key says nothing.

mod htpasswd;
mod repositories;
mod rules;

use std::path::PathBuf;

use ipnet::IpNet;

use super::credentials::read_password;
use super::limits::addresses;
use super::pattern::RegistryPattern;
use super::secret::Secret;
use super::section::{Reported, Section};
use super::tree::Node;
use super::values::{file, path, text};

pub use htpasswd::{Htpasswd, PasswordHash};
pub use repositories::RepositoryPattern;
pub use rules::{AccessRule, ClientPattern};

/// `[access]`: without it, everybody may pull everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Users and what their passwords hash to.
    pub passwords: Option<PasswordFile>,
    /// Tokens, no two of the same name.
    pub tokens: Vec<AccessToken>,
    /// Addresses whose clients need no login, in canonical form.
    pub trusted: Vec<IpNet>,
    /// The first one that matches decides; where none does, it is refused. Without any, whoever is known may pull everything.
    pub rules: Vec<AccessRule>,
}

/// `htpasswd_file`
#[derive(Clone, Debug, PartialEq)]
pub struct PasswordFile {
    /// Where it is, and may be replaced.
    pub path: PathBuf,
    /// What was in it.
    pub users: Htpasswd,
}

/// A table of `[[access.tokens]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Whom it stands for.
    pub name: String,
    /// Where it is, and may be replaced.
    pub path: PathBuf,
    /// What was in it.
    pub secret: Secret,
}

impl Access {
    /// Whether there is anything that a client could log in with.
    pub fn has_logins(&self) -> bool {
        self.passwords.is_some() || !self.tokens.is_empty()
    }
}

/// `[access]`, where it is written; `known` are the tables of `[upstreams]`.
pub(super) fn read(
    root: &Section<'_>,
    known: &[RegistryPattern],
) -> Result<Option<Access>, Reported> {
    let section = root.table("access");
    let passwords = section.optional("htpasswd_file", password_file);
    let tokens = tokens(&section);
    let trusted = section.list("trusted", addresses);
    let rules = rules::read(&section, known);
    section.finish();
    let access = Access {
        passwords: passwords?,
        tokens: tokens?,
        trusted: trusted?,
        rules: rules?,
    };
    if section.len() == 0 {
        return Ok(None);
    }
    let lets_in = access.has_logins() || !access.trusted.is_empty() || !access.rules.is_empty();
    if !lets_in {
        let message = "this lets nobody in: write `htpasswd_file`, [[access.tokens]], `trusted` or [[access.rules]]";
        return Err(section.complain_of_all(message.into()));
    }
    Ok(Some(access))
}

fn password_file(node: &Node) -> Result<PasswordFile, String> {
    let path = path(node)?;
    let users = Htpasswd::read(&path)?;
    Ok(PasswordFile { path, users })
}

fn tokens(section: &Section<'_>) -> Result<Vec<AccessToken>, Reported> {
    // So that the keys are known where there is no token.
    let _ = raw_token(&section.absent("tokens"));
    let mut tokens: Vec<AccessToken> = Vec::new();
    let mut reported = Ok(());
    for table in section.tables("tokens")? {
        match token(&table).and_then(|token| unless_known(&table, &tokens, token)) {
            Ok(token) => tokens.push(token),
            Err(error) => reported = Err(error),
        }
    }
    reported.map(|()| tokens)
}

type RawToken = (Option<String>, Option<(PathBuf, Secret)>);

fn raw_token(table: &Section<'_>) -> Result<RawToken, Reported> {
    let name = table.optional("name", |node| {
        let name = text(node)?;
        rules::check_name(name)?;
        Ok(name.to_owned())
    });
    let file = table.optional("file", |node| {
        let path = path(node)?;
        let secret = read_token(&path)?;
        Ok((path, secret))
    });
    Ok((name?, file?))
}

fn token(table: &Section<'_>) -> Result<AccessToken, Reported> {
    let raw = raw_token(table);
    table.finish();
    match raw? {
        (Some(name), Some((path, secret))) => Ok(AccessToken { name, path, secret }),
        (None, _) => {
            let message = "it is not said whose token this is: write `name`, such as name = \"ci\"";
            Err(table.complain_of_all(message.into()))
        }
        (_, None) => {
            let message = "it is not said where the token is: write `file`, the path of a file that holds it alone";
            Err(table.complain_of_all(message.into()))
        }
    }
}

fn unless_known(
    table: &Section<'_>,
    before: &[AccessToken],
    token: AccessToken,
) -> Result<AccessToken, Reported> {
    if before.iter().any(|other| other.name == token.name) {
        let message = format!("`{}` is there twice: write each name once", token.name);
        return Err(table.complain("name", message));
    }
    if before.iter().any(|other| other.secret == token.secret) {
        let message = "another name has the same token: give each its own";
        return Err(table.complain("file", message.into()));
    }
    Ok(token)
}

/// Reads a token's file, without the end of its line. Nothing of it stands in an error.
pub fn read_token(path: &std::path::Path) -> Result<Secret, String> {
    /// What nobody guesses: 128 bits, in the densest writing that is in use.
    const LEAST: usize = 20;
    let token = read_password(path)?;
    let wrong = |what: &str| Err(format!("{} {what}", path.display()));
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong(
            "is no token: write it on one line, of ASCII characters without spaces, as `openssl rand -hex 32` makes it",
        );
    }
    if token.expose().len() < LEAST {
        return wrong("holds too short a token: make one with `openssl rand -hex 32`");
    }
    Ok(token)
}

/// The same of one that counted before. Where nothing is left in it, the token was taken back.
pub fn read_token_again(path: &std::path::Path) -> Result<Option<Secret>, String> {
    if file(path)?.trim().is_empty() {
        return Ok(None);
    }
    read_token(path).map(Some)
}
