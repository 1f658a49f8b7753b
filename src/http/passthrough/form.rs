//! What a client asks a token for, and with what: the query and the `Authorization` of a GET, or the form of a POST.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};

use crate::access::user_and_password;
use crate::config::Secret;
use crate::login::Who;

/// The largest form.
const MOST: usize = 16 << 10;
/// How long one may take to arrive.
const WITHIN: Duration = Duration::from_secs(10);
/// Most fields that are looked at.
const FIELDS: usize = 64;
/// What docker calls the user of an identity token.
const HOLDER: &str = "<token>";

/// A question for a token.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Form {
    /// `ns`: what the challenge was about.
    pub(super) namespace: Option<String>,
    /// The first repository of the scopes, as the client writes it.
    pub(super) name: Option<String>,
    pub(super) who: Who,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum FormError {
    /// The body.
    #[error("the form is longer than {MOST} bytes, or has not come in {} s", WITHIN.as_secs())]
    Body,
    /// `grant_type`, or what goes with it.
    #[error(
        "`grant_type` is neither `password`, with `username` and `password`, nor `refresh_token`, with that"
    )]
    Grant,
    /// `Authorization`.
    #[error("the Authorization header is no Basic login")]
    Login,
}

impl Form {
    /// Reads a request, its body too where it is a POST.
    pub(super) async fn read<B>(head: &Parts, body: B) -> Result<Self, FormError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let query = head.uri.query().unwrap_or_default().to_owned();
        if head.method != Method::POST {
            return Self::new(&query, "", &head.headers);
        }
        let body = Limited::new(body, MOST).collect();
        let body = tokio::time::timeout(WITHIN, body).await;
        let body = body.map_err(|_| FormError::Body)?;
        let body = body.map_err(|_| FormError::Body)?.to_bytes();
        let form = std::str::from_utf8(&body).map_err(|_| FormError::Body)?;
        Self::new(&query, form, &head.headers)
    }

    pub(super) fn new(query: &str, form: &str, headers: &HeaderMap) -> Result<Self, FormError> {
        let fields = |text| url::form_urlencoded::parse(str::as_bytes(text)).take(FIELDS);
        let all: Vec<_> = fields(query).chain(fields(form)).collect();
        let field = |name| {
            let mut found = all.iter().filter(|(key, _)| key == name);
            found.next().map(|(_, value)| value.as_ref())
        };
        let scopes = all.iter().filter(|(key, _)| key == "scope");
        let scopes = scopes.flat_map(|(_, value)| value.split(' '));
        let mut names = scopes.filter_map(repository);
        // A login is a secret, and a query is none.
        let posted: Vec<_> = fields(form).collect();
        let secret = |name| {
            let mut found = posted.iter().filter(|(key, _)| key == name);
            found.next().map(|(_, value)| value.as_ref())
        };
        let who = match secret("grant_type") {
            None => basic(headers)?,
            Some("password") => match (secret("username"), secret("password")) {
                (Some(name), Some(password)) => user(name, password),
                _ => return Err(FormError::Grant),
            },
            Some("refresh_token") => match secret("refresh_token") {
                Some(token) if !token.is_empty() => Who::Holder(Secret::new(token)),
                _ => return Err(FormError::Grant),
            },
            Some(_) => return Err(FormError::Grant),
        };
        Ok(Self {
            namespace: field("ns").map(str::to_owned),
            name: names.next().map(str::to_owned),
            who,
        })
    }
}

/// The name in `repository:<name>:<actions>`. A port may stand in it.
fn repository(scope: &str) -> Option<&str> {
    let (name, _actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    Some(name)
}

fn basic(headers: &HeaderMap) -> Result<Who, FormError> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(Who::Anyone);
    };
    let read = || {
        let (scheme, rest) = value.to_str().ok()?.trim().split_once(' ')?;
        let (name, password) = user_and_password(rest.trim()).ok()?;
        scheme
            .eq_ignore_ascii_case("basic")
            .then(|| user(&name, &password))
    };
    read().ok_or(FormError::Login)
}

