//! What `check --online` is told to look at, as people write registries and images.

use crate::config::Routes;
use crate::oci::{Registry, Repository};
use crate::upstream::{Image, Target};

/// What an image's tag is where none is written.
const LATEST: &str = "latest";

/// Reads all of them; those of one registry become one.
pub(super) fn parse(named: &[String], routes: &Routes) -> Result<Vec<Target>, String> {
    let mut targets: Vec<Target> = Vec::new();
    for text in named {
        let (registry, image) = one(text, routes)?;
        if routes.upstream_for(&registry).is_none() {
            return Err(format!(
                "{registry} is not configured: add a table [upstreams.\"{registry}\"], empty if it needs no login"
            ));
        }
        let known = targets
            .iter_mut()
            .find(|target| target.registry == registry);
        match known {
            Some(target) => target.images.extend(image),
            None => targets.push(Target {
                registry,
                images: image.into_iter().collect(),
            }),
        }
    }
    Ok(targets)
}

fn one(text: &str, routes: &Routes) -> Result<(Registry, Option<Image>), String> {
    if let Some(registry) = registry(text.trim_end_matches('/'), routes) {
        return Ok((registry, None));
    }
    let (registry, rest) = match text.split_once('/') {
        Some((first, rest)) if Registry::looks_like_host(first) => {
            (first.parse().map_err(|error| format!("{error}"))?, rest)
        }
        _ => (routes.default_registry().clone(), text),
    };
    let (name, reference) = split(rest);
    let wrong = |error: String| format!("{text:?} is neither a registry nor an image: {error}");
    let name = name.parse().map_err(|error| wrong(format!("{error}")))?;
    let reference = reference
        .parse()
        .map_err(|error| wrong(format!("{error}")))?;
    let Repository { registry, name } = Repository::new(registry, name);
    Ok((registry, Some(Image { name, reference })))
}

/// A registry alone: one that is configured, an alias, or what can be nothing but a host. `alpine:3` is an image, unless
/// there is such a registry.
fn registry(text: &str, routes: &Routes) -> Option<Registry> {
    if text.contains('/') {
        return None;
    }
    if let Some(registry) = routes.by_alias(text) {
        return Some(registry);
    }
    let registry: Registry = text.parse().ok()?;
    let is_host = Registry::looks_like_host(registry.host()) || registry.host().starts_with('[');
    (is_host || routes.upstream_for(&registry).is_some()).then_some(registry)
}

/// Name and reference. Of a tag and a digest the digest counts.
fn split(image: &str) -> (&str, &str) {
    let tagged = |image| match str::rsplit_once(image, ':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, LATEST),
    };
    match image.split_once('@') {
        Some((image, digest)) => (tagged(image).0, digest),
        None => tagged(image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(named: &[&str]) -> Result<Vec<String>, String> {
        let text = "cache.dir = '/cache'\n[upstreams.'localhost:5000']\n[upstreams.harbor]\n";
        let config = Config::from_toml(text).unwrap();
        let named: Vec<_> = named.iter().map(|&text| text.to_owned()).collect();
        let targets = parse(&named, &Routes::new(&config))?;
        let shown = targets.iter().map(|target| {
            let images: Vec<_> = target.images.iter().map(ToString::to_string).collect();
            format!("{} {}", target.registry, images.join(" "))
                .trim_end()
                .to_owned()
        });
        Ok(shown.collect())
    }

    #[test]
    fn registries_are_told_from_images_as_people_write_them() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, read_as) in [
            ("ghcr.io", "ghcr.io"),
            ("ghcr.io/", "ghcr.io"),
            ("ghcr", "ghcr.io"),
            ("registry-1.docker.io", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("harbor", "harbor"),
            ("eu.gcr.io", "eu.gcr.io"),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            ),
            ("alpine", "docker.io library/alpine:latest"),
            ("alpine:3", "docker.io library/alpine:3"),
            ("alpine:3.20", "docker.io library/alpine:3.20"),
            ("team/app:v1", "docker.io team/app:v1"),
            (
                "docker.io/library/alpine:3.20",
                "docker.io library/alpine:3.20",
            ),
            ("ghcr.io/a/b", "ghcr.io a/b:latest"),
            ("localhost:5000/a:b", "localhost:5000 a:b"),
        ] {
            assert_eq!(read(&[text]), Ok(vec![read_as.to_owned()]), "{text}");
        }
        let pinned = format!("ghcr.io/a/b:v1@{digest}");
        assert_eq!(read(&[&pinned]), Ok(vec![format!("ghcr.io a/b@{digest}")]));
    }

    #[test]
    fn images_of_one_registry_are_looked_at_together() {
        let both = read(&["ghcr.io/a/b:1", "quay.io", "ghcr.io", "ghcr.io/c/d:2"]);
        assert_eq!(
            both,
            Ok(vec!["ghcr.io a/b:1 c/d:2".to_owned(), "quay.io".to_owned()])
        );
    }

    #[test]
    fn what_is_neither_or_not_configured_is_told() {
        for (text, told) in [
            (
                "registry.example.com",
                "add a table [upstreams.\"registry.example.com\"]",
            ),
            ("registry.example.com/a:b", "is not configured"),
            ("Team/App", "neither a registry nor an image"),
            ("ghcr.io/a/b:", "neither a registry nor an image"),
            ("https://ghcr.io", "is not a registry"),
            ("", "neither a registry nor an image"),
        ] {
            let error = read(&[text]).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
