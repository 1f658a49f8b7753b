//! Signature Version 4, checked: the signature is computed anew from the request as it came.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Request;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

use super::super::server::text_of;
use super::Key;

/// How far a request's time may be off.
const SKEW: Duration = Duration::from_mins(5);

/// What a good signature was made for.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) region: String,
}

/// Checks a request; the error is the name of the API's exception.
pub(super) fn check(
    request: &Request<Bytes>,
    key: &Key,
    service: &str,
    now: SystemTime,
) -> Result<Signed, &'static str> {
    const INCOMPLETE: &str = "IncompleteSignatureException";
    let authorization = text_of(request.headers(), AUTHORIZATION.as_str());
    let fields = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("MissingAuthenticationTokenException")?;
    let field = |name: &str| {
        let mut fields = fields.split(',').map(str::trim);
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let scope = field("Credential").ok_or(INCOMPLETE)?;
    let names = field("SignedHeaders").ok_or(INCOMPLETE)?;
    let signature = field("Signature").ok_or(INCOMPLETE)?;
    let [id, date, region, of, end] = scope.split('/').collect::<Vec<_>>()[..] else {
        return Err(INCOMPLETE);
    };
    if (of, end) != (service, "aws4_request") || !names.split(';').any(|name| name == "host") {
        return Err(INCOMPLETE);
    }
    if id != key.id {
        return Err("UnrecognizedClientException");
    }
    let session = text_of(request.headers(), "x-amz-security-token");
    if session != key.session.as_deref().unwrap_or_default() {
        return Err("UnrecognizedClientException");
    }
    let time = text_of(request.headers(), "x-amz-date");
    let seconds = seconds_of(time).ok_or(INCOMPLETE)?;
    let sent = UNIX_EPOCH + Duration::from_secs(seconds);
    let off = now
        .duration_since(sent)
        .unwrap_or_else(|early| early.duration());
    if off > SKEW || !time.starts_with(date) {
        return Err("InvalidSignatureException");
    }
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let digest = hex::encode(Sha256::digest(canonical(request, names)));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let seed = format!("AWS4{}", key.secret);
    let parts = [date, region, service, "aws4_request", &text];
    let expected = parts
        .iter()
        .fold(seed.into_bytes(), |key, part| mac(&key, part));
    if hex::encode(expected) == signature {
        Ok(Signed {
            region: region.to_owned(),
        })
    } else {
        Err("InvalidSignatureException")
    }
}

/// The request as both sides write it down before they sign it.
fn canonical(request: &Request<Bytes>, names: &str) -> String {
    let uri = request.uri();
    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method(),
        uri.path(),
        uri.query().unwrap_or_default()
    );
    for name in names.split(';') {
        let value = text_of(request.headers(), name).trim();
        writeln!(text, "{name}:{value}").expect("writing to a string");
    }
    let digest = hex::encode(Sha256::digest(request.body()));
    write!(text, "\n{names}\n{digest}").expect("writing to a string");
    text
}

fn mac(key: &[u8], part: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(part.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The seconds since 1970 of a time such as `20260101T000000Z`.
fn seconds_of(time: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    // March is the first month, so that a leap day is the last day of a year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    // Days from the first of March of the year 0 to the beginning of 1970.
    let days = days.checked_sub(719_469)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(seconds_of("19700101T000000Z"), Some(0));
        assert_eq!(seconds_of("20231114T221320Z"), Some(1_700_000_000));
        assert_eq!(seconds_of("20000228T235959Z"), Some(951_782_399));
        assert_eq!(seconds_of("20000229T000000Z"), Some(951_782_400));
        assert_eq!(seconds_of("soon"), None);
    }

    /// The example request of AWS's documentation of Signature Version 4.
    #[test]
    fn the_documented_example_has_the_documented_signature() {
        let request = Request::get("/?Action=ListUsers&Version=2010-05-08")
            .header("host", "iam.amazonaws.com")
            .header(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            )
            .header("x-amz-date", "20150830T123600Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date, \
                 Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            )
            .body(Bytes::new())
            .unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(seconds_of("20150830T123600Z").unwrap());
        let key = |secret: &str| Key::new("AKIDEXAMPLE", secret, None);
        let right = key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        assert_eq!(
            check(&request, &right, "iam", at).unwrap().region,
            "us-east-1"
        );
        let checked = |key: &Key, now| check(&request, key, "iam", now).unwrap_err();
        assert_eq!(checked(&key("wrong"), at), "InvalidSignatureException");
        assert_eq!(checked(&right, at + SKEW * 2), "InvalidSignatureException");
        let other = Key::new("OTHER", "x", None);
        assert_eq!(checked(&other, at), "UnrecognizedClientException");
    }
}
