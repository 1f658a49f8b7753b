//! From errors to statuses and wire bodies: the one place that decides what a client is told.
//!
//! A message is for whoever reads the client's output; the detail tells the operator of the mirror
//! what to do.

mod access;

use std::time::Duration;

use http::StatusCode;
use http::header::{ALLOW, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};

pub(super) use access::{of_access, of_login};

use super::body::ResponseBody;
use super::limit::{Refusal, Refused};
use super::passthrough::TokenFormError;
use super::respond::{Answer, CACHE_STATUS, LEFT_ALONE, NO_ANSWER, NO_PULL};
use super::route::RouteError;
use super::vet::FormError;
use crate::config::Routes;
use crate::mirror::{MirrorError, Spent, SpentBy};
use crate::oci::{ErrorCode, Registry, WireError, WireErrors};

/// When to come back to a mirror that is busy or stopping, or whose upstream is down.
const SOON: Duration = Duration::from_secs(5);
/// When to come back to an upstream that has not said when its quota renews.
const LATER: Duration = Duration::from_mins(1);
/// The longest that clients are kept apart from each other beyond that.
const MOST_APART: Duration = Duration::from_secs(30);

/// A request whose form is refused. Its connection closes.
pub(super) fn of_form(error: FormError) -> Answer {
    let mut answer = match error {
        FormError::Connect => not_allowed(error.to_string()),
        FormError::AbsoluteForm | FormError::Host | FormError::TransferEncoding => refuse(
            StatusCode::BAD_REQUEST,
            ErrorCode::Unsupported,
            error.to_string(),
            None,
        ),
    };
    answer.set(CONNECTION, "close");
    answer
}

/// A request without a route.
pub(super) fn of_route(error: RouteError, routes: &Routes) -> Answer {
    let message = error.to_string();
    let bad = |code| refuse(StatusCode::BAD_REQUEST, code, message.clone(), None);
    match error {
        RouteError::Method => not_allowed(message),
        RouteError::Path => refuse(
            StatusCode::NOT_FOUND,
            ErrorCode::Unsupported,
            message,
            Some("paths are /v2/<name>/manifests/<reference>, .../blobs/<digest>, .../tags/list, .../referrers/<digest> and /v2/_catalog".into()),
        ),
        RouteError::NoCatalog => refuse(
            StatusCode::NOT_FOUND,
            ErrorCode::Unsupported,
            message,
            Some("`catalog` in [server] of the mirror's configuration is false".into()),
        ),
        RouteError::Encoding | RouteError::Ambiguous(_) | RouteError::Contradiction { .. } | RouteError::Parameter(_) | RouteError::Name(_) => {
            bad(ErrorCode::NameInvalid)
        }
        RouteError::Tag(_) => bad(ErrorCode::TagInvalid),
        RouteError::Digest(_) => bad(ErrorCode::DigestInvalid),
        RouteError::Number => bad(ErrorCode::PaginationNumberInvalid),
        RouteError::NotConfigured(registry) => not_configured(&registry, routes),
        RouteError::NoAlias(_) => refuse(
            StatusCode::NOT_FOUND,
            ErrorCode::NameUnknown,
            message,
            Some("write a registry's host there, or give a table in [upstreams] of the mirror's configuration this `alias`".into()),
        ),
    }
}

/// A request, or its connection, beyond its client's limits. It is cheap: some clients repeat it five times at once.
pub(super) fn of_limit(refusal: Refusal) -> Answer {
    let (message, key, value) = match refusal.limit {
        Refused::Requests(rate) => (
            "this client asks too often",
            "per_client_requests",
            rate.to_string(),
        ),
        Refused::InFlight(most) => (
            "this client asks for too much at once",
            "per_client_in_flight",
            most.to_string(),
        ),
        Refused::Connections(most) => (
            "this client has too many connections",
            "per_client_connections",
            most.to_string(),
        ),
        Refused::AllConnections(most) => return full(most, refusal.retry_after),
    };
    let detail = format!(
        "`{key}` under [limits] of the mirror's configuration is {value}; raise it, or add this client's address to `exempt`"
    );
    let answer = refuse(
        StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::TooManyRequests,
        message.to_owned(),
        Some(detail),
    );
    retry(answer, refusal.retry_after)
}

