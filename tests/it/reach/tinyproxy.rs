//! A proxy that we did not write: Debian's `tinyproxy`, with a login.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use forebay_loadtest::origin::When;
use http::StatusCode;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::proxy::{Tunnelled, pull};
use super::{APP, images};
use crate::clients::docker_registry::kept;
use crate::clients::wanted;
use crate::harness::{Setup, plain_origin};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

struct Tinyproxy {
    address: String,
    log: watch::Receiver<String>,
    _child: Child,
    _root: TempDir,
}

impl Tinyproxy {
    async fn start() -> Self {
        // It takes no port that the system chooses, and the one that was free may be somebody's by now.
        for _ in 0..5 {
            if let Some(started) = Self::start_at(free_port()).await {
                return started;
            }
        }
        panic!("tinyproxy finds no free port");
    }

    async fn start_at(port: u16) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let config = root.path().join("tinyproxy.conf");
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\nLogLevel Info\nAllow 127.0.0.1\n\
             BasicAuth ci canary-pw\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("tinyproxy")
            .args(["-d", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = kept(child.stdout.take().unwrap());
        let accepting = log.wait_for(|log| log.contains("Accepting connections"));
        let accepting = tokio::time::timeout(PATIENCE, accepting).await;
        let is_started = accepting.expect("it starts, or ends").is_ok();
        is_started.then_some(Self {
            address: format!("127.0.0.1:{port}"),
            log,
            _child: child,
            _root: root,
        })
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn tinyproxy_leads_to_an_upstream_with_the_right_login_and_not_without() {
    if !wanted(&["tinyproxy"]) {
        return;
    }
    let proxy = Tinyproxy::start().await;
    let lines = format!("http_proxy = \"http://ci:canary-pw@{}\"", proxy.address);
    let site = Tunnelled::start().await;
    let forebay = site.mirror(&lines).start().await;
    pull(&forebay, &site.origin, APP, "v1").await;
    let mut log = proxy.log.clone();
    let noted = log.wait_for(|log| log.contains("CONNECT 127.0.0.1:"));
    let noted = tokio::time::timeout(PATIENCE, noted).await;
    assert!(
        noted.is_ok_and(|noted| noted.is_ok()),
        "it was asked to connect"
    );
    assert!(!forebay.log().contains("canary"), "{}", forebay.log());

    // Without TLS it sees each request, and says so in it.
    let builder = plain_origin().repository(APP, |repository| images(repository, 10));
    let plain = builder.start().await.unwrap();
    let forebay = Setup::new(&plain).upstream(&lines).start().await;
    pull(&forebay, &plain, APP, "v1").await;
    for request in plain.requests_for(When::any()) {
        assert!(
            request.header("via")[0].contains("tinyproxy"),
            "{request:?}"
        );
        assert!(
            request.header("proxy-authorization").is_empty(),
            "{request:?}"
        );
    }

    let stranger = format!("http_proxy = \"http://{}\"", proxy.address);
    for setup in [
        site.mirror(&stranger),
        Setup::new(&plain).upstream(&stranger),
    ] {
        let refused = setup.start().await.client().manifest(APP, "v1").await;
        let text = refused.text();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        assert!(text.contains("the proxy wants a login"), "{text}");
    }
}
