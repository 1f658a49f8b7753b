//! The system's proxy: it is used, wherever it is, and does not open a way around the address policy.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;

use super::{latest, name, set_up, settings};
use crate::config;
use crate::upstream::ErrorKind;

/// Set in the process that is to go through the proxy.
const CHILD: &str = "FOREBAY_TEST_THROUGH_PROXY";

const MANIFEST: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json\r\n\
     content-length: 2\r\nconnection: close\r\n\r\n{}";
const METADATA: &str = "HTTP/1.1 307 \r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\
     connection: close\r\n\r\n";

/// The environment is a process's own, so that one more process is what it takes.
#[test]
fn a_proxy_at_a_private_name_is_used_and_the_policy_still_holds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let (seen, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(socket);
            let mut request = String::new();
            stream.read_line(&mut request).unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let redirect = request.contains("/redirect/");
            let answer = if redirect { METADATA } else { MANIFEST };
            let _ = stream.get_mut().write_all(answer.as_bytes());
            if seen.send(request).is_err() {
                return;
            }
        }
    });
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
    let requests: Vec<String> = requests.try_iter().collect();
    let line = "GET http://registry.example.com/v2/library/app/manifests/latest HTTP/1.1\r\n";
    assert_eq!(requests[0], line);
    assert!(
        requests.iter().all(|line| !line.contains("169.254")),
        "{requests:?}"
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
