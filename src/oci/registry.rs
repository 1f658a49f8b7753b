//! A registry: the host that names images.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::NameError;
use super::text;

/// Longest host name that DNS carries.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// `host[:port]` by the grammar of Docker's references, in its one spelling: lower case, IPv6 in
/// brackets and shortest form, Docker Hub as `docker.io`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registry(Arc<str>);

impl Registry {
    /// The name of Docker Hub in references.
    pub const DOCKER_HUB: &'static str = "docker.io";

    /// The API hosts of Docker Hub, which clients also use as its name.
    const DOCKER_HUB_ALIASES: [&'static str; 2] = ["registry-1.docker.io", "index.docker.io"];

    /// Docker Hub.
    pub fn docker_hub() -> Self {
        Self(Self::DOCKER_HUB.into())
    }

    /// `host[:port]`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without its port; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        split_port(&self.0).0
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        split_port(&self.0).1.and_then(|port| port.parse().ok())
    }

    /// Whether this is Docker Hub, whose one-component names live under `library/`.
    pub fn is_docker_hub(&self) -> bool {
        self.as_str() == Self::DOCKER_HUB
    }

    /// Docker's rule for the first component of a reference: with a dot or a colon in it, or as
    /// `localhost`, it names a host and not a part of the repository's name.
    pub fn looks_like_host(component: &str) -> bool {
        component.contains(['.', ':']) || component.eq_ignore_ascii_case("localhost")
    }
}

/// Splits at the colon before the port; colons within an IPv6 literal are followed by a bracket.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

impl FromStr for Registry {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError::Registry(text::quoted(text));
        let (host, port) = split_port(text);
        let host = canonical_host(host).ok_or_else(refused)?;
        let registry = match port {
            None if Self::DOCKER_HUB_ALIASES.contains(&host.as_str()) => Self::DOCKER_HUB.into(),
            None => host,
            Some(port) if is_port(port) => format!("{host}:{port}"),
            Some(_) => return Err(refused()),
        };
        Ok(Self(registry.into()))
    }
}

fn canonical_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let well_formed = host.len() <= MAX_HOST && host.split('.').all(is_label);
    well_formed.then(|| host.to_ascii_lowercase())
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    label.len() <= MAX_LABEL
        && label.starts_with(alphanumeric)
        && label.ends_with(alphanumeric)
        && label.chars().all(|c| alphanumeric(c) || c == '-')
}

/// A port in its one spelling: no sign, no leading zero.
fn is_port(port: &str) -> bool {
    port.parse::<u16>()
        .is_ok_and(|number| number != 0 && number.to_string() == port)
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Registry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Registry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registry(text: &str) -> Registry {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_have_one_spelling() {
        for (text, spelling) in [
            ("ghcr.io", "ghcr.io"),
            ("GHCR.IO", "ghcr.io"),
            ("docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("Index.Docker.io", "docker.io"),
            ("localhost", "localhost"),
            ("localhost:5000", "localhost:5000"),
            ("harbor", "harbor"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("[::1]:5000", "[::1]:5000"),
            ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            ),
        ] {
            assert_eq!(registry(text).to_string(), spelling);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a_b",
            "a b",
            "a/b",
            "a\\b",
            "a\0",
            "a\n",
            "a:",
            "a:0",
            "a:05",
            "a:+5",
            "a:65536",
            "a:b",
            ":5000",
            "a:1:2",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[fe80::1%eth0]",
            "[127.0.0.1]",
            "user@a",
            "a?b",
            "a#b",
            "http://a",
            "bücher.example",
            "%61",
        ] {
            assert!(text.parse::<Registry>().is_err(), "{text:?}");
        }
        assert!("a".repeat(64).parse::<Registry>().is_err());
        assert!(vec!["a"; 128].join(".").parse::<Registry>().is_err());
    }

    #[test]
    fn host_and_port_come_apart() {
        assert_eq!(
            (registry("[::1]:5000").host(), registry("[::1]:5000").port()),
            ("[::1]", Some(5000))
        );
        assert_eq!(
            (registry("[::1]").host(), registry("[::1]").port()),
            ("[::1]", None)
        );
        assert_eq!(
            (registry("a.b:80").host(), registry("a.b:80").port()),
            ("a.b", Some(80))
        );
    }

    #[test]
    fn dots_colons_and_localhost_make_a_host() {
        for component in ["ghcr.io", "a:5", "localhost", "[::1]:5000"] {
            assert!(Registry::looks_like_host(component));
        }
        for component in ["library", "dockerhub", ""] {
            assert!(!Registry::looks_like_host(component));
        }
    }

    proptest! {
        #[test]
        fn accepted_registries_round_trip_and_are_one_path_component(
            text in "(\\[[0-9a-fA-F:]{0,20}\\]|[a-zA-Z0-9./\\\\_-]{0,30})(:[0-9]{0,6})?",
        ) {
            if let Ok(registry) = text.parse::<Registry>() {
                let printed = registry.to_string();
                prop_assert_eq!(&printed.parse::<Registry>().unwrap(), &registry);
                prop_assert!(!printed.contains(['/', '\\', '\0']) && printed != "." && printed != "..");
                prop_assert!(printed.len() <= MAX_HOST + ":65535".len());
            }
        }

        #[test]
        fn well_formed_hosts_are_accepted(text in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z0-9]{1,9}){0,4}(:[1-9][0-9]{0,3})?") {
            prop_assume!(text != "registry-1.docker.io" && text != "index.docker.io");
            prop_assert_eq!(text.parse::<Registry>().unwrap().to_string(), text);
        }

        #[test]
        fn no_text_panics(text in ".{0,100}") {
            let _ = text.parse::<Registry>();
        }
    }
}
