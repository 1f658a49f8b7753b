//! A proxy that nobody is meant to use. The mirror they are told to ask straight, and everything else that they dial comes
//! here and is noted.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// What clients ask when they go around the mirror. It refuses them. It ends with the test's runtime.
#[derive(Clone)]
pub(super) struct Tripwire {
    /// The mirror, which is asked straight.
    mirror: IpAddr,
    address: SocketAddr,
    touched: Arc<Mutex<Vec<String>>>,
}

impl Tripwire {
    pub(super) async fn set(mirror: IpAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let touched = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&touched);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(refuse(stream, Arc::clone(&notes)));
            }
        });
        Self {
            mirror,
            address,
            touched,
        }
    }

    /// Makes a client's process run into it.
    pub(super) fn before(&self, command: &mut Command) {
        let proxy = format!("http://{}", self.address);
        for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
            command.env(name, &proxy);
            command.env(name.to_lowercase(), &proxy);
        }
        for name in ["NO_PROXY", "no_proxy"] {
            command.env(name, self.mirror.to_string());
        }
    }

    /// What was asked of it: request lines, such as `CONNECT registry-1.docker.io:443 HTTP/1.1`.
    pub(super) fn touched(&self) -> Vec<String> {
        self.touched.lock().unwrap().clone()
    }
}

/// Notes the first line before it answers, so that it is there before the client goes on.
async fn refuse(stream: TcpStream, notes: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.read_line(&mut line).await.is_err() {
        return;
    }
    notes.lock().unwrap().push(line.trim_end().to_owned());
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {}
    let refusal = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // One that has left needs no answer.
    let _ = stream.write_all(refusal.as_bytes()).await;
}
