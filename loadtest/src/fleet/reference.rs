//! An image as people name it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Docker Hub, which is meant where no registry is named.
pub(super) const DOCKER_HUB: &str = "docker.io";

/// Registry, repository and tag. Images that are named by digest are none: what a tag points at is what pulls begin with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: String,
}

impl Reference {
    /// An image of Docker Hub, by its whole name.
    pub(crate) fn of_docker_hub(repository: &str, tag: &str) -> Self {
        Self {
            registry: DOCKER_HUB.to_owned(),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
        }
    }

    /// The registry, such as `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository there, such as `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    pub(super) fn is_of_docker_hub(&self) -> bool {
        self.registry == DOCKER_HUB
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is no image: write registry/name:tag, without a digest");
        let letters = |text: &str, more: &[u8]| {
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !text.is_empty() && text.bytes().all(|it| known(it) || more.contains(&it))
        };
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => (DOCKER_HUB, name),
        };
        let is_short = registry == DOCKER_HUB && !repository.contains('/');
        let repository = if is_short {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        let components = || repository.split('/').all(|part| letters(part, b"._-"));
        let is_tag = letters(&tag.to_ascii_lowercase(), b"._-");
        if !letters(registry, b".-:") || !components() || !is_tag {
            return Err(refused());
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.to_owned(),
        })
    }
}

impl TryFrom<String> for Reference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            registry,
            repository,
            tag,
        } = self;
        write!(f, "{registry}/{repository}:{tag}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_docker_hubs_and_hosts_are_told_by_their_dots() {
        let whole = |text: &str| text.parse::<Reference>().map(|it| it.to_string());
        for (text, meant) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("grafana/k6:0.5", "docker.io/grafana/k6:0.5"),
            ("docker.io/alpine:3.20", "docker.io/library/alpine:3.20"),
            ("ghcr.io/a/b/c:V1", "ghcr.io/a/b/c:V1"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ] {
            assert_eq!(whole(text).as_deref(), Ok(meant));
        }
        for bad in [
            "",
            "Alpine",
            "a//b",
            "a b",
            "app@sha256:00",
            "app:",
            "ghcr.io/",
        ] {
            assert!(whole(bad).is_err(), "{bad}");
        }
    }
}
