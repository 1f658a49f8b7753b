//! docker's and podman's file of logins, and the programs that it names.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use forebay_loadtest::origin::{
    Auth, Authorization, Fault, ImageSpec, Kind, Origin, Refresh, Reply, TokenAuth, When,
};
use http::StatusCode;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use crate::harness::{Answer, Forebay, Setup, manifest_path};

const DOCKER: &str = "credentials = \"docker-config\"";
/// How long it may take until all of a helper is gone.
const PATIENCE: Duration = Duration::from_mins(1);

const REPOSITORIES: [&str; 3] = ["team/app", "team/other", "third/app"];

/// An upstream whose repositories only users may read, such as `ci`.
async fn private_origin(auth: Auth) -> Origin {
    let builder = Origin::docker_hub()
        .auth(auth)
        .user("ci", "canary-secret")
        .user("third", "canary-third");
    let builder = REPOSITORIES.iter().fold(builder, |builder, name| {
        builder.repository(name, |repository| {
            repository.private();
            repository.image("v1", &ImageSpec::default());
        })
    });
    builder.start().await.expect("the origin starts")
}

/// A user's home: logins and helpers.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes `config.json`, in which `HOST` stands for the registry.
    fn log_in(&self, origin: &Origin, config: &str) {
        let url = origin.registry_url();
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        std::fs::write(
            self.path().join("config.json"),
            config.replace("HOST", host),
        )
        .unwrap();
    }

    /// Installs a credential helper: a shell script.
    fn helper(&self, name: &str, script: &str) {
        let path = self.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn setup(&self, origin: &Origin) -> Setup {
        self.patient(origin, "1m")
    }

    /// With this patience for helpers.
    fn patient(&self, origin: &Origin, patience: &str) -> Setup {
        let path = std::env::var("PATH").unwrap_or_default();
        Setup::new(origin)
            .upstream(DOCKER)
            .upstream(&format!("helper_timeout = {patience:?}"))
            .env("DOCKER_CONFIG", self.path())
            .env("PATH", format!("{}:{path}", self.path().display()))
            .env("FOREBAY_LOG__LEVEL", "debug")
    }

    async fn mirror(&self, origin: &Origin) -> Forebay {
        self.setup(origin).start().await
    }
}

async fn pull(forebay: &Forebay) -> Answer {
    pull_of(forebay, "team/app").await
}

async fn pull_of(forebay: &Forebay, name: &str) -> Answer {
    forebay.client().get(&manifest_path(name, "v1")).await
}

