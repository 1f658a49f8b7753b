//! Names that resolve to where nobody is to be led: at once, the next time, among others, through an alias.

use forebay_loadtest::origin::{Auth, Fault, Origin, Server};
use futures_util::future::join_all;
use http::{Method, StatusCode};

use super::canary::Canary;
use super::logins::moved;
use super::names::Names;
use super::stage::{
    ELSEWHERE, ELSEWHERE_V6, Lifted, PASSWORD, UPSTREAM, USER, all_refused, apart, ask, at,
    challenge, kept_home, misled, names as rows_of, open, pulls, recovers, refused, with_image,
};
use crate::harness::{Setup, plain_origin};

const PRIVATE: Lifted<'static> = Lifted::By("allow_private");
const REGISTRY: &str = "registry.example.com";

/// What a name may resolve to, and what that is told to be.
const FORBIDDEN: &[(&str, &str)] = &[
    ("127.0.0.1", "a loopback address"),
    ("::1", "a loopback address"),
    ("0.0.0.0", "an unspecified address"),
    ("::", "an unspecified address"),
    ("10.1.2.3", "a private address"),
    ("192.168.1.1", "a private address"),
    ("fd12::1", "a private address"),
    ("100.64.0.1", "a carrier-shared address"),
    ("169.254.1.1", "a link-local address"),
    ("169.254.169.254", "a cloud metadata address"),
    ("fd00:ec2::254", "a cloud metadata address"),
    ("168.63.129.16", "a cloud metadata address"),
    ("::ffff:127.0.0.1", "an IPv4-in-IPv6 address"),
    ("::ffff:10.1.2.3", "an IPv4-in-IPv6 address"),
    ("2002:7f00:1::", "an IPv4-in-IPv6 address"),
    ("64:ff9b::7f00:1", "a loopback address"),
    ("64:ff9b::a9fe:a9fe", "a cloud metadata address"),
    ("192.0.2.1", "a reserved address"),
    ("2001:db8::1", "a reserved address"),
    ("240.0.0.1", "a reserved address"),
];

/// What rebinding is after, for a canary to be there.
const REBOUND: &[&str] = &[
    "127.0.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
];

/// An upstream by name, with these repositories, and the name's mirror with a login.
async fn named(names: &Names, rows: &[String]) -> (Origin, Setup) {
    names.set(REGISTRY, &[UPSTREAM]);
    let builder = Origin::builder().auth(Auth::token()).user(USER, PASSWORD);
    let builder = rows
        .iter()
        .fold(builder, |builder, name| with_image(builder, name));
    let builder = at(UPSTREAM, builder).public_name(REGISTRY);
    let origin = builder.start().await.unwrap();
    let login = format!("username = {USER:?}\npassword = {PASSWORD:?}");
    let setup = Setup::new(&origin).strict().upstream(&login);
    (origin, setup)
}