/// Not 429, which some clients repeat at once: of a 503 they go on to the registry itself.
fn full(most: usize, retry_after: Duration) -> Answer {
    let detail = format!(
        "`max_connections` under [limits] of the mirror's configuration is {most}, and each of them is busy; raise it, or the mirror's limit on file descriptors where it is not set"
    );
    let answer = refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Unavailable,
        "the mirror has as many connections as it may have".to_owned(),
        Some(detail),
    );
    retry(answer, retry_after)
}

/// A ping without a login, where some upstream takes clients' own. Those who have none get a token all the same.
pub(super) fn of_ping() -> Answer {
    refuse(
        StatusCode::UNAUTHORIZED,
        ErrorCode::Unauthorized,
        "a token is needed, which is to be had without a login too".to_owned(),
        None,
    )
}

/// A request for a token that can't be read.
pub(super) fn of_form_of_token(error: TokenFormError) -> Answer {
    let status = match error {
        TokenFormError::Login => StatusCode::UNAUTHORIZED,
        TokenFormError::Body | TokenFormError::Grant => StatusCode::BAD_REQUEST,
    };
    refuse(status, ErrorCode::Unauthorized, error.to_string(), None)
}

/// A request for a token by another method.
pub(super) fn of_token_method() -> Answer {
    let message = "tokens are asked for by GET or POST".to_owned();
    let mut answer = refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::Unsupported,
        message,
        None,
    );
    answer.set(ALLOW, "GET, POST");
    answer
}

/// A request that the mirror could not answer.
pub(super) fn of_mirror(
    error: MirrorError,
    registry: Option<&Registry>,
    routes: &Routes,
) -> Answer {
    let message = error.to_string();
    match error {
        MirrorError::NotConfigured(registry) => not_configured(&registry, routes),
        MirrorError::NotFound { code, .. } => refuse(StatusCode::NOT_FOUND, code, message, None),
        // Not 401: without a challenge it means nothing, and with one dockerd would send us the user's
        // login for Docker Hub.
        MirrorError::Denied { detail, .. }
        | MirrorError::NotAllowed { detail, .. }
        | MirrorError::NoLogin { detail, .. } => refuse(
            StatusCode::FORBIDDEN,
            ErrorCode::Denied,
            message,
            Some(detail),
        ),
        // The challenge comes with it: see `challenge`.
        MirrorError::LoginNeeded { detail, .. } => refuse(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthorized,
            message,
            Some(detail),
        ),
        MirrorError::RangeNotSatisfiable { size } => {
            let mut answer = refuse(
                StatusCode::RANGE_NOT_SATISFIABLE,
                ErrorCode::RangeInvalid,
                message,
                None,
            );
            answer.set(CONTENT_RANGE, format_args!("bytes */{size}"));
            answer
        }
        MirrorError::TooManyRequests {
            retry_after, quota, ..
        } => {
            let mut answer = refuse(
                StatusCode::TOO_MANY_REQUESTS,
                ErrorCode::TooManyRequests,
                message,
                registry.map(|registry| spent(registry, routes, quota.as_deref())),
            );
            // Its blobs, its login and its lists cost no pull.
            if quota.is_some() {
                answer.set(CACHE_STATUS, NO_PULL);
            }
            retry(answer, apart(retry_after.unwrap_or(LATER), rand::random()))
        }
        MirrorError::BadUpstream { detail, .. } => {
            refuse(StatusCode::BAD_GATEWAY, ErrorCode::Unknown, message, detail)
        }
        MirrorError::Unavailable {
            timed_out,
            left_alone,
            ..
        } => unavailable(message, registry, timed_out, left_alone),
        MirrorError::Busy(_) => retry(
            refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                message,
                None,
            ),
            SOON,
        ),
        MirrorError::Internal => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::Unknown,
            message,
            Some("see the mirror's log".into()),
        ),
    }
}

/// An upstream that gives no answer, or is not asked for one.
fn unavailable(
    message: String,
    registry: Option<&Registry>,
    timed_out: bool,
    left_alone: Option<Duration>,
) -> Answer {
    let (status, cache_status) = match left_alone {
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, LEFT_ALONE),
        None if timed_out => (StatusCode::GATEWAY_TIMEOUT, NO_ANSWER),
        None => (StatusCode::SERVICE_UNAVAILABLE, NO_ANSWER),
    };
    let detail = match (left_alone, registry) {
        (Some(wait), Some(registry)) => format!(
            "it has kept failing, and is asked again within {}; `forebay status` and `forebay check --online {registry}` on the mirror's machine say more",
            brief(wait)
        ),
        _ => "the upstream cannot be reached or is failing, and nothing is cached; see the mirror's log".to_owned(),
    };
    let mut answer = refuse(status, ErrorCode::Unavailable, message, Some(detail));
    answer.set(CACHE_STATUS, cache_status);
    retry(answer, left_alone.unwrap_or(SOON))
}

