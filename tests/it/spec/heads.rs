//! HEAD answers with what GET would send, to the letter, on every route and in every state of the cache.
//!
//! Two mirrors live through the same, one asked by HEAD and one by GET, so that both are asked in the same state.
//! A range is no state: it means something on GET alone (RFC 9110, section 14.2), so HEAD has the headers of the
//! whole. Nor has 405 a place here: both methods are allowed everywhere.

use forebay_loadtest::origin::{
    Builder, Digest, Fault, Gate, ImageSpec, Kind, Origin, Platform, When,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::content::SBOM;
use crate::harness::{Answer, Forebay, Setup, blob_path, manifest_path, plain_origin};

/// What tells of the moment at which it is sent: the time of day, and for how long an answer has been stale.
const MOMENT: [&str; 2] = ["date", "age"];

const BLOB: u64 = 3_000_000;

/// Mirrors of one origin: that which is asked by HEAD, and that which is asked by GET.
struct Pair {
    head: Forebay,
    get: Forebay,
}

impl Pair {
    async fn start(origin: &Origin, config: &str) -> Self {
        Self {
            head: Setup::new(origin).config(config).start().await,
            get: Setup::new(origin).config(config).start().await,
        }
    }

    async fn ask(&self, path: &str) -> (Answer, Answer) {
        let (head, get) = (self.head.client(), self.get.client());
        tokio::join!(head.head(path), get.get(path))
    }

    /// Brings both to where everything that can be cached is.
    async fn warm_up(&self, paths: &[String]) {
        for mirror in [&self.head, &self.get] {
            for path in paths {
                mirror.client().get(path).await;
            }
            mirror
                .until_metric("forebay_fills_running", "", |running| running == 0.0)
                .await;
        }
    }

    async fn compare(&self, state: &str, paths: &[String]) -> Vec<StatusCode> {
        let mut statuses = Vec::new();
        for path in paths {
            let (head, get) = self.ask(path).await;
            assert!(head.body.is_empty(), "{state} {path}");
            assert_eq!(head.status, get.status, "{state} {path}");
            assert_eq!(
                timeless(&head.headers),
                timeless(&get.headers),
                "{state} {path}"
            );
            statuses.push(get.status);
        }
        statuses
    }
}

/// The headers at no moment: what tells of it is there or is not, whatever it says.
fn timeless(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    // Whether a host that fails is asked once more or left alone is of the moment, too, and told in the body.
    let is_put_off = headers.contains_key("retry-after");
    let of_failures = ["retry-after", "cache-status", "content-length"];
    let of_failures = of_failures.into_iter().filter(|_| is_put_off);
    for name in MOMENT.into_iter().chain(of_failures) {
        if let Some(value) = headers.get_mut(name) {
            *value = HeaderValue::from_static("some");
        }
    }
    headers
}

fn content() -> Builder {
    let spec = |platform| ImageSpec {
        platforms: vec![Platform::linux(platform)],
        ..ImageSpec::default()
    };
    plain_origin()
        .repository("library/app", |repository| {
            let image = repository.image("v1", &spec("amd64"));
            repository.image("v2", &spec("amd64"));
            repository.multi_arch_image("v3", &ImageSpec::default());
            repository.artifact(&image, SBOM, "an sbom");
            repository.random_blob(1, BLOB);
            repository.blob("{}");
            repository.blob("");
        })
        .repository("library/none", |_| {})
}

/// What can be had: by tag, by digest, a page of a list.
fn found(origin: &Origin) -> Vec<String> {
    let image = |tag| origin.image("library/app", tag).root.digest;
    let referrers = format!("/v2/library/app/referrers/{}", image("v1"));
    vec![
        "/v2/".to_owned(),
        "/v2".to_owned(),
        "/docker.io/v2/".to_owned(),
        "/v2/_catalog".to_owned(),
        "/v2/_catalog?ns=docker.io".to_owned(),
        manifest_path("library/app", "v1"),
        manifest_path("library/app", image("v2")),
        manifest_path("library/app", "v3"),
        manifest_path("app", image("v3")),
        format!("{}?ns=docker.io", manifest_path("library/app", "v2")),
        blob_path("library/app", big_blob()),
        blob_path("library/app", Digest::sha256(b"{}")),
        blob_path("library/app", Digest::sha256(b"")),
        "/v2/library/app/tags/list".to_owned(),
        "/v2/library/app/tags/list?n=2&last=v1".to_owned(),
        "/v2/library/app/tags/list?n=1".to_owned(),
        "/v2/library/app/tags/list?n=0".to_owned(),
        "/v2/library/none/tags/list".to_owned(),
        referrers.clone(),
        format!("{referrers}?artifactType={SBOM}"),
        format!("/v2/library/app/referrers/{}", Digest::sha256(b"nothing")),
    ]
}

/// What can't, by the upstream's word.
fn absent() -> Vec<String> {
    let nothing = Digest::sha256(b"nothing");
    vec![
        manifest_path("library/app", "nothing"),
        manifest_path("library/app", &nothing),
        blob_path("library/app", &nothing),
        manifest_path("library/unknown", "v1"),
        "/v2/library/unknown/tags/list".to_owned(),
        format!("/v2/library/unknown/referrers/{nothing}"),
    ]
}

/// What can't, by the mirror's own word.
fn refused() -> Vec<String> {
    vec![
        "/v2/Bad/manifests/v1".to_owned(),
        "/v2/library/app/blobs/sha256:bad".to_owned(),
        "/v2/library/app/tags/list?n=bad".to_owned(),
        "/v2/unknown.example/app/manifests/v1".to_owned(),
        "/nobody/v2/".to_owned(),
        "/v2/_catalog?ns=unknown.example".to_owned(),
        "/nothing/here".to_owned(),
    ]
}

fn big_blob() -> Digest {
    Digest::sha256(&forebay_loadtest::origin::random_bytes(1, BLOB))
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body_cold_and_warm() {
    let origin = content().start().await.unwrap();
    let pair = Pair::start(&origin, "").await;
    let (found, refused) = (found(&origin), [absent(), refused()].concat());
    for state in ["cold", "warm"] {
        let statuses = pair.compare(state, &found).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        let statuses = pair.compare(state, &refused).await;
        assert!(statuses.iter().all(StatusCode::is_client_error));
        pair.warm_up(&found).await;
    }
    // What all of that is worth: in the end both say that they had it.
    let path = blob_path("library/app", big_blob());
    let (head, _) = pair.ask(&path).await;
    assert_eq!(head.header("cache-status"), "forebay; hit");
    assert_eq!(head.header("content-length"), BLOB.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body_when_a_tag_is_due_and_when_its_upstream_is_gone() {
    let origin = content().start().await.unwrap();
    let config = "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"";
    let pair = Pair::start(&origin, config).await;
    let found = found(&origin);
    pair.warm_up(&found).await;
    pair.compare("due", &found).await;
    origin.stop().await;
    let statuses = pair.compare("stale", &found).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    // What its upstream alone can tell is not made up, and what the mirror can is told.
    let statuses = pair.compare("stale", &absent()).await;
    assert!(
        statuses.iter().all(StatusCode::is_server_error),
        "{statuses:?}"
    );
    let statuses = pair.compare("stale", &refused()).await;
    assert!(
        statuses.iter().all(StatusCode::is_client_error),
        "{statuses:?}"
    );
    for path in [
        manifest_path("library/app", "v1"),
        "/v2/library/app/tags/list".to_owned(),
    ] {
        let (head, _) = pair.ask(&path).await;
        let status = "forebay; fwd=stale; detail=upstream-unavailable";
        assert_eq!(head.header("cache-status"), status, "{path}");
        assert!(!head.header("age").is_empty(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body_while_the_blob_is_being_fetched() {
    let origin = content().start().await.unwrap();
    let pair = Pair::start(&origin, "").await;
    let (blob, gate) = (big_blob(), Gate::new());
    let path = blob_path("library/app", &blob);
    origin
        .on_body(&blob)
        .times(2, Fault::HoldAt(BLOB / 2, gate.clone()));
    let mut running = Vec::new();
    for mirror in [&pair.head, &pair.get] {
        running.push(mirror.client().open(Method::GET, &path, &[]).await);
    }
    let head = pair.head.client().head(&path).await;
    let get = pair.get.client().open(Method::GET, &path, &[]).await;
    assert_eq!(head.status, get.status());
    assert_eq!(timeless(&head.headers), timeless(get.headers()));
    // A range is for GET alone, while the blob runs and after.
    let ranged = [("range", "bytes=5-9")];
    let ranged = pair.head.client().ask(Method::HEAD, &path, &ranged).await;
    assert_eq!(timeless(&ranged.headers), timeless(&head.headers));
    gate.release();
    for response in running.into_iter().chain([get]) {
        assert_eq!(response.bytes().await.unwrap().len() as u64, BLOB);
    }
}

/// Whether such a request met the one that was under way, or came when it was over, only the moment tells.
#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body_while_the_upstream_is_being_asked() {
    let origin = content().start().await.unwrap();
    let image = origin.image("library/app", "v2").root.digest;
    for (path, when) in [
        (manifest_path("library/app", "v1"), Kind::ManifestGet),
        (manifest_path("library/app", &image), Kind::ManifestGet),
        ("/v2/library/app/tags/list".to_owned(), Kind::Tags),
        (
            format!("/v2/library/app/referrers/{image}"),
            Kind::Referrers,
        ),
    ] {
        let pair = Pair::start(&origin, "").await;
        let gate = Gate::new();
        origin.reset();
        let holding = origin
            .on(When::from(when))
            .times(2, Fault::HoldHead(gate.clone()));
        let release = async {
            gate.reached(2).await;
            gate.release();
        };
        let (first, second, ()) = tokio::join!(pair.ask(&path), pair.ask(&path), release);
        holding.remove();
        for (head, get) in [first, second] {
            assert_eq!((head.status, get.status), (StatusCode::OK, StatusCode::OK));
            let [head, get] = [head, get].map(|mut answer| {
                assert!(answer.headers.remove("cache-status").is_some(), "{path}");
                timeless(&answer.headers)
            });
            assert_eq!(head, get, "{path}");
        }
        assert_eq!(origin.counts().requests(when), 2, "one for each mirror");
    }
}
