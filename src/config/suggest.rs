//! What to write instead of an unknown key.

use std::collections::BTreeSet;

use super::env::PREFIX;
use super::tree::{Origin, Source};

/// The nearest of the known keys: one of the same table, else one of any table that is called the
/// same or nearly so; where there is none, what the table has.
pub(super) fn instead_of(unknown: &str, origin: &Origin, known: &BTreeSet<String>) -> String {
    let (table, _) = split(unknown);
    let siblings = || known.iter().filter(|key| split(key).0 == table);
    let nearest = nearest(unknown, siblings())
        .or_else(|| namesake(unknown, known))
        .or_else(|| nearest(unknown, known.iter()));
    if let Some(key) = nearest {
        return format!("did you mean {}?", spelled(key, table, origin));
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

/// A key of the same name in another table, if there is only one.
fn namesake<'a>(unknown: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    let mut same = known.iter().filter(|key| split(key).1 == split(unknown).1);
    same.next()
        .filter(|_| same.next().is_none())
        .map(String::as_str)
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
