//! Clients without a file: kaniko's flags, and tools that go where the reference says.

use super::{Plan, Request, Unsupported};

/// kaniko takes a path before the image's name, but breaks on dots in it: aliases. `_` before them makes sure that
/// they are taken for one, whatever the image is called: `k8s/pause` could be Docker Hub's.
pub(super) fn kaniko(request: &Request) -> Result<Plan, Unsupported> {
    let host = request.mirror.reference_host();
    let mut lines = Vec::new();
    for registry in request.registries() {
        let Some(alias) = request.alias(registry) else {
            return Err(Unsupported(format!(
                "--registry {registry}: kaniko needs a name without dots for it; set `alias` of [upstreams.\"{registry}\"] \
                 in the mirror's configuration, and give that with --config"
            )));
        };
        lines.push(if registry.is_docker_hub() {
            format!("--registry-mirror={host}/_/{alias}")
        } else {
            format!("--registry-map={registry}={host}/_/{alias}")
        });
    }
    if request.mirror.is_plain() {
        lines.push(format!("--insecure-registry={host}"));
    }
    if !request.fallback {
        lines.push("--skip-default-registry-fallback".into());
    }
    Ok(Plan {
        lines,
        notes: vec!["the names after the mirror and `_` are the `alias` of each upstream in the mirror's configuration".into()],
        ..Plan::default()
    })
}

/// Tools that are pointed at the mirror by the reference they are given.
pub(super) fn crane(request: &Request) -> Plan {
    let host = request.mirror.reference_host();
    let mut lines: Vec<_> = request
        .registries()
        .map(|registry| format!("{registry}/NAME  ->  {host}/{registry}/NAME"))
        .collect();
    let plain = request.mirror.is_plain();
    let example = request
        .registries()
        .next()
        .map_or("docker.io", |first| first.as_str());
    for (command, flag, scheme) in [
        ("crane pull", " --insecure", ""),
        ("oras pull", " --plain-http", ""),
        ("helm pull", " --plain-http", "oci://"),
        ("cosign tree", " --allow-http-registry", ""),
    ] {
        let flag = if plain { flag } else { "" };
        let file = if command == "crane pull" {
            " image.tar"
        } else {
            ""
        };
        lines.push(format!(
            "{command}{flag} {scheme}{host}/{example}/NAME{file}"
        ));
    }
    Plan {
        lines,
        ..Plan::default()
    }
}
