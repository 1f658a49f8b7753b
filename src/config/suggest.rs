//! What to write instead of an unknown key.

use std::collections::BTreeSet;

use super::env::PREFIX;
use super::tree::{Origin, Source};

/// The nearest of the known keys: one of the same table, else those of other tables that are called
/// the same, else one that nearly is; where there is none, what the table has.
pub(super) fn instead_of(unknown: &str, origin: &Origin, known: &BTreeSet<String>) -> String {
    let (table, _) = split(unknown);
    let siblings = || known.iter().filter(|key| split(key).0 == table);
    let one = |key| vec![key];
    let meant = nearest(unknown, siblings())
        .or_else(|| part(unknown, siblings()))
        .map(one)
        .or_else(|| namesakes(unknown, known))
        .or_else(|| nearest(unknown, known.iter()).map(one));
    if let Some(keys) = meant {
        let spelled: Vec<_> = keys.iter().map(|key| spelled(key, table, origin)).collect();
        return format!("did you mean {}?", spelled.join(" or "));
    }
    let names: Vec<_> = siblings().map(|key| split(key).1).collect();
    format!("known here are {}", names.join(", "))
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let distance = |key: &&String| strsim::damerau_levenshtein(unknown, key);
    let nearest = known.map(|key| (distance(&key), key)).min()?;
    // A third of the key's own name may be wrong; beyond that it is a guess.
    let bound = (split(unknown).1.len() / 3).clamp(1, 3);
    (nearest.0 <= bound).then_some(nearest.1.as_str())
}

/// The one key that has the unknown one's name as a part of its own, as `max_size` has `size`.
fn part<'a>(unknown: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let name = split(unknown).1;
    let mut with_it = known.filter(|key| split(key).1.split('_').any(|part| part == name));
    let first = with_it.next()?;
    with_it.next().is_none().then_some(first.as_str())
}

/// Keys of the same name in other tables, if there are few: those of tables within its own before the others.
fn namesakes<'a>(unknown: &str, known: &'a BTreeSet<String>) -> Option<Vec<&'a str>> {
    let (table, name) = split(unknown);
    let same = known.iter().filter(|key| split(key).1 == name);
    let same: Vec<_> = same.map(String::as_str).collect();
    let within = |key: &&&str| !table.is_empty() && key.starts_with(&format!("{table}."));
    let within: Vec<_> = same.iter().filter(within).copied().collect();
    let few = |keys: &Vec<&str>| (1..=3).contains(&keys.len());
    Some(within).filter(few).or(Some(same).filter(few))
}

/// A known key as the unknown one's source would write it.
fn spelled(key: &str, table: &str, origin: &Origin) -> String {
    let (key_table, name) = split(key);
    match &origin.source {
        Source::Environment(variable) if key_table == table && !table.is_empty() => {
            let head = variable
                .rsplit_once("__")
                .map_or(variable.as_str(), |(head, _)| head);
            format!("{head}__{}", name.to_uppercase())
        }
        Source::Environment(_) if !key.contains('*') => {
            format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
        }
        _ if key_table == table => format!("`{name}`"),
        _ => format!("`{key}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instead(unknown: &str, source: Source) -> String {
        let known = [
            "cache",
            "cache.dir",
            "cache.max_size",
            "tags.fresh_for",
            "upstreams.*.username",
            "upstreams.*.alias",
            "upstreams.*.tags.stale_for",
            "tags.stale_for",
            "admin.listen",
            "server.listen",
        ];
        let known = known.into_iter().map(String::from).collect();
        instead_of(unknown, &Origin::new(source), &known)
    }

    #[test]
    fn the_nearest_key_is_suggested() {
        for (unknown, expected) in [
            ("cache.max_sise", "did you mean `max_size`?"),
            ("cache.maxsize", "did you mean `max_size`?"),
            ("max_size", "did you mean `cache.max_size`?"),
            ("cach", "did you mean `cache`?"),
            ("server.fresh_for", "did you mean `tags.fresh_for`?"),
            ("upstreams.*.user_name", "did you mean `username`?"),
            ("cache.size", "did you mean `max_size`?"),
            ("listen", "did you mean `admin.listen` or `server.listen`?"),
            (
                "upstreams.*.stale_for",
                "did you mean `upstreams.*.tags.stale_for`?",
            ),
            ("cache.colour", "known here are dir, max_size"),
        ] {
            assert_eq!(instead(unknown, Source::Default), expected, "{unknown}");
        }
    }

    #[test]
    fn a_variable_is_suggested_for_a_variable() {
        for (name, unknown, expected) in [
            (
                "FOREBAY_CACHE__MAX_SISE",
                "cache.max_sise",
                "did you mean FOREBAY_CACHE__MAX_SIZE?",
            ),
            (
                "FOREBAY_CACHE_MAX_SIZE",
                "cache_max_size",
                "did you mean FOREBAY_CACHE__MAX_SIZE?",
            ),
            (
                "FOREBAY_UPSTREAMS__GHCR__USERNAM",
                "upstreams.*.usernam",
                "did you mean FOREBAY_UPSTREAMS__GHCR__USERNAME?",
            ),
        ] {
            assert_eq!(instead(unknown, Source::Environment(name.into())), expected);
        }
    }
}
