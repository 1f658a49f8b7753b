//! What a client logs in with: the `Authorization` header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::Secret;

/// A login that nobody has looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// A user and a password, or a token's name and the token.
    Basic {
        /// Who.
        user: String,
        /// With what.
        password: Secret,
    },
    /// A token alone.
    Bearer(Secret),
}

/// A header that is no login of any kind that is known here. What it said is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Attempt {
    /// Reads the value of the header (RFC 7617, RFC 6750).
    ///
    /// Podman, challenged and without a login, sends an empty user with an empty password: it is nobody.
    pub fn parse(value: &[u8]) -> Result<Option<Self>, Malformed> {
        let value = std::str::from_utf8(value).map_err(|_| Malformed)?;
        let (scheme, rest) = value.trim().split_once(' ').ok_or(Malformed)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("basic") {
            return basic(rest);
        }
        let is_token = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
        if scheme.eq_ignore_ascii_case("bearer") && is_token {
            return Ok(Some(Self::Bearer(Secret::new(rest))));
        }
        Err(Malformed)
    }
}

/// The user and the password of a `Basic` header, from what follows the scheme; a password may have colons.
pub fn user_and_password(encoded: &str) -> Result<(String, String), Malformed> {
    let bytes = STANDARD.decode(encoded).map_err(|_| Malformed)?;
    let text = String::from_utf8(bytes).map_err(|_| Malformed)?;
    let (user, password) = text.split_once(':').ok_or(Malformed)?;
    Ok((user.to_owned(), password.to_owned()))
}

fn basic(encoded: &str) -> Result<Option<Attempt>, Malformed> {
    let (user, password) = user_and_password(encoded)?;
    if user.is_empty() && password.is_empty() {
        return Ok(None);
    }
    // C libraries that check passwords end them there.
    if password.contains('\0') {
        return Err(Malformed);
    }
    Ok(Some(Attempt::Basic {
        user,
        password: Secret::new(password),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Result<Option<Attempt>, Malformed> {
        Attempt::parse(value.as_bytes())
    }

    fn login(user: &str, password: &str) -> Attempt {
        Attempt::Basic {
            user: user.to_owned(),
            password: Secret::new(password),
        }
    }

    #[test]
    fn logins_are_read_as_clients_write_them() {
        assert_eq!(
            of("Basic YWxpY2U6c2VjcmV0"),
            Ok(Some(login("alice", "secret")))
        );
        assert_eq!(
            of("basic  YWxpY2U6c2VjcmV0 "),
            Ok(Some(login("alice", "secret")))
        );
        assert_eq!(of("Basic YTpiOmM="), Ok(Some(login("a", "b:c"))));
        assert_eq!(of("Basic Og=="), Ok(None), "podman without a login");
        assert_eq!(of("Basic OmE="), Ok(Some(login("", "a"))));
        let token = Attempt::Bearer(Secret::new("t0ken"));
        assert_eq!(of("Bearer t0ken"), Ok(Some(token)));
    }

    #[test]
    fn what_is_no_login_is_malformed() {
        for value in [
            "",
            "Basic",
            "Basic !",
            "Basic YWxpY2U=",
            "Basic gICA",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Digest username=\"a\"",
            "Basic YTpiAGM=",
        ] {
            assert_eq!(of(value), Err(Malformed), "{value}");
        }
        assert_eq!(Attempt::parse(&[0xff]), Err(Malformed));
    }
}
