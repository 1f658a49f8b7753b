//! Reads what a listener takes for TLS: `[server.tls]` and `[admin.tls]`. The files are parsed where they are used; what can
//! be told here is that they are there and hold what they should.

use std::path::{Path, PathBuf};

use super::certificates::{certificates, check_key};
use super::section::{Reported, Section};
use super::tree::Node;
use super::types::{ClientAuthority, Tls};
use super::values::{file, path, word};

/// `client_certificates`, and whether each means that every client has to have one.
pub(super) const CLIENT_CERTIFICATES: [(&str, bool); 2] = [("optional", false), ("required", true)];

/// The table of one listener; an empty one is no TLS.
pub(super) fn read(section: &Section<'_>) -> Result<Option<Tls>, Reported> {
    let certificate = section.optional("cert_file", certificates);
    let key = section.optional("key_file", key);
    let authority = section.optional("client_ca_file", certificates);
    let required = section.optional("client_certificates", |node| {
        word(&CLIENT_CERTIFICATES, node)
    });
    section.finish();
    let (certificate, key) = (certificate?, key?);
    let clients = clients(section, authority?, required?)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(Tls {
            certificate,
            key,
            clients,
        })),
        (Some(certificate), None) => match has_key(&certificate) {
            Ok(()) => Ok(Some(Tls {
                key: certificate.clone(),
                certificate,
                clients,
            })),
            Err(message) => Err(section.complain("cert_file", message)),
        },
        (None, Some(_)) => Err(section.complain("key_file", no_certificate())),
        (None, None) if clients.is_some() => {
            Err(section.complain("client_ca_file", no_certificate()))
        }
        (None, None) => Ok(None),
    }
}

fn clients(
    section: &Section<'_>,
    authority: Option<PathBuf>,
    required: Option<bool>,
) -> Result<Option<ClientAuthority>, Reported> {
    match (authority, required) {
        (Some(file), required) => Ok(Some(ClientAuthority {
            file,
            required: required.unwrap_or(true),
        })),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            let message = "it is not known whose certificates count: write `client_ca_file` too";
            Err(section.complain("client_certificates", message.into()))
        }
    }
}

fn no_certificate() -> String {
    "there is no certificate for it: write `cert_file` too".into()
}

fn key(node: &Node) -> Result<PathBuf, String> {
    let path = path(node)?;
    check_key(&path, &file(&path)?, "cert_file").map(|()| path)
}

/// One file may hold both.
fn has_key(certificate: &Path) -> Result<(), String> {
    let text = file(certificate)?;
    if text.contains("PRIVATE KEY-----") {
        check_key(certificate, &text, "cert_file")
    } else {
        Err(
            "there is no key for it: write `key_file` too, or put the key into the same file"
                .into(),
        )
    }
}
