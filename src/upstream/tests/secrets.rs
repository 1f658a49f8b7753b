//! Nothing secret is printed: canaries are planted and looked for.

use std::fmt::{Debug, Write};
use std::panic::AssertUnwindSafe;

use forebay_loadtest::origin::{Auth, Fault, Kind, Origin, Reply};

use super::{latest, manifest_and_layer, name, origin, password, set_up, settings};

const CANARY: &str = "canary-4711";
/// `user:canary-4711`, as Basic sends it.
const ENCODED: &str = "dXNlcjpjYW5hcnktNDcxMQ==";

#[tokio::test]
async fn no_secret_is_in_errors_debug_output_or_panics() {
    let origin = origin(Origin::docker_hub().user("user", CANARY)).await;
    let upstream = set_up(crate::config::Upstream {
        credentials: password("user", CANARY),
        ..settings(&[&origin.registry_url()])
    });
    let (_, layer) = manifest_and_layer(&origin);
    let mut printed = String::new();
    let response = upstream.get_blob(&name(), &layer, None).await.unwrap();
    write!(printed, "{response:?} {upstream:?}").unwrap();
    for fault in [
        Fault::status(403),
        Fault::status(500),
        Fault::claims_gzip(),
        Fault::redirect_to("http://127.0.0.1:1/?signature=canary-4711"),
    ] {
        origin.clear_faults();
        origin.on(Kind::CdnGet).always(fault);
        let error = upstream.get_blob(&name(), &layer, None).await.unwrap_err();
        write!(printed, "{error} {error:?}").unwrap();
    }
    let said = panic_with(&(&response, &upstream));
    assert!(said.contains("Upstream"), "{said}");
    printed.push_str(&said);
    let signature = origin.requests_for(Kind::CdnGet)[0].target.clone();
    let signature = signature.split("signature=").nth(1).unwrap();
    let bearer = origin.requests_for(Kind::BlobGet)[1].header("authorization")[0].to_owned();
    let token = bearer.strip_prefix("Bearer ").unwrap();
    for secret in [CANARY, ENCODED, signature, token] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

/// What a panic says that was given this, in the words of `Result::unwrap`.
fn panic_with(found: &impl Debug) -> String {
    let panics = || panic!("called `Result::unwrap()` on an `Err` value: {found:?}");
    let panic = std::panic::catch_unwind(AssertUnwindSafe(panics));
    let said = panic.unwrap_err().downcast::<String>();
    *said.expect("a message with a value in it")
}

#[tokio::test]
async fn an_upstream_that_repeats_the_login_is_not_repeated() {
    let origin = origin(Origin::builder().auth(Auth::Basic).user("user", CANARY)).await;
    let upstream = set_up(crate::config::Upstream {
        credentials: password("user", CANARY),
        ..settings(&[&origin.registry_url()])
    });
    let echo = Reply::error(403, "DENIED", &format!("you sent Basic {ENCODED}"));
    origin.on(Kind::ManifestGet).always(Fault::Answer(echo));
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(ENCODED), "{error}");
}

#[tokio::test]
async fn foreign_text_cannot_break_a_log_line() {
    let origin = origin(Origin::builder()).await;
    let upstream = super::upstream_of(&origin);
    let hostile = Reply::error(403, "DENIED", "a\r\nb\u{1b}[31m\u{202e}c");
    origin.on(Kind::ManifestGet).always(Fault::Answer(hostile));
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert!(!error.to_string().contains(char::is_control), "{error}");
}
