//! A token service whose tokens others can check: JSON web tokens, signed with a key whose certificate comes along.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use forebay_loadtest::origin::{Auth, Mint, Origin, TokenAuth};
use serde_json::{Value, json};

use crate::clients::docker_registry::{PASSWORD, USER};

/// Made for these tests with `openssl req -x509`, good for a hundred years.
const KEY: &str = include_str!("issuer.key");
const CERTIFICATE: &str = include_str!("issuer.pem");
const SERVICE: &str = "registry.test";
const ISSUER: &str = "token.test";

/// A token service for a registry that holds what the clients' tests pull.
pub(super) async fn service() -> Origin {
    service_of(&[], |_| &[]).await
}

/// As [`service`], with more users, each of whom may see the repositories of which this says so.
pub(crate) async fn service_of(
    users: &[(&str, &str)],
    may_see: impl Fn(&str) -> &'static [&'static str],
) -> Origin {
    let auth = Auth::Token(TokenAuth {
        service: SERVICE.to_owned(),
        mint: Some(Mint::new(token)),
        ..TokenAuth::default()
    });
    let mut builder = Origin::builder().auth(auth).user(USER, PASSWORD);
    for (user, password) in users {
        builder = builder.user(user, password);
    }
    for name in [crate::clients::APP, crate::clients::TOOL] {
        let readers = [&[USER], may_see(name)].concat();
        builder = builder.repository(name, |repository| repository.only_for(&readers));
    }
    builder.start().await.expect("the origin starts")
}

/// The configuration of a registry that trusts the service's tokens.
pub(crate) fn trusting(service: &Origin, root: &Path) -> String {
    let bundle = root.join("issuer.pem");
    std::fs::write(&bundle, CERTIFICATE).unwrap();
    format!(
        "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
        service.token_url(),
        bundle.display()
    )
}

/// A token that lets a user do what the scopes say.
fn token(user: &str, scopes: &[&str]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let access: Vec<_> = scopes.iter().map(|scope| access(scope)).collect();
    let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [body_of(CERTIFICATE)]});
    let claims = json!({
        "iss": ISSUER,
        "sub": user,
        "aud": SERVICE,
        "exp": (now + Duration::from_mins(5)).as_secs(),
        "nbf": now.as_secs(),
        "iat": now.as_secs(),
        "jti": now.as_nanos().to_string(),
        "access": access,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let key = STANDARD.decode(body_of(KEY)).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key).unwrap();
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn access(scope: &str) -> Value {
    let (kind, rest) = scope.split_once(':').unwrap();
    let (name, actions) = rest.rsplit_once(':').unwrap();
    let actions: Vec<_> = actions.split(',').collect();
    json!({"type": kind, "name": name, "actions": actions})
}

/// What stands between the first and the last line of a PEM file.
fn body_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("--")).collect()
}
