//! The programs that docker's and podman's file of logins names: credential helpers.

use std::time::Duration;

use forebay_loadtest::origin::{Auth, Authorization, Fault, Kind, Reply, When};
use http::StatusCode;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::home::{Home, pulls, two_users};
use super::{manifest, manifest_of};

/// How long it may take until all of a helper is gone.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_helpers_login_is_asked_for_once() {
    const ANSWER: &str = r#"read server; echo "$server" >> "$DOCKER_CONFIG/asked"
        echo '{"ServerURL":"x","Username":"ci","Secret":"canary-secret"}'"#;
    for config in [
        r#"{"credsStore": "stub", "auths": {"HOST": {}}}"#,
        r#"{"credsStore": "none-such", "credHelpers": {"HOST": "stub"}}"#,
    ] {
        let origin = two_users(Auth::Basic).await;
        let home = Home::new();
        home.helper("stub", ANSWER);
        home.log_in(&origin, config);
        let forebay = home.mirror(&origin).await;
        pulls(&forebay).await;
        let image = origin.image("team/app", "v1");
        for blob in image.manifests[0].blobs() {
            let answer = forebay.client().blob("team/app", &blob.digest).await;
            assert!(answer.is_exactly(&blob.digest));
        }
        let asked = std::fs::read_to_string(home.path().join("asked")).unwrap();
        let host = origin.registry_url();
        assert_eq!(
            format!("http://{asked}"),
            format!("{}\n", host.trim_end_matches('/'))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helpers_identity_token_is_known_by_its_users_name() {
    let origin = two_users(Auth::token()).await;
    let home = Home::new();
    home.helper(
        "stub",
        r#"echo '{"Username":"<token>","Secret":"canary-secret"}'"#,
    );
    home.log_in(&origin, r#"{"credsStore": "stub"}"#);
    pulls(&home.mirror(&origin).await).await;
    assert_eq!(origin.requests_for(Kind::Token)[0].method, "POST");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_knows_no_login_leaves_the_file_and_then_nobody() {
    let origin = two_users(Auth::token()).await;
    let home = Home::new();
    home.helper(
        "stub",
        "echo 'credentials not found in native keychain'; exit 1",
    );
    home.log_in(
        &origin,
        r#"{"credsStore": "stub", "auths": {"HOST": {"auth": "Y2k6Y2FuYXJ5LXNlY3JldA=="}}}"#,
    );
    pulls(&home.mirror(&origin).await).await;
    home.log_in(&origin, r#"{"credsStore": "stub"}"#);
    origin.reset();
    let answer = manifest(&home.mirror(&origin).await).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let token = &origin.requests_for(Kind::Token)[0];
    assert_eq!(token.authorization, Authorization::None);
}

/// What a failing helper had printed went to every client and into the log, whatever it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_helper_is_named_to_the_operator_and_absence_to_nobody() {
    for (script, what) in [
        (None, "can't be run: No such file or directory"),
        (Some("exec sleep 600"), "has not answered within 2s"),
        (
            Some("echo canary { garbage"),
            "prints something else than a login",
        ),
        (
            Some("echo the keychain is locked; exit 1"),
            "fails: the keychain is locked",
        ),
        (Some("kill -9 $$"), "fails, and says nothing"),
        // A wrapper that prints the login, and whose next command fails.
        (
            Some(r#"echo '{"Username":"ci","Secret":"canary-secret"}'; exit 1"#),
            "fails; what it prints is withheld",
        ),
        (
            Some("echo secret: canary; exit 1"),
            "fails; what it prints is withheld",
        ),
    ] {
        let origin = two_users(Auth::token()).await;
        let home = Home::new();
        if let Some(script) = script {
            home.helper("stub", script);
        }
        home.log_in(&origin, r#"{"credsStore": "stub"}"#);
        // Those that do answer have the time to, however busy the machine is.
        let patience = if what.ends_with("2s") { "2s" } else { "1m" };
        let forebay = home.patient(&origin, patience).start().await;
        let answer = manifest(&forebay).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
        let text = answer.text();
        let message = format!("the credential helper docker-credential-stub {what}");
        forebay
            .until_logged(&message, |log| log.contains(&message))
            .await;
        assert!(text.contains("docker-config"), "{text}");
        assert!(text.contains("the mirror's log says why"), "{text}");
        assert!(text.contains("see `credentials` under"), "{text}");
        assert!(!text.contains("docker-credential-stub"), "{text}");
        assert!(!forebay.log().contains("canary") && !text.contains("canary"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_helper_takes_no_cached_image_away() {
    let origin = two_users(Auth::token()).await;
    let home = Home::new();
    home.helper(
        "stub",
        r#"echo '{"Username":"ci","Secret":"canary-secret"}'"#,
    );
    home.log_in(&origin, r#"{"credsStore": "stub"}"#);
    let tags = "tags = { fresh_for = \"0s\", stale_while_revalidate = \"0s\" }";
    let forebay = home.setup(&origin).upstream(tags).start().await;
    pulls(&forebay).await;
    home.helper("stub", "exit 1");
    origin.expire_tokens();
    let forebay = forebay.restart().await;
    let answer = manifest(&forebay).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
    assert!(
        answer.header("cache-status").contains("stale"),
        "{:?}",
        answer.headers
    );
}

/// Only the shell of a hanging helper was killed; what it had called went on, one more with each question.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_helper_goes_with_all_that_it_has_started() {
    let origin = two_users(Auth::token()).await;
    let home = Home::new();
    home.helper(
        "stub",
        r#"exec 3> "$DOCKER_CONFIG/held"; echo up >&3; sleep 600; true"#,
    );
    home.log_in(&origin, r#"{"credsStore": "stub"}"#);
    let held = home.path().join("held");
    let (user, fifo) = (rustix::fs::Mode::RWXU, rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(rustix::fs::CWD, &held, fifo, user, 0).unwrap();
    let mut held = pipe::OpenOptions::new().open_receiver(&held).unwrap();
    let forebay = home.patient(&origin, "5s").start().await;
    assert_eq!(manifest(&forebay).await.status, StatusCode::FORBIDDEN);
    let mut told = String::new();
    // Its end comes when nobody holds the other end any more.
    let end = tokio::time::timeout(PATIENCE, held.read_to_string(&mut told)).await;
    assert!(end.is_ok(), "something goes on");
    assert_eq!(told, "up\n");
}

/// It was given the password of every upstream that has its own in the environment, and the socket by which a service manager
/// is told of the mirror.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_sees_none_of_the_mirrors_own_variables() {
    let origin = two_users(Auth::token()).await;
    let home = Home::new();
    home.helper(
        "stub",
        r#"env > "$DOCKER_CONFIG/seen"; echo '{"Username":"ci","Secret":"canary-secret"}'"#,
    );
    home.log_in(&origin, r#"{"credsStore": "stub"}"#);
    let of_manager = home.path().join("notify");
    let setup = home.setup(&origin).env("NOTIFY_SOCKET", of_manager);
    let setup = setup.env("WATCHDOG_USEC", "600000000");
    pulls(&setup.start().await).await;
    let seen = std::fs::read_to_string(home.path().join("seen")).unwrap();
    assert!(seen.contains("DOCKER_CONFIG="), "{seen}");
    for other in ["FOREBAY_", "NOTIFY_SOCKET", "WATCHDOG_"] {
        assert!(!seen.contains(other), "{seen}");
    }
}

/// One repository that the user may not read had the login dropped for all of them; and while the helper failed, none could
/// be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_repository_takes_no_other_its_login() {
    let origin = two_users(Auth::Basic).await;
    let home = Home::new();
    home.helper(
        "stub",
        r#"echo '{"Username":"ci","Secret":"canary-secret"}'"#,
    );
    home.log_in(&origin, r#"{"credsStore": "stub"}"#);
    let forebay = home.mirror(&origin).await;
    pulls(&forebay).await;
    home.helper("stub", "exit 1");
    let refused = When::from(Kind::ManifestGet).repository("team/other");
    let refusal = Reply::error(401, "UNAUTHORIZED", "not this one");
    origin.on(refused).always(Fault::Answer(refusal));
    let answer = manifest_of(&forebay, "team/other").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = manifest_of(&forebay, "third/app").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
}
