//! Reads a password file as `htpasswd -B` writes it: a user and a bcrypt hash a line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bcrypt::HashParts;

use crate::config::values::file;

/// The costs that are taken. A check at the highest takes some seconds; beyond, one login would keep a core busy for longer
/// than any client waits.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;

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

    /// The same of one that counted before. Where nobody is left in it, it is nobody that may log in.
    pub fn read_again(path: &Path) -> Result<Self, String> {
        let users = users(&file(path)?);
        users.map_err(|message| format!("{}{message}", path.display()))
    }

    /// The hash of a user's password.
    pub fn hash_of(&self, user: &str) -> Option<&PasswordHash> {
        self.0.get(user)
    }

    /// The users.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Those of all users.
    pub fn costs(&self) -> impl Iterator<Item = u32> {
        self.0.values().map(PasswordHash::cost)
    }

    /// What an operator should know of them.
    pub(in crate::config) fn warning(&self) -> Option<String> {
        let (least, most) = (self.costs().min()?, self.costs().max()?);
        (least < most).then(|| {
            format!(
                "some passwords are hashed at a cost of {least}, others at up to {most}, so that the time of a check says \
                 something of whose they are: write them at one cost, with `htpasswd -B -C {most}`"
            )
        })
    }

    pub(in crate::config) fn parse(text: &str) -> Result<Self, String> {
        let users = users(text)?;
        if users.0.is_empty() {
            return Err(" has no user in it: add one with `htpasswd -B`".into());
        }
        Ok(users)
    }
}

fn users(text: &str) -> Result<Htpasswd, String> {
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
    Ok(Htpasswd(Arc::new(users)))
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

/// `$2y$10$...`, or with `2a` or `2b`, which are the same but for whose mistakes they have left behind. Held to what a check
/// will take it for: one that it can't read would be wrong for every password, and nobody would be told why.
fn bcrypt(text: &str) -> Option<PasswordHash> {
    let prefix = ["$2y$", "$2b$", "$2a$"];
    let rest = prefix.iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let (cost, _) = rest.split_once('$')?;
    let digits = cost.bytes().all(|byte| byte.is_ascii_digit());
    let parts: HashParts = text.parse().ok()?;
    let cost = parts.get_cost();
    (digits && COSTS.contains(&cost)).then(|| PasswordHash {
        text: text.to_owned(),
        cost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01236";

    #[test]
    fn users_are_read_as_htpasswd_writes_them() {
        let text = format!("# people\nalice:{HASH}\n\nbob:{HASH}\r\n");
        let read = Htpasswd::parse(&text).unwrap();
        assert_eq!(read.users().collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(read.hash_of("bob").unwrap().expose(), HASH);
        assert_eq!(read.costs().collect::<Vec<_>>(), [5, 5]);
        assert!(!format!("{read:?}").contains("abcdef"));
    }

    #[test]
    fn what_is_not_bcrypt_is_told_with_its_line_and_without_its_hash() {
        for bad in [
            "$apr1$4x0lbqYs$2m6G7",
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
            "plain-secret",
            "$2x$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01236",
            "$2y$16$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01236",
            "$2y$05$abcdefghijklmnopqrstuu",
            // No encoder ends the last character like this.
            "$2y$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01237",
            "$2y$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz0123=",
            "$2y$+5$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01236",
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
