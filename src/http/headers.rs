//! A request's header fields, and which of them are worth a look.
//!
//! Most requests have none but where they go, who sends them, and what their client takes. Each look for another one hashes
//! its name, and there are a dozen of them before a hit goes out; one pass over those that are there says that none of these
//! looks would find anything.

use std::sync::LazyLock;

use http::HeaderMap;

static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// The header fields of one request.
#[derive(Clone, Copy)]
pub(super) struct Headers<'a> {
    /// As they came.
    pub(super) all: &'a HeaderMap,
    /// To look for what few requests have: all of them, or none where there is nothing but what most have.
    pub(super) notable: &'a HeaderMap,
}

impl<'a> Headers<'a> {
    pub(super) fn of(all: &'a HeaderMap) -> Self {
        let are_usual = all.keys().all(|name| is_usual(name.as_str()));
        Self::known(all, are_usual)
    }

    /// Those of which it is known whether they are what most requests have.
    pub(super) fn known(all: &'a HeaderMap, are_usual: bool) -> Self {
        let notable = if are_usual { &NONE } else { all };
        Self { all, notable }
    }

    /// Whether there is nothing but what most requests have.
    pub(super) fn are_usual(&self) -> bool {
        self.notable.is_empty()
    }
}

/// Whether nearly all clients send it. Whoever wants to know one of these looks among all.
fn is_usual(name: &str) -> bool {
    matches!(
        name,
        "host" | "user-agent" | "accept" | "accept-encoding" | "connection"
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, RANGE, USER_AGENT};

    use super::*;

    fn lines(names: &[HeaderName]) -> HeaderMap {
        let value = HeaderValue::from_static("x");
        names
            .iter()
            .map(|name| (name.clone(), value.clone()))
            .collect()
    }

    #[test]
    fn one_field_that_few_requests_have_makes_all_worth_a_look() {
        let usual = lines(&[HOST, USER_AGENT, ACCEPT]);
        let headers = Headers::of(&usual);
        assert!(headers.are_usual() && headers.all.contains_key(HOST));
        let other = HeaderName::from_static("x-forwarded-for");
        for notable in [AUTHORIZATION, RANGE, other] {
            let lines = lines(&[HOST, USER_AGENT, notable.clone()]);
            let headers = Headers::of(&lines);
            assert!(!headers.are_usual() && headers.notable.contains_key(&notable));
        }
    }
}
