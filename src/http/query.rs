//! A request's query, decoded strictly: an escape that is none, or bytes that are no text, are
//! errors. `+` is a plus: media types have one, and clients send it bare.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::route::RouteError;

/// Most parameters that are looked at; a client of this API sends three.
const MAX_PARAMETERS: usize = 32;

/// The parameters of a query.
#[derive(Debug, Default)]
pub(super) struct Query<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(super) fn parse(query: Option<&'a str>) -> Result<Self, RouteError> {
        let Some(query) = query else {
            return Ok(Self::default());
        };
        query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .take(MAX_PARAMETERS)
            .map(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                Ok((name, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The one value of a parameter; an error where it is given twice with different values.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<&str>, RouteError> {
        let mut values = self
            .0
            .iter()
            .filter(|(given, _)| *given == name)
            .map(|(_, value)| &**value);
        let first = values.next();
        if values.any(|value| Some(value) != first) {
            return Err(RouteError::Ambiguous(name));
        }
        Ok(first)
    }
}

/// Decodes percent escapes; text that has none, as nearly all has, is left where it is.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, RouteError> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'%')
    {
        return Ok(Cow::Borrowed(text));
    }
    let escapes_are_whole = text
        .split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    if !escapes_are_whole {
        return Err(RouteError::Encoding);
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| RouteError::Encoding)?;
    if decoded.chars().any(char::is_control) {
        return Err(RouteError::Encoding);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_decoded_and_a_plus_stays() {
        assert_eq!(
            decode("application%2Fvnd.x+json").unwrap(),
            "application/vnd.x+json"
        );
        assert_eq!(decode("sha256%3a00").unwrap(), "sha256:00");
    }

    #[test]
    fn broken_escapes_and_control_characters_are_refused() {
        for text in [
            "%", "%4", "%zz", "%+1", "a%0Ab", "%00", "%ff", "%1b[31m", "%é",
        ] {
            assert!(matches!(decode(text), Err(RouteError::Encoding)), "{text}");
        }
    }

    #[test]
    fn a_parameter_has_one_value() {
        let query = Query::parse(Some("ns=a&n=3&ns=a&&x")).unwrap();
        assert_eq!(query.get("ns").unwrap(), Some("a"));
        assert_eq!(query.get("x").unwrap(), Some(""));
        assert_eq!(query.get("last").unwrap(), None);
        let query = Query::parse(Some("ns=a&ns=b")).unwrap();
        assert!(matches!(query.get("ns"), Err(RouteError::Ambiguous("ns"))));
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".{0,100}") {
            if let Ok(query) = Query::parse(Some(&query)) {
                let _ = query.get("ns");
            }
        }
    }
}
