//! What the troubleshooting page quotes is what the mirror says.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use forebay_loadtest::origin::{Fault, ImageSpec, Kind, Origin};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::page;
use crate::harness::{
    Answer, Asking, Forebay, ForwardProxy, Mood, Setup, WANTS_LOGIN, authority, blob_path,
    hold_body, origin_with_blob, plain_origin,
};

/// The blocks of the troubleshooting page that quote the mirror, a line each; `…` stands for anything.
fn quotes() -> BTreeSet<String> {
    let text = page("troubleshooting.md");
    let blocks = text.split("```text\n").skip(1);
    let quoted = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    quoted.map(str::to_owned).collect()
}

fn matches(quote: &str, said: &str) -> bool {
    let mut rest = said;
    for part in quote.split('…') {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

/// What an error's body says to the client and to the operator.
fn said(answer: &Answer) -> [String; 2] {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    ["message", "detail"].map(|key| {
        let text = body["errors"][0][key].as_str();
        text.unwrap_or_default().to_owned()
    })
}

/// An upstream with a private repository and one whose quota is used up.
async fn troubled_upstream() -> Origin {
    let builder = plain_origin()
        .repository("library/app", |repository| {
            repository.image("v1", &ImageSpec::default());
        })
        .repository("library/private", |repository| {
            repository.image("v1", &ImageSpec::default());
            repository.private();
        });
    let builder = builder.auth(forebay_loadtest::origin::Auth::token());
    builder.start().await.unwrap()
}

/// Everything that the page says the mirror says, from the mirror.
async fn provoked() -> Vec<String> {
    let origin = troubled_upstream().await;
    let forebay = Setup::new(&origin)
        .upstream("timeouts = { connect = \"1s\", first_byte = \"1s\" }")
        .start()
        .await;
    let client = forebay.client();
    let mut told = Vec::new();
    for path in [
        "/v2/registry.example.com/app/manifests/v1",
        "/hub/v2/library/app/manifests/v1",
        "/v2/library/app/manifests/v2",
        "/v2/library/private/manifests/v1",
    ] {
        told.extend(said(&client.get(path).await));
    }
    origin.on(Kind::ManifestGet).times(2, Fault::FlipBit(1));
    told.extend(said(&client.get("/v2/library/app/manifests/v1").await));
    for target in ["GET http://registry.example.com/v2/", "CONNECT h:443"] {
        told.push(refused_as_proxy(&forebay, target).await);
    }
    let push = client.ask(Method::PUT, "/v2/library/app/manifests/v1", &[]);
    told.extend(said(&push.await));
    origin.on(Kind::ManifestGet).always(Fault::status(429));
    origin.on(Kind::ManifestHead).always(Fault::status(429));
    told.extend(said(&client.get("/v2/library/app/manifests/v1").await));
    told.push(refused_by_quota(&origin).await);
    origin.stop().await;
    told.extend(said(&client.get("/v2/library/app/manifests/v3").await));
    told.push(refused_start(&forebay, Setup::new(&origin), true).await);
    told.extend(refused_for_its_limit(&origin).await);
    told.extend(refused_for_want_of_a_place().await);
    let same_cache = Setup::new(&origin).in_cache_of(&forebay);
    told.push(refused_start(&forebay, same_cache, false).await);
    told.extend(unreached().await);
    told
}

/// What it says of upstreams that want a certificate or are behind a proxy that fails.
async fn unreached() -> Vec<String> {
    let mut setups = Vec::new();
    let front = Asking::demanding().await;
    let trusting = format!("ca_file = \"{}\"", authority().display());
    setups.push(Setup::with_endpoint(&front.url()).upstream(&trusting));
    let _callers = front.before("127.0.0.1:1");
    // Nobody listens there.
    let mut proxies = vec![SocketAddr::from(([127, 0, 0, 1], 1))];
    for answer in [
        WANTS_LOGIN,
        "HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n",
    ] {
        let proxy = ForwardProxy::start(None).await;
        proxy.becomes(Mood::Answers(answer));
        proxies.push(proxy.address);
    }
    for proxy in proxies {
        let setup = Setup::with_endpoint("https://registry.example.com");
        setups.push(setup.upstream(&format!("http_proxy = \"http://{proxy}\"")));
    }
    let mut told = Vec::new();
    for setup in setups {
        let forebay = setup.start().await;
        told.extend(said(
            &forebay.client().get("/v2/library/app/manifests/v1").await,
        ));
    }
    told
}

/// What it says to a client that has asked once too often.
async fn refused_for_its_limit(origin: &Origin) -> [String; 2] {
    let limits = "[limits]\nper_client_requests = \"1/h\"\nmax_delay = \"0s\"";
    let forebay = Setup::new(origin).config(limits).start().await;
    forebay.client().get("/v2/_catalog").await;
    said(&forebay.client().get("/v2/_catalog").await)
}

/// What it says where another client has the only connection, and is not done.
async fn refused_for_want_of_a_place() -> [String; 2] {
    let (origin, blob) = origin_with_blob(1, 1_000_000).await;
    let forebay = Setup::new(&origin)
        .config("[limits]\nmax_connections = 1")
        .start()
        .await;
    let _held = hold_body(&origin, &blob.digest, 500_000);
    let client = forebay.client();
    let path = blob_path("library/app", &blob.digest);
    let busy = client.open(Method::GET, &path, &[]).await;
    let refused = said(&client.get("/v2/").await);
    drop(busy);
    refused
}

/// What a mirror says whose own quota is used up.
async fn refused_by_quota(origin: &Origin) -> String {
    origin.clear_faults();
    let forebay = Setup::new(origin)
        .upstream("quota = \"1/6h\"")
        .start()
        .await;
    let client = forebay.client();
    let first = client.get("/v2/library/app/manifests/v1").await;
    assert_eq!(first.status.as_u16(), 200);
    let answer = client.get("/v2/library/app/manifests/v2").await;
    let [_, detail] = said(&answer);
    // The page has a quota that someone would write.
    detail.replace("for 1 pulls in 6 h", "for 100 pulls in 6 h")
}

/// What it says to who takes it for a proxy.
async fn refused_as_proxy(forebay: &Forebay, target: &str) -> String {
    let mut connection = TcpStream::connect(forebay.address).await.unwrap();
    let head = format!("{target} HTTP/1.1\r\nHost: h\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// What a second mirror says that wants the first one's port, or what else `setup` gives it.
async fn refused_start(forebay: &Forebay, setup: Setup, port: bool) -> String {
    let setup = setup.config("[cache]\nlock_wait = \"0s\"");
    let mut command = setup.command();
    if port {
        command.arg("--listen").arg(forebay.address.to_string());
    }
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    // The page has a machine's usual values.
    String::from_utf8_lossy(&output.stderr)
        .replace(&forebay.address.to_string(), "127.0.0.1:5000")
        .replace(
            &forebay.cache_dir().display().to_string(),
            "/var/cache/forebay",
        )
        .replace("(waited 0 s)", "(waited 30 s)")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_troubleshooting_page_quotes_what_the_mirror_says() {
    let quotes = quotes();
    assert!(!quotes.is_empty());
    let told = provoked().await;
    for quote in &quotes {
        assert!(
            told.iter().any(|said| matches(quote, said)),
            "the mirror does not say: {quote}\nit says:\n{}",
            told.join("\n")
        );
    }
}