/// Later than `wait` by up to a tenth of it, so that not all who are refused come back at once. `roll` is uniform in
/// `0.0..1.0`.
fn apart(wait: Duration, roll: f64) -> Duration {
    wait + (wait / 10).min(MOST_APART).mul_f64(roll)
}

/// Which quota is spent, when it renews, and what to do about it.
fn spent(registry: &Registry, routes: &Routes, quota: Option<&Spent>) -> String {
    let Some(quota) = quota else {
        return routes.quota_advice(registry, false);
    };
    let which = which(registry, quota);
    if quota.by == SpentBy::Busy {
        return which;
    }
    let table = quota.configured_for.as_deref();
    let table = table.and_then(|table| table.parse().ok());
    let is_configured = quota.by == SpentBy::Configured;
    let advice = routes.quota_advice(table.as_ref().unwrap_or(registry), is_configured);
    format!("{which}; {advice}")
}

fn which(registry: &Registry, quota: &Spent) -> String {
    let again = format!("within {}", brief(quota.wait));
    let allowed = match (quota.limit, quota.window) {
        (Some(limit), Some(window)) => format!("{limit} pulls in {}", brief(window)),
        (Some(limit), None) => format!("{limit} pulls"),
        _ => "no more pulls".to_owned(),
    };
    match quota.by {
        SpentBy::Configured => {
            format!("the mirror is configured for {allowed}, and has another one {again}")
        }
        SpentBy::Closed => {
            format!("{registry} has asked to be left alone, and is asked again {again}")
        }
        SpentBy::Busy => {
            format!(
                "as many pulls as {registry} is known to allow are under way, or others wait for them; come back when those have ended"
            )
        }
        SpentBy::Reported => {
            let whom = quota.source.as_deref();
            let whom = whom.map_or_else(
                || "the mirror".to_owned(),
                |source| source.escape_debug().to_string(),
            );
            format!("{registry} allows {whom} {allowed}, and renews them {again}")
        }
    }
}

/// A duration in at most two units, rounded up.
fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let minutes = seconds.div_ceil(60);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// No response head came about in the time that clients wait for one.
pub(super) fn too_late(registry: Option<&Registry>) -> Answer {
    let (message, detail) = match registry {
        Some(registry) => (
            format!("{registry} has not answered in time"),
            format!(
                "see the mirror's log, and `timeouts` under [upstreams.\"{registry}\"] in its configuration"
            ),
        ),
        None => (
            "the cache's index has not answered in time".to_owned(),
            "see the mirror's log".to_owned(),
        ),
    };
    let answer = refuse(
        StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Unavailable,
        message,
        Some(detail),
    );
    retry(answer, SOON)
}

fn not_configured(registry: &Registry, routes: &Routes) -> Answer {
    let configured: Vec<_> = routes.configured().collect();
    refuse(
        StatusCode::NOT_FOUND,
        ErrorCode::NameUnknown,
        format!("registry {registry} is not configured here"),
        Some(format!(
            "add a table [upstreams.\"{registry}\"] to the mirror's configuration; configured are {}",
            configured.join(", ")
        )),
    )
}

fn not_allowed(message: String) -> Answer {
    let mut answer = refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::Unsupported,
        message,
        Some("push to the registry itself".into()),
    );
    answer.set(ALLOW, "GET, HEAD");
    answer
}

fn retry(mut answer: Answer, after: Duration) -> Answer {
    // Rounded up: a client that comes back a moment early is refused again.
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    answer.set(RETRY_AFTER, seconds.max(1));
    answer
}

fn refuse(status: StatusCode, code: ErrorCode, message: String, detail: Option<String>) -> Answer {
    let logged = match &detail {
        Some(detail) => format!("{code}: {message} ({detail})"),
        None => format!("{code}: {message}"),
    };
    let error = WireError {
        code,
        message,
        detail: detail.map(Into::into),
    };
    let body = WireErrors::from(error).to_json();
    let mut answer = Answer::new(status, ResponseBody::whole(body));
    answer.set(CONTENT_TYPE, "application/json");
    answer.error = Some(logged);
    answer
}
