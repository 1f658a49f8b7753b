//! What has come by an upstream and may be seen nowhere else.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forebay_loadtest::origin::{Origin, When};

/// The logins that came with requests of this kind: tokens, and passwords as they were sent and as they are.
pub(crate) fn logins(origin: &Origin, when: impl Into<When>) -> BTreeSet<String> {
    let mut secrets = BTreeSet::new();
    for request in origin.requests_for(when) {
        for login in request.header("authorization") {
            secrets.extend(login.split(' ').next_back().map(str::to_owned));
        }
    }
    let decoded: Vec<_> = secrets
        .iter()
        .filter_map(|secret| String::from_utf8(STANDARD.decode(secret).ok()?).ok())
        .filter_map(|login| Some(login.split_once(':')?.1.to_owned()))
        .collect();
    secrets.extend(decoded);
    secrets
}

/// Every password, token and signature that has come by.
pub(crate) fn secrets_of(origin: &Origin) -> BTreeSet<String> {
    let mut secrets = logins(origin, When::any());
    secrets.extend(origin.refresh_tokens());
    for request in origin.requests() {
        let signature = request.target.split_once("signature=");
        secrets.extend(signature.map(|(_, signature)| signature.to_owned()));
    }
    secrets
}

/// Whether a secret, or the beginning of it, is nowhere in a text; panics where it is.
pub(crate) fn assert_unseen(secrets: &BTreeSet<String>, place: &str, text: &str) {
    for secret in secrets {
        let part = &secret[..secret.len().min(12)];
        assert!(
            !text.contains(part),
            "{part} of {secret} is in {place}: {text}"
        );
    }
}
