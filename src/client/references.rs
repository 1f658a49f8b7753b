//! Clients without a file: kaniko's flags, and tools that go where the reference says.
//!
//! The flags were checked against the sources of oras and crane and the references of helm (3.13 and later, for
//! `--plain-http`) and cosign (2 and later); none of the four was run. crane has no flag for a certificate authority:
//! it is a Go program, for which `SSL_CERT_FILE` stands for the machine's own.

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
    if let Some(authority) = &request.authority {
        lines.push(format!(
            "--registry-certificate={host}={}",
            authority.path()
        ));
    }
    if !request.fallback {
        lines.push("--skip-default-registry-fallback".into());
    }
    let mut notes = vec![
        "the names after the mirror and `_` are the `alias` of each upstream in the mirror's configuration".into(),
    ];
    notes.extend(request.ca_hint());
    if !request.mirror.is_plain() {
        notes.push(format!(
            "where the mirror wants a login: put one for {host} into /kaniko/.docker/config.json, as `docker login {host}` \
             writes it; for a certificate add --registry-client-cert={host}=CERTIFICATE,KEY"
        ));
    }
    Ok(Plan {
        lines,
        notes,
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
    let ca = request.ca_path();
    for (command, flag, ca_flag, scheme) in [
        ("crane pull", " --insecure", "", ""),
        ("oras pull", " --plain-http", "--ca-file", ""),
        ("helm pull", " --plain-http", "--ca-file", "oci://"),
        (
            "cosign tree",
            " --allow-http-registry",
            "--registry-cacert",
            "",
        ),
    ] {
        let flag = match &ca {
            _ if plain => flag.to_owned(),
            Some(ca) if !ca_flag.is_empty() => format!(" {ca_flag} \"{ca}\""),
            _ => String::new(),
        };
        let before = match &ca {
            Some(ca) if ca_flag.is_empty() => format!("SSL_CERT_FILE=\"{ca}\" "),
            _ => String::new(),
        };
        let file = if command == "crane pull" {
            " image.tar"
        } else {
            ""
        };
        lines.push(format!(
            "{before}{command}{flag} {scheme}{host}/{example}/NAME{file}"
        ));
    }
    let mut notes: Vec<_> = request.ca_hint().into_iter().collect();
    if !plain {
        notes.push(format!(
            "where the mirror wants a login: `crane auth login {host}`, `oras login {host}`, `helm registry login {host}`, \
             `cosign login {host}`"
        ));
    }
    Plan {
        lines,
        notes,
        ..Plan::default()
    }
}
