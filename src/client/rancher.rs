//! k3s and RKE2: `registries.yaml`, from which they write containerd's hosts files at their start.

use std::fmt::Write as _;

use super::owned::Owned;
use super::{File, Plan, Request};

/// One of the two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distribution {
    name: &'static str,
    server: &'static str,
    agent: &'static str,
}

pub(super) const K3S: Distribution = Distribution {
    name: "k3s",
    server: "k3s",
    agent: "k3s-agent",
};

pub(super) const RKE2: Distribution = Distribution {
    name: "rke2",
    server: "rke2-server",
    agent: "rke2-agent",
};

pub(super) fn plan(distribution: Distribution, request: &Request) -> Plan {
    let Distribution {
        name,
        server,
        agent,
    } = distribution;
    let mut files = vec![owned(
        format!("/etc/rancher/{name}/registries.yaml"),
        mirrors(request),
        "add this to it yourself, under the `mirrors:` (and `configs:`) that it has",
    )];
    // Planned in either case: with fallback, what an earlier --no-fallback wrote has to go.
    files.push(File {
        absent: request.fallback,
        ..owned(
            format!("/etc/rancher/{name}/config.yaml.d/50-forebay.yaml"),
            "disable-default-registry-endpoint: true\n".into(),
            "move it away, or add this to it yourself",
        )
    });
    let mut plan = Plan {
        files,
        reload: vec![
            format!("systemctl restart {server}    # on a server"),
            format!("systemctl restart {agent}    # on an agent"),
        ],
        ..Plan::default()
    };
    plan.notes.extend(request.ca_hint());
    plan.notes.extend(login(request));
    plan
}

fn login(request: &Request) -> Option<String> {
    let host = request.mirror.authority();
    (!request.mirror.is_plain()).then(|| {
        format!(
            "where the mirror wants a login: under configs: \"{host}\": of registries.yaml add auth: with \
             username: and password:; for a certificate cert_file: and key_file: under its tls:"
        )
    })
}

fn owned(path: String, body: String, advice: &'static str) -> File {
    File::new(path, Owned { body, advice })
}

fn mirrors(request: &Request) -> String {
    let mut body = String::from("mirrors:\n");
    for scope in &request.scopes {
        let url = request.mirror.url();
        write!(body, "  \"{scope}\":\n    endpoint:\n      - \"{url}\"\n")
            .expect("writing to a string");
    }
    if let Some(authority) = &request.authority {
        write!(
            body,
            "configs:\n  \"{}\":\n    tls:\n      ca_file: \"{}\"\n",
            request.mirror.authority(),
            authority.path()
        )
        .expect("writing to a string");
    }
    body
}
