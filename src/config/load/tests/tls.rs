//! What the listeners take for TLS.

use super::*;
use crate::config::render;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n";

/// A directory with `c.pem`, `k.pem`, `both.pem` and `f.toml`.
fn load(text: &str) -> (tempfile::TempDir, Result<Config, ConfigErrors>) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("c.pem", CERTIFICATE);
    write("k.pem", KEY);
    write("both.pem", &format!("{KEY}{CERTIFICATE}"));
    write("f.toml", text);
    let loaded = Config::load(Sources {
        file: Some(dir.path().join("f.toml")),
        ..sources()
    });
    (dir, loaded)
}

#[test]
fn a_listener_has_a_certificate_a_key_and_maybe_its_clients_authority() {
    let (dir, config) = load(
        "[server.tls]\ncert_file = 'c.pem'\nkey_file = 'k.pem'\nclient_ca_file = 'c.pem'\n\
         client_certificates = 'optional'\n[admin.tls]\ncert_file = 'both.pem'\n",
    );
    let (path, config) = (|name| dir.path().join(name), config.unwrap());
    let tls = config.server.tls.clone().unwrap();
    assert_eq!((tls.certificate, tls.key), (path("c.pem"), path("k.pem")));
    let clients = tls.clients.unwrap();
    assert_eq!((clients.file, clients.required), (path("c.pem"), false));
    let admin = config.admin.tls.clone().unwrap();
    assert_eq!(
        (admin.certificate, admin.key),
        (path("both.pem"), path("both.pem"))
    );
    assert_eq!(admin.clients, None);
    assert_eq!(load_text(&render(&config)).unwrap(), config);
    let (_, config) = load("[server.tls]\n");
    assert_eq!(config.unwrap().server.tls, None);
}

#[test]
fn clients_have_to_show_a_certificate_unless_it_is_optional() {
    let required = "[server.tls]\ncert_file = 'both.pem'\nclient_ca_file = 'c.pem'\n";
    let tls = load(required).1.unwrap().server.tls.unwrap();
    assert!(tls.clients.unwrap().required);
}

#[test]
fn mistakes_of_tls_say_what_to_write() {
    for (lines, told) in [
        (
            "cert_file = 'c.pem'",
            "f.toml:2: server.tls.cert_file: there is no key for it: write `key_file` too",
        ),
        (
            "key_file = 'k.pem'",
            "f.toml:2: server.tls.key_file: there is no certificate for it: write `cert_file` too",
        ),
        (
            "client_ca_file = 'c.pem'",
            "server.tls.client_ca_file: there is no certificate for it",
        ),
        (
            "cert_file = 'both.pem'\nclient_certificates = 'required'",
            "f.toml:3: server.tls.client_certificates: it is not known whose certificates count: write `client_ca_file`",
        ),
        (
            "cert_file = 'both.pem'\nclient_ca_file = 'c.pem'\nclient_certificates = 'yes'",
            "`yes` is not known: write one of \"optional\", \"required\"",
        ),
        ("cert_file = 'k.pem'", "holds no certificate"),
        (
            "cert_file = 'c.pem'\nkey_file = 'c.pem'",
            "holds no private key: write the path of the PEM file with the key of `cert_file`",
        ),
        ("cert_file = 'none.pem'", "cannot be read"),
        (
            "certificate = 'c.pem'",
            "server.tls.certificate: unknown key",
        ),
    ] {
        let told_of = errors(load(&format!("[server.tls]\n{lines}\n")).1);
        assert_eq!(told_of.len(), 1, "{told_of:?}");
        assert!(told_of[0].contains(told), "{told_of:?}");
    }
}

#[test]
fn that_proxies_pass_tls_is_said_of_those_that_say_whose_a_connection_is() {
    let proxies = "[server]\ntrusted_proxies = ['10.0.0.1']\nproxies_pass_tls = true\n";
    let told = errors(load_text(proxies));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("f.toml:3: server.proxies_pass_tls")
            && told[0].contains("`proxy_protocol`"),
        "{told:?}"
    );
    let config = load_text(&format!("{proxies}proxy_protocol = true\n")).unwrap();
    assert!(config.server.proxies.pass_tls);
    assert!(!load_text("").unwrap().server.proxies.pass_tls);
}
