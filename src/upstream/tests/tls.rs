//! https: whom is trusted, and that nothing goes from https to plain http.
//!
//! The certificates beside this file are for 127.0.0.1 and 192.0.2.1 and good until 2120; their authority's key was
//! thrown away.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_loadtest::origin::Origin;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{configured, latest, name, origin, set_up, settings};
use crate::config::{self, ClientCertificate};
use crate::upstream::{ErrorKind, Trouble, Upstreams};

const MANIFEST: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json\r\n\
     content-length: 2\r\n\r\n{}";

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/upstream/tests/tls")
        .join(name)
}

/// Answers each connection's first request with `answer`, over TLS, until the test is over.
fn serve(answer: String) -> SocketAddr {
    let certificates = CertificateDer::pem_file_iter(fixture("server.pem"))
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(session, socket));
            let mut line = String::new();
            // A client that refuses the certificate never gets as far as a request.
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let _ = stream.get_mut().write_all(answer.as_bytes());
            stream.get_mut().conn.send_close_notify();
            let _ = stream.get_mut().flush();
        }
    });
    address
}

fn trusting(address: SocketAddr) -> config::Upstream {
    config::Upstream {
        ca_file: Some(fixture("authority.pem")),
        ..settings(&[&format!("https://{address}")])
    }
}

#[tokio::test]
async fn ca_file_extends_whom_an_upstream_trusts() {
    let address = serve(MANIFEST.to_owned());
    let upstream = set_up(trusting(address));
    upstream.get_manifest(&name(), &latest()).await.unwrap();
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_the_error_says_so() {
    let address = serve(MANIFEST.to_owned());
    let upstream = set_up(settings(&[&format!("https://{address}")]));
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Connect));
    assert!(error.to_string().contains("ca_file"), "{error}");
}

#[tokio::test]
async fn https_never_leads_to_plain_http() {
    // Both of them where allow_private would let them.
    let plain = origin(Origin::docker_hub()).await;
    let redirect = format!(
        "HTTP/1.1 307 \r\nlocation: {}/v2/x/manifests/y\r\ncontent-length: 0\r\n\r\n",
        plain.registry_url()
    );
    let challenge = format!(
        "HTTP/1.1 401 \r\nwww-authenticate: Bearer realm=\"{}\"\r\ncontent-length: 0\r\n\r\n",
        plain.token_url()
    );
    for answer in [redirect, challenge] {
        let upstream = set_up(trusting(serve(answer)));
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Policy, "{error}");
        assert!(error.to_string().contains("plain http"), "{error}");
    }
    assert_eq!(plain.counts().total(), 0);
}

#[test]
fn a_bad_ca_file_is_named_with_its_upstream() {
    for path in [fixture("missing.pem"), fixture("../tls.rs")] {
        let upstream = config::Upstream {
            ca_file: Some(path.clone()),
            ..settings(&["https://registry.test"])
        };
        let error = Upstreams::new(&configured(vec![upstream]))
            .unwrap_err()
            .to_string();
        let expected = format!("upstreams.\"registry.test\".ca_file: {}", path.display());
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_named_with_its_upstream_and_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let garbled = dir.path().join("garbled.key");
    let marks = "PRIVATE KEY-----\nAAECcanary\n-----END PRIVATE KEY-----\n";
    std::fs::write(&garbled, format!("-----BEGIN {marks}")).unwrap();
    let client = |certificate: &Path, key: &Path| config::Upstream {
        client_certificate: Some(ClientCertificate {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }),
        ..settings(&["https://registry.test"])
    };
    let (certificate, key) = (fixture("client.pem"), fixture("client.key"));
    let right = Upstreams::new(&configured(vec![client(&certificate, &key)])).unwrap();
    let text = std::fs::read_to_string(&key).unwrap();
    let secret = text.lines().nth(1).unwrap();
    assert!(!format!("{right:?}").contains(&secret[..12]));
    for (certificate, key, at, told) in [
        (
            &certificate,
            &fixture("server.key"),
            "client_key",
            "server.key: this is not the key of the first certificate",
        ),
        (&certificate, &garbled, "client_key", "garbled.key: "),
        (
            &certificate,
            &certificate,
            "client_key",
            "client.pem: it holds no private key",
        ),
        (
            &key,
            &key,
            "client_cert",
            "client.key: no certificate found",
        ),
    ] {
        let error = Upstreams::new(&configured(vec![client(certificate, key)])).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with(&format!("upstreams.\"registry.test\".{at}: ")),
            "{said}"
        );
        assert!(said.contains(told), "{said}");
        assert!(!format!("{said} {error:?}").contains("canary"), "{error:?}");
    }
}
