//! TLS of the running mirror: pulls, certificates that are replaced, and those that can't be used.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use forebay_loadtest::certificates::{Authority, Pair, trusting};
use forebay_loadtest::origin::Origin;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;

use crate::harness::{
    Client, Forebay, Setup, listener_tls, manifest_path, plain_origin, program, small_images,
};

/// A mirror that speaks TLS to its clients.
async fn secure(authority: &Authority, origin: &Origin) -> Forebay {
    let setup = Setup::new(origin);
    let tls = listener_tls("server", authority, setup.dir());
    setup.config(&tls).start().await
}

#[tokio::test]
async fn images_are_pulled_over_tls_and_plain_http_is_told_so() {
    let origin = small_images(1).start().await.unwrap();
    let authority = Authority::new("servers");
    let mirror = secure(&authority, &origin).await;
    let client = Client::over_tls(trusting(&[&authority], None), mirror.address);
    assert_eq!(client.manifest("library/app", "v0").await.status, 200);
    let plain = mirror.client().get("/v2/").await;
    assert_eq!(plain.status, 400);
    assert!(plain.text().contains("https://"), "{}", plain.text());
    let stranger = Authority::new("strangers");
    let distrusting = Client::over_tls(trusting(&[&stranger], None), mirror.address);
    assert_eq!(distrusting.tries("/v2/").await, None);
    let told = "a TLS handshake failed";
    mirror
        .until_logged(told, |log| {
            let mut lines = log.lines();
            lines.any(|line| line.contains(told) && line.contains("127.0.0.1"))
        })
        .await;
    let handshakes = "forebay_tls_handshakes_total";
    for result in ["done", "plain_http", "failed"] {
        mirror
            .until_metric(handshakes, result, |count| count >= 1.0)
            .await;
    }
}

/// A mirror whose operators have certificates.
struct Guarded {
    mirror: Forebay,
    /// Its admin listener's.
    tls: String,
    servers: Authority,
    operators: Authority,
    _origin: Origin,
}

impl Guarded {
    /// With these `client_certificates`.
    async fn start(asked: &str) -> Self {
        let origin = plain_origin().start().await.unwrap();
        let (servers, operators) = (Authority::new("servers"), Authority::new("operators"));
        let setup = Setup::new(&origin);
        let tls = listener_tls("admin", &servers, setup.dir());
        let ca = setup.dir().join("operators.crt");
        std::fs::write(&ca, operators.pem()).unwrap();
        let ca = ca.display();
        let tls = format!("{tls}\nclient_ca_file = '{ca}'\nclient_certificates = '{asked}'");
        Self {
            mirror: setup.config(&tls).start().await,
            tls,
            servers,
            operators,
            _origin: origin,
        }
    }

    fn client(&self, shown: Option<&Pair>) -> Client {
        Client::over_tls(trusting(&[&self.servers], shown), self.mirror.admin)
    }

    /// What `forebay status` says, which shows no certificate.
    async fn refuses_status(&self) {
        let told = status(&self.mirror, &self.tls).await;
        let errors = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(
            errors.contains("wants to be shown a certificate"),
            "{errors}"
        );
    }
}

#[tokio::test]
async fn operators_ask_over_tls_with_a_certificate_of_their_own() {
    let guarded = Guarded::start("required").await;
    let known = guarded.operators.client("ops", &[]);
    let operator = guarded.client(Some(&known));
    assert_eq!(operator.get("/readyz").await.status, 200);
    assert_eq!(guarded.client(None).tries("/readyz").await, None);
}

#[tokio::test]
async fn probes_need_no_certificate_where_it_is_optional_and_all_else_does() {
    let guarded = Guarded::start("optional").await;
    // One without a name, too: it is shown all the same.
    let known = guarded.operators.client_with("", Vec::new());
    let (operator, nobody) = (guarded.client(Some(&known)), guarded.client(None));
    for (path, without) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 403),
        ("/api/status", 403),
        ("/metrics/", 403),
        ("/", 403),
    ] {
        assert_eq!(nobody.get(path).await.status, without, "{path}");
        assert_ne!(operator.get(path).await.status, 403, "{path}");
    }
    guarded.refuses_status().await;
}

/// What `forebay status` says by a configuration that has the mirror's admin listener with `tls`.
async fn status(mirror: &Forebay, tls: &str) -> Output {
    let file = mirror.dir().join("asked.toml");
    let config = format!("[admin]\nlisten = '{}'\n{tls}\n", mirror.admin);
    std::fs::write(&file, config).unwrap();
    let mut command = Command::from(program());
    command.arg("status").arg("--config").arg(file);
    command.kill_on_drop(true).output().await.unwrap()
}

