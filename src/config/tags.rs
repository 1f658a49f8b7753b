//! How long tags are trusted: `[tags]`, and an upstream's overrides of it.

use std::time::Duration;

use super::read::{Inherited, inherit};
use super::section::{Reported, Section};
use super::tree::Node;
use super::units::print_duration;
use super::values::{duration, timeout};

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
    /// How long a tag is served, since it was last confirmed, while its upstream is in trouble.
    pub stale_for: Duration,
    /// How long a 404 is remembered.
    pub negative_for: Duration,
    /// How long a client waits for the upstream's word on a tag that is due, where the old answer may be served.
    pub confirm_wait: Duration,
}

/// `[tags]`, or an upstream's overrides of it.
pub(super) fn tag_policy(
    section: &Section<'_>,
    inherited: Inherited<TagPolicy>,
) -> Result<TagPolicy, Reported> {
    let get = |key, of| inherit(section, key, inherited, of, duration);
    let fresh_for = get("fresh_for", |tags| tags.fresh_for);
    let stale_while_revalidate = get("stale_while_revalidate", |tags| tags.stale_while_revalidate);
    let stale_for = get("stale_for", |tags| tags.stale_for);
    let negative_for = get("negative_for", |tags| tags.negative_for);
    let confirm_wait = inherit(
        section,
        "confirm_wait",
        inherited,
        |tags| tags.confirm_wait,
        wait,
    );
    section.finish();
    Ok(TagPolicy {
        fresh_for: fresh_for?,
        stale_while_revalidate: stale_while_revalidate?,
        stale_for: stale_for?,
        negative_for: negative_for?,
        confirm_wait: confirm_wait?,
    })
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
