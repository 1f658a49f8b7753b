//! A forward proxy that notes what comes by, and fails as it is told.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::Uri;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a proxy does with whoever calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    /// Lets through, or asks for a login where it has one.
    Forwards,
    /// Answers this, whatever it is asked for.
    Answers(&'static str),
    /// Listens, and says nothing.
    IsSilent,
}

pub(crate) const WANTS_LOGIN: &str = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\
     content-length: 0\r\nconnection: close\r\n\r\n";

/// A running proxy. It ends with the test's runtime.
#[derive(Clone, Debug)]
pub(crate) struct ForwardProxy {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    mood: Mutex<Mood>,
    /// The `Proxy-Authorization` that it wants.
    login: Option<String>,
    heads: Mutex<Vec<String>>,
    /// Its connections to others: from where, to where.
    outgoing: Mutex<BTreeSet<(SocketAddr, String)>>,
    calls: Mutex<JoinSet<Option<()>>>,
}

impl ForwardProxy {
    /// One that lets through who brings this `Proxy-Authorization`, or everyone.
    pub(crate) async fn start(login: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            mood: Mutex::new(Mood::Forwards),
            login: login.map(str::to_owned),
            heads: Mutex::default(),
            outgoing: Mutex::default(),
            calls: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let call = Arc::clone(&accepting).serve(BufReader::new(socket));
                accepting.calls.lock().unwrap().spawn(call);
            }
        });
        Self { address, state }
    }

    /// Does this from now on; what it forwarded so far is cut.
    pub(crate) fn becomes(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
        self.state.calls.lock().unwrap().abort_all();
    }

    /// The heads of the requests that have come by.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.heads.lock().unwrap().clone()
    }

    /// Whether the connection that `to` (`HOST:PORT`) got from there was its. A port alone may be somebody else's by now.
    pub(crate) fn made(&self, from: SocketAddr, to: &str) -> bool {
        let outgoing = self.state.outgoing.lock().unwrap();
        outgoing.contains(&(from, to.to_owned()))
    }
}

impl State {
    /// `None` where somebody has left.
    async fn serve(self: Arc<Self>, mut client: BufReader<TcpStream>) -> Option<()> {
        let mut head = String::new();
        while client.read_line(&mut head).await.ok()? > 2 {}
        self.heads.lock().unwrap().push(head.clone());
        let mood = *self.mood.lock().unwrap();
        let is_known = self.login.is_none() || proxy_login(&head) == self.login.as_deref();
        match mood {
            Mood::Answers(answer) => client.write_all(answer.as_bytes()).await.ok(),
            Mood::IsSilent => std::future::pending().await,
            Mood::Forwards if is_known => self.forward(client, &head).await,
            Mood::Forwards => client.write_all(WANTS_LOGIN.as_bytes()).await.ok(),
        }
    }

    async fn forward(&self, mut client: BufReader<TcpStream>, head: &str) -> Option<()> {
        let mut words = head.split(' ');
        let (method, target) = (words.next()?, words.next()?.parse::<Uri>().ok()?);
        let to = target.authority()?.as_str();
        let socket = TcpStream::connect(to).await.ok()?;
        let connection = (socket.local_addr().ok()?, to.to_owned());
        self.outgoing.lock().unwrap().insert(connection);
        let mut server = BufReader::new(socket);
        if method == "CONNECT" {
            let done = b"HTTP/1.1 200 Connection established\r\n\r\n";
            client.write_all(done).await.ok()?;
        } else {
            // One request a connection, so that each is seen here.
            let path = target.path_and_query()?;
            let fields = head.lines().skip(1).filter(|line| !line.is_empty());
            let fields: Vec<_> = fields.filter(|line| !line.starts_with("proxy-")).collect();
            let fields = fields.join("\r\n");
            let head = format!("{method} {path} HTTP/1.1\r\n{fields}\r\nconnection: close\r\n\r\n");
            server.write_all(head.as_bytes()).await.ok()?;
        }
        copy_bidirectional(&mut client, &mut server).await.ok()?;
        Some(())
    }
}

/// The `Proxy-Authorization` of a request.
pub(crate) fn proxy_login(head: &str) -> Option<&str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let (_, login) = fields.find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))?;
    Some(login)
}
