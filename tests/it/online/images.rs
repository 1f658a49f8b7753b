//! Images that may or may not be pulled, and the quota for them.

use forebay_loadtest::origin::{Auth, Fault, ImageSpec, Kind, Origin, Quota, Reply};

use super::{is_free, logged_in, look, with_login};
use crate::harness::{Setup, plain_origin};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_this_login_may_not_pull_is_told() {
    for auth in [Auth::Basic, Auth::token()] {
        let origin = with_login(auth).await;
        for (name, status) in [("team/other", 404), ("team/other", 403)] {
            let fault = (status == 403).then(|| {
                let reply = Fault::Answer(Reply::status(403));
                origin.on(Kind::ManifestHead).always(reply)
            });
            let image = format!("docker.io/{name}:v1");
            let found = look(&logged_in(&origin), &[&image]).await;
            found.says(&["ok    login"]);
            found.fails("image", &["team/other:v1: ", "right"]);
            if let Some(fault) = fault {
                fault.remove();
            }
        }
        is_free(&origin);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_takes_a_login_is_told_to_those_who_have_none() {
    let origin = with_login(Auth::token()).await;
    let found = look(&Setup::new(&origin), &["docker.io/team/app:v1"]).await;
    found.says(&["ok    login     anonymous (no credentials are set); "]);
    found.fails("image", &["`username` and `password_file`"]);
    let origin = plain_origin().start().await.unwrap();
    let found = look(&Setup::new(&origin), &["docker.io/team/none:v1"]).await;
    found.fails("image", &["answered 404", "`username` and `password_file`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_not_set_matters_unless_an_image_goes_without() {
    let origin = Origin::builder().repository("team/app", |repository| {
        repository.image("v1", &ImageSpec::default());
    });
    let origin = origin.start().await.unwrap();
    let challenge = Reply::status(401).header("www-authenticate", "Basic realm=\"x\"");
    origin.on(Kind::Ping).always(Fault::Answer(challenge));
    let setup = Setup::new(&origin);
    let found = look(&setup, &["docker.io"]).await;
    found.fails(
        "login",
        &["asks for a password", "`username` and `password_file`"],
    );
    let found = look(&setup, &["docker.io/team/app:v1"]).await;
    found.is_well(&["note  login", "team/app:v1 may be pulled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_mirror_refuses_itself_is_not_asked_for() {
    let origin = plain_origin().start().await.unwrap();
    for (key, line) in [
        ("deny", "deny = [\"team/**\"]"),
        ("allow", "allow = [\"library/**\"]"),
    ] {
        let setup = Setup::new(&origin).upstream(line);
        let found = look(&setup, &["docker.io/team/app:v1"]).await;
        found.fails(
            "image",
            &["may not be pulled through this mirror", &format!("`{key}`")],
        );
    }
    assert_eq!(origin.counts().requests(Kind::ManifestHead), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_head_is_asked_for_no_more() {
    let origin = Origin::builder().repository("team/app", |repository| {
        repository.image("v1", &ImageSpec::default());
    });
    let origin = origin.start().await.unwrap();
    origin.on(Kind::ManifestHead).always(Fault::status(405));
    let found = look(&Setup::new(&origin), &["docker.io/team/app:v1"]).await;
    found.is_well(&["note  image", "only a pull can tell"]);
    is_free(&origin);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_wrong_however_it_is_told() {
    let quota = |refuses_head| Quota {
        anonymous: 0,
        refuses_head,
        ..Quota::default()
    };
    let builder = Origin::docker_hub().quota(quota(false));
    let builder = builder.repository("ratelimitpreview/test", |repository| {
        repository.image("latest", &ImageSpec::default());
    });
    let origin = builder.start().await.unwrap();
    let setup = Setup::new(&origin);
    let found = look(&setup, &["docker.io"]).await;
    found.fails(
        "quota",
        &[
            "0 of 0 pulls in 6 h are left",
            "`username` and `password_file`",
        ],
    );
    origin.set_quota(Some(quota(true)));
    let found = look(&setup, &["docker.io"]).await;
    found.fails("quota", &["0 of 0 pulls in 6 h are left"]);
    assert_eq!(found.text.matches("FAIL").count(), 1, "{}", found.text);
    let found = look(&setup, &["docker.io/ratelimitpreview/test"]).await;
    found.fails("image", &["answered 429", "`username` and `password_file`"]);
    found.fails("quota", &["0 of 0 pulls in 6 h are left"]);
    assert_eq!(
        found.text.matches("a larger quota").count(),
        1,
        "{}",
        found.text
    );
    origin.set_quota(None);
    let abuse = Fault::Answer(Reply::abuse_limit());
    origin.on(Kind::ManifestHead).always(abuse);
    let found = look(&setup, &["docker.io"]).await;
    found.fails("quota", &["answered 429", "`username` and `password_file`"]);
    is_free(&origin);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_images_of_a_registry_are_asked_for_with_one_login() {
    let origin = with_login(Auth::Basic).await;
    let images = ["docker.io/team/app:v1", "docker.io/team/app:v2"];
    let found = look(&logged_in(&origin), &images).await;
    found.fails("image", &["team/app:v2"]);
    found.says(&["ok    image     team/app:v1 may be pulled"]);
    let counts = origin.counts();
    assert_eq!(
        (
            counts.requests(Kind::Ping),
            counts.requests(Kind::ManifestHead)
        ),
        (2, 2)
    );
}