/// An entry with a user and a password.
fn entry(user: &str, password: &str) -> String {
    format!(r#"{{"username": {user:?}, "password": {password:?}}}"#)
}

/// Pulls, and sees that no secret is printed.
async fn pulls(forebay: &Forebay) {
    let answer = pull(forebay).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
    assert!(!forebay.log().contains("canary"), "{}", forebay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_dockers_file_opens_a_private_repository() {
    for auth in [Auth::token(), Auth::Basic] {
        let origin = private_origin(auth).await;
        let home = Home::new();
        home.log_in(
            &origin,
            r#"{"auths": {"https://HOST/v2/": {"auth": "Y2k6Y2FuYXJ5LXNlY3JldA=="}}}"#,
        );
        pulls(&home.mirror(&origin).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_posted_and_a_service_that_knows_get_only_gets_it_so() {
    for (refresh, asked) in [(Refresh::Posted, 1), (Refresh::Unknown, 2)] {
        let auth = Auth::Token(TokenAuth {
            refresh,
            ..TokenAuth::default()
        });
        let origin = private_origin(auth).await;
        let home = Home::new();
        home.log_in(
            &origin,
            r#"{"auths": {"HOST": {"identitytoken": "canary-secret"}}}"#,
        );
        pulls(&home.mirror(&origin).await).await;
        let tokens = origin.requests_for(Kind::Token);
        assert_eq!(tokens.len(), asked);
        assert_eq!(tokens[0].method, "POST");
        assert_eq!(tokens[0].authorization, Authorization::None);
        assert!(!tokens[0].target.contains("canary"), "in no address");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helpers_login_is_asked_for_once() {
    const ANSWER: &str = r#"read server; echo "$server" >> "$DOCKER_CONFIG/asked"
        echo '{"ServerURL":"x","Username":"ci","Secret":"canary-secret"}'"#;
    for config in [
        r#"{"credsStore": "stub", "auths": {"HOST": {}}}"#,
        r#"{"credsStore": "none-such", "credHelpers": {"HOST": "stub"}}"#,
    ] {
        let origin = private_origin(Auth::Basic).await;
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
    let origin = private_origin(Auth::token()).await;
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
    let origin = private_origin(Auth::token()).await;
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
    let answer = pull(&home.mirror(&origin).await).await;
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
        let origin = private_origin(Auth::token()).await;
        let home = Home::new();
        if let Some(script) = script {
            home.helper("stub", script);
        }
        home.log_in(&origin, r#"{"credsStore": "stub"}"#);
        // Those that do answer have the time to, however busy the machine is.
        let patience = if what.ends_with("2s") { "2s" } else { "1m" };
        let forebay = home.patient(&origin, patience).start().await;
        let answer = pull(&forebay).await;
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
    let origin = private_origin(Auth::token()).await;
    let home = Home::new();
    home.helper(
        "stub",
        r#"echo '{"Username":"ci","Secret":"canary-secret"}'"#,
    );
    home.log_in(&origin, r#"{"credsStore": "stub"}"#);
    let path = std::env::var("PATH").unwrap_or_default();
    let forebay = Setup::new(&origin)
        .upstream(DOCKER)
        .upstream("tags = { fresh_for = \"0s\", stale_while_revalidate = \"0s\" }")
        .env("DOCKER_CONFIG", home.path())
        .env("PATH", format!("{}:{path}", home.path().display()))
        .start()
        .await;
    pulls(&forebay).await;
    home.helper("stub", "exit 1");
    origin.expire_tokens();
    let forebay = forebay.restart().await;
    let answer = pull(&forebay).await;
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
    let origin = private_origin(Auth::token()).await;
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
    assert_eq!(pull(&forebay).await.status, StatusCode::FORBIDDEN);
    let mut told = String::new();
    // Its end comes when nobody holds the other end any more.
    let end = tokio::time::timeout(PATIENCE, held.read_to_string(&mut told)).await;
    assert!(end.is_ok(), "something goes on");
    assert_eq!(told, "up\n");
}

/// It was given the password of every upstream that has its own in the environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_sees_none_of_the_mirrors_own_variables() {
    let origin = private_origin(Auth::token()).await;
    let home = Home::new();
    home.helper(
        "stub",
        r#"env > "$DOCKER_CONFIG/seen"; echo '{"Username":"ci","Secret":"canary-secret"}'"#,
    );
    home.log_in(&origin, r#"{"credsStore": "stub"}"#);
    pulls(&home.mirror(&origin).await).await;
    let seen = std::fs::read_to_string(home.path().join("seen")).unwrap();
    assert!(seen.contains("DOCKER_CONFIG="), "{seen}");
    assert!(!seen.contains("FOREBAY_"), "{seen}");
}

/// One repository that the user may not read had the login dropped for all of them; and while the helper failed, none could
/// be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_repository_takes_no_other_its_login() {
    let origin = private_origin(Auth::Basic).await;
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
    let answer = pull_of(&forebay, "team/other").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = pull_of(&forebay, "third/app").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_is_read_again_and_one_that_is_gone_is_remembered() {
    let origin = private_origin(Auth::Basic).await;
    let home = Home::new();
    let log_in = |password| {
        let entry = entry("ci", password);
        home.log_in(&origin, &format!(r#"{{"auths": {{"HOST": {entry}}}}}"#));
    };
    log_in("canary-secret");
    let forebay = home.mirror(&origin).await;
    pulls(&forebay).await;
    origin.set_password("ci", "canary-rotated");
    log_in("canary-rotated");
    let answer = pull_of(&forebay, "team/other").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
    std::fs::remove_file(home.path().join("config.json")).unwrap();
    let answer = pull_of(&forebay, "third/app").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_below_a_registry_has_the_login_of_its_own() {
    let origin = private_origin(Auth::Basic).await;
    let home = Home::new();
    let (ci, third) = (entry("ci", "canary-secret"), entry("third", "canary-third"));
    home.log_in(
        &origin,
        &format!(r#"{{"auths": {{"HOST": {third}, "HOST/team": {ci}}}}}"#),
    );
    let forebay = home.mirror(&origin).await;
    for name in ["team/app", "third/app"] {
        assert_eq!(pull_of(&forebay, name).await.status, StatusCode::OK);
    }
    for (name, login) in [
        ("team/app", "Basic Y2k6Y2FuYXJ5LXNlY3JldA=="),
        ("third/app", "Basic dGhpcmQ6Y2FuYXJ5LXRoaXJk"),
    ] {
        let asked = origin.requests_for(When::from(Kind::ManifestGet).repository(name));
        let sent = asked.last().unwrap().header("authorization");
        assert_eq!(sent, [login], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_auth_file_comes_before_dockers_own() {
    let origin = private_origin(Auth::Basic).await;
    let (home, other) = (Home::new(), Home::new());
    for (home, password) in [(&home, "wrong"), (&other, "canary-secret")] {
        let entry = entry("ci", password);
        home.log_in(&origin, &format!(r#"{{"auths": {{"HOST": {entry}}}}}"#));
    }
    let setup = home.setup(&origin);
    let setup = setup.env("REGISTRY_AUTH_FILE", other.path().join("config.json"));
    pulls(&setup.start().await).await;
}

/// Whoever had docker's logins used was told to set `username` and `password_file`, which is refused beside them.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_the_file_lacks_is_told_as_such() {
    let origin = private_origin(Auth::Basic).await;
    let home = Home::new();
    home.log_in(&origin, "{}");
    let answer = pull(&home.mirror(&origin).await).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let text = answer.text();
    assert!(text.contains("docker-config has none for it"), "{text}");
    assert!(!text.contains("set username"), "{text}");
}
