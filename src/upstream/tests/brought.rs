//! Upstreams that are asked with a client's own login: what it may see, for how long that is believed, and that nobody else
//! has anything of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_loadtest::origin::{
    Auth, Authorization, Builder, Fault, Kind, Origin, Reply, TokenAuth,
};
use tokio::time::Instant as Deadline;

use super::{NAME, configured, count, latest, manifest_and_layer, name, origin, settings};
use crate::config::Secret;
use crate::login::{Login, Sessions, Who};
use crate::oci::RepositoryName;
use crate::upstream::{Access, Caller, ErrorKind, Proof, Upstream, UpstreamError, Upstreams};

const GRANT: Duration = Duration::from_mins(5);

/// A registry of which alice may see something, and bob something else.
fn two_users(auth: Auth) -> Builder {
    Origin::builder()
        .auth(auth)
        .user("alice", "alices-canary")
        .user("bob", "bobs-canary")
        .repository(NAME, |repository| repository.only_for(&["alice"]))
        .repository("library/bobs", |repository| {
            repository.only_for(&["bob"]);
            repository.image("latest", &forebay_loadtest::origin::ImageSpec::default())
        })
}

struct Mirror {
    upstreams: Upstreams,
    sessions: Sessions,
}

impl Mirror {
    fn new(origin: &Origin) -> Self {
        Self::with(origin, GRANT)
    }

    fn with(origin: &Origin, grant_for: Duration) -> Self {
        let settings = crate::config::Upstream {
            passthrough: Some(grant_for),
            ..settings(&[&origin.registry_url()])
        };
        Self {
            upstreams: Upstreams::new(&configured(vec![settings])).unwrap(),
            sessions: Sessions::default(),
        }
    }

    fn login(&self, who: Who) -> Arc<Login> {
        let registry = "registry.test".parse().unwrap();
        let endpoint = self.upstreams.login_endpoint(&registry);
        self.sessions.login(registry, endpoint, who)
    }

    fn of(&self, name: &str, password: &str) -> Arc<Upstream> {
        let who = Who::User {
            name: name.to_owned(),
            password: Secret::new(password),
        };
        self.upstreams.with_login(&self.login(who)).unwrap()
    }

    fn alice(&self) -> Arc<Upstream> {
        self.of("alice", "alices-canary")
    }

    fn bob(&self) -> Arc<Upstream> {
        self.of("bob", "bobs-canary")
    }

    fn anyone(&self) -> Arc<Upstream> {
        self.upstreams.with_login(&self.login(Who::Anyone)).unwrap()
    }
}

async fn entitle(upstream: &Upstream, proof: Proof<'_>) -> Result<(), UpstreamError> {
    let until = Deadline::now() + Duration::from_secs(20);
    let caller = Caller::client(None, until);
    upstream.entitle(&name(), proof, &caller).await
}

#[tokio::test]
async fn each_login_is_entitled_to_what_its_upstream_shows_it() {
    for auth in [Auth::token(), Auth::Basic] {
        let origin = origin(two_users(auth)).await;
        let mirror = Mirror::new(&origin);
        let (_, layer) = manifest_and_layer(&origin);
        let latest = latest();
        for proof in [Proof::Manifest(&latest), Proof::Blob(&layer), Proof::Tags] {
            let mirror = Mirror::new(&origin);
            let (alice, bob) = (mirror.alice(), mirror.bob());
            assert!(!alice.is_entitled(&name()));
            entitle(&alice, proof).await.unwrap();
            assert!(alice.is_entitled(&name()), "{proof:?}");
            assert!(mirror.alice().is_entitled(&name()), "one login is one");
            for other in [bob, mirror.anyone(), mirror.of("alice", "wrong")] {
                assert!(!other.is_entitled(&name()));
                let error = entitle(&other, proof).await.unwrap_err();
                assert!(error.is_no_to_login(), "{error}");
                assert!(!other.is_entitled(&name()), "{proof:?}");
            }
        }
        let alice = mirror.alice();
        alice.get_manifest(&name(), &latest).await.unwrap();
        let other: RepositoryName = "library/bobs".parse().unwrap();
        alice.get_manifest(&other, &latest).await.unwrap_err();
        let manifest = mirror.bob().get_manifest(&other, &latest).await.unwrap();
        assert_eq!(manifest.access, Access::Credentialed);
    }
}

#[tokio::test]
async fn what_is_absent_or_out_of_reach_proves_nothing() {
    let origin = origin(two_users(Auth::token())).await;
    let alice = Mirror::new(&origin).alice();
    let absent = "absent".parse().unwrap();
    let error = entitle(&alice, Proof::Manifest(&absent)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound { .. }));
    origin.on(Kind::ManifestHead).always(Fault::status(503));
    entitle(&alice, Proof::Manifest(&latest()))
        .await
        .unwrap_err();
    assert!(!alice.is_entitled(&name()));
}

