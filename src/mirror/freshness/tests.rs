//! What a policy makes of a record, by table and by property.

use proptest::prelude::*;

use super::*;
use crate::oci::{Algorithm, Descriptor, Digest, media_type};
use crate::store::Audience;

pub(super) const MINUTE: Duration = Duration::from_mins(1);

pub(super) fn policy() -> TagPolicy {
    TagPolicy {
        fresh_for: MINUTE,
        stale_while_revalidate: MINUTE,
        stale_for: 10 * MINUTE,
        negative_for: Duration::from_secs(10),
        confirm_wait: Duration::from_secs(2),
        keep_deleted: false,
        immutable: false,
    }
}

fn at_age(age: Duration) -> Decision {
    let confirmed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    decide(confirmed + age, confirmed, &policy())
}

fn just_before(age: Duration) -> Duration {
    age.saturating_sub(Duration::from_nanos(1))
}

#[test]
fn a_record_ages_through_every_decision() {
    assert_eq!(at_age(Duration::ZERO), Decision::Fresh);
    assert_eq!(at_age(just_before(MINUTE)), Decision::Fresh);
    assert_eq!(at_age(MINUTE), Decision::ServeAndRefresh);
    assert_eq!(at_age(just_before(2 * MINUTE)), Decision::ServeAndRefresh);
    assert_eq!(at_age(2 * MINUTE), Decision::ConfirmOrStale);
    assert_eq!(at_age(just_before(11 * MINUTE)), Decision::ConfirmOrStale);
    assert_eq!(at_age(11 * MINUTE), Decision::ConfirmOnly);
}

/// `stale_for` counted from the last confirmation. A rule that trusts releases for 7 days, as the documentation has it, left
/// nothing of the 7 days that a tag may be stale by default: with its upstream down a week later no such tag was served.
#[test]
fn a_tag_that_is_trusted_for_days_may_be_stale_for_as_long_as_any_other() {
    let day = 24 * 60 * MINUTE;
    let policy = TagPolicy {
        fresh_for: 7 * day,
        stale_while_revalidate: Duration::ZERO,
        stale_for: 7 * day,
        ..policy()
    };
    let at = SystemTime::UNIX_EPOCH;
    for (age, expected) in [
        (just_before(7 * day), Decision::Fresh),
        (7 * day, Decision::ConfirmOrStale),
        (just_before(14 * day), Decision::ConfirmOrStale),
        (14 * day, Decision::ConfirmOnly),
    ] {
        assert_eq!(decide(at + age, at, &policy), expected, "{age:?}");
    }
    let never = TagPolicy {
        stale_for: Duration::ZERO,
        ..policy
    };
    assert_eq!(decide(at + 7 * day, at, &never), Decision::ConfirmOnly);
}

#[test]
fn a_record_from_the_future_is_due() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let future = now + 1_000_000 * MINUTE;
    assert_eq!(decide(now, future, &policy()), Decision::ConfirmOrStale);
    assert_eq!(stale_age(now, future), Duration::ZERO);
}

#[test]
fn an_immutable_tag_is_fresh_whenever_it_was_confirmed() {
    let policy = TagPolicy {
        immutable: true,
        ..policy()
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for at in [SystemTime::UNIX_EPOCH, now, now + MINUTE] {
        assert_eq!(decide(now, at, &policy), Decision::Fresh);
    }
}

#[test]
fn a_deleted_tag_is_kept_where_that_is_wanted_while_it_could_be_stale_and_never_after_a_refusal() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let outlives = |keep_deleted, refused, age| {
        let policy = TagPolicy {
            keep_deleted,
            ..policy()
        };
        let record = TagRecord {
            descriptor: Descriptor::new(
                media_type::OCI_MANIFEST,
                Digest::of(Algorithm::Sha256, b""),
                0,
            ),
            confirmed_at: now - age,
            refused,
            audience: Audience::Everyone,
        };
        outlives_deletion(now, &record, &policy)
    };
    let old = 11 * MINUTE;
    let young = old.saturating_sub(Duration::from_nanos(1));
    assert!(outlives(true, false, young) && outlives(true, false, Duration::ZERO));
    assert!(!outlives(true, false, old));
    assert!(!outlives(false, false, young));
    assert!(!outlives(true, true, young));
}

/// From more trust to less, as a record ages.
fn rank(decision: Decision) -> u8 {
    match decision {
        Decision::Fresh => 0,
        Decision::ServeAndRefresh => 1,
        Decision::ConfirmOrStale => 2,
        Decision::ConfirmOnly => 3,
    }
}

fn policies() -> impl Strategy<Value = TagPolicy> {
    (0..200_u64, 0..200_u64, 0..400_u64).prop_map(|(fresh, revalidate, stale)| TagPolicy {
        fresh_for: Duration::from_secs(fresh),
        stale_while_revalidate: Duration::from_secs(revalidate),
        stale_for: Duration::from_secs(stale),
        ..policy()
    })
}

proptest! {
    #[test]
    fn trust_only_fades_with_age(policy in policies(), ages in prop::array::uniform2(0..1_000_u64)) {
        let at = SystemTime::UNIX_EPOCH;
        let mut ages = ages.map(Duration::from_secs);
        ages.sort();
        let [younger, older] = ages.map(|age| rank(decide(at + age, at, &policy)));
        prop_assert!(younger <= older);
    }

    #[test]
    fn nothing_is_served_unasked_or_stale_beyond_what_the_policy_allows(
        policy in policies(), age in 0..1_000_u64,
    ) {
        let (at, age) = (SystemTime::UNIX_EPOCH, Duration::from_secs(age));
        let decision = decide(at + age, at, &policy);
        prop_assert_eq!(decision == Decision::Fresh, age < policy.fresh_for);
        let unasked = policy.fresh_for + policy.stale_while_revalidate;
        prop_assert_eq!(rank(decision) <= 1, age < unasked);
        let stale = policy.fresh_for + policy.stale_for;
        prop_assert_eq!(rank(decision) <= 2, age < unasked.max(stale));
    }
}

#[test]
fn durations_at_their_limits_do_not_overflow() {
    let policy = TagPolicy {
        fresh_for: Duration::MAX,
        stale_while_revalidate: Duration::MAX,
        stale_for: Duration::MAX,
        negative_for: Duration::MAX,
        confirm_wait: Duration::MAX,
        ..policy()
    };
    let confirmed = SystemTime::UNIX_EPOCH;
    assert_eq!(
        decide(confirmed + MINUTE, confirmed, &policy),
        Decision::Fresh
    );
}

#[test]
fn trouble_is_forgotten_after_some_seconds() {
    let seen = Instant::now();
    assert!(in_trouble(seen, seen));
    assert!(in_trouble(seen + TROUBLE / 2, seen));
    assert!(!in_trouble(seen + TROUBLE, seen));
    assert!(
        in_trouble(seen, seen + TROUBLE),
        "another thread saw it later"
    );
}
