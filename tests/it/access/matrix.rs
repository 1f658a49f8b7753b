//! Every route, method, range and state of the cache, asked by clients that may and by clients that may not.
//!
//! The list of routes is that of `harness::routes`, which is exhaustive, and each is asked for what is
//! there and for what is not: who may not ask is told the same of both, at once, and no upstream hears of it.

use std::time::Duration;

use forebay::metrics::RequestKind;
use forebay_loadtest::origin::{Descriptor, Fault, Image, ImageSpec, Origin, Reply};
use http::{Method, StatusCode};
use tempfile::tempdir;

use super::{PASSWORD, TOKEN, ask, basic, guarded};
use crate::harness::{
    Answer, Client, Forebay, Held, Listed, REFUSED_METHODS, all_requests, blob_path, hold_body,
    manifest_path, plain_origin,
};

const SECRET: &str = "library/secret";
/// What there is not.
const ABSENT: &str = "library/absent";

/// A client that is refused: where it is, its login, and what it is told.
struct Refused {
    what: &'static str,
    login: Option<String>,
    status: StatusCode,
}

fn refused() -> Vec<Refused> {
    let refused = |what, login: Option<String>, status| Refused {
        what,
        login,
        status,
    };
    let unauthorized = StatusCode::UNAUTHORIZED;
    vec![
        refused("nobody", None, unauthorized),
        refused(
            "podman without a login",
            Some("Basic Og==".into()),
            unauthorized,
        ),
        refused(
            "a wrong password",
            Some(basic("alice", "wrong")),
            unauthorized,
        ),
        refused("a wrong token", Some("Bearer wrong".into()), unauthorized),
        refused("nonsense", Some("Basic ???".into()), unauthorized),
        refused("bob", Some(basic("bob", PASSWORD)), StatusCode::FORBIDDEN),
    ]
}

/// What an answer tells beside its date.
fn told(answer: &Answer) -> String {
    let mut headers = answer.headers.clone();
    headers.remove("date");
    format!("{} {headers:?} {}", answer.status, answer.text())
}

struct Stage {
    origin: Origin,
    forebay: Forebay,
    image: Image,
    /// A large one, which no manifest refers to.
    blob: Descriptor,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let mut blob = None;
        let builder = plain_origin()
            .repository(SECRET, |repository| {
                let spec = ImageSpec {
                    layers: 1,
                    layer_size: 1_000,
                    ..ImageSpec::default()
                };
                repository.multi_arch_image("v1", &spec);
                blob = Some(repository.random_blob(7, 3_000_000));
            })
            .repository("library/open", |repository| {
                repository.random_blob(8, 1_000);
            });
        let origin = builder.start().await.unwrap();
        let dir = tempdir().unwrap();
        let tags =
            "[tags]\nfresh_for = '0s'\nnegative_for = '0s'\nstale_for = '1d'\nconfirm_wait = '20s'";
        let forebay = guarded(&origin, dir.path(), "").config(tags).start().await;
        let image = origin.image(SECRET, "v1");
        Self {
            origin,
            forebay,
            image,
            blob: blob.unwrap(),
            dir,
        }
    }

    fn requests(&self, name: &str) -> Vec<Listed> {
        let layer = self.image.linux("amd64").layers[0].digest.as_str();
        let held = Held {
            tag: "v1",
            manifest: self.image.root.digest.as_str(),
            blobs: vec![layer, self.blob.digest.as_str()],
        };
        all_requests(name, &held)
    }

    /// Nobody who may not is answered anything, by any request.
    ///
    /// Returns how much the upstream heard meanwhile: where it is in trouble, questions of those who may go on behind their
    /// stale answers.
    async fn keeps_to_itself(&self, state: &str) -> usize {
        let asked = self.origin.requests().len();
        let client = self.forebay.client();
        let (there, absent) = (self.requests(SECRET), self.requests(ABSENT));
        for each in refused() {
            let login = each.login.as_deref();
            for (listed, of_absent) in there.iter().zip(&absent) {
                let (kind, path, other) = (listed.kind, &listed.path, &of_absent.path);
                let context = format!("{state}, {}: {path}", each.what);
                let expected = expected(kind, &each);
                let answer = ask(&client, Method::GET, path, login).await;
                assert_eq!(answer.status, expected, "{context}: {}", answer.text());
                if expected == each.status {
                    assert!(says_nothing(&answer), "{context}: {answer:?}");
                }
                let of_absent = ask(&client, Method::GET, other, login).await;
                let (named, other_named) = (told(&answer), told(&of_absent));
                assert_eq!(named.replace(SECRET, ABSENT), other_named, "{context}");
                let head = ask(&client, Method::HEAD, path, login).await;
                assert_eq!(head.status, answer.status, "{context}");
                assert_eq!(
                    head.header("www-authenticate"),
                    answer.header("www-authenticate")
                );
                assert!(head.body.is_empty());
                self.ranges(&client, path, login, &answer, &context).await;
                for method in REFUSED_METHODS {
                    let pushed = ask(&client, method, path, login).await;
                    assert!(pushed.status.is_client_error(), "{context}");
                }
            }
        }
        self.origin.requests().len() - asked
    }

    async fn ranges(
        &self,
        client: &Client,
        path: &str,
        login: Option<&str>,
        whole: &Answer,
        context: &str,
    ) {
        for range in ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=99999999-"] {
            let mut headers = vec![("range", range)];
            headers.extend(login.map(|login| ("authorization", login)));
            let part = client.ask(Method::GET, path, &headers).await;
            assert_eq!(told(&part), told(whole), "{context} {range}");
        }
    }

    /// Who may is answered, by whichever way it is known.
    async fn answers(&self, state: &str) {
        let (alice, token) = (basic("alice", PASSWORD), basic("ci", TOKEN));
        let (client, trusted) = (self.forebay.client(), self.forebay.client_at(77, 1));
        for (client, login) in [
            (&client, Some(alice)),
            (&client, Some(token)),
            (&trusted, None),
        ] {
            for path in [
                manifest_path(SECRET, "v1"),
                manifest_path(SECRET, &self.image.root.digest),
                blob_path(SECRET, &self.image.linux("amd64").layers[0].digest),
                format!("/v2/{SECRET}/tags/list"),
            ] {
                let answer = ask(client, Method::GET, &path, login.as_deref()).await;
                assert_eq!(
                    answer.status,
                    StatusCode::OK,
                    "{state}: {path}: {}",
                    answer.text()
                );
            }
            // The index takes what is new in groups.
            let listed = async {
                while !ask(client, Method::GET, "/v2/_catalog", login.as_deref())
                    .await
                    .text()
                    .contains(SECRET)
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let listed = tokio::time::timeout(Duration::from_mins(1), listed).await;
            listed.unwrap_or_else(|_| panic!("{state}: the catalog lists it"));
        }
    }
}

