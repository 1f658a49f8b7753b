//! A machine apart with an upstream, a mirror before it, and a canary; and what a client of the mirror is to be told.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forebay_loadtest::origin::{
    Auth, Authorization, Builder, Fault, ImageSpec, Kind, Origin, Reply, Server,
};
use http::{Method, StatusCode};

use super::canary::Canary;
use crate::harness::{Answer, Apart, Forebay, Setup, is_apart, plain_origin};

/// Addresses of hosts that anybody may be led to, as far as numbers tell. They are this machine's only while it is apart.
pub(super) const UPSTREAM: &str = "1.2.3.4";
pub(super) const ELSEWHERE: &str = "5.6.7.8";
pub(super) const ELSEWHERE_V6: &str = "2a00::1";

/// Addresses that nobody is to be led to, beside the loopback's.
const FORBIDDEN: &[&str] = &[
    "10.1.2.3",
    "172.16.1.1",
    "192.168.1.1",
    "169.254.1.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.1",
    "240.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:1::1",
    "fd00:ec2::254",
    "fd12::1",
    "2001:db8::1",
];

pub(super) const USER: &str = "ci";
pub(super) const PASSWORD: &str = "canary-password";

/// How long a client waits for a head at most.
const HEADERS_IN: Duration = Duration::from_secs(25);

/// Whether this is the machine apart; where it is not, the test of this module and name has been run there.
pub(super) async fn apart(test: &str) -> bool {
    if !is_apart() {
        let all = [UPSTREAM, ELSEWHERE, ELSEWHERE_V6].into_iter();
        let addresses = all.chain(FORBIDDEN.iter().copied());
        let machine = Apart::new(format!("hostile::{test}"))
            .addresses(addresses.map(|address| address.parse().unwrap()))
            .file("/etc/resolv.conf", "nameserver 127.0.0.1\n")
            .file("/etc/hosts", "127.0.0.1 localhost\n")
            .file("/etc/nsswitch.conf", "hosts: files dns\n");
        return machine.enter().await;
    }
    true
}

/// A port of an address, chosen by the system.
pub(super) fn any_port(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), 0)
}

/// All of an origin's servers at one address.
pub(super) fn at(address: &str, builder: Builder) -> Builder {
    [Server::Registry, Server::Token, Server::Cdn]
        .into_iter()
        .fold(builder, |builder, server| {
            builder.listen(server, any_port(address))
        })
}

/// Adds a repository with a small image `v1`.
pub(super) fn with_image(builder: Builder, name: &str) -> Builder {
    let spec = ImageSpec {
        layers: 1,
        layer_size: 20_000,
        ..ImageSpec::default()
    };
    builder.repository(name, |repository| repository.image("v1", &spec))
}

/// The names of `count` repositories, one a row.
pub(super) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("row/{number}")).collect()
}

/// An upstream that takes a login, with these repositories, at an address that anybody may be led to.
pub(super) async fn upstream(names: &[String]) -> Origin {
    let builder = Origin::builder().auth(Auth::token()).user(USER, PASSWORD);
    let builder = names
        .iter()
        .fold(builder, |builder, name| with_image(builder, name));
    at(UPSTREAM, builder).start().await.unwrap()
}

/// A registry without a login at an address, with these repositories.
pub(super) async fn open(address: &str, names: &[String]) -> Origin {
    let builder = names
        .iter()
        .fold(plain_origin(), |builder, name| with_image(builder, name));
    at(address, builder).start().await.unwrap()
}

/// A mirror with that login.
pub(super) fn mirror(origin: &Origin) -> Setup {
    let login = format!("username = {USER:?}\npassword = {PASSWORD:?}");
    Setup::new(origin).strict().upstream(&login)
}

/// The answer to every question about a repository.
pub(super) fn misled(origin: &Origin, name: &str, fault: &Fault) {
    for kind in Kind::OF_REPOSITORIES {
        let fault = fault.clone();
        origin.on(kind).repository(name).before_auth().always(fault);
    }
}

/// A 401 that asks for a token of this realm.
pub(super) fn challenge(realm: &str) -> Fault {
    let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
    let reply = Reply::error(401, "UNAUTHORIZED", "who is there?");
    Fault::Answer(reply.header("www-authenticate", challenge))
}

