//! Logins stay with their upstream, whatever it redirects to, and another registry's challenge is met as nobody.

use forebay_loadtest::origin::{Auth, Authorization, Fault, Kind, Origin};
use http::StatusCode;

use super::canary::Canary;
use super::stage::{
    ELSEWHERE, ELSEWHERE_V6, Lifted, UPSTREAM, apart, at, challenge, kept_home, mirror, misled,
    names, pulls, recovers, upstream, with_image,
};

/// A registry of others with the same content.
async fn other(address: &str, auth: Auth, names: &[String]) -> Origin {
    let builder = Origin::builder().auth(auth);
    let builder = names
        .iter()
        .fold(builder, |builder, name| with_image(builder, name));
    at(address, builder).start().await.unwrap()
}

/// Has the image of `name` come from `to`, once the client of `home` has logged in.
pub(super) fn moved(home: &Origin, name: &str, to: &str) {
    let image = home.image(name, "v1");
    let manifest = &image.manifests[0];
    let led = |kind, path: String| {
        let fault = Fault::redirect_to(&format!("{to}/v2/{name}/{path}"));
        home.on(kind).repository(name).always(fault);
    };
    led(Kind::ManifestGet, "manifests/v1".to_owned());
    led(
        Kind::BlobGet,
        format!("blobs/{}", manifest.layers[0].digest),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_takes_the_login_to_another_host_or_port() {
    let test = "logins::no_redirect_takes_the_login_to_another_host_or_port";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let names = names(4);
    let home = upstream(&names).await;
    let mut others = Vec::new();
    for address in [ELSEWHERE, ELSEWHERE_V6, UPSTREAM, ELSEWHERE] {
        others.push(other(address, Auth::Open, &names).await);
    }
    for (name, other) in names.iter().zip(&others) {
        moved(&home, name, &other.registry_url());
    }
    // From the last one back home, where the login is known again.
    home.clear_faults();
    for (name, other) in names[..3].iter().zip(&others) {
        moved(&home, name, &other.registry_url());
    }
    let there = format!("{}/v2/row/3/manifests/v1", others[3].registry_url());
    let back = format!("{}/v2/row/3/manifests/v1", home.registry_url());
    let led = home.on(Kind::ManifestGet).repository("row/3");
    led.reference("led").always(Fault::redirect_to(&there));
    let led = others[3].on(Kind::ManifestGet).repository("row/3");
    led.always(Fault::redirect_to(&back));

    let forebay = mirror(&home).start().await;
    for name in &names {
        pulls(&forebay, &home, name).await;
    }
    let led = forebay.client().manifest("row/3", "led").await;
    let image = home.image("row/3", "v1");
    let digest = &image.manifests[0].descriptor.digest;
    assert!(led.is_exactly(digest), "{}", led.text());
    for other in &others {
        assert!(
            other.counts().total() > 0,
            "nobody was led to {}",
            other.host()
        );
        for request in other.requests() {
            assert_eq!(request.authorization, Authorization::None, "{request:?}");
        }
    }
    kept_home(&home, &others.iter().collect::<Vec<_>>(), &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_registrys_challenge_is_met_as_nobody_or_not_at_all() {
    let test = "logins::another_registrys_challenge_is_met_as_nobody_or_not_at_all";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let names = names(4);
    let home = upstream(&names).await;
    let tokens = other(ELSEWHERE, Auth::token(), &names).await;
    let basic = other(ELSEWHERE, Auth::Basic, &names).await;
    let astray = other(ELSEWHERE, Auth::token(), &names).await;
    moved(&home, "row/0", &tokens.registry_url());
    moved(&home, "row/1", &basic.registry_url());
    let port = canary.port();
    for (name, realm) in [
        ("row/2", format!("http://127.0.0.1:{port}/token")),
        // The upstream's own host is another one there.
        ("row/3", format!("http://{UPSTREAM}:{port}/token")),
    ] {
        moved(&home, name, &astray.registry_url());
        misled(&astray, name, &challenge(&realm));
    }
    let forebay = mirror(&home).start().await;
    pulls(&forebay, &home, "row/0").await;
    let nobody = tokens.requests_for(Kind::Token);
    assert!(!nobody.is_empty());
    assert!(
        nobody
            .iter()
            .all(|request| request.authorization == Authorization::None)
    );

    let answer = forebay.client().manifest("row/1", "v1").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert!(basic.counts().total() > 0);
    for request in basic.requests() {
        assert_eq!(request.authorization, Authorization::None, "{request:?}");
    }

    for name in ["row/2", "row/3"] {
        let path = format!("/v2/{name}/manifests/v1");
        let lifted = Lifted::By("trusted_realms");
        super::stage::refused(&forebay, &path, "is on another domain", lifted).await;
    }
    recovers(&forebay, &home, &names).await;
    kept_home(&home, &[&tokens, &basic, &astray], &canary);
}
