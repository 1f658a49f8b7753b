//! What clients are told so that they pull through this mirror: the files, the flags, how to reload.
//!
//! [`plan`] turns a kind of client, the mirror's address and the registries into a [`Plan`]; it touches nothing. Each of
//! its files knows how it is merged into what is there already, and how it is taken out again ([`Edit`]). [`install`] is
//! the only part that knows a file system.
//!
//! Depends on `oci` and `config` only.

mod address;
mod authority;
mod block;
mod buildkit;
mod containerd;
mod docker;
mod edit;
mod hosts;
pub mod install;
mod json;
mod owned;
mod podman;
mod rancher;
mod references;
mod scope;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::ValueEnum;

pub use address::Mirror;
pub use authority::Authority;
pub use edit::{Edit, Known, Refusal};
pub use scope::{Scope, parse_scope};

use crate::config::{Config, Routes};
use crate::oci::Registry;

/// What can be pointed at the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// dockerd: registry-mirrors in daemon.json
    Docker,
    /// dockerd with the containerd image store, from version 28 on: hosts.toml files, any registry
    DockerContainerd,
    /// containerd, as Kubernetes nodes run it: hosts.toml files
    Containerd,
    /// podman, skopeo, buildah, CRI-O: a file in registries.conf.d
    #[value(aliases = ["skopeo", "buildah", "cri-o", "crio"])]
    Podman,
    /// buildkitd: buildkitd.toml
    #[value(aliases = ["buildkitd", "buildx"])]
    Buildkit,
    /// k3s: registries.yaml
    K3s,
    /// RKE2: registries.yaml
    Rke2,
    /// nerdctl: hosts.toml files
    Nerdctl,
    /// kaniko: flags
    Kaniko,
    /// Docker in Docker: flags
    Dind,
    /// crane, oras, helm, cosign: the reference that they are given
    #[value(aliases = ["oras", "helm", "cosign"])]
    Crane,
}

impl Kind {
    /// How it is named on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::DockerContainerd => "docker-containerd",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
            Self::Buildkit => "buildkit",
            Self::K3s => "k3s",
            Self::Rke2 => "rke2",
            Self::Nerdctl => "nerdctl",
            Self::Kaniko => "kaniko",
            Self::Dind => "dind",
            Self::Crane => "crane",
        }
    }

    /// Whether it knows mirrors of Docker Hub only.
    fn is_docker_hub_only(self) -> bool {
        matches!(self, Self::Docker | Self::Dind)
    }

    /// Whether it has one setting for all registries at once.
    pub fn takes_all(self) -> bool {
        matches!(
            self,
            Self::DockerContainerd | Self::Containerd | Self::Nerdctl | Self::K3s | Self::Rke2
        )
    }
}

/// What is wanted of a client.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the client reaches the mirror.
    pub mirror: Mirror,
    /// What it is to pull through it; not empty.
    pub scopes: Vec<Scope>,
    /// Whom the mirror's certificate is from, where clients don't trust that anyway.
    pub authority: Option<Authority>,
    /// Whether it may ask the registry itself where the mirror does not help.
    pub fallback: bool,
    /// Dot-free names of registries, for clients that can't carry dots in a path.
    pub aliases: Vec<(Registry, String)>,
}

impl Request {
    fn alias(&self, registry: &Registry) -> Option<&str> {
        let mut aliases = self.aliases.iter();
        aliases
            .find(|(known, _)| known == registry)
            .map(|(_, alias)| alias.as_str())
    }

    /// Where the mirror's certificate authority is, for clients that are told its path.
    fn ca_path(&self) -> Option<String> {
        let authority = self.authority.as_ref();
        authority.map(|authority| authority.path().into())
    }

    /// What to do where the mirror's certificate is from nobody whom the client trusts.
    fn ca_hint(&self) -> Option<String> {
        let may_need = self.authority.is_none() && !self.mirror.is_plain();
        may_need.then(|| {
            "a mirror with a certificate authority of its own: give that with --ca FILE".into()
        })
    }

    /// The registries that are named one by one.
    fn registries(&self) -> impl Iterator<Item = &Registry> {
        self.scopes.iter().filter_map(Scope::registry)
    }
}

/// A file that a client reads.
#[derive(Debug)]
pub struct File {
    /// Where it is, from the root of the client's machine.
    pub path: PathBuf,
    /// What goes into it, and how.
    pub edit: Box<dyn Edit>,
    /// Whether its directory is there for this file alone, and goes with it.
    pub own_directory: bool,
    /// Whether ours is to be out of it, as after an undo.
    pub absent: bool,
    /// The directory that the client reads because of it: it stays as long as there is something to read.
    pub opens: Option<&'static str>,
}

impl File {
    fn new(path: impl Into<PathBuf>, edit: impl Edit + 'static) -> Self {
        Self {
            path: path.into(),
            edit: Box::new(edit),
            own_directory: false,
            absent: false,
            opens: None,
        }
    }

    fn in_own_directory(path: impl Into<PathBuf>, edit: impl Edit + 'static) -> Self {
        Self {
            own_directory: true,
            ..Self::new(path, edit)
        }
    }
}

/// What has to be done to a client.
#[derive(Debug, Default)]
pub struct Plan {
    /// Files to write.
    pub files: Vec<File>,
    /// For a client without a file: what to put on its command line, one argument or command a line.
    pub lines: Vec<String>,
    /// How a running client takes it up, as commands or in words.
    pub reload: Vec<String>,
    /// What else its user should know.
    pub notes: Vec<String>,
}