/// A redirect with this status.
pub(super) fn redirect(status: u16, location: &str) -> Fault {
    Fault::Answer(Reply::status(status).header("location", location))
}

/// Every question about a repository that a client may ask.
pub(super) fn questions(origin: &Origin, name: &str) -> Vec<String> {
    let image = origin.image(name, "v1");
    let manifest = &image.manifests[0];
    vec![
        format!("/v2/{name}/manifests/v1"),
        format!("/v2/{name}/manifests/{}", manifest.descriptor.digest),
        format!("/v2/{name}/blobs/{}", manifest.layers[0].digest),
        format!("/v2/{name}/tags/list"),
        format!("/v2/{name}/referrers/{}", manifest.descriptor.digest),
    ]
}

/// What is to be told of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifted<'a> {
    /// By this key of the upstream's table.
    By(&'a str),
    /// By nothing.
    Never,
    /// It is no rule's matter: the answer can't be understood.
    Unread,
}

/// Asks in the time that clients have.
pub(super) async fn ask(forebay: &Forebay, method: Method, path: &str) -> Answer {
    let client = forebay.client();
    let answer = client.ask(method, path, &[]);
    let answer = tokio::time::timeout(HEADERS_IN, answer).await;
    answer.unwrap_or_else(|_| panic!("{path} is not answered in time:\n{}", forebay.log()))
}

/// Asks, and is told of the rule and of what lifts it.
pub(super) async fn refused(forebay: &Forebay, path: &str, rule: &str, lifted: Lifted<'_>) {
    let answer = ask(forebay, Method::GET, path).await;
    let told = answer.text();
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{path}: {told}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let error = &body["errors"][0];
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(rule), "{path}: not {rule}: {told}");
    let detail = error["detail"].as_str().unwrap_or_default();
    match lifted {
        Lifted::By(key) => {
            let key = format!("`{key}` under [upstreams.\"docker.io\"]");
            assert!(detail.contains(&key), "{path}: {told}");
        }
        Lifted::Never => assert!(detail.contains("no setting"), "{path}: {told}"),
        Lifted::Unread => {}
    }
    let head = ask(forebay, Method::HEAD, path).await;
    assert_eq!(head.status, answer.status, "{path}");
}

/// As [`refused`], for every question about a repository.
pub(super) async fn all_refused(
    forebay: &Forebay,
    origin: &Origin,
    name: &str,
    rule: &str,
    lifted: Lifted<'_>,
) {
    for path in questions(origin, name) {
        refused(forebay, &path, rule, lifted).await;
    }
}

/// An honest pull works.
pub(super) async fn pulls(forebay: &Forebay, origin: &Origin, name: &str) {
    let client = forebay.client();
    let image = origin.image(name, "v1");
    let tag = ask(forebay, Method::GET, &format!("/v2/{name}/manifests/v1")).await;
    let digest = &image.manifests[0].descriptor.digest;
    assert!(tag.is_exactly(digest), "{name}: {}", tag.text());
    client
        .pulls(name, &image.manifests[0].layers[0].digest)
        .await;
}

/// Once the upstream misleads no more, all that was refused can be pulled.
pub(super) async fn recovers<N: AsRef<str>>(forebay: &Forebay, origin: &Origin, names: &[N]) {
    origin.clear_faults();
    for name in names {
        pulls(forebay, origin, name.as_ref()).await;
    }
}

/// The upstream's login in all its forms was seen by nobody but these.
pub(super) fn kept_home(home: &Origin, others: &[&Origin], canary: &Canary) {
    let basic = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let mut secrets = vec![PASSWORD.to_owned(), basic];
    for request in home.requests() {
        let logins = request.header("authorization");
        secrets.extend(logins.iter().filter_map(|login| {
            let secret = login.split(' ').next_back()?;
            (secret.len() > 8).then(|| secret.to_owned())
        }));
    }
    for request in others.iter().flat_map(|other| other.requests()) {
        let seen = format!("{} {:?}", request.target, request.headers);
        let leaked = secrets.iter().find(|secret| seen.contains(*secret));
        assert_eq!(leaked, None, "{seen}");
        assert_ne!(request.authorization, Authorization::Basic, "{seen}");
    }
    assert_eq!(canary.caught(), Vec::<String>::new());
}
