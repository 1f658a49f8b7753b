//! The certificate authority of a mirror that has its own: where each client looks for it.
//!
//! Some clients are told its path; dockerd and the containers tools look for a copy beside their own settings.
//! Read in the sources of moby (`daemon/hosts.go`), `BuildKit` (`util/resolver/config`), oras
//! (`cmd/oras/internal/option`), go-containerregistry (`cmd/crane`) and in the documentation of containerd
//! (`hosts.md`), containers-certs.d(5), k3s, helm and cosign; kaniko's from its flags.

use std::path::Path;

use super::File;
use super::edit::{Edit, Known, Refusal, is_blank};

/// A certificate authority as a client is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    path: String,
    pem: String,
}

impl Authority {
    /// From a file's absolute path on the client's machine, and what it holds.
    pub fn new(path: &Path, pem: &str) -> Result<Self, String> {
        let usable = path.to_str().filter(|path| {
            path.starts_with('/')
                && !path.contains(['"', '\\', '\''])
                && !path.contains(char::is_control)
        });
        let path =
            usable.ok_or("write its absolute path, in UTF-8 and without quotes or backslashes")?;
        if pem.contains("PRIVATE KEY-----") {
            return Err(
                "it holds a private key, which no client needs: give the certificate alone".into(),
            );
        }
        if !pem.contains("-----BEGIN CERTIFICATE-----")
            || !pem.contains("-----END CERTIFICATE-----")
        {
            return Err("it must hold a certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----".into());
        }
        Ok(Self {
            path: path.into(),
            pem: pem.into(),
        })
    }

    /// Where it is on the client's machine; it needs no escapes in TOML, YAML or a shell's double quotes.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// A copy in a directory that a client reads.
    pub(super) fn copy(&self, directory: &str) -> File {
        File::in_own_directory(format!("{directory}/ca.crt"), Copy(self.pem.clone()))
    }
}

/// What is noted of a copy that we made.
const CERTIFICATE: &str = "the certificate";

/// A file that is as it was given, or not ours.
#[derive(Debug)]
struct Copy(String);

impl Edit for Copy {
    fn fresh(&self) -> String {
        self.0.clone()
    }

    fn merge(&self, existing: &str) -> Result<String, Refusal> {
        if existing.contains(self.0.trim()) {
            return Ok(existing.into());
        }
        if is_blank(existing) {
            return Ok(self.fresh());
        }
        let refusal = Refusal::new(
            "holds other certificates",
            "add this to it yourself, or move it away",
        );
        Err(refusal.add(&self.0))
    }

    fn remove(&self, current: &str, known: Known<'_>) -> Result<String, Refusal> {
        // What somebody else has put beside it keeps all of it: the same certificate may be theirs.
        let is_ours = known.added.iter().any(|entry| self.has(current, entry));
        Ok(if is_ours {
            String::new()
        } else {
            current.into()
        })
    }

    fn adds(&self, existing: &str) -> Vec<String> {
        let entry = is_blank(existing).then(|| CERTIFICATE.into());
        entry.into_iter().collect()
    }

    fn has(&self, current: &str, entry: &str) -> bool {
        entry == CERTIFICATE && current.trim() == self.0.trim()
    }
}