/// Bob may pull something, so that lists and mistakes are answered, though with nothing of what he may not.
fn expected(kind: RequestKind, client: &Refused) -> StatusCode {
    match kind {
        RequestKind::Catalog if client.what == "bob" => StatusCode::OK,
        RequestKind::Other if client.what == "bob" => StatusCode::NOT_FOUND,
        _ => client.status,
    }
}

/// A refusal that has nothing of content or cache in it, and asks for a login where one might help.
pub(super) fn says_nothing(answer: &Answer) -> bool {
    let asks = answer.headers.contains_key("www-authenticate");
    let code = answer.code();
    let content = [
        "docker-content-digest",
        "etag",
        "cache-status",
        "age",
        "link",
    ];
    asks == (answer.status == StatusCode::UNAUTHORIZED)
        && ["UNAUTHORIZED", "DENIED"].contains(&code.as_str())
        && content
            .iter()
            .all(|name| !answer.headers.contains_key(*name))
        && !answer.text().contains("secret")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_pull_is_told_nothing_in_any_state_of_the_cache() {
    let stage = Stage::set().await;
    assert_eq!(stage.keeps_to_itself("cold").await, 0);

    // A fill that runs for somebody who may.
    let alice = basic("alice", PASSWORD);
    let gate = hold_body(&stage.origin, &stage.blob.digest, 1_000_000);
    let path = blob_path(SECRET, &stage.blob.digest);
    let client = stage.forebay.client();
    let pull = tokio::spawn({
        let (client, login, path) = (client.clone(), alice.clone(), path.clone());
        async move { ask(&client, Method::GET, &path, Some(&login)).await }
    });
    gate.reached(1).await;
    assert_eq!(stage.keeps_to_itself("while it is fetched").await, 0);
    gate.release();
    assert!(pull.await.unwrap().is_exactly(&stage.blob.digest));

    stage.answers("warm").await;
    assert_eq!(stage.keeps_to_itself("warm").await, 0);
    let fault = Fault::Answer(Reply::status(503));
    stage
        .origin
        .on(forebay_loadtest::origin::When::any())
        .always(fault);
    stage.answers("stale").await;
    stage.keeps_to_itself("stale").await;
    let Stage {
        origin,
        forebay,
        image,
        blob,
        dir,
    } = stage;
    let forebay = forebay.restart().await;
    let stage = Stage {
        origin,
        forebay,
        image,
        blob,
        dir,
    };
    stage.answers("after a restart, the upstream away").await;
    stage
        .keeps_to_itself("after a restart, the upstream away")
        .await;
}
