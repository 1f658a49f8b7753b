//! Reads `[upstreams]`, one table a registry or family.

use std::collections::HashMap;
use std::path::Path;

use url::Url;

use super::certificates::{self, Shown, ca_file};
use super::credentials::{self, Asked};
use super::env::variable_word;
use super::globs::{Globs, Pulls};
use super::passthrough;
use super::pattern::RegistryPattern;
use super::proxy;
use super::read::timeouts;
use super::section::{Reported, Section};
use super::tag_rules;
use super::tags::{TagPolicy, tag_policy};
use super::types::{Timeouts, Upstream};
use super::values::{alias, boolean, count, endpoint, host, host_and_port, quota, text};
use crate::oci::Registry;

/// What an upstream takes from the tables for all, where it says nothing.
#[derive(Clone, Copy)]
pub(super) struct Inherited<'a> {
    /// The keys of all.
    pub(super) registries: &'a [RegistryPattern],
    /// Where docker or podman keep the user's logins.
    pub(super) user_logins: Option<&'a Path>,
    pub(super) tags: Result<TagPolicy, Reported>,
    pub(super) timeouts: Result<Timeouts, Reported>,
    pub(super) max_connections: Result<usize, Reported>,
}

/// What `[upstreams]` says.
pub(super) struct Upstreams {
    /// All of them, if each is right. Those with `enabled = false` are checked and left out.
    pub(super) all: Result<Vec<Upstream>, Reported>,
    /// Their keys, whatever else is wrong with them.
    pub(super) registries: Vec<RegistryPattern>,
    /// The keys of those that are left out, too.
    pub(super) keys: Vec<RegistryPattern>,
    /// The keys of those that are left out.
    pub(super) disabled: Vec<RegistryPattern>,
}

/// Reads every table.
pub(super) fn read(section: &Section<'_>, inherited: Inherited<'_>) -> Upstreams {
    let tables = section.named_tables();
    let keys: Vec<_> = tables.iter().flat_map(|(key, _)| key.parse()).collect();
    let mut read = Upstreams {
        all: Ok(Vec::new()),
        registries: Vec::new(),
        keys: keys.clone(),
        disabled: Vec::new(),
    };
    let mut claims = Vec::new();
    let inherited = Inherited {
        registries: &keys,
        ..inherited
    };
    for (key, table) in &tables {
        let registry = key
            .parse::<RegistryPattern>()
            .map_err(|message| table.complain_of_all(message));
        let enabled = table.optional("enabled", boolean);
        let upstream = upstream(key, registry.clone(), table, inherited, &mut claims);
        match (enabled, upstream) {
            (Ok(Some(false)), Ok(off)) => {
                claims.retain(|claim| claim.key != *key);
                read.disabled.push(off.registry);
            }
            (Ok(_), Ok(upstream)) => read.push(upstream),
            (Err(reported), _) | (_, Err(reported)) => read.all = Err(reported),
        }
        if let (Ok(registry), Ok(None | Some(true))) = (registry, enabled) {
            if let Some(other) = read.same_as(&registry) {
                let message = format!("this is the same registry as `{other}`: write one table");
                read.all = Err(table.complain_of_all(message));
            }
            read.registries.push(registry);
        }
        table.finish();
    }
    section.finish();
    for checked in [check_keys(&tables, &claims), check_claims(claims)] {
        if let Err(reported) = checked {
            read.all = Err(reported);
        }
    }
    read
}

impl Upstreams {
    /// The one that is the same registry by another of its names. What the table of one denies, that of the other would give.
    fn same_as(&self, registry: &RegistryPattern) -> Option<&Registry> {
        let of_one = self
            .registries
            .iter()
            .filter(|_| registry.exact().is_some());
        let mut others = of_one.filter_map(RegistryPattern::exact);
        others.find(|other| registry.matches(other))
    }

    fn push(&mut self, upstream: Upstream) {
        if let Ok(all) = &mut self.all {
            all.push(upstream);
        }
    }
}

/// A name by which clients or variables are to find an upstream.
struct Claim<'a> {
    table: &'a Section<'a>,
    /// The upstream's key.
    key: &'a str,
    /// `hosts` or `alias`.
    word: &'static str,
    name: String,
    /// The name as far as it has to differ from others.
    folded: String,
}

