//! podman, skopeo, buildah and CRI-O: a drop-in of `registries.conf`. Their mirrors carry the registry in the path.

use std::fmt::Write as _;

use super::owned::Owned;
use super::{File, Plan, Request};

const CERTIFICATES: &str = "/etc/containers/certs.d";
const PATH: &str = "/etc/containers/registries.conf.d/50-forebay.conf";

pub(super) fn plan(request: &Request) -> Plan {
    let edit = Owned {
        body: body(request),
        advice: "move it away, or add this to it yourself",
    };
    let host = request.mirror.reference_host();
    let authority = request.authority.as_ref();
    let mut files: Vec<_> = authority
        .map(|authority| authority.copy(&format!("{CERTIFICATES}/{host}")))
        .into_iter()
        .collect();
    files.push(File {
        path: PATH.into(),
        edit: Box::new(edit),
        own_directory: false,
    });
    Plan {
        files,
        reload: vec![
            "systemctl reload crio    # CRI-O only; podman, skopeo and buildah read it at each run"
                .into(),
        ],
        notes: notes(request),
        ..Plan::default()
    }
}

fn body(request: &Request) -> String {
    let host = request.mirror.reference_host();
    let mut body = String::new();
    for registry in request.registries() {
        let mirror = format!("{host}/{registry}");
        let insecure = if request.mirror.is_plain() {
            "insecure = true\n"
        } else {
            ""
        };
        let gap = if body.is_empty() { "" } else { "\n" };
        let text = if request.fallback {
            format!(
                "{gap}[[registry]]\nprefix = \"{registry}\"\nlocation = \"{registry}\"\n\
                 [[registry.mirror]]\nlocation = \"{mirror}\"\n{insecure}"
            )
        } else {
            format!(
                "{gap}[[registry]]\nprefix = \"{registry}\"\nlocation = \"{mirror}\"\n{insecure}"
            )
        };
        write!(body, "{text}").expect("writing to a string");
    }
    body
}

fn notes(request: &Request) -> Vec<String> {
    let mut notes = vec![
        "where another file in registries.conf.d has the same prefix, the last file by name wins; a user without root has \
         ~/.config/containers/registries.conf.d"
            .into(),
    ];
    notes.extend(request.ca_hint());
    notes
}