/// The certificate is for another name, and of an authority that this machine does not know.
#[tokio::test]
async fn status_is_asked_over_tls_of_who_has_the_configured_certificate() {
    let origin = plain_origin().start().await.unwrap();
    let authority = Authority::new("servers");
    let setup = Setup::new(&origin);
    let tls = listener_tls("admin", &authority, setup.dir());
    let elsewhere = authority.server(&["mirror.example.com"]);
    elsewhere.write(setup.dir(), "admin").unwrap();
    let mirror = setup.config(&tls).start().await;
    let told = status(&mirror, &tls).await;
    let [out, errors] = [&told.stdout, &told.stderr].map(|told| String::from_utf8_lossy(told));
    let at = format!("at https://{}", mirror.admin);
    assert!(out.contains(&at), "{out}{errors}");
    let stranger = listener_tls("other", &Authority::new("strangers"), mirror.dir());
    let told = status(&mirror, &stranger.replace("[other.tls]", "[admin.tls]")).await;
    let errors = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(1), "{errors}");
    assert!(errors.contains("shows another certificate"), "{errors}");
}

#[tokio::test]
async fn status_says_that_a_certificate_is_wanted() {
    let guarded = Guarded::start("required").await;
    guarded.refuses_status().await;
}

/// Its clients were all known by it, where it began their connections by a PROXY header.
#[tokio::test]
async fn a_proxys_own_certificate_is_none_of_its_clients() {
    let origin = small_images(1).start().await.unwrap();
    let [servers, clients] = ["servers", "clients"].map(Authority::new);
    let setup = Setup::new(&origin);
    let tls = listener_tls("server", &servers, setup.dir());
    let ca = setup.dir().join("clients.crt");
    std::fs::write(&ca, clients.pem()).unwrap();
    let mirror = setup
        .config(&format!(
            "[server]\ntrusted_proxies = ['127.0.0.1']\nproxy_protocol = true\nproxies_pass_tls = false\n\
             {tls}\nclient_ca_file = '{}'\n[[access.rules]]\nclients = ['certificate:*']\n\
             repositories = ['**']\nallow = true",
            ca.display()
        ))
        .start()
        .await;
    let proxy = trusting(&[&servers], Some(&clients.client("proxy.example.com", &[])));
    let status = async || {
        let mut socket = TcpStream::connect(mirror.address).await.unwrap();
        let header = b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 5000\r\n";
        socket.write_all(header).await.unwrap();
        let (name, proxy) = (
            ServerName::from(mirror.address.ip()),
            Arc::new(proxy.clone()),
        );
        let stream = TlsConnector::from(proxy).connect(name, socket).await;
        let mut stream = stream.unwrap();
        let path = manifest_path("library/app", "v0");
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer["HTTP/1.1 ".len()..][..3].to_owned()
    };
    let refused = status().await;
    assert!(refused == "401" || refused == "403", "{refused}");
    mirror.rewrite("proxies_pass_tls = false", "proxies_pass_tls = true");
    mirror.reloaded().await;
    assert_eq!(status().await, "200");
}

/// Every request before, while and after is answered, and new handshakes see the new one.
#[tokio::test]
async fn a_certificate_is_replaced_under_load() {
    let origin = small_images(1).start().await.unwrap();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let mirror = secure(&old, &origin).await;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let client = Client::over_tls(trusting(&[&old, &new], None), mirror.address);
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let status = client.tries(&manifest_path("library/app", "v0")).await;
                    assert_eq!(status.map(|status| status.as_u16()), Some(200));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let pair = new.server(&["127.0.0.1"]);
    pair.write(mirror.dir(), "server").unwrap();
    let loads = "forebay_tls_loads_total";
    mirror
        .until_metric(loads, "new", |count| count >= 1.0)
        .await;
    let after = Client::over_tls(trusting(&[&new], None), mirror.address);
    assert_eq!(after.get("/v2/").await.status, 200);
    let before = Client::over_tls(trusting(&[&old], None), mirror.address);
    assert_eq!(before.tries("/v2/").await, None);
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no request failed");
    }
    assert!(asked.load(Ordering::Relaxed) > 8);
}

