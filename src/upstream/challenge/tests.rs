//! Challenges as registries write them, and realms that registries must not lead to.

use http::HeaderValue;

use super::*;

fn read(lines: &[&str]) -> Result<Challenge, ChallengeError> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap());
    }
    let asked = Url::parse("https://registry.example.com/v2/a/manifests/b").unwrap();
    Challenge::from_headers(&headers, &asked)
}

fn bearer(lines: &[&str]) -> Bearer {
    match read(lines) {
        Ok(Challenge::Bearer(bearer)) => bearer,
        other => panic!("expected a bearer challenge, got {other:?}"),
    }
}

#[test]
fn bearer_challenge_is_read_with_commas_in_its_values() {
    let found = bearer(&[
        r#"Bearer realm="https://auth.example.com/token?a=1,2",service="reg, the first",scope="repository:a/b:pull,push""#,
    ]);
    assert_eq!(found.realm.as_str(), "https://auth.example.com/token?a=1,2");
    assert_eq!(found.service.as_deref(), Some("reg, the first"));
    assert_eq!(found.scope, None);
}

#[test]
fn bearer_is_found_behind_other_schemes_and_on_later_lines() {
    for lines in [
        &[r#"Basic realm="x", Bearer realm="https://a.example.com/t""#][..],
        &[
            r#"Basic realm="x""#,
            r#"bearer REALM="https://a.example.com/t""#,
        ],
        &["Negotiate", r#"Bearer realm="https://a.example.com/t""#],
        &[
            "Negotiate abc==",
            r#"Bearer realm="https://a.example.com/t""#,
        ],
    ] {
        assert_eq!(bearer(lines).realm.as_str(), "https://a.example.com/t");
    }
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    let good = r#"Bearer realm="https://a.example.com/t""#;
    for lines in [
        &[r#"Bearer realm="ftp://a.example.com/t""#, good][..],
        &[r#"Bearer service="no realm""#, good],
        &[r#"Bearer realm="unended"#, good],
        &["", good],
        &[",", good],
        &["Bearer realm=\"https://a.example.com/t\","],
        &["Bearer realm=\"https://a.example.com/t\" , , Basic realm=\"x\""],
        &["Bearer realm = \"https://a.example.com/t\""],
        // The first of several counts.
        &[good, r#"Bearer realm="https://b.example.com/t""#],
    ] {
        assert_eq!(
            bearer(lines).realm.as_str(),
            "https://a.example.com/t",
            "{lines:?}"
        );
    }
    let basic = [r#"Bearer realm="ftp://a.example.com/t""#, "Basic realm=x"];
    assert_eq!(read(&basic), Ok(Challenge::Basic));
}

#[test]
fn relative_realm_is_resolved_and_its_query_kept() {
    let found = bearer(&[r#"Bearer realm="/token?account=x""#]);
    assert_eq!(
        found.token_url("repository:a/b:pull").as_str(),
        "https://registry.example.com/token?account=x&scope=repository%3Aa%2Fb%3Apull"
    );
}

#[test]
fn scope_in_the_registrys_own_words_is_kept() {
    let found = bearer(&[r#"Bearer realm="https://p.example.com/token/",service="p",scope="aws""#]);
    assert_eq!(found.scope.as_deref(), Some("aws"));
}

#[test]
fn basic_alone_is_basic_and_nothing_usable_is_an_error() {
    assert_eq!(read(&[r#"Basic realm="Registry""#]), Ok(Challenge::Basic));
    assert_eq!(read(&[]), Err(ChallengeError::Missing));
    assert_eq!(read(&["Digest nonce=1"]), Err(ChallengeError::Missing));
    assert_eq!(read(&["Bearer service=x"]), Err(ChallengeError::BadRealm));
    assert_eq!(
        read(&[r#"Bearer realm="https://user:pw@a.example.com/""#]),
        Err(ChallengeError::BadRealm)
    );
    assert_eq!(
        read(&[r#"Bearer realm="file:///etc/passwd""#]),
        Err(ChallengeError::BadRealm)
    );
}

#[test]
fn realm_must_be_on_the_registrys_domain_or_listed() {
    let check = |registry: &str, realm: &str, trusted: &[&str]| {
        let bearer = Bearer {
            realm: Url::parse(realm).unwrap(),
            service: None,
            scope: None,
        };
        let registry = Origin::of(&Url::parse(registry).unwrap()).unwrap();
        let trusted: Vec<String> = trusted.iter().map(ToString::to_string).collect();
        bearer.check_realm(&registry, &trusted).is_ok()
    };
    let hub = "https://registry-1.docker.io";
    assert!(check(hub, "https://auth.docker.io/token", &[]));
    assert!(check("https://ghcr.io", "https://ghcr.io/token", &[]));
    assert!(check("https://ghcr.io", "https://ghcr.io:8443/token", &[]));
    assert!(!check(hub, "http://auth.docker.io/token", &[]));
    assert!(!check(hub, "https://evil.io/token", &[]));
    assert!(!check(hub, "https://docker.io.evil.io/token", &[]));
    assert!(!check(hub, "https://notdocker.io/token", &[]));
    // Different owners under one public suffix.
    assert!(!check(
        "https://a.github.io",
        "https://b.github.io/token",
        &[]
    ));
    assert!(!check("https://a.co.uk", "https://b.co.uk/token", &[]));
    assert!(check(
        "https://nvcr.io",
        "https://authn.nvidia.com/token",
        &["authn.nvidia.com"]
    ));
    assert!(check(
        "https://nvcr.io",
        "https://authn.nvidia.com/token",
        &["authn.nvidia.com:443"]
    ));
    assert!(!check(
        "https://nvcr.io",
        "https://authn.nvidia.com:444/token",
        &["authn.nvidia.com:443"]
    ));
    assert!(!check(
        "https://nvcr.io",
        "http://authn.nvidia.com/token",
        &["authn.nvidia.com"]
    ));
    // Addresses have no domain to share.
    assert!(check(
        "http://10.0.0.1:5000",
        "http://10.0.0.1:5001/token",
        &[]
    ));
    assert!(!check(
        "http://10.0.0.1:5000",
        "http://10.0.0.2:5001/token",
        &[]
    ));
}

#[test]
fn a_token_without_a_scope_is_asked_for_without_the_word() {
    let found = bearer(&[r#"Bearer realm="https://auth.example.com/token",service="reg""#]);
    let url = found.token_url("");
    assert_eq!(url.as_str(), "https://auth.example.com/token?service=reg");
    assert!(!found.refresh_form("", "t").contains("scope"));
    assert!(
        found
            .refresh_form("repository:a:pull", "t")
            .contains("scope=repository")
    );
}

proptest::proptest! {
    #[test]
    fn any_header_text_is_survived(line in "[ -~]{0,200}") {
        let _ = read(&[&line]);
    }

    #[test]
    fn any_realm_text_gives_http_or_https_or_an_error(realm in "[!#-\\[\\]-~]{0,60}") {
        if let Ok(Challenge::Bearer(bearer)) = read(&[&format!("Bearer realm=\"{realm}\"")]) {
            proptest::prop_assert!(matches!(bearer.realm.scheme(), "http" | "https"));
            proptest::prop_assert!(bearer.realm.password().is_none());
        }
    }
}
