//! Reads whether each client logs in to an upstream for itself: `access` and `grant_for`.

use std::time::Duration;

use url::Url;

use super::section::{Reported, Section};
use super::types::Credentials;
use super::units::print_duration;
use super::values::{timeout, word};

/// How long it is believed what a client's login may see, unless something else is said.
const GRANT_FOR: Duration = Duration::from_mins(5);
/// The longest that it may be believed: a right that is withdrawn is good for so long.
const MOST: Duration = Duration::from_hours(1);

/// `access`, and whether each client logs in for itself.
pub(super) const ACCESS: [(&str, bool); 2] = [("mirror", false), ("passthrough", true)];

/// For how long a login's rights are believed; `None` where the mirror's own login is everybody's.
pub(super) fn read(
    section: &Section<'_>,
    endpoints: Option<&[Url]>,
    credentials: Option<&Credentials>,
) -> Result<Option<Duration>, Reported> {
    let passes = section.optional("access", |node| word(&ACCESS, node));
    let grant_for = section.optional("grant_for", |node| match timeout(node)? {
        long if long > MOST => Err(format!(
            "a right that is withdrawn would be good for so long: write at most \"{}\"",
            print_duration(MOST)
        )),
        grant_for => Ok(grant_for),
    });
    let (passes, grant_for) = (passes?, grant_for?);
    if passes != Some(true) {
        return Ok(None);
    }
    if credentials.is_some_and(|credentials| *credentials != Credentials::None) {
        let message =
            "each client logs in for itself: leave out `credentials`, `username` and the password";
        return Err(section.complain("access", message.into()));
    }
    if section.has("client_cert") {
        let message = "`client_cert` is a login of the mirror's own, and each client logs in for itself: write one or the other";
        return Err(section.complain("access", message.into()));
    }
    if endpoints.is_some_and(|endpoints| endpoints.len() > 1) {
        let message = "only the registry itself can say who may see what: write one endpoint";
        return Err(section.complain("endpoints", message.into()));
    }
    Ok(Some(grant_for.unwrap_or(GRANT_FOR)))
}
