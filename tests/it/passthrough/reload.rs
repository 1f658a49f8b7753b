//! Logins, tokens and rights where the configuration is read again.

use http::{Method, StatusCode};

use super::people::{APP, People, bearer, origin};
use crate::harness::{Answer, manifest_path};

async fn ask(people: &People, token: &str) -> Answer {
    let path = manifest_path(APP, &people.manifest);
    let headers = [("authorization", &*bearer(token))];
    people
        .forebay
        .client()
        .ask(Method::GET, &path, &headers)
        .await
}

/// Each reload had everyone log in again: the API was a new one, and with it the table of tokens.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_rights_outlive_a_reload_that_is_not_about_them() {
    let people = People::start(origin(81).await, "[limits]\nmax_delay = '9s'").await;
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
    people.origin().reset();
    people.forebay.rewrite("'9s'", "'8s'");
    people.forebay.reloaded().await;
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
    assert_eq!(people.origin().counts().total(), 0);
    let bobs = ask(&people, &people.bob).await;
    assert_eq!(bobs.status, StatusCode::FORBIDDEN, "{}", bobs.text());
    // Another table is asked anew what she may see there.
    people
        .forebay
        .rewrite("\"passthrough\"", "\"passthrough\"\ndeny = ['none/a']");
    people.forebay.reloaded().await;
    people.origin().reset();
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
    assert!(people.origin().counts().total() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_registry_that_takes_none_any_more_are_dropped() {
    let people = People::start(origin(82).await, "").await;
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
    people.forebay.rewrite("\"passthrough\"", "\"mirror\"");
    people.forebay.reloaded().await;
    people.forebay.rewrite("\"mirror\"", "\"passthrough\"");
    people.forebay.reloaded().await;
    let told = ask(&people, &people.alice).await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED);
    let challenge = told.header("www-authenticate");
    assert!(challenge.contains("invalid_token"), "{challenge}");
}

/// What would let another than the registry say who may see what is no more taken while running than at the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_lets_nobody_but_the_registry_say_who_may_see_what() {
    let people = People::start(origin(83).await, "").await;
    let endpoint = people.origin().registry_url();
    let passthrough = "access = \"passthrough\"";
    for (lines, told) in [
        (
            "client_cert = '/none.pem'\nclient_key = '/none.key'",
            "`client_cert` is a login of the mirror's own",
        ),
        ("username = 'me'\npassword = 'x'", "leave out `credentials`"),
    ] {
        let with = format!("{passthrough}\n{lines}");
        people.forebay.rewrite(passthrough, &with);
        people.forebay.reloaded().await;
        let logged = |log: &String| log.contains(told);
        people.forebay.until_logged(told, logged).await;
        assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
        let nobody = ask(&people, "none").await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
        people.forebay.rewrite(&with, passthrough);
    }
    let one = format!("\"{endpoint}\"");
    let two = format!("{one}, \"http://127.0.0.1:9\"");
    people.forebay.rewrite(&one, &two);
    people.forebay.reloaded().await;
    let told = "write one endpoint";
    let logged = |log: &String| log.contains(told);
    people.forebay.until_logged(told, logged).await;
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
}
