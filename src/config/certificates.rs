//! Reads whom an upstream's TLS trusts and what it shows: PEM files. Those of the listeners are in `tls`.
//!
//! They are parsed where they are used; what can be told
//! here is that they are there and hold what they should.

use std::path::{Path, PathBuf};

use url::Url;

use super::pattern::RegistryPattern;
use super::proxy::Proxy;
use super::section::{Reported, Section};
use super::tree::Node;
use super::types::ClientCertificate;
use super::values::{file, path};

/// `ca_file`
pub(super) fn ca_file(node: &Node) -> Result<PathBuf, String> {
    certificates(node)
}

/// What is known of an upstream whose client certificate is read.
pub(super) struct Shown<'a> {
    pub(super) registry: Option<&'a RegistryPattern>,
    pub(super) endpoints: Option<&'a [Url]>,
    pub(super) proxy: Option<&'a Proxy>,
}

/// `client_cert` and `client_key`, both or neither.
pub(super) fn client(
    section: &Section<'_>,
    to: &Shown<'_>,
) -> Result<Option<ClientCertificate>, Reported> {
    let certificate = section.optional("client_cert", certificates);
    let key = section.optional("client_key", private_key);
    let (certificate, key) = match (certificate?, key?) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            let message = "there is no key for it: write `client_key` too";
            return Err(section.complain("client_cert", message.into()));
        }
        (None, Some(_)) => {
            let message = "there is no certificate for it: write `client_cert` too";
            return Err(section.complain("client_key", message.into()));
        }
    };
    match in_vain(to) {
        Some(message) => Err(section.complain("client_cert", message.into())),
        None => Ok(Some(ClientCertificate { certificate, key })),
    }
}

/// Why nobody, or somebody who is not meant, would be shown the certificate.
fn in_vain(to: &Shown<'_>) -> Option<&'static str> {
    if to
        .registry
        .is_some_and(|registry| registry.exact().is_none())
    {
        return Some(
            "the registries of a family are named by clients, and none is shown a certificate: write a table for the \
             one that it is for",
        );
    }
    let is = |url: &Url, scheme| url.scheme() == scheme;
    if to.endpoints?.iter().all(|url| is(url, "http")) {
        return Some("nobody would see it: none of the `endpoints` is an https:// one");
    }
    match to.proxy? {
        Proxy::Server(server) if is(server.url(), "https") => {
            Some("the https:// proxy in `http_proxy` would be shown it too: use an http:// one")
        }
        _ => None,
    }
}

/// A PEM file with at least one.
pub(super) fn certificates(node: &Node) -> Result<PathBuf, String> {
    let path = path(node)?;
    if file(&path)?.contains("-----BEGIN CERTIFICATE-----") {
        Ok(path)
    } else {
        Err(format!(
            "{} holds no certificate: write the path of a PEM file",
            path.display()
        ))
    }
}

fn private_key(node: &Node) -> Result<PathBuf, String> {
    let path = path(node)?;
    check_key(&path, &file(&path)?, "client_cert").map(|()| path)
}

/// Whether a file has a private key for the certificate at the key `of`. Nothing of the file is repeated.
pub(super) fn check_key(path: &Path, text: &str, of: &str) -> Result<(), String> {
    /// PKCS #8, then the form that came before it.
    const ENCRYPTED: [&str; 2] = [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----",
        "Proc-Type: 4,ENCRYPTED",
    ];
    const PLAIN: [&str; 3] = [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----",
    ];
    let path = path.display();
    let holds = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    if holds(&ENCRYPTED) {
        Err(format!(
            "the key in {path} is encrypted, and nobody is there to type its passphrase: write the path of a file that \
             `openssl pkey -in {path} -out FILE` makes, and let only forebay read it"
        ))
    } else if holds(&PLAIN) {
        Ok(())
    } else {
        Err(format!(
            "{path} holds no private key: write the path of the PEM file with the key of `{of}`"
        ))
    }
}
