//! A fill whose own login is refused in the middle of a body: another's carries on, and where there is none it ends as a
//! failure.

use forebay_loadtest::origin::{Fault, Gate};
use http::{Method, StatusCode};
use tokio::task::JoinHandle;

use super::people::{APP, People, bearer, origin};
use crate::harness::{Answer, blob_path};

/// Where the first body stops.
const STOP: u64 = 100_000;

/// Asks for the layer as somebody; ends with the answer's head, and then with its body.
async fn begin(people: &People, token: &str) -> (StatusCode, JoinHandle<Option<bytes::Bytes>>) {
    let (client, path) = (people.forebay.client(), blob_path(APP, &people.layer));
    let headers = [("authorization", &*bearer(token))];
    let response = client.open(Method::GET, &path, &headers).await;
    let status = response.status();
    let body = tokio::spawn(async move { response.bytes().await.ok() });
    (status, body)
}

async fn ask(people: &People, token: &str) -> Answer {
    let (client, path) = (people.forebay.client(), blob_path(APP, &people.layer));
    let headers = [("authorization", &*bearer(token))];
    client.ask(Method::GET, &path, &headers).await
}

/// The first body waits before a byte, and ends there for good.
fn hold(people: &People) -> Gate {
    let origin = people.origin();
    origin.on_body(&people.layer).once(Fault::CutAt(STOP));
    origin.on_body(&people.layer).hold_at(STOP)
}

/// Alice may see it no more, and no token of hers is good.
fn refuse_alice(people: &People) {
    people
        .origin()
        .edit(APP, |repository| repository.only_for(&["carol"]));
    people.origin().expire_tokens();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_goes_on_with_anothers_login_where_its_own_is_refused() {
    let people = People::start(origin(91).await, "").await;
    let gate = hold(&people);
    let (status, hers) = begin(&people, &people.alice).await;
    assert_eq!(status, StatusCode::OK);
    gate.reached(1).await;
    let (status, carols) = begin(&people, &people.carol).await;
    assert_eq!(status, StatusCode::OK);
    refuse_alice(&people);
    gate.release();
    let whole = people.origin().content(APP, &people.layer);
    assert_eq!(carols.await.unwrap().unwrap(), whole);
    // What was hers before is served to its end.
    assert_eq!(hers.await.unwrap().unwrap(), whole);
    let origin = people.origin();
    assert_eq!(origin.repeated_bytes_sent(&people.layer), 0);
    let told = ask(&people, &people.alice).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN, "{}", told.text());
    assert!(ask(&people, &people.carol).await.is_exactly(&people.layer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_without_a_login_left_ends_as_a_failure_and_the_next_one_goes_on() {
    let people = People::start(origin(92).await, "[tags]\nnegative_for = \"0s\"").await;
    let gate = hold(&people);
    let (status, hers) = begin(&people, &people.alice).await;
    assert_eq!(status, StatusCode::OK);
    gate.reached(1).await;
    refuse_alice(&people);
    gate.release();
    assert_eq!(hers.await.unwrap(), None, "no end of body");
    people
        .forebay
        .until_metric("forebay_fills_running", "", |running| running == 0.0)
        .await;
    let told = ask(&people, &people.alice).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN, "{}", told.text());
    assert!(ask(&people, &people.carol).await.is_exactly(&people.layer));
    let origin = people.origin();
    assert_eq!(origin.repeated_bytes_sent(&people.layer), 0);
}
