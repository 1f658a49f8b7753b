//! Challenges, as clients read them.

use super::*;
use crate::config::Config;

fn head(path: &str, host: &str) -> Parts {
    let request = http::Request::builder().uri(path).header(HOST, host);
    request.body(()).unwrap().into_parts().0
}

fn challenged(path: &str, host: &str, registry: Option<&str>, shown: &Shown) -> Option<String> {
    let mut answer = Answer::ping();
    let registry = registry.map(|registry| registry.parse().unwrap());
    let head = head(path, host);
    let asker = Asker {
        head: &head,
        scheme: Scheme::Https,
        shown,
    };
    asker.challenge(&mut answer, registry.as_ref());
    let field = answer.headers.get(WWW_AUTHENTICATE)?;
    Some(field.to_str().unwrap().to_owned())
}

#[test]
fn a_challenge_says_where_to_log_in_and_what_for() {
    let nothing = Shown::Nothing;
    let told = challenged("/v2/", "m:5000", None, &nothing);
    let realm = "Bearer realm=\"https://m:5000/_/token";
    assert_eq!(told.unwrap(), format!("{realm}\",service=\"m:5000\""));
    for (path, name) in [
        ("/v2/library/app/manifests/latest", "library/app"),
        ("/v2/a.io/app/blobs/sha256:00?ns=a.io", "a.io/app"),
        ("/dockerhub/v2/app/tags/list", "app"),
    ] {
        let told = challenged(path, "m:5000", Some("a.io"), &nothing).unwrap();
        let scope = format!("scope=\"repository:{name}:pull\"");
        assert_eq!(
            told,
            format!("{realm}?ns=a.io\",service=\"m:5000\",{scope}")
        );
    }
    let told = challenged("/v2/", "m", None, &Shown::Stale).unwrap();
    assert!(told.ends_with(",error=\"invalid_token\""), "{told}");
    // Nothing that a client writes ends a quoted string.
    assert_eq!(challenged("/v2/", "m\"x", None, &nothing), None);
    assert_eq!(challenged("/v2/", "", None, &nothing), None);
    let told = challenged("/v2/a%22b/manifests/x", "m", Some("a.io"), &nothing);
    assert!(!told.unwrap().contains("scope"));
}

#[test]
fn a_login_is_for_the_registry_that_the_client_was_asked_for() {
    let routes = |text: &str| {
        let config = Config::from_toml(&format!("[cache]\ndir = '/cache'\n{text}"));
        Routes::new(&config.unwrap())
    };
    let both = "[upstreams.\"docker.io\"]\naccess = 'passthrough'\n\
         [upstreams.\"a.io\"]\naccess = 'passthrough'\nalias = 'a'\n";
    let one = "[upstreams.\"a.io\"]\naccess = 'passthrough'\nhosts = ['a.mirror']\n";
    for (text, host, query, registry) in [
        (both, "m", "", Some("docker.io")),
        (both, "m", "ns=a.io", Some("a.io")),
        (both, "m", "ns=quay.io", None),
        (both, "m", "scope=repository:a.io/app:pull", Some("a.io")),
        (both, "m", "scope=repository:quay.io/app:pull", None),
        (
            both,
            "m",
            "scope=repository:library/app:pull",
            Some("docker.io"),
        ),
        (both, "m", "scope=repository:nowhere.io/app:pull", None),
        (one, "m", "", Some("a.io")),
        (one, "m", "scope=repository:library/app:pull", None),
        (
            one,
            "a.mirror:5000",
            "scope=repository:app:pull",
            Some("a.io"),
        ),
    ] {
        let head = head(&format!("{TOKEN_PATH}?{query}"), host);
        let form = Form::new(query, "", &head.headers).unwrap();
        let found = registry_of(&form, &head, &routes(text));
        let Ok(found) = found else {
            panic!("{query} is refused")
        };
        let expected = registry.map(|registry| registry.parse().unwrap());
        assert_eq!(found, expected, "{query} at {host}");
    }
}
