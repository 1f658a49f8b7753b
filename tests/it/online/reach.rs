//! The way to an endpoint, and what answers there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use forebay_loadtest::origin::{Fault, Kind, Origin, Reply};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{look, page};
use crate::harness::{Setup, authority, tls_before, tls_with};

async fn open() -> Origin {
    Origin::builder().start().await.unwrap()
}

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/online/tls");
    fixtures.join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_knows_is_told_with_the_key_that_holds_it() {
    let setup = Setup::with_endpoint("https://registry.invalid");
    let found = look(&setup, &["docker.io"]).await;
    found.fails(
        "name",
        &["registry.invalid can't be resolved", "`endpoints`"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_told_with_its_addresses() {
    let origin = open().await;
    let port = origin.host().rsplit_once(':').unwrap().1.to_owned();
    let setup = Setup::with_endpoint(&format!("http://localhost:{port}"));
    let found = look(&setup, &["docker.io"]).await;
    found.is_well(&["ok    name      localhost is ", "127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_told_with_the_key_that_holds_the_address() {
    let origin = open().await;
    origin.stop().await;
    let found = look(&Setup::new(&origin), &["docker.io"]).await;
    found.fails(
        "registry",
        &["Connection refused", "`endpoints`", "`http_proxy`"],
    );
    found.says(&["by [upstreams.\"docker.io\"]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_is_looked_at_by_itself() {
    let (well, dead) = (open().await, open().await);
    dead.stop().await;
    let endpoints = format!(
        "endpoints = [{:?}, {:?}]",
        well.registry_url(),
        dead.registry_url()
    );
    let setup = Setup::with_endpoint("http://127.0.0.1:9")
        .config(&format!("[upstreams.'two.example.com']\n{endpoints}"));
    let found = look(&setup, &["two.example.com"]).await;
    found.fails("registry", &["Connection refused"]);
    found.says(&["ok    registry", "1 of 2 endpoints can't be pulled from"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_unknown_authority_is_told_with_the_key_that_trusts_it() {
    let origin = open().await;
    let at = tls_before(origin.host().to_owned(), [127, 0, 0, 1].into()).await;
    let setup = Setup::with_endpoint(&format!("https://{at}"));
    let found = look(&setup, &["docker.io"]).await;
    found.fails("registry", &["UnknownIssuer", "ca_file"]);
    assert_eq!(origin.counts().total(), 0);
    let trusting = setup.upstream(&format!("ca_file = {:?}", authority()));
    look(&trusting, &["docker.io"])
        .await
        .is_well(&["ok    registry"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_told_as_such() {
    let origin = open().await;
    let (certificate, key) = (fixture("expired.pem"), fixture("expired.key"));
    let home = [127, 0, 0, 1].into();
    let at = tls_with(&certificate, &key, origin.host().to_owned(), home).await;
    let setup = Setup::with_endpoint(&format!("https://{at}"))
        .upstream(&format!("ca_file = {:?}", fixture("authority.pem")));
    let found = look(&setup, &["docker.io"]).await;
    found.fails("registry", &["expired", "renew", "clock"]);
    for other in ["ca_file", "firewall"] {
        assert!(!found.text.contains(other), "{}", found.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheme_that_the_port_does_not_speak_is_told() {
    let plain = answering(400).await;
    let setup = Setup::with_endpoint(&format!("https://{plain}"));
    let found = look(&setup, &["docker.io"]).await;
    found.fails("registry", &["does not speak TLS", "http://"]);
    let setup = Setup::with_endpoint(&format!("http://{plain}"));
    let found = look(&setup, &["docker.io"]).await;
    found.fails("registry", &["answered 400", "https://"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_registry_is_told_as_what_it_is() {
    let elsewhere = "https://portal.example/login?token=canary";
    let upgraded = |origin: &Origin| format!("https://{}/v2/", origin.host());
    let origin = open().await;
    for (reply, said) in [
        (page(200), "a web page answers instead of a registry"),
        (
            page(404),
            "a web page answers with 404 instead of a registry",
        ),
        (Reply::status(404), "the registry answered 404"),
        (Reply::status(401), "without saying how"),
        (
            Reply::status(302).header("location", elsewhere),
            "redirected to https://portal.example",
        ),
        (
            Reply::status(301).header("location", upgraded(&origin)),
            "write \"https://127.0.0.1:",
        ),
        (
            Reply::error(403, "DENIED", "not from\u{1b}[31m here"),
            "not from\\\\u{1b}[31m here",
        ),
        (Reply::status(503), "is failing"),
        (Reply::abuse_limit(), "refuses this address for load"),
    ] {
        let fault = origin
            .on(Kind::Ping)
            .before_auth()
            .always(Fault::Answer(reply));
        let found = look(&Setup::new(&origin), &["docker.io"]).await;
        found.fails("registry", &[said]);
        fault.remove();
    }
    assert_eq!(origin.counts().total(), 9, "nobody is asked twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_answer_is_given_up_after_its_own_timeouts() {
    let origin = open().await;
    origin.on(Kind::Ping).before_auth().always(Fault::hang());
    let setup = Setup::new(&origin).upstream("timeouts = { first_byte = \"300ms\" }");
    let found = look(&setup, &["docker.io"]).await;
    found.fails("registry", &["no answer within 300ms", "`timeouts`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_told_where_it_begins_to_matter() {
    let origin = open().await;
    let date = "Mon, 01 Jan 2024 00:00:00 GMT";
    origin.on(Kind::Ping).always(Fault::header("date", date));
    let found = look(&Setup::new(&origin), &["docker.io"]).await;
    found.is_well(&[
        "note  clock     this machine's clock is ",
        "days ahead of",
        "NTP",
    ]);
    // A proxy's cache tells the time of old.
    origin.on(Kind::Ping).always(Fault::header("age", "1000"));
    let found = look(&Setup::new(&origin), &["docker.io"]).await;
    assert!(!found.text.contains("clock"), "{}", found.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_of_a_familys_member_is_refused_with_the_key_that_allows_it() {
    let origin = open().await;
    let port = origin.host().rsplit_once(':').unwrap().1.to_owned();
    for (family, member) in [("localhos*", "localhost"), ("127.0.0.*", "127.0.0.1")] {
        let table = format!("[upstreams.'{family}:{port}']");
        let setup = Setup::with_endpoint("http://127.0.0.1:9").config(&table);
        let member = format!("{member}:{port}");
        let found = look(&setup, &[&member]).await;
        let step = if family.starts_with('l') {
            "name"
        } else {
            "registry"
        };
        found.fails(step, &["loopback address", "allow_private"]);
    }
    assert_eq!(origin.counts().total(), 0);
}

/// What is at this address answers whatever is said to it with this status, in plain HTTP.
async fn answering(status: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            let head = format!("HTTP/1.1 {status} \r\ncontent-length: 0\r\n");
            let answer = format!("{head}connection: close\r\n\r\n");
            let _ = socket.write_all(answer.as_bytes()).await;
            let _ = socket.shutdown().await;
            // Closed with something unread, it would be reset, and the answer lost.
            let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_on_the_way_is_named_without_its_login() {
    let origin = open().await;
    origin.stop().await;
    let dead = origin.host().to_owned();
    let unwilling = answering(407).await.to_string();
    for (proxy, said) in [
        (dead, "the proxy can't be reached"),
        (unwilling, "the proxy wants a login"),
    ] {
        for scheme in ["http", "https"] {
            let setup = Setup::with_endpoint(&format!("{scheme}://registry.invalid"))
                .upstream(&format!("http_proxy = \"http://me:canary-proxy@{proxy}\""));
            let found = look(&setup, &["docker.io"]).await;
            let name = format!(
                "ok    name      registry.invalid is reached through http://{proxy} (http_proxy), which resolves it"
            );
            found.says(&[&name]);
            found.fails("registry", &[said, "`http_proxy`"]);
        }
    }
}