#[tokio::test]
async fn files_that_do_not_fit_together_leave_the_old_certificate_and_are_told() {
    let origin = plain_origin().start().await.unwrap();
    let authority = Authority::new("servers");
    let mirror = secure(&authority, &origin).await;
    let other = authority.server(&["127.0.0.1"]);
    std::fs::write(mirror.dir().join("server.key"), other.key).unwrap();
    let loads = "forebay_tls_loads_total";
    mirror
        .until_metric(loads, "unusable", |count| count >= 1.0)
        .await;
    let told = "this is not the key of the first certificate in cert_file";
    mirror
        .until_logged(told, |log| {
            log.contains(told) && log.contains("[server.tls]")
        })
        .await;
    let client = Client::over_tls(trusting(&[&authority], None), mirror.address);
    assert_eq!(client.get("/v2/").await.status, 200);
    let status = mirror.admin().get("/api/status").await.text();
    assert!(status.contains(told), "{status}");
    // The other half comes late.
    std::fs::write(mirror.dir().join("server.crt"), other.certificate).unwrap();
    mirror
        .until_metric(loads, "new", |count| count >= 1.0)
        .await;
    let status = mirror.admin().get("/api/status").await.text();
    assert!(!status.contains(told), "{status}");
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_told_and_used() {
    let origin = plain_origin().start().await.unwrap();
    let authority = Authority::new("servers");
    let setup = Setup::new(&origin);
    let tls = listener_tls("server", &authority, setup.dir());
    let ended = SystemTime::now() - Duration::from_mins(1);
    let pair = authority.server_until(&["127.0.0.1"], ended);
    pair.write(setup.dir(), "server").unwrap();
    let setup = setup.config(&tls);
    let told = "the certificate of [server.tls] has ended";
    for arguments in [&[][..], &["--online", "docker.io"]] {
        let checked = setup.check(arguments).await;
        let printed = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(
            checked.status.success() && printed.contains(told),
            "{printed}"
        );
    }
    let mirror = setup.start().await;
    mirror.until_logged(told, |log| log.contains(told)).await;
    let client = Client::over_tls(trusting(&[&authority], None), mirror.address);
    assert_eq!(client.tries("/v2/").await, None);
    mirror
        .until_metric("forebay_tls_handshakes_total", "failed", |count| {
            count >= 1.0
        })
        .await;
}

#[tokio::test]
async fn a_key_of_another_certificate_is_a_mistake_of_the_configuration() {
    let origin = plain_origin().start().await.unwrap();
    let authority = Authority::new("servers");
    let setup = Setup::new(&origin);
    let tls = listener_tls("server", &authority, setup.dir());
    let other = authority.server(&["127.0.0.1"]);
    std::fs::write(setup.dir().join("server.key"), other.key).unwrap();
    let setup = setup.config(&tls);
    let told = "this is not the key of the first certificate in cert_file";
    for arguments in [&[][..], &["--online"]] {
        let checked = setup.check(arguments).await;
        assert_eq!(checked.status.code(), Some(78));
        let printed = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(printed.contains(told), "{printed}");
    }
    let served = setup.command().output().await.unwrap();
    assert_eq!(served.status.code(), Some(78));
    let printed = String::from_utf8_lossy(&served.stderr).into_owned();
    assert!(printed.contains(told), "{printed}");
}

/// Half of a file that ended before `client_ca_file` let in who has no certificate.
#[tokio::test]
async fn a_reload_lets_nobody_in_without_a_certificate_who_needed_one() {
    let origin = small_images(1).start().await.unwrap();
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let setup = Setup::new(&origin);
    let tls = listener_tls("server", &authority, setup.dir());
    let file = setup.dir().join("clients.crt");
    std::fs::write(&file, clients.pem()).unwrap();
    let line = format!("client_ca_file = '{}'", file.display());
    let mirror = setup.config(&format!("{tls}\n{line}")).start().await;
    mirror.rewrite(&line, "");
    mirror.reloaded().await;
    let nobody = Client::over_tls(trusting(&[&authority], None), mirror.address);
    assert_eq!(nobody.tries("/v2/").await, None);
    let pair = clients.client("ci", &[]);
    let known = Client::over_tls(trusting(&[&authority], Some(&pair)), mirror.address);
    assert_eq!(known.manifest("library/app", "v0").await.status, 200);
    let key = "server.tls.client_ca_file";
    mirror.until_logged(key, |log| log.contains(key)).await;
    // And so on, by what it goes by since.
    mirror.reloaded().await;
    assert_eq!(nobody.tries("/v2/").await, None);
}
