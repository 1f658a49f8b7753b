//! TLS as clients see it: who is let in, and what is said of them.

mod ends;

use std::io;
use std::time::SystemTime;

use forebay_loadtest::certificates::{Authority, Pair, trusting, trusting_by};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::config;
use crate::http::{Certified, Scheme};

/// A server with a certificate for 127.0.0.1.
pub(super) struct Secure {
    server: Server,
    authority: Authority,
    tls: Tls,
    files: config::Tls,
    _dir: TempDir,
}

impl Secure {
    pub(super) fn start(
        settings: Settings,
        clients: Option<(&Authority, bool)>,
        respond: impl Fn(&Remote) -> Response<ResponseBody> + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::new("servers");
        let dir = tempfile::tempdir().unwrap();
        let pair = authority.server(&["127.0.0.1"]);
        let [certificate, key] = pair.write(dir.path(), "server").unwrap();
        let clients = clients.map(|(authority, required)| {
            let file = dir.path().join("clients.crt");
            std::fs::write(&file, authority.pem()).unwrap();
            config::ClientAuthority { file, required }
        });
        let files = config::Tls {
            certificate,
            key,
            clients,
        };
        let tls = Tls::load(metrics::Listener::Clients, &files).unwrap();
        Self {
            server: Server::listening(settings, Some(tls.clone()), respond),
            authority,
            tls,
            files,
            _dir: dir,
        }
    }

    pub(super) async fn shake(&self, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.server.address).await.unwrap();
        let name = ServerName::from(self.server.address.ip());
        TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
    }

    async fn send(&self, bytes: &str) -> TlsStream<TcpStream> {
        let mut stream = self
            .shake(trusting(&[&self.authority], None))
            .await
            .unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }
}

/// All that comes, and how it ends.
async fn read_to_end(mut stream: TlsStream<TcpStream>) -> (String, Result<(), ErrorKind>) {
    let mut read = Vec::new();
    let end = timeout(LONG, async {
        while stream.read_buf(&mut read).await? > 0 {}
        io::Result::Ok(())
    });
    let end = end.await.expect("the connection ends");
    let text = String::from_utf8(read).unwrap();
    (text, end.map_err(|error| error.kind()))
}

const CLOSE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn hello(_: &Remote) -> Response<ResponseBody> {
    Response::new(ResponseBody::whole("hello"))
}

/// Says how its peer came, and whose certificate it has.
fn who(remote: &Remote) -> Response<ResponseBody> {
    let scheme = remote.peer.scheme.as_str();
    let certificate = remote.certificate();
    let names = certificate.map(|certificate| certificate.names().join(","));
    let missing = match remote.certified {
        Certified::Nothing => ", and might have",
        Certified::By(_) | Certified::Unasked => "",
    };
    Response::new(ResponseBody::whole(format!("{scheme} {names:?}{missing}")))
}

