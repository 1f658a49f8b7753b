//! A greedy client among modest ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use forebay_loadtest::origin::{Descriptor, ImageSpec};
use http::{Method, StatusCode};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::{Setup, blob_path, heavy, hold_body, plain_origin};

const GREEDY: u16 = 1000;
const PLACES: u16 = 8;
const MODEST: u8 = 50;

/// The greedy one's requests stand still, all 1,000 of them, until the modest ones have all that they want. How long that
/// takes them is measured by `forebay-loadtest greedy`.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_of_one_client_hold_up_none_of_fifty_others() {
    heavy();
    let mut blob: Option<Descriptor> = None;
    let mut image = None;
    let builder = plain_origin().repository("library/app", |repository| {
        blob = Some(repository.random_blob(1, 1_000_000));
        image = Some(repository.image("v1", &ImageSpec::default()));
    });
    let origin = builder.start().await.unwrap();
    let blob = blob.unwrap();
    let forebay = Setup::new(&origin)
        .config(&format!(
            "[limits]\nper_client_in_flight = {PLACES}\nmax_delay = \"20s\""
        ))
        .start()
        .await;
    let gate = hold_body(&origin, &blob.digest, 500_000);

    let heads = Arc::new(AtomicU16::new(0));
    let (open, over) = watch::channel(false);
    let mut greedy = JoinSet::new();
    for _ in 0..GREEDY {
        let (client, heads, mut over) = (forebay.client_at(0, 2), Arc::clone(&heads), over.clone());
        let path = blob_path("library/app", &blob.digest);
        greedy.spawn(async move {
            let response = client.open(Method::GET, &path, &[]).await;
            let status = response.status();
            heads.fetch_add(u16::from(status == StatusCode::OK), Ordering::SeqCst);
            over.wait_for(|over| *over).await.unwrap();
            let whole = response
                .bytes()
                .await
                .is_ok_and(|body| body.len() == 1_000_000);
            (status, whole)
        });
    }
    let waiting = f64::from(GREEDY - PLACES);
    forebay
        .until_metric("forebay_client_delays_total", "in_flight", |delayed| {
            delayed >= waiting
        })
        .await;

    let mut modest = JoinSet::new();
    for fourth in 1..=MODEST {
        let client = forebay.client_at(1, fourth);
        modest.spawn(async move {
            for _ in 0..4 {
                let answer = client.manifest("library/app", "v1").await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            }
        });
    }
    while let Some(pulled) = modest.join_next().await {
        pulled.unwrap();
    }
    let let_in = heads.load(Ordering::SeqCst);
    assert!(
        let_in <= PLACES,
        "{let_in} of the greedy client's requests were answered"
    );

    gate.release();
    open.send(true).unwrap();
    let mut answered = 0;
    while let Some(ended) = greedy.join_next().await {
        match ended.unwrap() {
            (StatusCode::OK, whole) => {
                assert!(whole, "a 200 of the greedy client broke off");
                answered += 1;
            }
            (status, _) => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    assert!(answered >= PLACES, "{answered}");
    println!(
        "{let_in} of {GREEDY} requests were answered before {MODEST} others were served, {answered} in the end"
    );
}
