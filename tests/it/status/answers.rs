//! Where the command finds a mirror, and what it says where it finds none.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::harness::mirror_of;

/// A server that answers everything with this.
async fn answering(status: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match connection.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn fails(arguments: &[&str], said: &str) {
    let told = status(arguments).await;
    assert_eq!(told.code, Some(1), "{}", told.errors);
    assert!(told.errors.contains(said), "{said}: {}", told.errors);
    assert_eq!(told.out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_is_found_by_its_configuration() {
    let origin = images(1, 100).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("forebay.toml");
    let text = format!("[admin]\nlisten = \"{}\"\n", forebay.admin);
    std::fs::write(&file, text).unwrap();
    let told = status(&["--config", file.to_str().unwrap(), "--json"]).await;
    assert_eq!(told.code, Some(0), "{}", told.errors);
    let document: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(
        (&document["format"], &document["state"]),
        (&1.into(), &"serving".into())
    );
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));

    let mut from_environment = command(&["--json"]);
    from_environment.env("FOREBAY_ADMIN__LISTEN", forebay.admin.to_string());
    assert_eq!(super::told(from_environment).await.code, Some(0));

    std::fs::write(&file, "[admin]\nlisten = \"off\"\n").unwrap();
    fails(
        &["--config", file.to_str().unwrap()],
        "has no admin listener: set `listen` in [admin]",
    )
    .await;
    std::fs::write(&file, "[admin]\nlister = \"off\"\n").unwrap();
    let told = status(&["--config", file.to_str().unwrap()]).await;
    assert_eq!(told.code, Some(78), "{}", told.errors);
    let told = status(&["--admin", "ftp://127.0.0.1"]).await;
    assert_eq!(told.code, Some(2), "{}", told.errors);
}

/// An image with nothing in it but the program has no certificates, and the command gave up before it asked.
#[tokio::test(flavor = "multi_thread")]
async fn it_takes_no_certificates_to_ask_without_tls() {
    let origin = images(1, 100).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let mut command = command(&["--admin", &admin_of(&forebay)]);
    command
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", "/nonexistent");
    let told = super::told(command).await;
    assert_eq!(told.code, Some(0), "{}", told.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_instead_is_told() {
    let origin = images(1, 100).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let clients = forebay.address.to_string();
    fails(&["--admin", &clients], "is where a registry's clients ask").await;
    let old = answering(
        "404 Not Found",
        "there are /healthz, /readyz and /metrics\n",
    )
    .await;
    fails(
        &["--admin", &old.to_string()],
        "is older than its `/api/status`",
    )
    .await;
    let new = answering("200 OK", "{\"format\": 2, \"state\": 7}").await;
    fails(
        &["--admin", &new.to_string()],
        "in format 2, and this program knows 1",
    )
    .await;
    let page = answering("200 OK", "<html>Welcome to our hotel</html>").await;
    fails(
        &["--admin", &page.to_string()],
        "is no forebay's admin listener",
    )
    .await;
    let other = answering("302 Found", "").await;
    fails(&["--admin", &other.to_string()], "(it answers 302 Found)").await;
    // Bound, so that nobody else has it, and nobody listens.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let admin = silent.local_addr().unwrap().to_string();
    fails(&["--admin", &admin], "the mirror is not running").await;
}
