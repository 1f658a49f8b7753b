//! What is on the client's machine already, where a plan depends on it.

use std::path::Path;

use toml::Table;

use super::Root;
use super::disk::{self, InstallError};
use crate::client::edit::{is_blank, parse_toml};
use crate::client::{
    Existing, HostDirectory, Kind, Request, block, conflict, containerd, docker, podman,
};

impl Root {
    /// What a plan for this kind of client depends on.
    pub fn existing(&self, kind: Kind) -> Result<Existing, InstallError> {
        let usual: &[&str] = match kind {
            Kind::DockerContainerd => &[docker::CERTIFICATES],
            Kind::Containerd | Kind::Nerdctl => &[containerd::HOSTS, docker::CERTIFICATES],
            _ => return Ok(Existing::default()),
        };
        let mut roots = Vec::new();
        if kind == Kind::Containerd {
            let found = self.find(containerd::CONFIG.as_ref())?;
            let config = found.text()?.unwrap_or_default();
            roots = containerd::hosts_roots(&config)
                .map_err(|refusal| InstallError::new(found.path, refusal))?;
        }
        if roots.is_empty() {
            roots = usual.iter().map(|root| (*root).to_owned()).collect();
        }
        let mut hosts = Vec::new();
        for root in &roots {
            for name in disk::entries(&self.place(root.as_ref()))? {
                hosts.extend(self.host(root, name)?);
            }
        }
        Ok(Existing {
            hosts_roots: roots,
            hosts,
            registries: Vec::new(),
        })
    }

    /// One host's directory, if it is one.
    fn host(&self, root: &str, name: String) -> Result<Option<HostDirectory>, InstallError> {
        let directory = Path::new(root).join(&name);
        if !self.place(&directory).is_dir() {
            return Ok(None);
        }
        let text = self.hosts_toml(&directory)?;
        let is_theirs = block::split(&text).is_ok_and(|split| {
            let ours = split.body.and_then(|body| body.parse::<Table>().ok());
            let says = |key| ours.as_ref().is_some_and(|ours| ours.contains_key(key));
            // To containerd a file with a comment is a file.
            let rest = split.rest();
            let empty = if split.body.is_some() {
                is_blank(&rest)
            } else {
                rest.is_empty()
            };
            !empty && !says("ca") && !says("client")
        });
        Ok(Some(HostDirectory {
            root: root.into(),
            files: disk::entries(&self.place(&directory))?,
            name,
            is_theirs,
        }))
    }

    fn hosts_toml(&self, directory: &Path) -> Result<String, InstallError> {
        let text = self.find(&directory.join("hosts.toml"))?.text()?;
        Ok(text.unwrap_or_default())
    }

    /// The hosts whose files have ours in them, for an undo that names no registry.
    pub fn hosts_of_ours(&self, existing: &Existing) -> Result<Vec<String>, InstallError> {
        let mut names = Vec::new();
        let Some(root) = existing.hosts_roots.first() else {
            return Ok(names);
        };
        for host in existing.hosts.iter().filter(|host| host.root == *root) {
            let text = self.hosts_toml(&Path::new(root).join(&host.name))?;
            if block::split(&text).is_ok_and(|split| split.body.is_some()) {
                names.push(containerd::host_of(&host.name));
            }
        }
        Ok(names)
    }

    /// Refuses what would silently override what the user has said elsewhere; else tells a plan of it.
    pub fn check(
        &self,
        kind: Kind,
        request: &Request,
        existing: &mut Existing,
    ) -> Result<(), InstallError> {
        if kind == Kind::Podman {
            let mut names = vec![podman::REGISTRIES.to_owned()];
            for name in disk::entries(&self.place(podman::DROP_INS.as_ref()))? {
                if name.strip_suffix(".conf").is_some() && name != podman::DROP_IN {
                    names.push(format!("{}/{name}", podman::DROP_INS));
                }
            }
            for name in names {
                let found = self.find(name.as_ref())?;
                let text = found.text()?.unwrap_or_default();
                let table = parse_toml(&text)
                    .map_err(|refusal| InstallError::new(found.path.clone(), refusal))?;
                existing.registries.push((found.path, table));
            }
        }
        match conflict(kind, request, existing) {
            Some((path, refusal)) => Err(InstallError::new(path, refusal)),
            None => Ok(()),
        }
    }
}
