//! Proxies, the system's and an upstream's own: they are used, wherever they are, do not open a way around the address
//! policy, and are named when they are what fails.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use super::{latest, name, set_up, settings};
use crate::config::{self, Config, Proxy, Timeouts};
use crate::upstream::{ErrorKind, Fault, Trouble};

/// Set in the process that is to go through the proxy.
const CHILD: &str = "FOREBAY_TEST_THROUGH_PROXY";

const MANIFEST: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json\r\n\
     content-length: 2\r\nconnection: close\r\n\r\n{}";
const METADATA: &str = "HTTP/1.1 307 \r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\
     connection: close\r\n\r\n";

/// Reads each request's head, tells of its lines, and answers as told; says nothing and keeps the connection where there is no
/// answer.
fn proxy(
    answer: impl Fn(&str) -> Option<&'static str> + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, heads) = mpsc::channel();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for socket in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(socket);
            let mut head = String::new();
            while stream.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let answer = answer(&head);
            // Before the answer, so that it is there when the client goes on.
            if seen.send(head).is_err() {
                return;
            }
            match answer {
                Some(answer) => {
                    let _ = stream.get_mut().write_all(answer.as_bytes());
                }
                None => silent.push(stream),
            }
        }
    });
    (address, heads)
}

/// The environment is a process's own, so that one more process is what it takes.
#[test]
fn a_proxy_at_a_private_name_is_used_and_the_policy_still_holds() {
    let (address, heads) = proxy(|head| {
        let redirect = head.contains("/redirect/");
        Some(if redirect { METADATA } else { MANIFEST })
    });
    let proxy = format!("http://localhost:{}", address.port());
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "upstream::tests::proxy::in_the_child",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env("HTTP_PROXY", &proxy)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env_remove("REQUEST_METHOD")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let heads: Vec<String> = heads.try_iter().collect();
    let line = "GET http://registry.example.com/v2/library/app/manifests/latest HTTP/1.1\r\n";
    assert!(heads[0].starts_with(line), "{heads:?}");
    assert!(
        heads.iter().all(|head| !head.contains("169.254")),
        "{heads:?}"
    );
}

#[tokio::test]
async fn in_the_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let upstream = set_up(config::Upstream {
        allow_private: false,
        ..settings(&["http://registry.example.com"])
    });
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    let redirected = "redirect/app".parse().unwrap();
    let error = upstream
        .get_manifest(&redirected, &latest())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy, "{error}");
}

/// What a file says of an upstream's `http_proxy`.
fn configured_as(proxy: &str) -> Proxy {
    let text =
        format!("cache.dir = '/nowhere'\n[upstreams.'registry.test']\nhttp_proxy = '{proxy}'\n");
    let mut upstreams = Config::from_toml(&text).unwrap().upstreams.into_iter();
    let own = upstreams.find(|upstream| upstream.registry.to_string() == "registry.test");
    own.unwrap().proxy
}

/// An upstream that has nowhere to go but through this proxy: its name means nothing here.
fn behind(proxy: &str, scheme: &str) -> config::Upstream {
    config::Upstream {
        allow_private: false,
        proxy: configured_as(proxy),
        timeouts: Timeouts {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(1),
            body_idle: Duration::from_secs(1),
        },
        ..settings(&[&format!("{scheme}://registry.example.com")])
    }
}

#[tokio::test]
async fn the_address_policy_holds_behind_an_upstreams_own_proxy() {
    let (address, heads) = proxy(|head| {
        let redirect = head.contains("/redirect/");
        Some(if redirect { METADATA } else { MANIFEST })
    });
    let upstream = set_up(behind(&format!("http://ci:pw@{address}"), "http"));
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    let redirected = "redirect/app".parse().unwrap();
    let error = upstream.get_manifest(&redirected, &latest()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Policy);
    let heads: Vec<String> = heads.try_iter().collect();
    assert!(heads.len() > 1, "{heads:?}");
    for head in heads {
        assert!(
            head.starts_with("GET http://registry.example.com/v2/"),
            "{head}"
        );
        assert!(
            head.contains("proxy-authorization: Basic Y2k6cHc=\r\n"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_proxy_that_fails_is_named_with_its_key_and_its_password_is_not() {
    const REFUSES: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    const WANTS_LOGIN: &str =
        "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let connect = ErrorKind::Unavailable(Trouble::Connect);
    let login = ErrorKind::Unavailable(Trouble::Proxy);
    for (scheme, answer, kind, told) in [
        (
            "https",
            Some(REFUSES),
            connect,
            "the proxy makes no connection to it",
        ),
        (
            "https",
            Some("nonsense\r\n\r\n"),
            connect,
            "the proxy makes no connection to it",
        ),
        (
            "https",
            Some(""),
            connect,
            "the proxy makes no connection to it",
        ),
        ("https", None, connect, "operation timed out"),
        (
            "https",
            Some(WANTS_LOGIN),
            login,
            "the proxy wants a login, or another one",
        ),
        (
            "http",
            Some(WANTS_LOGIN),
            login,
            "the proxy wants a login, or another one",
        ),
    ] {
        let (address, heads) = proxy(move |_| answer);
        let mut settings = behind(&format!("http://ci:canary@{address}"), scheme);
        if answer.is_some() {
            settings.timeouts.first_byte = Duration::from_secs(10);
        }
        let upstream = set_up(settings);
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        let place = format!("registry.example.com through http://{address} (http_proxy): ");
        let said = error.to_string();
        assert!(
            said.starts_with(&place) && said.contains(told),
            "{scheme} {answer:?}: {said}"
        );
        assert_eq!(error.kind(), kind, "{said}");
        assert!(error.is_trouble(), "something stale may be served: {said}");
        assert!(
            !format!("{upstream:?} {error:?}").contains("canary"),
            "{upstream:?}"
        );
        // Whoever tries a wrong password again and again gets its account locked.
        let asked = heads.try_iter().count();
        let once = kind == login && error.fault() == Fault::Operator;
        assert_eq!(asked == 1, once, "{said}: asked {asked} times");
    }
}

#[tokio::test]
async fn a_proxy_that_is_away_is_told_from_a_registry_that_is() {
    // Nobody listens there.
    let away = "127.0.0.1:1";
    for scheme in ["http", "https"] {
        let upstream = set_up(behind(&format!("http://{away}"), scheme));
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        let told = "(http_proxy): the proxy can't be reached: Connection refused";
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Connect));
    }
}
