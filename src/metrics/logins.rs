//! What the logins of clients come to, at upstreams that let each of them see what is theirs.

use metrics::counter;

use super::label::{LoginOutcome, RightsOutcome};
use super::upstream::UpstreamName;

/// A client's login was shown to its upstream, for a token of the mirror's.
pub fn login(upstream: &UpstreamName, outcome: LoginOutcome) {
    counter!("forebay_logins_total",
        "upstream" => upstream.label(), "outcome" => outcome.as_str())
    .increment(1);
}

/// A client's login's right to a repository was checked upstream.
pub fn entitlement(upstream: &UpstreamName, outcome: RightsOutcome) {
    counter!("forebay_entitlement_checks_total",
        "upstream" => upstream.label(), "outcome" => outcome.as_str())
    .increment(1);
}