fn port_of(origin: &Origin) -> u16 {
    let url = origin.registry_url();
    url.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leads_to_a_forbidden_address() {
    let test = "resolved::no_name_leads_to_a_forbidden_address";
    if !apart(test).await {
        return;
    }
    let (canary, dns) = (Canary::set().await, Names::serve().await);
    let rows = rows_of(FORBIDDEN.len());
    let (origin, setup) = named(&dns, &rows).await;
    let forebay = setup.start().await;
    let port = canary.port();
    // A redirect to any host; a realm on the registry's own domain, where the login may go.
    for kind in ["redirect", "alias", "realm"] {
        for ((address, _), (number, name)) in FORBIDDEN.iter().zip(rows.iter().enumerate()) {
            let host = format!("{kind}-{number}.example.com");
            let target = format!("http://{host}:{port}/x");
            if kind == "alias" {
                let (far, farther) = (
                    format!("far-{number}.example.net"),
                    format!("farther-{number}.example.net"),
                );
                dns.alias(&host, &far);
                dns.alias(&far, &farther);
                dns.set(&farther, &[address]);
            } else {
                dns.set(&host, &[address]);
            }
            let fault = match kind {
                "realm" => challenge(&target),
                _ => Fault::redirect_to(&target),
            };
            misled(&origin, name, &fault);
        }
        let asked = FORBIDDEN.iter().zip(&rows).map(|((_, rule), name)| {
            let rule = format!("resolves to {rule}");
            let (forebay, origin) = (&forebay, &origin);
            async move { all_refused(forebay, origin, name, &rule, PRIVATE).await }
        });
        join_all(asked).await;
        origin.clear_faults();
    }
    for name in &rows {
        pulls(&forebay, &origin, name).await;
    }
    kept_home(&origin, &[], &canary);
}

/// A check of one look-up and a connection by the next would be led astray: the first pull works, and the name then leads
/// to this machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_rebinds_between_two_look_ups_gains_nothing() {
    let test = "resolved::a_name_that_rebinds_between_two_look_ups_gains_nothing";
    if !apart(test).await {
        return;
    }
    let dns = Names::serve().await;
    let rows = rows_of(2 * REBOUND.len());
    let (origin, setup) = named(&dns, &rows).await;
    let other = open(ELSEWHERE, &rows).await;
    let port = port_of(&other);
    let listening: Vec<_> = REBOUND
        .iter()
        .copied()
        .filter(|text| !text.contains("ffff"))
        .collect();
    let canary = Canary::set_at(&listening, port).await;
    let forebay = setup.start().await;
    for name in &rows {
        moved(&origin, name, &format!("http://cdn.example.net:{port}"));
    }
    for (address, names) in REBOUND.iter().zip(rows.chunks(2)) {
        dns.set("cdn.example.net", &[ELSEWHERE]);
        pulls(&forebay, &origin, &names[0]).await;
        // No connection is left that could serve the next request.
        other.stop_server(Server::Registry).await;
        other.start_server(Server::Registry).await.unwrap();
        dns.set("cdn.example.net", &[address]);
        let path = format!("/v2/{}/manifests/v1", names[1]);
        refused(&forebay, &path, "cdn.example.net resolves to", PRIVATE).await;
        assert!(dns.asked("cdn.example.net") > 0);
    }
    kept_home(&origin, &[&other], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_rebinds_with_every_look_up_gains_nothing() {
    let test = "resolved::a_name_that_rebinds_with_every_look_up_gains_nothing";
    if !apart(test).await {
        return;
    }
    let dns = Names::serve().await;
    let rows = rows_of(8);
    let (origin, setup) = named(&dns, &rows).await;
    let other = open(ELSEWHERE, &rows).await;
    let port = port_of(&other);
    let canary = Canary::set_at(&["127.0.0.1", "10.1.2.3"], port).await;
    let forebay = setup.start().await;
    dns.turn(
        "cdn.example.net",
        &[&[ELSEWHERE], &["127.0.0.1"], &[ELSEWHERE], &["10.1.2.3"]],
    );
    let mut pulled = 0;
    for name in &rows {
        moved(&origin, name, &format!("http://cdn.example.net:{port}"));
        let answer = ask(&forebay, Method::GET, &format!("/v2/{name}/manifests/v1")).await;
        match answer.status {
            StatusCode::OK => pulled += 1,
            status => assert_eq!(status, StatusCode::BAD_GATEWAY, "{}", answer.text()),
        }
        other.stop_server(Server::Registry).await;
        other.start_server(Server::Registry).await.unwrap();
    }
    assert!(pulled > 0);
    assert!(dns.asked("cdn.example.net") >= rows.len());
    kept_home(&origin, &[&other], &canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_mixed_answer_only_what_is_allowed_is_dialled() {
    let test = "resolved::of_a_mixed_answer_only_what_is_allowed_is_dialled";
    if !apart(test).await {
        return;
    }
    let dns = Names::serve().await;
    let rows = rows_of(8);
    let (origin, setup) = named(&dns, &rows).await;
    let others = [
        open(ELSEWHERE, &rows).await,
        open(ELSEWHERE_V6, &rows).await,
    ];
    let forbidden = ["127.0.0.1", "10.1.2.3", "fd12::1", "::1", "169.254.169.254"];
    let mut canaries = Vec::new();
    for other in &others {
        canaries.push(Canary::set_at(&forbidden, port_of(other)).await);
    }
    let forebay = setup.start().await;
    let addresses = others.iter().zip([ELSEWHERE, ELSEWHERE_V6]);
    for ((other, address), rows) in addresses.zip(rows.chunks(4)) {
        dns.set("cdn.example.net", &[&forbidden[..], &[address]].concat());
        let cdn = format!("http://cdn.example.net:{}", port_of(other));
        for name in rows {
            moved(&origin, name, &cdn);
            pulls(&forebay, &origin, name).await;
            other.stop_server(Server::Registry).await;
            other.start_server(Server::Registry).await.unwrap();
        }
        assert!(other.counts().total() > 0);
    }
    for canary in &canaries {
        kept_home(&origin, &[&others[0], &others[1]], canary);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_by_name_is_exempt_wherever_it_is_and_nothing_else_of_that_name_is() {
    let test =
        "resolved::an_endpoint_by_name_is_exempt_wherever_it_is_and_nothing_else_of_that_name_is";
    if !apart(test).await {
        return;
    }
    let (canary, dns) = (Canary::set().await, Names::serve().await);
    let name = "registry.corp.example";
    dns.set(name, &["10.1.2.3"]);
    dns.set("www.registry.corp.example", &["10.1.2.3"]);
    let rows = rows_of(6);
    let builder = rows
        .iter()
        .fold(plain_origin(), |builder, name| with_image(builder, name));
    let builder = at("10.1.2.3", builder).public_name(name);
    let origin = builder.start().await.unwrap();
    let port = port_of(&origin);
    let forebay = Setup::new(&origin).strict().start().await;
    pulls(&forebay, &origin, "row/0").await;
    for (row, host, rule) in [
        (
            1,
            format!("http://{name}:{}", canary.port()),
            "resolves to a private address",
        ),
        (
            2,
            format!("https://{name}:{port}"),
            "resolves to a private address",
        ),
        (
            3,
            format!("http://{name}.:{port}"),
            "resolves to a private address",
        ),
        (
            4,
            format!("http://www.{name}:{port}"),
            "resolves to a private address",
        ),
        (5, format!("http://10.1.2.3:{port}"), "is a private address"),
    ] {
        let name = &rows[row];
        moved(&origin, name, &host);
        refused(&forebay, &format!("/v2/{name}/manifests/v1"), rule, PRIVATE).await;
    }
    recovers(&forebay, &origin, &rows).await;
    assert_eq!(canary.caught(), Vec::<String>::new());
}
