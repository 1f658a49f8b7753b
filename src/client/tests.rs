//! What merging and undoing do to files that others wrote.

mod containerd;
mod docker;
mod kinds;

use super::{Existing, Kind, Plan, Request, Scope, Unsupported, plan};

pub(super) const MIRROR: &str = "http://mirror.lan:5000";

/// Docker Hub through a mirror in the network.
pub(super) fn request() -> Request {
    Request {
        mirror: MIRROR.parse().unwrap(),
        scopes: vec![Scope::One("docker.io".parse().unwrap())],
        authority: None,
        fallback: true,
        aliases: vec![("docker.io".parse().unwrap(), "dockerhub".into())],
    }
}

pub(super) fn planned(kind: Kind, request: &Request) -> Result<Plan, Unsupported> {
    plan(kind, request, &Existing::default())
}

/// The edit of a plan's file with this name.
pub(super) fn edit(kind: Kind, request: &Request, name: &str) -> Box<dyn super::Edit> {
    let files = planned(kind, request).unwrap().files;
    let file = files.into_iter().find(|file| file.path.ends_with(name));
    file.unwrap().edit
}
