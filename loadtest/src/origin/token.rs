//! The token service, on its own port.

use http::Method;
use serde_json::json;

use super::auth::{Auth, Identity, Refresh, Refused, Repositories, Scope, TokenAuth, TokenField};
use super::connection::Head;
use super::reply::Reply;
use super::state::State;
use super::target::repository_of;

/// Issues a token for what the client may read of what it asks for. A client
/// that may read nothing gets a token too; the registry then refuses it.
pub(crate) fn answer(state: &State, head: &Head, scopes: &[String]) -> Reply {
    let Auth::Token(auth) = &state.settings.auth else {
        return Reply::error(404, "UNSUPPORTED", "this origin issues no tokens");
    };
    let identity = match head.method {
        Method::GET => state.guard.by_password(&head.headers),
        Method::POST if auth.refresh != Refresh::Unknown => by_refresh_token(state, auth, head),
        _ => return Reply::error(405, "UNSUPPORTED", "tokens are given by GET"),
    };
    let Ok(identity) = identity else {
        return Reply::status(401).json(&json!({"details": "incorrect username or password"}));
    };
    let service = head
        .parameters()
        .into_iter()
        .find(|(key, _)| key == "service");
    if service.is_none_or(|(_, service)| service != auth.service) {
        return Reply::status(400).json(&json!({"details": "unknown service"}));
    }
    let word = match auth.scope {
        Scope::Word(word) => word,
        Scope::Repository | Scope::Placeholder(_) | Scope::Below(_) => "",
    };
    if scopes
        .iter()
        .any(|scope| scope != word && scope.split(':').count() < 3)
    {
        return Reply::status(400).json(&json!({"details": "malformed scope"}));
    }
    issued(state, auth, &identity, scopes)
}

/// Gives a refresh token for an access token, which is what a user's password is here.
pub(crate) fn exchange(state: &State, head: &Head) -> Reply {
    let parameters = head.parameters();
    let value = |name: &str| {
        let pair = parameters.iter().find(|(key, _)| key == name);
        pair.map_or("", |(_, value)| value.as_str())
    };
    let exchanges =
        matches!(&state.settings.auth, Auth::Token(auth) if auth.refresh == Refresh::Exchanged);
    let is_asked = exchanges
        && head.method == Method::POST
        && value("grant_type") == "access_token"
        && value("service") == state.hosts.registry;
    let given = is_asked.then(|| state.guard.exchange(value("access_token")));
    match given {
        Some(Ok(token)) => Reply::status(200).json(&json!({"refresh_token": token})),
        _ => Reply::error(401, "UNAUTHORIZED", "authentication required"),
    }
}

/// Who sent this form, by a refresh token.
fn by_refresh_token(state: &State, auth: &TokenAuth, head: &Head) -> Result<Identity, Refused> {
    let parameters = head.parameters();
    let value = |name: &str| {
        let pair = parameters.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    };
    match (value("grant_type"), value("refresh_token")) {
        (Some("refresh_token"), Some(token)) if auth.refresh == Refresh::Exchanged => {
            state.guard.by_exchanged(token)
        }
        (Some("refresh_token"), Some(token)) => state.guard.by_refresh_token(token),
        _ => Err(Refused::Wrong),
    }
}

fn issued(state: &State, auth: &TokenAuth, identity: &Identity, scopes: &[String]) -> Reply {
    let token = if let Some(mint) = &auth.mint {
        mint.token(identity, &granted(state, auth, identity, scopes))
    } else {
        let repositories = repositories(state, auth, identity, scopes);
        state.guard.issue(identity, repositories, auth.lifetime)
    };
    let mut body = json!({});
    if auth.field != TokenField::AccessToken {
        body["token"] = json!(token);
    }
    if auth.field != TokenField::Token {
        body["access_token"] = json!(token);
    }
    if auth.announces_lifetime {
        body["expires_in"] = json!(auth.lifetime.as_secs());
    }
    if auth.announces_issue {
        body["issued_at"] = json!(rfc3339(std::time::SystemTime::now()));
    }
    Reply::status(200).json(&body)
}

/// The scopes that are granted.
fn granted<'a>(
    state: &State,
    auth: &TokenAuth,
    identity: &Identity,
    scopes: &'a [String],
) -> Vec<&'a str> {
    let granted = |scope: &&str| {
        repository_of(scope).is_some_and(|name| match state.repository(&auth.scope.called(name)) {
            Some(repository) => repository.readers.include(identity),
            None => auth.grants_unknown,
        })
    };
    scopes.iter().map(String::as_str).filter(granted).collect()
}

fn repositories(
    state: &State,
    auth: &TokenAuth,
    identity: &Identity,
    scopes: &[String],
) -> Repositories {
    if let Scope::Word(word) = auth.scope
        && scopes.iter().any(|scope| scope == word)
    {
        return Repositories::All;
    }
    let granted = granted(state, auth, identity, scopes);
    let names = granted.into_iter().filter_map(repository_of);
    Repositories::Named(names.map(str::to_owned).collect())
}

/// `2023-11-14T22:13:20Z`.
fn rfc3339(time: std::time::SystemTime) -> String {
    let seconds = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day, by days since 1970 (Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
    }
}
