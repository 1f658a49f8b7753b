//! dockerd: `registry-mirrors` of `daemon.json`, or the flag of the same name. Docker Hub only.

use super::edit::{Edit, Known, Refusal, is_blank};
use super::json::{self, JsonError};
use super::{Existing, File, Plan, Request, containerd};

/// Where dockerd looks for what it has to know of a registry's host.
pub(super) const CERTIFICATES: &str = "/etc/docker/certs.d";
const PATH: &str = "/etc/docker/daemon.json";
const MIRRORS: &str = "registry-mirrors";
const INSECURE: &str = "insecure-registries";

pub(super) fn plan(request: &Request) -> Plan {
    let edit = Daemon {
        mirror: request.mirror.url(),
        insecure: insecure(request),
    };
    let mut notes = vec![
        "dockerd asks its mirrors for Docker Hub's images only; for others name the mirror in the reference: \
         docker pull "
            .to_owned()
            + &request.mirror.reference_host()
            + "/ghcr.io/OWNER/IMAGE",
        "dockerd does not start where a flag sets what the file sets too: take --registry-mirror out of its command \
         line, if it is there"
            .into(),
        "a rootless dockerd reads ~/.config/docker/daemon.json instead".into(),
    ];
    notes.extend(request.ca_hint());
    if !request.mirror.is_plain() {
        notes.push(format!(
            "a mirror that wants a login is sent the one for Docker Hub: for a certificate instead put client.cert and \
             client.key into {}, or `docker login {}` and name the mirror in the reference",
            certificates(request),
            request.mirror.authority()
        ));
    }
    let mut files = Vec::new();
    if let Some(authority) = &request.authority {
        files.push(authority.copy(&certificates(request)));
        notes.push(
            "with the containerd image store a mirror in registry-mirrors is not looked up in certs.d by its own name: \
             see `forebay client docker-containerd`"
                .into(),
        );
    }
    files.push(File::new(PATH, edit));
    Plan {
        files,
        reload: vec!["systemctl reload docker".into()],
        notes,
        ..Plan::default()
    }
}

/// With the containerd image store dockerd reads containerd's hosts files, for any registry, from a directory of
/// its own. Where one names a host, `registry-mirrors` and `insecure-registries` no longer count for that registry.
/// The older store looks for certificates there alone, and is not disturbed by the files.
///
/// Read in moby's sources. The files are those that containerd is tested with; dockerd itself is tested in version 20.10,
/// which has the older store only.
pub(super) fn with_containerd(request: &Request, existing: &Existing) -> Plan {
    let mut plan = containerd::hosts_files(request, CERTIFICATES, existing);
    plan.notes.extend([
        "`docker info` shows `driver-type: io.containerd.snapshotter.v1` where the containerd image store is in use; \
         without it use `forebay client docker`"
            .into(),
        "dockerd reads the files at each pull; a rootless one reads ~/.config/docker/certs.d instead".into(),
    ]);
    plan
}

fn certificates(request: &Request) -> String {
    format!("{CERTIFICATES}/{}", request.mirror.authority())
}

/// Docker in Docker has no file that outlives it.
pub(super) fn dind(request: &Request) -> Plan {
    let mut lines = vec![format!("--registry-mirror={}", request.mirror.url())];
    lines.extend(insecure(request).map(|host| format!("--insecure-registry={host}")));
    let mut notes = vec![
        "put them after the image's name, as in `docker run --privileged docker:dind FLAGS`; in GitLab CI they are the \
         `command` of the service"
            .into(),
    ];
    if request.mirror.is_loopback() {
        notes.push(
            "127.0.0.1 is the container itself there: give --mirror an address that it can reach"
                .into(),
        );
    }
    if let Some(authority) = &request.authority {
        notes.push(format!(
            "before the image's name: -v {}:{}/ca.crt:ro",
            authority.path(),
            certificates(request)
        ));
    }
    notes.extend(request.ca_hint());
    if !request.mirror.is_plain() {
        notes.push(format!(
            "a mirror that wants a login is sent the one for Docker Hub, which `docker login` keeps where `docker pull` runs: \
             for a certificate instead, before the image's name -v CERTIFICATE:{0}/client.cert:ro -v KEY:{0}/client.key:ro",
            certificates(request)
        ));
    }
    Plan {
        lines,
        notes,
        ..Plan::default()
    }
}

/// What dockerd has to be told to reach without TLS, where an image's name begins with it: a mirror is asked as its URL
/// says. It needs no telling for its own machine.
fn insecure(request: &Request) -> Option<String> {
    let mirror = &request.mirror;
    (mirror.is_plain() && !mirror.is_loopback()).then(|| mirror.authority())
}

