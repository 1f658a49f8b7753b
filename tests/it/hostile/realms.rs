//! Token services that a login is not to be taken to: on another domain, at a forbidden address, without TLS where the
//! registry has it; and one that sends the login on.

use forebay_loadtest::origin::{Authorization, Fault, Kind};
use futures_util::future::join_all;
use http::{Method, StatusCode};

use super::canary::Canary;
use super::stage::{
    ELSEWHERE, Lifted, PASSWORD, UPSTREAM, USER, all_refused, apart, ask, challenge, kept_home,
    mirror, misled, names, questions, recovers, refused, upstream,
};
use crate::harness::{Setup, authority, tls_before};

const FOREIGN: &str = "is on another domain";
const TRUST: Lifted<'static> = Lifted::By("trusted_realms");
const PRIVATE: Lifted<'static> = Lifted::By("allow_private");

/// Realms (`PORT` is the canary's), none of them the registry's own host.
const FOREIGN_ROWS: &[&str] = &[
    "http://5.6.7.8:PORT/token",
    "https://5.6.7.8:PORT/token",
    "http://[2a00::1]:PORT/token",
    "http://127.0.0.1:PORT/token",
    "http://localhost:PORT/token",
    "http://169.254.169.254:PORT/token",
    "http://auth.example.com:PORT/token",
    "http://1.2.3.4.example.com:PORT/token",
    "http://[::ffff:1.2.3.4]:PORT/token",
    "//127.0.0.1:PORT/token",
    // A quoted string's own backslash comes before a URL's.
    r"/\\127.0.0.1:PORT/token",
    "http:////127.0.0.1:PORT/token",
    "http://127.0.0.1:PORT#1.2.3.4",
];

