//! A listener where nobody is to go.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What would make a caller come again, with more.
const LURE: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{\"token\":\"t\"}";

/// Notes who calls. It ends with the test's runtime.
#[derive(Clone, Debug)]
pub(super) struct Canary {
    port: u16,
    caught: Arc<Mutex<Vec<String>>>,
}

impl Canary {
    /// Listens on one port of every address that the machine has.
    pub(super) async fn set() -> Self {
        Self::set_at(&["::"], 0).await
    }

    /// Listens on a port of these addresses.
    pub(super) async fn set_at(addresses: &[&str], mut port: u16) -> Self {
        let caught = Arc::new(Mutex::new(Vec::new()));
        for address in addresses {
            let address: IpAddr = address.parse().unwrap();
            let listener = TcpListener::bind((address, port)).await.unwrap();
            port = listener.local_addr().unwrap().port();
            let notes = Arc::clone(&caught);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(note(stream, Arc::clone(&notes)));
                }
            });
        }
        Self { port, caught }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Where somebody called, and what was sent first.
    pub(super) fn caught(&self) -> Vec<String> {
        self.caught.lock().unwrap().clone()
    }
}

/// Notes that there is a connection before anything else.
async fn note(stream: TcpStream, notes: Arc<Mutex<Vec<String>>>) {
    let place = stream.local_addr().unwrap();
    let index = {
        let mut notes = notes.lock().unwrap();
        notes.push(format!("{place}: "));
        notes.len() - 1
    };
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
        notes.lock().unwrap()[index].push_str(&line);
        line.clear();
    }
    // One that has left needs no answer.
    let _ = stream.write_all(LURE.as_bytes()).await;
}
