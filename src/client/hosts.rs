//! containerd's `hosts.toml`: one registry's hosts, asked in the order of the file.

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::block::{self, line_starts};
use super::edit::{Edit, Known, Refusal, parse_toml};

/// Our host in a `hosts.toml`.
#[derive(Debug)]
pub(super) struct Hosts {
    /// The mirror's URL.
    pub(super) mirror: String,
    /// The path of the mirror's certificate authority.
    pub(super) ca: Option<String>,
    /// Where containerd goes after all hosts; `None` leaves it to the image's name.
    pub(super) server: Option<String>,
    /// Lines about the server's certificates.
    pub(super) trust: String,
    /// Whether it is to go nowhere but to the mirror.
    pub(super) only: bool,
}

impl Hosts {
    fn host(&self) -> String {
        let ca = self.ca.as_ref().map(|path| format!("  ca = \"{path}\"\n"));
        format!(
            "[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{}",
            self.mirror,
            ca.unwrap_or_default()
        )
    }

    fn server(&self) -> String {
        let line = |server: &String| format!("server = \"{server}\"\n");
        self.server.as_ref().map(line).unwrap_or_default()
    }

    fn body(&self) -> String {
        self.server() + &self.trust + &self.host()
    }

    /// Our lines beside those of somebody else.
    fn body_beside(&self, others: &Table) -> Result<String, Refusal> {
        if !others.contains_key("server") {
            return Ok(self.body());
        }
        self.check_server(others)?;
        Ok(self.host())
    }

    /// Where there is to be no fallback, containerd may have nothing but the mirror to go to after all hosts; without a
    /// `server` that is the registry itself.
    fn check_server(&self, others: &Table) -> Result<(), Refusal> {
        let server = others.get("server").and_then(Value::as_str);
        if !self.only || server.is_some_and(|server| same(server, &self.mirror)) {
            return Ok(());
        }
        let refusal = if others.contains_key("server") {
            Refusal::new(
                "has a `server` that is not the mirror, and --no-fallback leaves containerd nowhere else to go",
                "put this line in its place",
            )
        } else {
            Refusal::new(
                "has no `server`, without which containerd goes to the registry itself after all hosts",
                "put this line before all tables",
            )
        };
        Err(refusal.add(self.server()))
    }

    /// Whether `text` says what `others` says, and our host before its hosts.
    fn holds(&self, text: &str, others: &Table, body: &str) -> bool {
        let (Ok(found), Ok(mut wanted)) = (text.parse::<Table>(), body.parse::<Table>()) else {
            return false;
        };
        add(&mut wanted, others);
        found == wanted && order(text).first() == Some(&self.mirror)
    }
}

impl Edit for Hosts {
    fn fresh(&self) -> String {
        block::wrap(&self.body())
    }

    fn merge(&self, existing: &str) -> Result<String, Refusal> {
        let split = block::split(existing)?;
        let rest = split.rest();
        let others = parse_toml(&rest)?;
        if others.is_empty() {
            return Ok(split.with(&self.fresh()));
        }
        let body = self.body_beside(&others)?;
        let block = block::wrap(&body);
        let in_place = split.body.is_some().then(|| split.with(&block));
        let hosts = others.get("host").and_then(Value::as_table);
        let mine = hosts.and_then(|hosts| hosts.get(&self.mirror)?.as_table());
        // A table of our host that stands after our block, such as its `header`.
        if mine.is_some_and(|table| table.values().all(Value::is_table))
            && let Some(text) = &in_place
            && self.holds(text, &others, &body)
        {
            return Ok(text.clone());
        }
        if hosts.is_some_and(|hosts| hosts.keys().any(|host| same(host, &self.mirror))) {
            if order(&rest)
                .first()
                .is_some_and(|host| same(host, &self.mirror))
            {
                self.check_server(&others)?;
                return Ok(rest);
            }
            return Err(Refusal::new(
                format!("has [host.\"{}\"] after another host", self.mirror),
                "move it before the others, which are asked in the order of the file",
            ));
        }
        let mut places = in_place.into_iter().chain(before_tables(&rest, &block));
        places
            .find(|text| self.holds(text, &others, &body))
            .ok_or_else(|| {
                let refusal = Refusal::new(
                    "is written in a way that forebay does not change",
                    "add this to it yourself, before all other tables",
                );
                refusal.add(body)
            })
    }

    fn remove(&self, current: &str, _: Known<'_>) -> Result<String, Refusal> {
        block::split(current).map(|split| split.rest())
    }
}

/// Adds what others say to what we say, table by table.
fn add(ours: &mut Table, theirs: &Table) {
    for (key, value) in theirs {
        match (ours.get_mut(key), value) {
            (Some(Value::Table(ours)), Value::Table(theirs)) => add(ours, theirs),
            _ => drop(ours.insert(key.clone(), value.clone())),
        }
    }
}

/// URLs of hosts are the same with and without a slash at their end.
fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// The hosts of a file, in its order.
fn order(text: &str) -> Vec<String> {
    let Ok(table) = DeTable::parse(text) else {
        return Vec::new();
    };
    let Some(DeValue::Table(hosts)) = table.get_ref().get("host").map(toml::Spanned::get_ref)
    else {
        return Vec::new();
    };
    let mut hosts: Vec<_> = hosts
        .keys()
        .map(|host| (host.span().start, host.get_ref().to_string()))
        .collect();
    hosts.sort();
    hosts.into_iter().map(|(_, host)| host).collect()
}

/// A text with `block` before the first line that looks like a table's header, with the comment above it; and so on for
/// each further such line, and at last at the end. Whoever asks checks what it means: a line in a string looks the same.
fn before_tables<'a>(text: &'a str, block: &'a str) -> impl Iterator<Item = String> + 'a {
    let headers = line_starts(text).filter(|at| text[*at..].trim_start().starts_with('['));
    let places = headers.map(|at| above_comments(text, at));
    let gap = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let at_end = std::iter::once_with(move || format!("{text}{gap}{block}"));
    places
        .map(move |at| format!("{}{block}{}", &text[..at], &text[at..]))
        .chain(at_end)
}

/// Where the comment lines begin that stand directly before the line at `at`.
fn above_comments(text: &str, at: usize) -> usize {
    let before = &text[..at];
    let lines = before.split_inclusive('\n').rev();
    let comments = lines.take_while(|line| line.trim_start().starts_with('#'));
    at - comments.map(str::len).sum::<usize>()
}
