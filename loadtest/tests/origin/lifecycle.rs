//! Off and on again.

use forebay_loadtest::origin::{Kind, Origin, Outcome, Server};

use crate::client::{
    APP, blob_path, client, get, get_blob, get_with_login, hub, location, plain, with_blob,
};

#[tokio::test]
async fn stopped_origin_refuses_connects_and_comes_back_on_the_same_ports() {
    let origin = plain().await;
    let url = format!("{}/v2/", origin.registry_url());
    assert_eq!(get(&origin, "").await.status(), 200);
    for _ in 0..3 {
        origin.stop().await;
        assert!(client().get(&url).send().await.unwrap_err().is_connect());
        origin.start_again().await.unwrap();
        assert_eq!(client().get(&url).send().await.unwrap().status(), 200);
    }
    origin.start_again().await.unwrap();
    assert_eq!(origin.counts().requests(Kind::Ping), 4);
}

#[tokio::test]
async fn stopping_ends_what_is_being_sent() {
    let (origin, digest) = with_blob(100_000).await;
    let gate = origin.on_body(&digest).hold_at(50_000);
    let response = get_blob(&origin, &digest, None).await;
    gate.reached(1).await;
    origin.stop().await;
    assert!(response.bytes().await.is_err());
    assert_eq!(origin.requests()[0].outcome, Outcome::Gone);
    assert_eq!(gate.waiting(), 0);
}

#[tokio::test]
async fn cdn_can_be_off_while_the_registry_is_on() {
    let origin = hub().await;
    let layer = origin.image(APP, "v1").manifests[0].layers[0].clone();
    origin.stop_server(Server::Cdn).await;
    let redirect = get_with_login(&origin, &blob_path(&layer.digest), None).await;
    assert_eq!(redirect.status(), 307);
    let url = location(&redirect);
    assert!(client().get(url).send().await.unwrap_err().is_connect());
    origin.start_server(Server::Cdn).await.unwrap();
    assert_eq!(client().get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn dropped_origin_is_gone() {
    let origin = plain().await;
    let url = format!("{}/v2/", origin.registry_url());
    drop(origin);
    // The tasks are told to stop, and do so when they next run.
    let refused = async {
        while client().get(&url).send().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), refused)
        .await
        .unwrap();
}

#[tokio::test]
async fn two_origins_do_not_meet() {
    let (one, other) = (plain().await, Origin::builder().start().await.unwrap());
    assert_ne!(one.host(), other.host());
    assert_eq!(
        get(&other, &format!("{APP}/manifests/v1")).await.status(),
        404
    );
    assert_eq!(one.counts().total(), 0);
}

#[tokio::test]
async fn taken_port_is_named() {
    let origin = plain().await;
    let address = origin.host().parse().unwrap();
    let error = Origin::builder()
        .listen(Server::Registry, address)
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains(origin.host()), "{error}");
}
