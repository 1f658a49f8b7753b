//! A registry of which each user may see something else, and a mirror that they log in to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forebay_loadtest::origin::{ImageSpec, Origin};
use http::{Method, StatusCode};

use crate::harness::{Answer, Client, Forebay, Setup};

pub(super) const APP: &str = "team/app";
pub(super) const BOBS: &str = "team/bobs";
pub(super) const OPEN: &str = "library/open";

/// alice and carol may see the first, bob the second, everyone the third.
pub(super) async fn origin(seed: u64) -> Origin {
    let image = |seed| ImageSpec {
        seed: Some(seed),
        layers: 1,
        layer_size: 300_000,
        ..ImageSpec::default()
    };
    Origin::docker_hub()
        .user("alice", "alices-canary")
        .user("bob", "bobs-canary")
        .user("carol", "carols-canary")
        .repository(APP, |repository| {
            repository.only_for(&["alice", "carol"]);
            repository.image("latest", &image(seed))
        })
        .repository(BOBS, |repository| {
            repository.only_for(&["bob"]);
            repository.image("latest", &image(seed + 1000))
        })
        .repository(OPEN, |repository| {
            repository.image("latest", &image(seed + 2000))
        })
        .start()
        .await
        .unwrap()
}

/// Them, logged in.
pub(super) struct People {
    origin: Option<Origin>,
    pub(super) forebay: Forebay,
    pub(super) manifest: String,
    pub(super) config: String,
    pub(super) layer: String,
    pub(super) alice: String,
    pub(super) bob: String,
    pub(super) carol: String,
    pub(super) anyone: String,
}

impl People {
    pub(super) async fn start(origin: Origin, config: &str) -> Self {
        let image = origin.image(APP, "latest");
        let forebay = Setup::new(&origin)
            .upstream("access = \"passthrough\"")
            .config(config)
            .start()
            .await;
        let client = forebay.client();
        let log_in = |name| {
            let client = client.clone();
            async move { token(&client, Some((name, &format!("{name}s-canary")))).await }
        };
        Self {
            manifest: image.root.digest.as_str().to_owned(),
            config: image.manifests[0].config.digest.as_str().to_owned(),
            layer: image.manifests[0].layers[0].digest.as_str().to_owned(),
            alice: log_in("alice").await,
            bob: log_in("bob").await,
            carol: log_in("carol").await,
            anyone: token(&client, None).await,
            forebay,
            origin: Some(origin),
        }
    }

    pub(super) fn origin(&self) -> &Origin {
        self.origin.as_ref().expect("it has not been stopped")
    }

    pub(super) async fn without_upstream(mut self) -> Self {
        if let Some(origin) = self.origin.take() {
            origin.stop().await;
        }
        self
    }

    /// The same at another mirror, in the place of this one.
    pub(super) async fn moved_to(self, setup: Setup) -> Self {
        self.forebay.stop().await;
        Self {
            forebay: setup.start().await,
            ..self
        }
    }

    /// No login and no token stands in the log, in a file, or in what operators are shown.
    pub(super) async fn keeps_secrets(&self) {
        let pair = STANDARD.encode("alice:alices-canary");
        let secrets = ["canary", &self.alice, &self.bob, &pair];
        let seen = |place: &str, text: &str| {
            for secret in secrets {
                assert!(!text.contains(secret), "{secret} is in {place}: {text}");
            }
        };
        seen("the log", &self.forebay.log());
        for path in ["/metrics", "/api/status"] {
            let shown = self.forebay.admin().get(path).await;
            assert_eq!(shown.status, StatusCode::OK, "{path}");
            seen(path, &shown.text());
        }
        let mut files = 0;
        let mut dirs = vec![self.forebay.cache_dir()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                } else if let Ok(bytes) = std::fs::read(entry.path()) {
                    files += 1;
                    let place = entry.path().display().to_string();
                    seen(&place, &String::from_utf8_lossy(&bytes));
                }
            }
        }
        assert!(files > 0, "the cache has files");
    }
}

/// Everyone who may not see alice's.
pub(super) fn outsiders(people: &People) -> [(&'static str, Option<String>); 4] {
    [
        ("bob", Some(people.bob.clone())),
        ("anyone", Some(people.anyone.clone())),
        ("nobody", None),
        ("a stranger", Some("f".repeat(64))),
    ]
}

pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(super) fn basic(name: &str, password: &str) -> String {
    let pair = STANDARD.encode(format!("{name}:{password}"));
    format!("Basic {pair}")
}

/// Asks for a token as docker does.
pub(super) async fn ask_for_token(
    client: &Client,
    query: &str,
    login: Option<(&str, &str)>,
) -> Answer {
    let basic = login.map(|(name, password)| basic(name, password));
    let headers: Vec<_> = basic
        .as_deref()
        .map(|value| ("authorization", value))
        .into_iter()
        .collect();
    let path = format!("/_/token?{query}");
    client.ask(Method::GET, &path, &headers).await
}

pub(super) fn token_of(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["token"], told["access_token"]);
    assert!(told["expires_in"].as_u64().unwrap() > 0);
    told["token"].as_str().unwrap().to_owned()
}

async fn token(client: &Client, login: Option<(&str, &str)>) -> String {
    token_of(&ask_for_token(client, "ns=docker.io&service=mirror", login).await)
}
