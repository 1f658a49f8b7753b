//! How long tags are trusted: `[tags]`, and an upstream's overrides of it.

use std::time::Duration;

use super::read::{Inherited, inherit};
use super::section::{Reported, Section};
use super::tree::Node;
use super::units::print_duration;
use super::values::{boolean, duration, timeout};

/// The longest that a client may be kept waiting where there is something to serve: some give up on a response after
/// 30 s.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How long a tag is trusted, and what becomes of it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagPolicy {
    /// How long a tag is served without asking its upstream.
    pub fresh_for: Duration,
    /// How long beyond that it is served while the upstream is being asked.
    pub stale_while_revalidate: Duration,
    /// How long beyond `fresh_for` a tag is served while its upstream is in trouble.
    pub stale_for: Duration,
    /// How long a 404 is remembered.
    pub negative_for: Duration,
    /// How long a client waits for the upstream's word on a tag that is due, where the old answer may be served.
    pub confirm_wait: Duration,
    /// Whether a tag that its upstream says is gone is served for as long as one whose upstream is in trouble.
    pub keep_deleted: bool,
    /// Whether it never changes: once it is stored nobody is asked for it again. A matter of rules alone.
    pub immutable: bool,
}

/// `[tags]`, or an upstream's overrides of it.
pub(super) fn tag_policy(
    section: &Section<'_>,
    inherited: Inherited<TagPolicy>,
) -> Result<TagPolicy, Reported> {
    let confirm_wait = inherit(
        section,
        "confirm_wait",
        inherited,
        |tags| tags.confirm_wait,
        wait,
    );
    let policy = policy(section, inherited, confirm_wait);
    section.finish();
    policy
}

/// A rule's own keys, before those that its upstream gives.
pub(super) fn rule_policy(
    section: &Section<'_>,
    inherited: Result<TagPolicy, Reported>,
) -> Result<TagPolicy, Reported> {
    let confirm_wait = inherited.map(|tags| tags.confirm_wait);
    policy(section, Some(inherited), confirm_wait)
}

/// What the tables for many tags have in common with rules.
fn policy(
    section: &Section<'_>,
    inherited: Inherited<TagPolicy>,
    confirm_wait: Result<Duration, Reported>,
) -> Result<TagPolicy, Reported> {
    let get = |key, of| inherit(section, key, inherited, of, duration);
    let fresh_for = get("fresh_for", |tags| tags.fresh_for);
    let stale_while_revalidate = get("stale_while_revalidate", |tags| tags.stale_while_revalidate);
    let stale_for = get("stale_for", |tags| tags.stale_for);
    let negative_for = get("negative_for", |tags| tags.negative_for);
    let keep_deleted = inherit(
        section,
        "keep_deleted",
        inherited,
        |tags| tags.keep_deleted,
        boolean,
    );
    let policy = TagPolicy {
        fresh_for: fresh_for?,
        stale_while_revalidate: stale_while_revalidate?,
        stale_for: stale_for?,
        negative_for: negative_for?,
        confirm_wait: confirm_wait?,
        keep_deleted: keep_deleted?,
        immutable: false,
    };
    if policy.keep_deleted && policy.stale_for.is_zero() && section.has("keep_deleted") {
        let message = "a deleted tag is kept for `stale_for`, which is \"0s\": write a longer one, or false here";
        return Err(section.complain("keep_deleted", message.into()));
    }
    Ok(policy)
}

fn wait(node: &Node) -> Result<Duration, String> {
    match timeout(node)? {
        wait if wait <= LONGEST_WAIT => Ok(wait),
        _ => Err(format!(
            "some clients give up on a response after 30 s: write at most \"{}\"",
            print_duration(LONGEST_WAIT)
        )),
    }
}