/// What is on the client's machine already, where a plan depends on it.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// Where containerd reads hosts files, in its order; empty where nothing says so.
    pub hosts_roots: Vec<String>,
    /// The directories of hosts there.
    pub hosts: Vec<HostDirectory>,
    /// What else tells podman of registries.
    pub registries: Vec<(PathBuf, toml::Table)>,
}

/// The directory of one host, where containerd looks for `hosts.toml` and for certificates.
#[derive(Clone, Debug)]
pub struct HostDirectory {
    /// The directory that it is in, as containerd's configuration names it.
    pub root: String,
    /// Its name, which containerd makes from the host.
    pub name: String,
    /// The files in it.
    pub files: Vec<String>,
    /// Whether its `hosts.toml` says something that we did not write.
    pub is_theirs: bool,
}

/// What a client can't do, whatever is on its machine, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(String);

/// What has to be done so that a client of this kind pulls through the mirror.
pub fn plan(kind: Kind, request: &Request, existing: &Existing) -> Result<Plan, Unsupported> {
    check(kind, request)?;
    Ok(match kind {
        Kind::Docker => docker::plan(request),
        Kind::DockerContainerd => docker::with_containerd(request, existing),
        Kind::Containerd => containerd::plan(request, existing),
        Kind::Nerdctl => containerd::nerdctl(request, existing),
        Kind::Podman => podman::plan(request, existing),
        Kind::Buildkit => buildkit::plan(request),
        Kind::K3s => rancher::plan(rancher::K3S, request),
        Kind::Rke2 => rancher::plan(rancher::RKE2, request),
        Kind::Kaniko => references::kaniko(request)?,
        Kind::Dind => docker::dind(request),
        Kind::Crane => references::crane(request),
    })
}

/// What is on the client's machine already that the plan would silently override, by its file.
pub fn conflict(kind: Kind, request: &Request, existing: &Existing) -> Option<(PathBuf, Refusal)> {
    match kind {
        Kind::Podman => podman::conflict(request, existing),
        _ => None,
    }
}

/// What a kind of client can't do at all.
fn check(kind: Kind, request: &Request) -> Result<(), Unsupported> {
    let name = kind.name();
    if request.authority.is_some() && request.mirror.is_plain() {
        return Err(Unsupported(format!(
            "--ca: {} is reached without TLS, and no certificate is asked for; give its https:// address with --mirror",
            request.mirror.url()
        )));
    }
    if !request.fallback && kind.is_docker_hub_only() {
        return Err(Unsupported(
            "--no-fallback: dockerd always asks Docker Hub itself after its mirrors, and no setting forbids that; \
             block registry-1.docker.io in the network instead"
                .into(),
        ));
    }
    if !request.fallback && kind == Kind::Buildkit {
        return Err(Unsupported(
            "--no-fallback: BuildKit always asks the registry itself after its mirrors, and no setting forbids that; \
             block the registries in the network instead"
                .into(),
        ));
    }
    for scope in &request.scopes {
        match scope {
            Scope::All if !kind.takes_all() => {
                return Err(Unsupported(format!(
                    "--registry '*': {name} has no setting for all registries at once; name each with --registry HOST"
                )));
            }
            Scope::One(registry) if kind.is_docker_hub_only() && !registry.is_docker_hub() => {
                return Err(Unsupported(format!(
                    "--registry {registry}: dockerd's registry-mirrors are asked for Docker Hub's images only; \
                     name the mirror in the reference instead: {}/{registry}/IMAGE, or, with the containerd image store, see \
                     `forebay client docker-containerd`",
                    request.mirror.reference_host()
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a kind of client pulls through the mirror when nobody says which registries.
pub fn default_scopes(kind: Kind, config: &Config) -> Vec<Scope> {
    let hub = || Registry::DOCKER_HUB.parse::<Registry>().map(Scope::One);
    if kind.is_docker_hub_only() {
        return hub().into_iter().collect();
    }
    let exact = config.upstreams.iter().filter_map(|u| u.registry.exact());
    exact.cloned().map(Scope::One).collect()
}

/// The families of registries that [`default_scopes`] can't name.
pub fn families(kind: Kind, config: &Config) -> Vec<String> {
    if kind.is_docker_hub_only() {
        return Vec::new();
    }
    let upstreams = config.upstreams.iter();
    let families = upstreams.filter(|upstream| upstream.registry.exact().is_none());
    families
        .map(|upstream| upstream.registry.to_string())
        .collect()
}

/// The registries of `scopes` that this configuration would refuse.
pub fn unknown<'a>(scopes: &'a [Scope], config: &Config) -> Vec<&'a Registry> {
    let routes = Routes::new(config);
    let registries = scopes.iter().filter_map(Scope::registry);
    registries
        .filter(|registry| routes.upstream_for(registry).is_none())
        .collect()
}

/// The dot-free names that are configured.
pub fn aliases(config: &Config) -> Vec<(Registry, String)> {
    let named = |upstream: &crate::config::Upstream| {
        Some((upstream.registry.exact()?.clone(), upstream.alias.clone()?))
    };
    config.upstreams.iter().filter_map(named).collect()
}
