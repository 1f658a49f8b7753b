//! Reads a password file as `htpasswd -B` writes it: a user and a bcrypt hash a line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::config::values::file;

/// The costs that are taken. A check at the highest takes some seconds; beyond, one login would keep a core busy for longer
/// than any client waits.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;
/// What follows `$2y$10$`: 16 bytes of salt and 23 of the hash, in bcrypt's own base64.
const LENGTH: usize = 53;

/// Users, and the hashes of their passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Htpasswd(Arc<BTreeMap<String, PasswordHash>>);

/// A bcrypt hash, which is as secret as what it is of is weak.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: String,
    cost: u32,
}

impl PasswordHash {
    /// The hash, for whoever checks a password.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Twice the work for each.
    pub fn cost(&self) -> u32 {
        self.cost
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Htpasswd {
    /// Reads a file; the error names it, and the line. No hash stands in it.
    pub fn read(path: &Path) -> Result<Self, String> {
        Self::parse(&file(path)?).map_err(|message| format!("{}{message}", path.display()))
    }

    /// The hash of a user's password.
    pub fn hash_of(&self, user: &str) -> Option<&PasswordHash> {
        self.0.get(user)
    }

    /// The users.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The highest of the costs.
    pub fn cost(&self) -> Option<u32> {
        self.0.values().map(PasswordHash::cost).max()
    }

    pub(in crate::config) fn parse(text: &str) -> Result<Self, String> {
        let mut users = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |message: &str| format!(":{}: {message}", number + 1);
            let (user, hash) = entry(line).map_err(|message| at(&message))?;
            if users.insert(user.to_owned(), hash).is_some() {
                return Err(at(&format!(
                    "`{}` is there twice: keep one of the lines",
                    user.escape_debug()
                )));
            }
        }
        if users.is_empty() {
            return Err(" has no user in it: add one with `htpasswd -B`".into());
        }
        Ok(Self(Arc::new(users)))
    }
}

fn entry(line: &str) -> Result<(&str, PasswordHash), String> {
    let Some((user, hash)) = line.split_once(':') else {
        return Err("no user and hash: write lines with `htpasswd -B`".into());
    };
    super::rules::check_name(user)?;
    let hash = bcrypt(hash).ok_or_else(|| {
        let user = user.escape_debug();
        format!(
            "the password of `{user}` is not hashed with bcrypt at a cost of {} to {}: write it anew with `htpasswd -B`",
            COSTS.start(),
            COSTS.end()
        )
    })?;
    Ok((user, hash))
}

/// `$2y$10$...`, or with `2a` or `2b`, which are the same but for whose mistakes they have left behind.
fn bcrypt(text: &str) -> Option<PasswordHash> {
    let prefix = ["$2y$", "$2b$", "$2a$"];
    let rest = prefix.iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let (cost, rest) = rest.split_once('$')?;
    let digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
    let cost: u32 = cost.parse().ok().filter(|_| digits)?;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    let whole = rest.len() == LENGTH && rest.bytes().all(is_base64) && COSTS.contains(&cost);
    whole.then(|| PasswordHash {
        text: text.to_owned(),
        cost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234";

    #[test]
    fn users_are_read_as_htpasswd_writes_them() {
        let text = format!("# people\nalice:{HASH}\n\nbob:{HASH}\r\n");
        let read = Htpasswd::parse(&text).unwrap();
        assert_eq!(read.users().collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(read.hash_of("bob").unwrap().expose(), HASH);
        assert_eq!(read.cost(), Some(5));
        assert!(!format!("{read:?}").contains("abcdef"));
    }

    #[test]
    fn what_is_not_bcrypt_is_told_with_its_line_and_without_its_hash() {
        for bad in [
            "$apr1$4x0lbqYs$2m6G7",
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
            "plain-secret",
            "$2x$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234",
            "$2y$16$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234",
            "$2y$05$abcdefghijklmnopqrstuu",
            "$2y$+5$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234",
        ] {
            let text = format!("alice:{HASH}\nbob:{bad}\n");
            let error = Htpasswd::parse(&text).unwrap_err();
            assert!(error.starts_with(":2: the password of `bob`"), "{error}");
            assert!(!error.contains(bad), "{error}");
        }
        for (text, told) in [
            ("", "no user"),
            ("# only a comment\n", "no user"),
            ("nothing\n", ":1: no user and hash"),
            (&format!(":{HASH}\n"), ":1: "),
            (&format!("a b:{HASH}\n"), ":1: "),
            (&format!("a:{HASH}\na:{HASH}\n"), ":2: `a` is there twice"),
        ] {
            let error = Htpasswd::parse(text).unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }
}