/// No table is called as another one's registry is by its alias: that one was meant.
fn check_keys(tables: &[(&str, Section<'_>)], claims: &[Claim<'_>]) -> Result<(), Reported> {
    let mut reported = Ok(());
    for (key, table) in tables {
        let alias = |claim: &&Claim<'_>| claim.word == "alias" && claim.name == *key;
        if let Some(claim) = claims.iter().filter(alias).find(|it| it.key != *key) {
            let other = claim.key;
            let message = format!("this is the alias of `{other}`: write [upstreams.\"{other}\"]");
            reported = Err(table.complain_of_all(message));
        }
    }
    reported
}

/// No name means two upstreams. The later source is told, since the earlier might be the default.
fn check_claims(mut claims: Vec<Claim<'_>>) -> Result<(), Reported> {
    claims.sort_by_key(|claim| {
        let origin = claim.table.origin(claim.word);
        (origin.source.clone(), origin.line)
    });
    let mut taken = HashMap::new();
    let mut reported = Ok(());
    for claim in &claims {
        if let Some(other) = taken.insert((claim.word, &claim.folded), claim.key) {
            let message = format!(
                "`{}` already means `{other}`: write each name once",
                claim.name
            );
            reported = Err(claim.table.complain(claim.word, message));
        }
    }
    reported
}

fn upstream<'a>(
    key: &'a str,
    registry: Result<RegistryPattern, Reported>,
    table: &'a Section<'a>,
    inherited: Inherited<'_>,
    claims: &mut Vec<Claim<'a>>,
) -> Result<Upstream, Reported> {
    let endpoints = endpoints(table, registry.as_ref().ok());
    let hosts = hosts(table, registry.as_ref().ok());
    let alias = table.optional("alias", alias);
    let trusted_realms = table.list("trusted_realms", host_and_port);
    let asked = Asked {
        registry: registry.as_ref().ok(),
        endpoints: endpoints.as_deref().ok(),
        trusted_realms: trusted_realms.as_deref().ok(),
    };
    let credentials = credentials::read(table, &asked, inherited.user_logins);
    let passthrough =
        passthrough::read(table, endpoints.as_deref().ok(), credentials.as_ref().ok());
    let globs = |key| globs(table, key, registry.as_ref().ok(), inherited.registries);
    let public = globs("public");
    let pulls = pulls(table, globs);
    let allow_private = table.optional("allow_private", boolean);
    let ca_file = table.optional("ca_file", ca_file);
    let proxy = proxy::read(table);
    let shown = Shown {
        registry: registry.as_ref().ok(),
        endpoints: endpoints.as_deref().ok(),
        proxy: proxy.as_ref().ok(),
    };
    let client_certificate = certificates::client(table, &shown);
    let max_connections = table.optional("max_connections", count(1..=10_000));
    let timeouts = timeouts(&table.table("timeouts"), Some(inherited.timeouts));
    let tags = tag_policy(&table.table("tags"), Some(inherited.tags));
    let tag_rules = tag_rules::read(table, tags);
    let quota = table.optional("quota", quota);
    let read_quota = table.optional("read_quota", boolean);
    let claim = |word, name: &String, folded| Claim {
        table,
        key,
        word,
        name: name.clone(),
        folded,
    };
    claims.extend(
        hosts
            .iter()
            .flatten()
            .map(|host| claim("hosts", host, host.clone())),
    );
    claims.extend(
        alias
            .iter()
            .flatten()
            .map(|alias| claim("alias", alias, variable_word(alias))),
    );
    Ok(Upstream {
        registry: registry?,
        endpoints: endpoints?,
        hosts: hosts?,
        alias: alias?,
        credentials: credentials?,
        public: public?,
        pulls: pulls?,
        allow_private: allow_private?.unwrap_or(false),
        trusted_realms: trusted_realms?,
        ca_file: ca_file?,
        client_certificate: client_certificate?,
        proxy: proxy?,
        max_connections: max_connections?.map_or(inherited.max_connections, Ok)?,
        timeouts: timeouts?,
        tags: tags?,
        tag_rules: tag_rules?,
        quota: quota?,
        read_quota: read_quota?.unwrap_or(true),
        passthrough: passthrough?,
    })
}

fn endpoints(
    section: &Section<'_>,
    registry: Option<&RegistryPattern>,
) -> Result<Vec<Url>, Reported> {
    let endpoints = section.list("endpoints", endpoint)?;
    match registry.map(RegistryPattern::exact) {
        Some(Some(registry)) if endpoints.is_empty() => {
            let url = Url::parse(&format!("https://{registry}"));
            let url = url.map_err(|error| {
                section.complain("endpoints", format!("there is no default one: {error}"))
            })?;
            Ok(vec![url])
        }
        Some(None) if !endpoints.is_empty() => {
            let message =
                "a family of registries has no endpoints: each is fetched from its own host";
            Err(section.complain("endpoints", message.into()))
        }
        _ => Ok(endpoints),
    }
}

fn hosts(
    section: &Section<'_>,
    registry: Option<&RegistryPattern>,
) -> Result<Vec<String>, Reported> {
    let hosts = section.list("hosts", host)?;
    if registry.is_some_and(|registry| registry.exact().is_none()) && !hosts.is_empty() {
        let message = "a host cannot stand for a family of registries: write a table for the one that it means";
        return Err(section.complain("hosts", message.into()));
    }
    Ok(hosts)
}

fn globs(
    section: &Section<'_>,
    key: &str,
    registry: Option<&RegistryPattern>,
    known: &[RegistryPattern],
) -> Result<Globs, Reported> {
    let set = |patterns: &[String]| Globs::of_registry(patterns, registry, known);
    let patterns = section.list(key, |node| {
        let pattern = text(node)?.to_owned();
        set(std::slice::from_ref(&pattern)).map(|_| pattern)
    })?;
    set(&patterns).map_err(|message| section.complain(key, message))
}

/// An `allow` that is written and empty allows nothing.
fn pulls(
    section: &Section<'_>,
    globs: impl Fn(&'static str) -> Result<Globs, Reported>,
) -> Result<Pulls, Reported> {
    let (allow, deny) = (globs("allow"), globs("deny"));
    Ok(Pulls {
        allow: section.has("allow").then_some(allow?),
        deny: deny?,
    })
}