#[tokio::test]
async fn http_is_spoken_over_both_versions_of_tls_and_not_version_2_of_http() {
    let secure = Secure::start(patient(), None, who);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = trusting_by(&[version], &[&secure.authority], None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut stream = secure.shake(config.clone()).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(CLOSE.as_bytes()).await.unwrap();
        let (text, end) = read_to_end(stream).await;
        assert!(text.ends_with("\r\n\r\nhttps None"), "{text}");
        assert_eq!(end, Ok(()));
        config.alpn_protocols = vec![b"h2".to_vec()];
        assert!(secure.shake(config).await.is_err());
    }
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_to_speak_https() {
    let secure = Secure::start(patient(), None, hello);
    let (text, end) = secure.server.send(GET).await.read_to_end().await;
    assert!(
        text.starts_with("HTTP/1.1 400 ") && text.contains("https://"),
        "{text}"
    );
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn a_client_is_known_by_the_names_in_its_certificate() {
    let clients = Authority::new("clients");
    for required in [false, true] {
        let secure = Secure::start(patient(), Some((&clients, required)), who);
        let known = clients.client("ci", &["ci.example.org", "b.example.org"]);
        let answer = async |shown: Option<Pair>| {
            let mut stream = secure
                .shake(trusting(&[&secure.authority], shown.as_ref()))
                .await?;
            stream.write_all(CLOSE.as_bytes()).await?;
            let (text, end) = read_to_end(stream).await;
            end.map_err(io::Error::from).map(|()| text)
        };
        let told = answer(Some(known)).await.unwrap();
        let names = "https Some(\"ci.example.org,b.example.org\")";
        assert!(told.ends_with(names), "{told}");
        match answer(None).await {
            Ok(told) => {
                let nobody = "https None, and might have";
                assert!(!required && told.ends_with(nobody), "{told}");
            }
            Err(_) => assert!(required),
        }
        // What is shown has to be right, even where nothing has to be shown.
        let ended = SystemTime::now() - Duration::from_mins(1);
        let strangers = Authority::new("clients");
        for wrong in [
            clients.client_until("ci", ended),
            strangers.client("ci", &["ci.example.org"]),
            secure.authority.server(&["ci.example.org"]),
        ] {
            assert!(answer(Some(wrong)).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_connection_in_the_clear_says_so() {
    let server = Server::with_service(patient(), who);
    let (text, _) = server.send(CLOSE).await.read_to_end().await;
    assert!(text.ends_with("\r\n\r\nhttp None"), "{text}");
    assert_eq!(Scheme::Http.as_str(), "http");
}

/// Each of them holds its connection, and none a turn.
#[tokio::test]
async fn stalled_handshakes_keep_nobody_out_and_are_ended() {
    let settings = Settings {
        header_timeout: 30 * SHORT,
        ..patient()
    };
    let secure = Secure::start(settings, None, hello);
    let mut stalled = Vec::new();
    for begun in [&b""[..], &[0x16], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]] {
        for _ in 0..8 {
            let mut client = secure.server.connect().await;
            client.stream.write_all(begun).await.unwrap();
            stalled.push(client);
        }
    }
    let (text, _) = read_to_end(secure.send(CLOSE).await).await;
    assert!(text.ends_with("hello"), "{text}");
    for client in stalled {
        assert_eq!(client.read_to_end().await, (String::new(), Ok(())));
    }
}

/// A client's kept connection, whose certificate's authority is replaced, and what is answered on it then.
async fn after_its_authority(required: bool) -> String {
    let [old, new] = ["old", "new"].map(Authority::new);
    let secure = Secure::start(patient(), Some((&old, required)), who);
    let config = trusting(&[&secure.authority], Some(&old.client("ci", &[])));
    let mut stream = secure.shake(config).await.unwrap();
    let authorities = &secure.files.clients.as_ref().unwrap().file;
    let mut ask = async || {
        let mut read = Vec::new();
        stream.write_all(GET.as_bytes()).await.unwrap();
        while find(&read, b")").is_none() {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        String::from_utf8(read).unwrap()
    };
    let known = "https Some(\"ci\")";
    assert!(ask().await.ends_with(known));
    // As one is replaced by another: both count for a while.
    std::fs::write(authorities, old.pem() + &new.pem()).unwrap();
    secure.tls.take(secure.tls.prepare(&secure.files).unwrap());
    assert!(ask().await.ends_with(known));
    std::fs::write(authorities, new.pem()).unwrap();
    secure.tls.take(secure.tls.prepare(&secure.files).unwrap());
    stream.write_all(GET.as_bytes()).await.unwrap();
    let (text, end) = read_to_end(stream).await;
    assert_eq!(end, Ok(()));
    text
}

#[tokio::test]
async fn a_certificate_whose_authority_counts_no_more_is_nobodys_on_an_open_connection() {
    let told = after_its_authority(false).await;
    assert!(
        told.ends_with("https None, and might have") && told.contains("connection: close"),
        "{told}"
    );
}

#[tokio::test]
async fn where_a_certificate_is_required_nothing_is_answered_without_one_that_counts() {
    assert_eq!(after_its_authority(true).await, "");
}

/// There were places for 256 sessions, of all clients.
#[tokio::test]
async fn sessions_are_resumed_however_many_others_there_are_but_not_where_clients_show_certificates()
 {
    let clients = Authority::new("clients");
    for asked in [false, true] {
        let secure = Secure::start(patient(), asked.then_some((&clients, false)), hello);
        let first = trusting(&[&secure.authority], None);
        let answered = async |config: &ClientConfig| {
            let mut stream = secure.shake(config.clone()).await.unwrap();
            stream.write_all(CLOSE.as_bytes()).await.unwrap();
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            stream.get_ref().1.handshake_kind()
        };
        assert_eq!(answered(&first).await, Some(HandshakeKind::Full));
        for _ in 0..(if asked { 1 } else { 300 }) {
            answered(&trusting(&[&secure.authority], None)).await;
        }
        let again = answered(&first).await;
        let resumed = again == Some(HandshakeKind::Resumed);
        assert_eq!(resumed, !asked, "{again:?}");
    }
}