/// A host that says yes to everything has said nothing of the login.
#[tokio::test]
async fn an_answer_that_shows_nothing_of_the_repository_proves_nothing() {
    let origin = origin(two_users(Auth::token())).await;
    let alice = Mirror::new(&origin).alice();
    let page = || Reply::status(200).body("<html>welcome</html>");
    let listed = |text: &str| Reply::status(200).body(text.to_owned());
    for kind in [Kind::ManifestHead, Kind::ManifestGet] {
        origin.on(kind).always(Fault::Answer(page()));
    }
    let latest = latest();
    entitle(&alice, Proof::Manifest(&latest)).await.unwrap_err();
    for reply in [
        page(),
        listed("{}"),
        listed(r#"{"name":"library/app","tags":null}"#),
        listed(r#"{"name":"library/app","tags":[]}"#),
        listed(r#"{"tags":["latest"]}"#),
    ] {
        let fault = origin.on(Kind::Tags).always(Fault::Answer(reply));
        entitle(&alice, Proof::Tags).await.unwrap_err();
        fault.remove();
    }
    assert!(!alice.is_entitled(&name()));
    entitle(&alice, Proof::Tags).await.unwrap();
    assert!(alice.is_entitled(&name()));
}

/// Each made-up login had an upstream of its own, kept in the place of another's.
#[tokio::test]
async fn nothing_is_kept_for_a_login_that_is_not_proven() {
    let origin = origin(two_users(Auth::token())).await;
    let mirror = Mirror::new(&origin);
    let who = |password: &str| Who::User {
        name: "alice".to_owned(),
        password: Secret::new(password),
    };
    let (wrong, right) = (
        mirror.login(who("wrong")),
        mirror.login(who("alices-canary")),
    );
    for login in [&wrong, &right] {
        let upstream = mirror.upstreams.to_prove(login).unwrap();
        if upstream.log_in().await.is_ok() {
            mirror.upstreams.keep(login, upstream);
        }
    }
    assert!(!mirror.upstreams.knows(&wrong));
    assert!(mirror.upstreams.knows(&right));
}

/// A name that a token service stumbles over had nobody else ask that service.
#[tokio::test]
async fn what_a_host_makes_of_a_new_login_says_nothing_of_the_host() {
    let origin = origin(two_users(Auth::token())).await;
    let mirror = Mirror::new(&origin);
    let fault = origin.on(Kind::Token).always(Fault::status(500));
    for n in 0..30 {
        let name = format!("made-up-{n}");
        mirror.of(&name, "x").log_in().await.unwrap_err();
    }
    fault.remove();
    mirror.alice().log_in().await.unwrap();
}

#[tokio::test]
async fn clients_that_hold_tokens_have_a_quota_each_and_nobody_has_theirs() {
    let origin = origin(two_users(Auth::token())).await;
    let mirror = Mirror::new(&origin);
    let holder = |token: &str| {
        let login = mirror.login(Who::Holder(Secret::new(token)));
        mirror.upstreams.with_login(&login).unwrap()
    };
    let all = [
        holder("one"),
        holder("two"),
        mirror.of("alice", "one"),
        mirror.of("alice", "two"),
        mirror.anyone(),
    ];
    let accounts: std::collections::BTreeSet<_> = all
        .iter()
        .map(|upstream| upstream.account(0, &name()))
        .collect();
    assert_eq!(accounts.len(), all.len());
    assert_eq!(mirror.anyone().account(0, &name()), "");
}

#[tokio::test]
async fn any_refusal_in_the_repository_ends_the_right_to_it() {
    let origin = origin(two_users(Auth::token())).await;
    let mirror = Mirror::new(&origin);
    let alice = mirror.alice();
    let (_, layer) = manifest_and_layer(&origin);
    for status in [401, 403] {
        entitle(&alice, Proof::Tags).await.unwrap();
        assert!(alice.is_entitled(&name()));
        let denied = Reply::error(status, "DENIED", "not any more");
        let fault = origin.on(Kind::BlobGet).always(Fault::Answer(denied));
        alice.get_blob(&name(), &layer, None).await.unwrap_err();
        assert!(!alice.is_entitled(&name()), "{status}");
        fault.remove();
    }
    // Its absence or trouble says nothing of the login.
    entitle(&alice, Proof::Tags).await.unwrap();
    for status in [404, 500] {
        let reply = Reply::status(status);
        let fault = origin.on(Kind::BlobGet).always(Fault::Answer(reply));
        alice.get_blob(&name(), &layer, None).await.unwrap_err();
        assert!(alice.is_entitled(&name()), "{status}");
        fault.remove();
    }
}

#[tokio::test]
async fn a_right_ends_with_its_time_or_with_the_token_that_proved_it() {
    let origin = origin(two_users(Auth::token())).await;
    let mirror = Mirror::with(&origin, Duration::ZERO);
    let alice = mirror.alice();
    entitle(&alice, Proof::Tags).await.unwrap();
    assert!(!alice.is_entitled(&name()));

    let minutes = |auth: &mut TokenAuth| auth.lifetime = Duration::from_mins(2);
    let mut auth = TokenAuth::default();
    minutes(&mut auth);
    let origin = super::origin(two_users(Auth::Token(auth))).await;
    let alice = Mirror::with(&origin, Duration::from_hours(9)).alice();
    entitle(&alice, Proof::Tags).await.unwrap();
    let brought = alice.brought().unwrap();
    let holds = |at| brought.entitled.holds(brought.login.id(), &name(), at);
    assert!(holds(Instant::now() + Duration::from_secs(90)));
    assert!(!holds(Instant::now() + Duration::from_mins(2)));
}

#[tokio::test]
async fn a_login_is_good_where_its_upstream_takes_it() {
    for auth in [Auth::token(), Auth::Basic] {
        let is_basic = matches!(auth, Auth::Basic);
        let origin = origin(two_users(auth)).await;
        let mirror = Mirror::new(&origin);
        let until = mirror.alice().log_in().await.unwrap();
        assert_eq!(until.is_none(), is_basic, "only tokens end");
        for (name, password) in [("alice", "wrong"), ("carol", "x"), ("bob", "alices-canary")] {
            let error = mirror.of(name, password).log_in().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
            assert!(!error.to_string().contains("canary"));
        }
        // A password that was right is not taken for right.
        origin.set_password("alice", "new");
        origin.expire_tokens();
        mirror.of("alice", "new").log_in().await.unwrap();
        if is_basic {
            mirror.alice().log_in().await.unwrap_err();
        }
        origin
            .on(Kind::Ping)
            .before_auth()
            .always(Fault::status(503));
        let error = mirror.bob().log_in().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_asks_for_no_login_is_not_shown_one() {
    let origin = origin(Origin::builder().user("alice", "alices-canary")).await;
    let alice = Mirror::new(&origin).alice();
    assert_eq!(alice.log_in().await.unwrap(), None);
    entitle(&alice, Proof::Tags).await.unwrap();
    assert!(alice.is_entitled(&name()));
    for request in origin.requests() {
        assert_eq!(request.authorization, Authorization::None);
    }
}

#[tokio::test]
async fn logins_share_no_token_and_each_asks_for_its_own_once() {
    let origin = origin(two_users(Auth::token())).await;
    let mirror = Mirror::new(&origin);
    for _ in 0..3 {
        entitle(&mirror.alice(), Proof::Tags).await.unwrap();
        entitle(&mirror.bob(), Proof::Tags).await.unwrap_err();
    }
    assert!(
        count(&origin, Kind::Token) <= 2 + 3,
        "what is refused is not kept"
    );
    origin.reset();
    entitle(&mirror.alice(), Proof::Tags).await.unwrap();
    assert_eq!(count(&origin, Kind::Token), 0);
}

/// A question for a token that was under way while the configuration was read again opened the new endpoint.
#[tokio::test]
async fn a_login_is_shown_to_no_other_endpoint_than_it_was_given_for() {
    let (old, new) = (
        origin(two_users(Auth::token())).await,
        origin(two_users(Auth::token())).await,
    );
    let (before, after) = (Mirror::new(&old), Mirror::new(&new));
    let who = || Who::User {
        name: "alice".to_owned(),
        password: Secret::new("alices-canary"),
    };
    let login = before.login(who());
    assert!(before.upstreams.with_login(&login).is_some());
    assert!(after.upstreams.with_login(&login).is_none());
    assert!(after.upstreams.to_prove(&login).is_none());
    let anyone = before.login(Who::Anyone);
    assert!(after.upstreams.with_login(&anyone).is_some());
    assert_eq!(new.counts().total(), 0);
}

#[tokio::test]
async fn no_login_reaches_an_upstream_that_takes_none() {
    let origin = origin(two_users(Auth::token())).await;
    let settings = settings(&[&origin.registry_url()]);
    let upstreams = Upstreams::new(&configured(vec![settings])).unwrap();
    let sessions = Sessions::default();
    for registry in ["registry.test", "elsewhere.test"] {
        let login = sessions.login(registry.parse().unwrap(), None, Who::Anyone);
        assert!(upstreams.with_login(&login).is_none(), "{registry}");
    }
    let plain = upstreams.get(&"registry.test".parse().unwrap()).unwrap();
    assert!(plain.is_entitled(&name()), "its login is the mirror's own");
}
