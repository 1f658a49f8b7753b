//! What is remembered of what was served, and for how long.

use super::*;
use crate::oci::Algorithm;

const MINUTE: u64 = 60_000;
const NOON: u64 = 36 * HOUR;

fn digest(number: usize) -> Digest {
    Digest::of(Algorithm::Sha256, &number.to_le_bytes())
}

/// A manifest that refers to `count` digests.
fn references(number: usize, count: usize) -> Arc<References> {
    let digests = (0..count).map(|n| digest(1_000_000 + n));
    Arc::new(References::fake(digest(number), digests))
}

fn manifests(images: &[Image]) -> Vec<Digest> {
    images
        .iter()
        .map(|image| *image.references.manifest())
        .collect()
}

#[test]
fn the_last_one_served_comes_last_and_all_are_forgotten_after_their_hour() {
    let recent = Recent::default();
    recent.note(&references(1, 3), NOON);
    recent.note(&references(2, 3), NOON);
    recent.note(&references(1, 3), NOON + 30 * MINUTE);
    let now = recent.of_the_hour(NOON + 59 * MINUTE);
    assert_eq!(manifests(&now), [digest(2), digest(1)]);
    let now = recent.of_the_hour(NOON + 60 * MINUTE);
    assert_eq!(manifests(&now), [digest(1)]);
    assert!(recent.of_the_hour(NOON + 90 * MINUTE).is_empty());
    let state = lock(&recent.0);
    assert_eq!((state.weight, state.turns.len()), (0, 0));
}

#[test]
fn what_was_served_before_the_start_comes_before_what_was_served_since() {
    let recent = Recent::default();
    recent.note(&references(1, 3), NOON);
    for number in [1, 2, 3] {
        assert!(recent.restore(&references(number, 3), NOON));
    }
    let now = recent.of_the_hour(NOON);
    assert_eq!(manifests(&now), [digest(3), digest(2), digest(1)]);
    // Being restored is no use.
    assert_eq!(manifests(&recent.take_used()), [digest(1)]);
}

#[test]
fn a_serving_counts_as_a_use_once_an_hour() {
    let recent = Recent::default();
    let serve = |at| {
        recent.note(&references(1, 3), at);
        recent.take_used().len()
    };
    assert_eq!(serve(NOON), 1);
    assert_eq!(serve(NOON + 10 * MINUTE), 0);
    assert_eq!(serve(NOON + 60 * MINUTE), 1);
    assert_eq!(serve(NOON + 119 * MINUTE), 0);
    // A use that is due is not lost by another serving before it is taken.
    recent.note(&references(2, 3), NOON);
    recent.note(&references(2, 3), NOON + MINUTE);
    assert_eq!(recent.take_used().len(), 1);
    assert_eq!(recent.take_used().len(), 0);
}

#[test]
fn what_is_served_again_while_it_is_being_forgotten_stays() {
    let recent = Recent::default();
    recent.note(&references(1, 3), NOON);
    let seen = recent.of_the_hour(NOON);
    recent.note(&references(1, 3), NOON);
    recent.forget(seen[0].turn);
    let now = recent.of_the_hour(NOON);
    assert_eq!(manifests(&now), [digest(1)]);
    recent.forget(now[0].turn);
    assert!(recent.of_the_hour(NOON).is_empty());
}

/// Five manifests of 10,000 descriptors each, which anybody can push, emptied the guard for everybody.
#[test]
fn manifests_of_very_many_digests_push_out_each_other_and_no_images() {
    let recent = Recent::default();
    for number in 0..100 {
        recent.note(&references(number, 100), NOON);
    }
    for number in 100..120 {
        recent.note(&references(number, 9_000 + number), NOON);
    }
    let now = manifests(&recent.of_the_hour(NOON));
    let images: Vec<_> = (0..100).map(digest).collect();
    assert_eq!(now[..100], images);
    assert!((102..120).contains(&now.len()), "{}", now.len());
    assert!(lock(&recent.0).weight <= DIGESTS);
    // Nor do they end what a start restores.
    assert!(recent.restore(&references(200, 10_000), NOON));
    assert!(recent.restore(&references(201, 100), NOON));
    assert_eq!(manifests(&recent.of_the_hour(NOON))[0], digest(201));
}

#[test]
fn what_was_served_longest_ago_is_forgotten_when_there_is_too_much() {
    let recent = Recent::default();
    for number in 0..1_000 {
        recent.note(&references(number, 500), NOON);
    }
    let now = recent.of_the_hour(NOON);
    assert_eq!(manifests(&now[now.len() - 2..]), [digest(998), digest(999)]);
    assert!(lock(&recent.0).weight <= DIGESTS);
    assert!(now.len() >= DIGESTS / 500 - 1, "{}", now.len());
    // What was served before the start takes the place of nothing.
    assert!(!recent.restore(&references(2_000, 500), NOON));
    assert_eq!(recent.of_the_hour(NOON).len(), now.len());
    // Small ones are bounded too.
    for number in 0..100_000 {
        recent.note(&references(number, 0), NOON);
    }
    assert!(recent.of_the_hour(NOON).len() <= DIGESTS);
}