/// Podman, challenged and without a login, says that its user has no name and no password.
fn user(name: &str, password: &str) -> Who {
    match name {
        "" => Who::Anyone,
        HOLDER => Who::Holder(Secret::new(password)),
        name => Who::User {
            name: name.to_owned(),
            password: Secret::new(password),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use futures_util::stream;
    use http::Request;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn alice() -> Who {
        user("alice", "s:ecret")
    }

    fn with(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    fn basic_of(pair: &str) -> HeaderMap {
        with(&format!("Basic {}", STANDARD.encode(pair)))
    }

    #[test]
    fn logins_are_read_as_clients_send_them() {
        let none = HeaderMap::new();
        for (form, headers, who) in [
            ("", basic_of("alice:s:ecret"), alice()),
            ("", basic_of(":"), Who::Anyone),
            ("", none.clone(), Who::Anyone),
            ("", basic_of("<token>:t"), Who::Holder(Secret::new("t"))),
            (
                "grant_type=password&username=alice&password=s%3Aecret",
                none.clone(),
                alice(),
            ),
            (
                "grant_type=refresh_token&refresh_token=t&client_id=x",
                none.clone(),
                Who::Holder(Secret::new("t")),
            ),
        ] {
            assert_eq!(Form::new("", form, &headers).unwrap().who, who, "{form}");
        }
        for form in [
            "grant_type=password&username=alice",
            "grant_type=refresh_token",
            "grant_type=refresh_token&refresh_token=",
            "grant_type=authorization_code",
        ] {
            assert_eq!(Form::new("", form, &none), Err(FormError::Grant), "{form}");
        }
        for wrong in ["Basic", "Basic !", "Basic YQ==", "Bearer x"] {
            let form = Form::new("", "", &with(wrong));
            assert_eq!(form, Err(FormError::Login), "{wrong}");
        }
        // What stands in a URL is logged by others.
        let query = "grant_type=password&username=alice&password=s";
        assert_eq!(Form::new(query, "", &none).unwrap().who, Who::Anyone);
    }

    #[test]
    fn what_it_is_for_is_read_from_the_challenge_or_the_scope() {
        let of = |query| Form::new(query, "", &HeaderMap::new()).unwrap();
        let form = of("ns=a.io%3A5000&service=m&scope=repository%3Ateam%2Fapp%3Apull");
        assert_eq!(form.namespace.as_deref(), Some("a.io:5000"));
        assert_eq!(form.name.as_deref(), Some("team/app"));
        let form =
            of("scope=registry:catalog:*&scope=repository:m.io:5000/app:pull+repository:b:pull");
        assert_eq!(form.name.as_deref(), Some("m.io:5000/app"));
        assert_eq!(of("scope=repository:app").name, None);
    }

    fn post() -> Parts {
        let request = Request::post("/_/token").body(()).unwrap();
        request.into_parts().0
    }

    #[tokio::test]
    async fn a_form_is_read_up_to_its_bound_and_no_further() {
        for (length, is_read) in [(MOST, true), (MOST + 1, false)] {
            let form = Form::read(&post(), Full::from(vec![b'x'; length])).await;
            assert_eq!(form.is_ok(), is_read, "{length}");
        }
    }

    /// A place among its client's, and a connection, are held meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_form_that_drips_is_not_waited_for() {
        const EACH: Duration = Duration::from_secs(1);
        for (bytes, is_read) in [(8, true), (60, false)] {
            let drip = stream::unfold(0, async |sent| {
                tokio::time::sleep(EACH).await;
                let next = Frame::data(Bytes::from_static(b"x"));
                (sent < bytes).then_some((Ok::<_, Infallible>(next), sent + 1))
            });
            let body = StreamBody::new(Box::pin(drip));
            let form = Form::read(&post(), body).await;
            assert_eq!(form.is_ok(), is_read, "{bytes}");
        }
    }
}
