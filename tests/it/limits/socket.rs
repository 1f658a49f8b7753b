//! One connection from an address of 127.0.0.0/8, bytes in and bytes out.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

pub(super) const PING: &str = "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n";
/// The last one of its connection.
pub(super) const LAST_PING: &str = "GET /v2/ HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n";
/// A request that is answered from memory, and the last one of its connection. Other lines may follow.
pub(super) const LAST: &str = "GET /v2/_catalog HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n";

pub(super) async fn connect(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends `bytes`, and reads the head of the answer. A pong's body is two bytes, and stays where it is.
pub(super) async fn head(stream: &mut TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Sends `bytes` on a connection of its own, and reads to its end, which may be a reset.
pub(super) async fn exchange(last: u8, to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(last, to).await;
    let mut answer = Vec::new();
    if stream.write_all(bytes).await.is_ok() {
        let _ = stream.read_to_end(&mut answer).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}