/// Realms on hosts that the operator trusts, at addresses that nobody is led to.
const TRUSTED_ROWS: &[(&str, &str)] = &[
    ("http://127.0.0.1:PORT/token", "a loopback address"),
    ("http://2130706433:PORT/token", "a loopback address"),
    ("http://localhost:PORT/token", "a loopback address"),
    ("http://[::1]:PORT/token", "a loopback address"),
    ("http://10.1.2.3:PORT/token", "a private address"),
    ("http://[fd12::1]:PORT/token", "a private address"),
    ("http://169.254.1.1:PORT/token", "a link-local address"),
    (
        "http://169.254.169.254:PORT/token",
        "a cloud metadata address",
    ),
    ("http://0.0.0.0:PORT/token", "an unspecified address"),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_login_goes_to_a_realm_on_another_domain() {
    let test = "realms::no_login_goes_to_a_realm_on_another_domain";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let names = names(FOREIGN_ROWS.len());
    let origin = upstream(&names).await;
    for (realm, name) in FOREIGN_ROWS.iter().zip(&names) {
        let realm = realm.replace("PORT", &canary.port().to_string());
        misled(&origin, name, &challenge(&realm));
    }
    let forebay = mirror(&origin).start().await;
    let asked = names
        .iter()
        .map(|name| all_refused(&forebay, &origin, name, FOREIGN, TRUST));
    join_all(asked).await;
    recovers(&forebay, &origin, &names).await;
    kept_home(&origin, &[], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_realm_is_not_called_at_a_forbidden_address() {
    let test = "realms::a_trusted_realm_is_not_called_at_a_forbidden_address";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let names = names(TRUSTED_ROWS.len());
    let origin = upstream(&names).await;
    for ((realm, _), name) in TRUSTED_ROWS.iter().zip(&names) {
        let realm = realm.replace("PORT", &canary.port().to_string());
        misled(&origin, name, &challenge(&realm));
    }
    let trusted = "trusted_realms = ['127.0.0.1', 'localhost', '[::1]', '10.1.2.3', '[fd12::1]', \
         '169.254.1.1', '169.254.169.254', '0.0.0.0']";
    let forebay = mirror(&origin).upstream(trusted).start().await;
    let asked = TRUSTED_ROWS
        .iter()
        .zip(&names)
        .map(|((_, rule), name)| all_refused(&forebay, &origin, name, rule, PRIVATE));
    join_all(asked).await;
    recovers(&forebay, &origin, &names).await;
    kept_home(&origin, &[], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_that_is_none_is_a_login_that_fails() {
    let test = "realms::a_realm_that_is_none_is_a_login_that_fails";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let rows = [
        "http://ci:pw@1.2.3.4:PORT/token",
        "ftp://1.2.3.4:PORT/token",
        "file:///etc/passwd",
        "http://[fe80::1%25lo]:PORT/token",
        "http://1.2.3.4:99999/token",
    ];
    let names = names(rows.len());
    let origin = upstream(&names).await;
    for (realm, name) in rows.iter().zip(&names) {
        let realm = realm.replace("PORT", &canary.port().to_string());
        misled(&origin, name, &challenge(&realm));
    }
    let forebay = mirror(&origin).start().await;
    for name in &names {
        for path in questions(&origin, name) {
            let answer = ask(&forebay, Method::GET, &path).await;
            let told = answer.text();
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}: {told}");
            assert!(told.contains("token service address"), "{path}: {told}");
        }
    }
    recovers(&forebay, &origin, &names).await;
    kept_home(&origin, &[], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_login_goes_from_https_to_a_realm_without() {
    let test = "realms::no_login_goes_from_https_to_a_realm_without";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let names = names(2);
    let origin = upstream(&names).await;
    let host = origin.registry_url().replace("http://", "");
    let front = tls_before(host, "192.0.2.1".parse().unwrap()).await;
    let port = canary.port();
    for (name, host) in names.iter().zip(["192.0.2.1", ELSEWHERE]) {
        misled(
            &origin,
            name,
            &challenge(&format!("http://{host}:{port}/token")),
        );
    }
    let endpoint = format!("https://{front}");
    let setup = Setup::with_endpoint(&endpoint)
        .upstream(&format!("ca_file = {:?}", authority()))
        .upstream(&format!("trusted_realms = ['{ELSEWHERE}', '192.0.2.1']"))
        .upstream(&format!("username = {USER:?}\npassword = {PASSWORD:?}"));
    let forebay = setup.start().await;
    for name in &names {
        let rule = "plain http while the registry is https";
        all_refused(&forebay, &origin, name, rule, Lifted::Never).await;
    }
    kept_home(&origin, &[], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_that_sends_the_login_on_is_not_followed() {
    let test = "realms::a_token_service_that_sends_the_login_on_is_not_followed";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let rows = [
        // Where anybody may be led, the registry's own host among them.
        (
            "http://5.6.7.8:PORT/token",
            "redirects to another host",
            Lifted::Never,
        ),
        (
            "http://1.2.3.4:PORT/token",
            "redirects to another host",
            Lifted::Never,
        ),
        (
            "https://1.2.3.4:PORT/token",
            "redirects to another host",
            Lifted::Never,
        ),
        (
            "http://127.0.0.1:PORT/token",
            "redirects to another host",
            Lifted::Never,
        ),
        (
            "http://u:p@1.2.3.4:PORT/token",
            "a user name",
            Lifted::Never,
        ),
        (
            "ftp://1.2.3.4:PORT/token",
            "neither http nor https",
            Lifted::Never,
        ),
        ("LOOP", "redirects more than 5 times", Lifted::Never),
        ("http://[:PORT/token", "can't be read", Lifted::Unread),
    ];
    let names = names(rows.len());
    let origin = upstream(&names).await;
    for ((location, ..), name) in rows.iter().zip(&names) {
        let fault = match *location {
            "LOOP" => Fault::RedirectLoop,
            to => Fault::redirect_to(&to.replace("PORT", &canary.port().to_string())),
        };
        origin.on(Kind::Token).repository(name).always(fault);
    }
    let forebay = mirror(&origin).start().await;
    for ((_, rule, lifted), name) in rows.iter().zip(&names) {
        refused(&forebay, &format!("/v2/{name}/manifests/v1"), rule, *lifted).await;
    }
    recovers(&forebay, &origin, &names).await;
    assert!(origin.requests_for(Kind::Token).iter().all(|request| {
        request.authorization == Authorization::Basic
            && request.header("host")[0].starts_with(UPSTREAM)
    }));
    kept_home(&origin, &[], &canary);
}
