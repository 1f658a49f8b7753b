//! The composed server over raw sockets, in front of an upstream that cannot be reached.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::http::{ClientAddr, Peer};

/// What follows a request that must end its connection: never to be answered.
const SMUGGLED: &str = "GET /v2/ HTTP/1.1\r\nHost: smuggled\r\n\r\n";

struct Running {
    clients: SocketAddr,
    operators: SocketAddr,
    admin: Admin,
    _dir: tempfile::TempDir,
}

const CONFIG: &str =
    "[upstreams.\"docker.io\"]\nendpoints = [\"http://127.0.0.1:1\"]\n[cache]\nmin_free = \"0B\"\n";

async fn start() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::from_toml(CONFIG).unwrap();
    config.cache.dir = dir.path().join("cache");
    let admin = Admin::new(Recorder::install().unwrap());
    let (mirror, _) = open(&config).await.unwrap();
    admin.serving(mirror.clone());
    let api = Api::new(mirror, Clients::new(&config).terms(), Gate::new(&config));
    let clients = serve_on(&config, clients_service(Present::new(api)));
    let operators = serve_on(&config, admin_service(admin.clone()));
    Running {
        clients,
        operators,
        admin,
        _dir: dir,
    }
}

fn serve_on(config: &Config, service: server::Service) -> SocketAddr {
    let listener = listen::bind("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
    let address = listener.local_addr().unwrap();
    let never = CancellationToken::new();
    // Tied to the test's runtime.
    tokio::spawn(server::run(
        vec![listener],
        settings(config, 20_000),
        Clients::new(config),
        None,
        service,
        never,
    ));
    address
}

/// Sends `request`, and reads to the end of the connection, which has to be a clean one.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut answer));
    read.await
        .expect("the connection ends")
        .expect("and ends with FIN");
    String::from_utf8(answer).unwrap()
}

/// The head and body of a lone answer.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answer = exchange(address, &request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn requests_of_an_odd_form_are_refused_and_end_their_connection() {
    let running = start().await;
    for (request, status) in [
        (
            "CONNECT registry:443 HTTP/1.1\r\nHost: registry:443\r\n\r\n",
            405,
        ),
        ("GET http://h/v2/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\n\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (
            "GET /v2/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "GET /v2/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "GET /v2/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "GET /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            405,
        ),
        (
            "POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
            405,
        ),
    ] {
        let answer = exchange(running.clients, &format!("{request}{SMUGGLED}")).await;
        assert_eq!(
            answer.matches("HTTP/1.").count(),
            1,
            "{request:?}: {answer}"
        );
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} "))
                || answer.starts_with(&format!("HTTP/1.0 {status} ")),
            "{request:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn upgrades_are_not_taken() {
    let running = start().await;
    let upgrade = "GET /v2/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    let answer = exchange(running.clients, &format!("{upgrade}{SMUGGLED}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let answer = exchange(running.clients, preface).await;
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn a_refused_upload_reads_its_answer_before_the_connection_ends() {
    let running = start().await;
    let body = "x".repeat(200_000);
    let upload = format!(
        "PUT /v2/x/manifests/v1 HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(running.clients, &upload).await;
    assert!(
        answer.starts_with("HTTP/1.1 405 ") && answer.ends_with("}]}"),
        "{answer}"
    );
    let asking = "PUT /v2/x/manifests/v1 HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    let answer = exchange(running.clients, asking).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn pings_need_no_upstream_and_misses_say_that_it_is_down() {
    let running = start().await;
    for path in ["/v2/", "/v2", "/docker.io/v2/", "/v2/?ns=unknown.example"] {
        let (head, body) = get(running.clients, path).await;
        assert!(
            head.starts_with("http/1.1 200 ") && body == "{}",
            "{path}: {head}"
        );
        assert!(
            head.contains("docker-distribution-api-version: registry/2.0"),
            "{head}"
        );
    }
    let (head, body) = get(running.clients, "/v2/library/nginx/manifests/latest").await;
    assert!(
        head.starts_with("http/1.1 503 ") && head.contains("retry-after: "),
        "{head}"
    );
    assert!(
        body.contains("\"UNAVAILABLE\"") && body.contains("\"detail\""),
        "{body}"
    );
}

#[tokio::test]
async fn an_errors_head_is_its_gets_without_the_body() {
    let running = start().await;
    let ask = async |method: &str| {
        let path = "/v2/unknown.example/x/manifests/v1";
        let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let answer = exchange(running.clients, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let lines = head.lines().filter(|line| !line.starts_with("date:"));
        (lines.collect::<Vec<_>>().join("\n"), body.to_owned())
    };
    let (get, get_body) = ask("GET").await;
    let (head, head_body) = ask("HEAD").await;
    assert_eq!(head, get);
    assert!(!get_body.is_empty() && head_body.is_empty());
}

#[tokio::test]
async fn operators_see_readiness_change_and_clients_see_no_admin_path() {
    let running = start().await;
    assert!(
        get(running.operators, "/readyz")
            .await
            .0
            .starts_with("http/1.1 200 ")
    );
    assert!(
        get(running.operators, "/metrics")
            .await
            .1
            .contains("forebay_build_info")
    );
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert!(
            get(running.clients, path)
                .await
                .0
                .starts_with("http/1.1 404 "),
            "{path}"
        );
    }
    running.admin.draining();
    let (head, body) = get(running.operators, "/readyz").await;
    assert!(
        head.starts_with("http/1.1 503 ") && body == "draining\n",
        "{head}"
    );
}

/// It was let in by the limits of the next one, and answered by all else of the one before.
#[tokio::test]
async fn a_request_keeps_to_the_limits_of_the_configuration_that_answers_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::from_toml(CONFIG).unwrap();
    config.cache.dir = dir.path().join("cache");
    let (mirror, _) = open(&config).await.unwrap();
    let (clients, gate) = (Clients::new(&config), Gate::new(&config));
    let api = Arc::new(Api::new(mirror.clone(), clients.terms(), gate.clone()));
    let next = format!("{CONFIG}[limits]\nper_client_requests = '1/1h'\nmax_delay = '0s'");
    let terms = clients
        .terms()
        .reconfigured(&Config::from_toml(&next).unwrap());
    clients.go_by(Arc::clone(&terms));
    let ask = async |api: &Arc<Api>| {
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        let mut request = Request::new(ResponseBody::whole(Vec::new()));
        *request.uri_mut() = "/v2/unknown.example/x/manifests/v1".parse().unwrap();
        request.headers_mut().insert("host", "h".parse().unwrap());
        let peer = Peer::from(ClientAddr::from(peer));
        let answer = Arc::clone(api).answer(request, peer.into());
        answer.await.status().as_u16()
    };
    for _ in 0..3 {
        assert_eq!(ask(&api).await, 404);
    }
    let api = Arc::new(api.reconfigured(mirror, terms, gate));
    assert_eq!([ask(&api).await, ask(&api).await], [404, 429]);
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_a_mistake_in_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "not a certificate").unwrap();
    let mut config = Config::from_toml("").unwrap();
    config.upstreams[0].ca_file = Some(file);
    config.cache.dir = dir.path().join("cache");
    let error = open(&config).await.err().unwrap();
    assert!(
        error.is_bad_config() && error.to_string().contains("ca_file"),
        "{error}"
    );
}
