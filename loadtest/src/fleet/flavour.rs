//! The clients that people use, as far as a server can tell them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which client it is that pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// containerd 2, and so Kubernetes, nerdctl, and dockerd with its image store. HEAD of the tag, then everything by digest
    /// on kept connections, three at once, each request with `ns`; each request goes on to the registry by itself where the
    /// mirror fails. 408 and 429 are asked again at once; what ends early is resumed at once.
    Containerd,
    /// dockerd with its own image store. A ping, HEAD of the tag, GETs by digest, the config beside three layers, and a
    /// connection for each request. A layer that fails is asked for again after pauses that grow; where the mirror fails at
    /// last, the pull goes on at the registry.
    Dockerd,
    /// podman, and so buildah, skopeo and CRI-O. A ping, GET of the tag, the config beside six layers. It goes to the registry
    /// only where ping or first manifest fail; what fails later fails the pull. 429 is asked again when `Retry-After` says.
    Podman,
    /// containerd with the stargz snapshotter: manifests as containerd, then layers in bounded ranges, their ends first.
    Lazy,
}

impl Flavour {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Containerd, Self::Dockerd, Self::Podman, Self::Lazy];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Dockerd => "dockerd",
            Self::Podman => "podman",
            Self::Lazy => "lazy",
        }
    }

    /// How many requests of one pull it has under way at most.
    pub(super) fn at_once(self) -> usize {
        match self {
            Self::Containerd | Self::Lazy => 3,
            Self::Dockerd => 4,
            Self::Podman => 7,
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
