//! What an answer to `GET /v2/` says: whether a registry has given it, what login it asks for, and what time it is there.
//!
//! Pure.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{AGE, CONTENT_TYPE, DATE, HeaderMap};
use url::Url;

use super::reach::Ping;
use super::{Finding, Step};
use crate::upstream::challenge::Challenge;
use crate::upstream::redirect;
use crate::upstream::refusal::Refusal;
use crate::upstream::transport::host_of;

/// What signed requests to clouds are allowed to be off by.
const SKEW: Duration = Duration::from_mins(5);

/// A registry's first answer.
pub(super) struct Greeting {
    /// In one line.
    pub(super) seen: String,
    /// The login that it asks for; `None` where it asks for none, not for this question.
    pub(super) asks: Option<Asked>,
    pub(super) clock: Option<Finding>,
}

/// A registry's challenge, and the refusal that it came with.
pub(super) struct Asked {
    pub(super) challenge: Challenge,
    pub(super) refusal: Refusal,
}

/// Whether a registry has answered, and with what.
pub(super) fn judge(ping: Ping, url: &Url, took: Duration) -> Result<Greeting, Finding> {
    let after = format!("GET /v2/ is answered after {} ms", took.as_millis());
    let status = ping.refusal.status;
    if status.is_success() {
        return if is_page(&ping.headers) {
            Err(not_a_registry("a web page answers"))
        } else {
            Ok(Greeting {
                seen: format!("{after}, and asks for no login"),
                asks: None,
                clock: None,
            })
        };
    }
    if status == StatusCode::UNAUTHORIZED {
        let challenge = Challenge::from_headers(&ping.headers, url)
            .map_err(|error| Finding::wrong(Step::Registry, error.to_string()).change(ENDPOINTS))?;
        let login = match &challenge {
            Challenge::Basic => "a password".to_owned(),
            Challenge::Bearer(bearer) => format!("a token of {}", host_of(&bearer.realm)),
        };
        return Ok(Greeting {
            seen: format!("{after}, and asks for {login}"),
            asks: Some(Asked {
                challenge,
                refusal: ping.refusal,
            }),
            clock: None,
        });
    }
    Err(refused(ping, url))
}

/// What an answer means that is neither a welcome nor a challenge.
fn refused(ping: Ping, url: &Url) -> Finding {
    let status = ping.refusal.status;
    if status.is_redirection() {
        return redirected(&ping.headers, url);
    }
    if is_page(&ping.headers) && status.is_client_error() {
        return not_a_registry(&format!("a web page answers with {}", status.as_u16()));
    }
    let is_plain = url.scheme() == "http";
    let error = ping.into_error(url).to_string();
    let own = format!("{}: ", host_of(url));
    let seen = error.strip_prefix(&own).unwrap_or(&error);
    Finding::wrong(Step::Registry, seen).change(match status {
        StatusCode::TOO_MANY_REQUESTS => "wait, or log in: the registry refuses this address for load",
        StatusCode::FORBIDDEN => {
            "see that the registry lets this machine's address in; a firewall or a proxy may have answered instead"
        }
        StatusCode::BAD_REQUEST if is_plain => {
            "write https:// in `endpoints`, if it speaks TLS there"
        }
        status if status.is_server_error() => {
            "the registry, or a proxy before it, is failing: try again later, and see its own status page or log"
        }
        _ => ENDPOINTS,
    })
}

const ENDPOINTS: &str = "no registry's API is there: write its scheme, host and port in `endpoints`; behind a captive portal \
     or a proxy that answers itself, log in there or go around it";

fn not_a_registry(seen: &str) -> Finding {
    Finding::wrong(Step::Registry, format!("{seen} instead of a registry")).change(ENDPOINTS)
}

/// A registry answers its ping itself. Only where it leads is shown: a query may be a secret.
fn redirected(headers: &HeaderMap, url: &Url) -> Finding {
    let wrong = |seen: String| Finding::wrong(Step::Registry, seen);
    match redirect::target(url, headers) {
        Ok(to) => {
            let origin = to.origin().ascii_serialization();
            let finding = wrong(format!("GET /v2/ is redirected to {origin}"));
            if to.host() == url.host() && to.path() == url.path() {
                finding.change(format!("write \"{origin}\" in `endpoints`"))
            } else {
                finding.change(ENDPOINTS)
            }
        }
        Err(astray) => wrong(format!("GET /v2/ {astray}")).change(ENDPOINTS),
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| {
            kind.trim_start()
                .to_ascii_lowercase()
                .starts_with("text/html")
        })
}

/// How far our clock is off the registry's, if that is too far. What came out of a cache tells no time.
pub(super) fn clock(headers: &HeaderMap, now: SystemTime) -> Option<Finding> {
    if headers.contains_key(AGE) {
        return None;
    }
    let date = headers.get(DATE)?.to_str().ok()?;
    let theirs = httpdate::parse_http_date(date).ok()?;
    let (off, word) = match now.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    (off > SKEW).then(|| {
        let seen = format!(
            "this machine's clock is {} {word} the registry's",
            roughly(off)
        );
        Finding::note(Step::Clock, seen).change(
            "set this machine's clock (NTP) if it is the one that is off: certificates and logins that are signed with \
             the time are refused otherwise",
        )
    })
}

/// A duration in its largest unit.
fn roughly(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}
