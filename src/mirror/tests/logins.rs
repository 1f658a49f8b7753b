//! Flows of clients that log in for themselves, where a test can say for how long a right lasts.

use crate::config::Secret;
use crate::login::{Login, Sessions, Who};

use super::*;

/// A registry of which alice and carol may see one repository.
async fn origin() -> Origin {
    let builder = Origin::docker_hub()
        .user("alice", "secret")
        .user("carol", "secret")
        .repository("library/app", |repository| {
            repository.only_for(&["alice", "carol"]);
            repository.image("v1", &image(1))
        });
    builder.start().await.unwrap()
}

struct Two {
    bench: Bench,
    alice: Permit,
    carol: Permit,
}

impl Two {
    async fn start(origin: &Origin, grant_for: &str, lines: &str) -> Self {
        let upstream =
            format!("access = \"passthrough\"\ngrant_for = \"{grant_for}\"\nread_quota = false");
        let bench = Bench::start(origin, [lines, &upstream], Faults::none()).await;
        let sessions = Sessions::default();
        let permit = |name: &str| {
            let who = Who::User {
                name: name.to_owned(),
                password: Secret::new("secret"),
            };
            let registry = app().registry;
            let endpoint = bench.mirror.login_endpoint(&registry);
            let login: Arc<Login> = sessions.login(registry, endpoint, who);
            Permit::for_tests(&app()).with_login(Some(login))
        };
        Self {
            alice: permit("alice"),
            carol: permit("carol"),
            bench,
        }
    }

    async fn pull(&self, permit: &Permit, reference: &str) -> Result<Served, MirrorError> {
        let reference = reference.parse().unwrap();
        let mirror = &self.bench.mirror;
        let answer = mirror.manifest(permit, &reference, Wanted::Body, waiter());
        tokio::time::timeout(PATIENCE, answer).await.unwrap()
    }
}

#[tokio::test]
async fn while_the_upstream_is_away_only_a_right_that_still_lasts_counts() {
    for (grant_for, is_served) in [("5m", true), ("1ms", false)] {
        let origin = origin().await;
        let two = Two::start(&origin, grant_for, "").await;
        two.pull(&two.alice, "v1").await.unwrap();
        origin.stop().await;
        let again = two.pull(&two.alice, "v1").await;
        assert_eq!(again.is_ok(), is_served, "{grant_for}: {again:?}");
        let other = two.pull(&two.carol, "v1").await.unwrap_err();
        assert!(
            matches!(other, MirrorError::Unavailable { .. }),
            "{other:?}"
        );
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_login_or_with_one_of_another_registry() {
    let origin = origin().await;
    let two = Two::start(&origin, "5m", "").await;
    two.pull(&two.alice, "v1").await.unwrap();
    let elsewhere = Sessions::default().login("quay.io".parse().unwrap(), None, Who::Anyone);
    let none = Permit::for_tests(&app());
    for permit in [none.clone().with_login(Some(elsewhere)), none] {
        let refused = two.pull(&permit, "v1").await.unwrap_err();
        assert!(
            matches!(refused, MirrorError::LoginNeeded { .. }),
            "{refused:?}"
        );
    }
}

/// What one login may not see any more looks deleted to it, at registries that hide what there is.
#[tokio::test]
async fn an_absence_is_one_logins_own_and_takes_nothing_from_others() {
    const KEPT: &str = "[tags]\nfresh_for = \"0s\"\nkeep_deleted = true\nconfirm_wait = \"20s\"";
    for lines in [ALWAYS_DUE, KEPT] {
        let origin = origin().await;
        let two = Two::start(&origin, "5m", lines).await;
        for permit in [&two.alice, &two.carol] {
            two.pull(permit, "v1").await.unwrap();
        }
        let hidden = origin.on(Kind::ManifestHead).once(Fault::status(404));
        let refused = two.pull(&two.alice, "v1").await.unwrap_err();
        assert!(
            matches!(refused, MirrorError::NotFound { .. }),
            "{refused:?}"
        );
        assert_eq!(hidden.hits(), 1);
        let known = two
            .bench
            .mirror
            .known_tag(&two.bench.upstream, &app(), &v1())
            .await
            .unwrap();
        assert!(known.known.record().is_some(), "the record is others' too");
        origin.stop().await;
        let refused = two.pull(&two.alice, "v1").await.unwrap_err();
        assert!(!matches!(refused, MirrorError::Internal), "{refused:?}");
        let served = two.pull(&two.carol, "v1").await.unwrap();
        assert!(matches!(served.cache_status, CacheStatus::Stale(_)));
    }
}

/// A question that alice began, and that was refused, was carol's answer as well.
#[tokio::test]
async fn what_anothers_question_came_to_is_asked_again_with_ones_own_login() {
    for status in [401, 403, 404, 429] {
        let origin = origin().await;
        let two = Arc::new(Two::start(&origin, "5m", ALWAYS_DUE).await);
        for permit in [&two.alice, &two.carol] {
            two.pull(permit, "v1").await.unwrap();
        }
        let held = origin.on(Kind::ManifestHead).hold_head();
        let refusal = forebay_loadtest::origin::Reply::error(status, "DENIED", "no");
        origin.on(Kind::ManifestHead).once(Fault::Answer(refusal));
        let ask = |permit: Permit| {
            let two = Arc::clone(&two);
            tokio::spawn(async move { two.pull(&permit, "v1").await })
        };
        let first = ask(two.alice.clone());
        while held.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let second = ask(two.carol.clone());
        tokio::task::yield_now().await;
        held.release();
        second.await.unwrap().unwrap();
        drop(first.await);
    }
}