/// Our part of `daemon.json`.
#[derive(Debug)]
struct Daemon {
    mirror: String,
    insecure: Option<String>,
}

impl Daemon {
    fn wanted(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let insecure = self.insecure.iter().map(|host| (INSECURE, host.as_str()));
        std::iter::once((MIRRORS, self.mirror.as_str())).chain(insecure)
    }

    fn refuse(&self, trouble: Trouble) -> Refusal {
        let error = match trouble {
            Trouble::Json(error) => error,
            Trouble::NotFirst => {
                return Refusal::new(
                    format!("has {} in `{MIRRORS}` after another mirror", self.mirror),
                    "move it to the front: mirrors are asked in the order of the list",
                );
            }
        };
        let (problem, advice) = match error {
            JsonError::Syntax(message) => (
                format!("is not JSON, which has no comments and no trailing commas ({message})"),
                "correct it first; this is to go into it",
            ),
            JsonError::NotAnObject => (
                "is not a JSON object".into(),
                "make it one; this is to go into it",
            ),
            JsonError::Twice(name) => (
                format!("has `{name}` twice"),
                "leave one of them; this is to go into it",
            ),
            JsonError::NotStrings(name) => (
                format!("has a `{name}` that is not a list of strings"),
                "correct it first; this is to go into it",
            ),
        };
        Refusal::new(problem, advice).add(self.fresh())
    }

    fn merged(&self, existing: &str) -> Result<String, Trouble> {
        let mut text = existing.to_owned();
        for (name, value) in self.wanted() {
            let list = json::list(&text, name)?.unwrap_or_default();
            match list.iter().position(|item| same(item, value)) {
                // Mirrors are asked in the order of the list; the other list has none.
                Some(index) if index > 0 && name == MIRRORS => return Err(Trouble::NotFirst),
                Some(_) => {}
                None => text = json::prepend(&text, name, value)?,
            }
        }
        Ok(text)
    }

    /// Takes out what was noted as ours; the same entry may as well be the user's own.
    fn removed(&self, current: &str, known: Known<'_>) -> Result<String, JsonError> {
        let original = known.original;
        let mut text = current.to_owned();
        for (name, value) in self.wanted() {
            let before = original
                .filter(|original| !is_blank(original))
                .map(|original| json::list(original, name))
                .transpose()?
                .flatten();
            let list = json::list(&text, name)?.unwrap_or_default();
            let index = list.iter().position(|item| same(item, value));
            let Some(index) = index.filter(|_| known.added.contains(&entry(name, value))) else {
                continue;
            };
            text = json::remove_item(&text, name, index)?;
            if list.len() == 1 && before.is_none() {
                text = json::remove_member(&text, name)?;
            }
        }
        if text != current && json::is_empty(&text)? && original.is_none_or(is_blank) {
            return Ok(String::new());
        }
        Ok(text)
    }
}

/// How an item of a list is noted.
fn entry(name: &str, value: &str) -> String {
    format!("{name}: {value}")
}

/// dockerd adds the slash itself.
fn same(item: &str, value: &str) -> bool {
    item.trim_end_matches('/') == value
}

impl Edit for Daemon {
    fn fresh(&self) -> String {
        let members = self
            .wanted()
            .map(|(name, value)| format!("  \"{name}\": [\"{value}\"]"));
        format!("{{\n{}\n}}\n", members.collect::<Vec<_>>().join(",\n"))
    }

    fn merge(&self, existing: &str) -> Result<String, Refusal> {
        if is_blank(existing) {
            return Ok(self.fresh());
        }
        self.merged(existing).map_err(|error| self.refuse(error))
    }

    fn remove(&self, current: &str, known: Known<'_>) -> Result<String, Refusal> {
        if is_blank(current) {
            return Ok(current.into());
        }
        self.removed(current, known)
            .map_err(|error| self.refuse(error.into()))
    }

    fn adds(&self, existing: &str) -> Vec<String> {
        let entries = self.wanted().map(|(name, value)| entry(name, value));
        entries.filter(|entry| !self.has(existing, entry)).collect()
    }

    fn has(&self, current: &str, entry: &str) -> bool {
        let Some((name, value)) = entry.split_once(": ") else {
            return false;
        };
        let list = json::list(current, name).ok().flatten();
        list.is_some_and(|list| list.iter().any(|item| same(item, value)))
    }
}

/// What is wrong with a `daemon.json`.
enum Trouble {
    Json(JsonError),
    NotFirst,
}

impl From<JsonError> for Trouble {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}
