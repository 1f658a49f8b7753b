//! Upstreams that are well: each profile, every upstream at once, JSON.

use std::path::Path;

use forebay_loadtest::origin::{Auth, Fault, ImageSpec, Kind, Origin, Profile, Quota, Reply};

use super::{PASSWORD, is_free, logged_in, look};
use crate::harness::{Setup, mirror_of};
use crate::registries::profile::{REPOSITORY, Site};

/// The registries that the program knows by itself, taken away: nothing leaves this machine.
const ALONE: &str = "[upstreams.'ghcr.io']\nenabled = false\n[upstreams.'quay.io']\nenabled = false\n\
    [upstreams.'gcr.io']\nenabled = false\n[upstreams.'registry.k8s.io']\nenabled = false\n\
    [upstreams.'mcr.microsoft.com']\nenabled = false\n[upstreams.'public.ecr.aws']\nenabled = false\n";

#[tokio::test(flavor = "multi_thread")]
async fn each_registry_is_well_for_a_handful_of_free_requests_and_tells_no_secret() {
    for profile in Profile::ALL {
        let site = Site::named(profile.name).await;
        let image = format!("{}/{REPOSITORY}:v1", profile.registry);
        let found = look(&site.mirror(), &[&image]).await;
        let login = match profile.user {
            Some(user) => format!("user `{user}`"),
            None => "anonymous (no credentials are set)".to_owned(),
        };
        let digest = site.image("v1").root.digest;
        let pulled = format!("{REPOSITORY}:v1 may be pulled, {digest}");
        found.is_well(&[&login, &pulled, "GET /v2/ is answered after "]);
        let requests = site.origin.requests();
        assert!(requests.len() <= 5, "{}: {requests:?}", profile.name);
        is_free(&site.origin);
        for request in &requests {
            for login in request.header("authorization") {
                let secret = login.split(' ').next_back().unwrap();
                assert!(!found.text.contains(secret), "{}", found.text);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_docker_hubs_quota_is_told_and_costs_nothing() {
    let builder = Origin::docker_hub().user("ci", PASSWORD);
    let builder = builder.repository("ratelimitpreview/test", |repository| {
        repository.image("latest", &ImageSpec::default());
    });
    let origin = builder.start().await.unwrap();
    let anonymous = Setup::new(&origin);
    for _ in 0..2 {
        let found = look(&anonymous, &["docker.io"]).await;
        found.is_well(&["100 of 100 pulls in 6 h are left, counted for 127.0.0.1"]);
    }
    let found = look(&logged_in(&origin), &["dockerhub"]).await;
    found.is_well(&[
        "200 of 200 pulls in 6 h are left, counted for ci",
        "user `ci` (`username`)",
    ]);
    is_free(&origin);
    origin.set_quota(None);
    let found = look(&anonymous, &["docker.io"]).await;
    found.is_well(&["ok    quota     no limit is reported"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_lacks_docker_hubs_image_for_its_quota_is_well() {
    let origin = Origin::builder().start().await.unwrap();
    let found = look(&Setup::new(&origin), &["docker.io"]).await;
    found.is_well(&["note  quota     not known: HEAD of ratelimitpreview/test:latest: "]);
    assert_eq!(origin.counts().requests(Kind::ManifestHead), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_configured_is_looked_at_in_order_and_families_are_named() {
    let first = Origin::builder().start().await.unwrap();
    let second = Origin::docker_hub()
        .quota(Quota::default())
        .start()
        .await
        .unwrap();
    let setup = Setup::new(&first)
        .config(ALONE)
        .also("zot.example.com", &second, "");
    let found = look(&setup, &[]).await;
    found.is_well(&[
        "*.gcr.io, *.pkg.dev, ecr",
        "all 2 endpoints can be pulled from",
    ]);
    let parts = ["docker.io at ", "zot.example.com at "].map(|part| found.text.find(part));
    assert!(parts[0].is_some() && parts[0] < parts[1], "{}", found.text);
    second.stop().await;
    let found = look(&setup, &[]).await;
    found.fails("registry", &[]);
    found.says(&["1 of 2 endpoints can't be pulled from"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_told_the_same_as_json() {
    let origin = Origin::builder().start().await.unwrap();
    let setup = Setup::new(&origin).config(ALONE);
    for (wrong, verdict) in [(false, "good"), (true, "wrong")] {
        if wrong {
            origin.stop().await;
        }
        let output = setup.check(&["--online", "--json"]).await;
        assert_eq!(output.status.success(), !wrong);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["ok"], !wrong);
        assert_eq!(told["not_checked"].as_array().unwrap().len(), 3);
        let endpoint = &told["endpoints"][0];
        assert_eq!(endpoint["registry"], "docker.io");
        assert_eq!(endpoint["endpoint"], origin.registry_url().as_str());
        assert_eq!(endpoint["findings"][0]["step"], "registry");
        assert_eq!(endpoint["findings"][0]["verdict"], verdict);
        assert_eq!(endpoint["findings"][0]["change"].is_string(), wrong);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_serves_is_not_disturbed() {
    let origin = Origin::builder().start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let beside = Setup::new(&origin).in_cache_of(&forebay);
    let output = beside.check(&["--online", "docker.io"]).await;
    assert!(output.status.success(), "{output:?}");
    assert!(forebay.admin().get("/readyz").await.status.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_looked_at_is_a_matter_of_usage_or_configuration() {
    let origin = Origin::builder().start().await.unwrap();
    let setup = Setup::new(&origin);
    for (arguments, code, said) in [
        (
            &["--online", "registry.example.com"][..],
            2,
            "add a table [upstreams.\"registry.example.com\"]",
        ),
        (
            &["--online", "Team/App"],
            2,
            "neither a registry nor an image",
        ),
        (&["--json"], 2, "--online"),
        (&["docker.io"], 2, "--online"),
    ] {
        let output = setup.check(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(said), "{told}");
    }
    let broken = setup.upstream("trusted_realm = []");
    let output = broken.check(&["--online", "docker.io"]).await;
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(origin.counts().total(), 0);
}

/// The README's example, without what depends on where it is run.
fn example() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, block) = readme
        .split_once("$ forebay check --online dockerhub ghcr.io/myorg/app:v1\n")
        .unwrap();
    without_times(block.split("```").next().unwrap())
}

/// Without addresses and times.
fn without_times(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("  ok    name"));
    let lines = lines.map(|line| match line.split_once(" ms, and") {
        Some((before, after)) => {
            let before = before.trim_end_matches(|c: char| c.is_ascii_digit());
            format!("{before}N ms, and{after}")
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_shows_what_a_check_says() {
    let service = |origin: &Origin| {
        let url = origin.token_url();
        url.split('/').nth(2).unwrap().to_owned()
    };
    let hub = Origin::docker_hub().user("ci", PASSWORD);
    let hub = hub.repository("ratelimitpreview/test", |repository| {
        repository.image("latest", &ImageSpec::default());
    });
    let hub = hub.start().await.unwrap();
    let left = Fault::header("ratelimit-remaining", "187;w=21600");
    hub.on(Kind::ManifestHead).always(left);
    let ghcr = Origin::builder().auth(Auth::token()).start().await.unwrap();
    let denied = Reply::error(403, "DENIED", "requested access to the resource is denied");
    ghcr.on(Kind::Token).always(Fault::Answer(denied));
    let setup = logged_in(&hub).also("ghcr.io", &ghcr, "");
    let found = look(&setup, &["dockerhub", "ghcr.io/myorg/app:v1"]).await;
    let text = found
        .text
        .replace(&hub.registry_url(), "https://registry-1.docker.io")
        .replace(&service(&hub), "auth.docker.io")
        .replace(&ghcr.registry_url(), "https://ghcr.io")
        .replace(&format!("{}: ", service(&ghcr)), "")
        .replace(&service(&ghcr), "ghcr.io");
    assert_eq!(without_times(&text), example());
}
