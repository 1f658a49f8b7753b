//! What the keys that errors name allow, and no more than that: an endpoint is exempt by scheme, host and port.

use forebay_loadtest::origin::{Auth, Blobs, Fault, Kind, Origin, Server, When};

use super::canary::Canary;
use super::logins::moved;
use super::stage::{
    ELSEWHERE, Lifted, PASSWORD, UPSTREAM, USER, any_port, apart, at, kept_home, mirror, names,
    open, pulls, refused, upstream, with_image,
};
use crate::harness::Setup;

const PRIVATE: Lifted<'static> = Lifted::By("allow_private");
const TRUST: Lifted<'static> = Lifted::By("trusted_realms");

#[tokio::test(flavor = "multi_thread")]
async fn allow_private_allows_what_was_refused_for_want_of_it() {
    let test = "keys::allow_private_allows_what_was_refused_for_want_of_it";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let rows = [
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("10.1.2.3", "a private address"),
        ("fd12::1", "a private address"),
        ("169.254.1.1", "a link-local address"),
    ];
    let names = names(rows.len());
    let home = upstream(&names).await;
    let mut inner = Vec::new();
    for ((address, _), name) in rows.iter().zip(&names) {
        inner.push(open(address, &names).await);
        moved(&home, name, &inner[inner.len() - 1].registry_url());
    }
    let forebay = mirror(&home).start().await;
    for ((_, rule), name) in rows.iter().zip(&names) {
        refused(&forebay, &format!("/v2/{name}/manifests/v1"), rule, PRIVATE).await;
    }
    assert!(inner.iter().all(|inner| inner.counts().total() == 0));
    drop(forebay);

    let login = format!("username = {USER:?}\npassword = {PASSWORD:?}");
    let forebay = Setup::new(&home).upstream(&login).start().await;
    for (name, inner) in names.iter().zip(&inner) {
        pulls(&forebay, &home, name).await;
        assert_eq!(inner.counts().requests(Kind::ManifestGet), 1);
    }
    kept_home(&home, &inner.iter().collect::<Vec<_>>(), &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn trusted_realms_allows_the_host_or_the_port_that_it_names() {
    let test = "keys::trusted_realms_allows_the_host_or_the_port_that_it_names";
    if !apart(test).await {
        return;
    }
    for (address, needs_private) in [(ELSEWHERE, false), ("127.0.0.1", true)] {
        let builder = Origin::builder().auth(Auth::token()).user(USER, PASSWORD);
        let builder = at(UPSTREAM, with_image(builder, "row/0"));
        let builder = builder.listen(Server::Token, any_port(address));
        let origin = builder.start().await.unwrap();
        let host = origin.token_url().replace("http://", "");
        let (host, _) = host.split_once('/').unwrap();
        let port = host.rsplit_once(':').unwrap().1;
        let other_port = format!("{address}:{}", port.parse::<u16>().unwrap() ^ 1);
        let path = "/v2/row/0/manifests/v1";

        for trusted in ["", "5.6.7.80", "127.0.0.10", "0.0.1", "7.8", &other_port] {
            let list = if trusted.is_empty() {
                vec![]
            } else {
                vec![trusted]
            };
            let setup = mirror(&origin).upstream(&format!("trusted_realms = {list:?}"));
            let forebay = setup.start().await;
            refused(&forebay, path, "is on another domain", TRUST).await;
        }
        assert_eq!(origin.counts().requests(Kind::Token), 0);

        for trusted in [address, host] {
            let trusted = format!("trusted_realms = [{trusted:?}]");
            if needs_private {
                let forebay = mirror(&origin).upstream(&trusted).start().await;
                refused(&forebay, path, "a loopback address", PRIVATE).await;
                assert_eq!(origin.counts().requests(Kind::Token), 0);
            }
            let login = format!("username = {USER:?}\npassword = {PASSWORD:?}");
            let setup = Setup::new(&origin).upstream(&login).upstream(&trusted);
            let setup = if needs_private { setup } else { setup.strict() };
            let forebay = setup.start().await;
            pulls(&forebay, &origin, "row/0").await;
            assert!(origin.counts().requests(Kind::Token) > 0);
            origin.reset();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_exempt_to_the_letter_and_for_its_own_upstream() {
    let test = "keys::an_endpoint_is_exempt_to_the_letter_and_for_its_own_upstream";
    if !apart(test).await {
        return;
    }
    let canary = Canary::set().await;
    let names = names(8);
    // Its blobs come from another port of the same host.
    let builder = names.iter().fold(
        Origin::builder().blobs(Blobs::redirect()),
        |builder, name| with_image(builder, name),
    );
    let origin = at("10.1.2.3", builder).start().await.unwrap();
    let neighbour = open("192.168.1.1", &names).await;
    let port = origin.registry_url().rsplit_once(':').unwrap().1.to_owned();

    let forebay = Setup::new(&origin)
        .strict()
        .also("quay.io", &neighbour, "")
        .start()
        .await;
    let image = origin.image("row/0", "v1");
    let tag = forebay.client().manifest("row/0", "v1").await;
    assert!(
        tag.is_exactly(&image.manifests[0].descriptor.digest),
        "{}",
        tag.text()
    );
    let blob = format!("/v2/row/0/blobs/{}", image.manifests[0].layers[0].digest);
    refused(&forebay, &blob, "a private address", PRIVATE).await;
    assert_eq!(origin.counts().requests(Kind::CdnGet), 0);

    let canary_port = canary.port();
    for (row, location, rule) in [
        (
            1,
            format!("http://10.1.2.3:{canary_port}/x"),
            "a private address",
        ),
        (
            2,
            format!("https://10.1.2.3:{port}/v2/row/2/manifests/v1"),
            "a private address",
        ),
        (
            3,
            "http://10.1.2.3/v2/row/3/manifests/v1".to_owned(),
            "a private address",
        ),
        (
            4,
            format!("http://[::ffff:10.1.2.3]:{port}/v2/row/4/manifests/v1"),
            "an IPv4-in-IPv6 address",
        ),
        (
            5,
            format!("{}/v2/row/5/manifests/v1", neighbour.registry_url()),
            "a private address",
        ),
    ] {
        let led = origin.on(Kind::ManifestGet).repository(&names[row]);
        led.reference("led").always(Fault::redirect_to(&location));
        let path = format!("/v2/row/{row}/manifests/led");
        refused(&forebay, &path, rule, PRIVATE).await;
    }
    // Nor was it found in a roundabout way.
    let found = origin.requests_for(When::from(Kind::ManifestGet).reference("v1"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(neighbour.counts().total(), 0);
    // In other words, but the same place.
    for (row, location) in [
        (6, "/v2/row/6/manifests/v1".to_owned()),
        (
            7,
            format!("HTTP://0x0a.1.515:0{port}/v2/row/7/manifests/v1"),
        ),
    ] {
        let led = origin.on(Kind::ManifestGet).repository(&names[row]);
        led.reference("led").always(Fault::redirect_to(&location));
        let answer = forebay.client().manifest(&names[row], "led").await;
        let image = origin.image(&names[row], "v1");
        assert!(
            answer.is_exactly(&image.manifests[0].descriptor.digest),
            "{}",
            answer.text()
        );
    }
    // The neighbour is fetched from where it is meant to be.
    let theirs = forebay.client().manifest("quay.io/row/5", "v1").await;
    let image = neighbour.image("row/5", "v1");
    assert!(
        theirs.is_exactly(&image.manifests[0].descriptor.digest),
        "{}",
        theirs.text()
    );
    assert_eq!(canary.caught(), Vec::<String>::new());
}
