//! Whom a cloud's login may be given to. It opens far more than one registry, so it is for the cloud's own registries over
//! https, and for those that the operator lists in `trusted_realms` too.

use url::{Host, Url};

use super::Asked;
use crate::config::section::{Reported, Section};

/// A cloud, and the names of its registries.
pub(super) struct Cloud {
    name: &'static str,
    /// Registries of their own.
    hosts: &'static [&'static str],
    /// What the names of others end in.
    domains: &'static [&'static str],
}

pub(super) const GOOGLE: Cloud = Cloud {
    name: "Google",
    hosts: &["gcr.io"],
    domains: &[".pkg.dev", ".gcr.io"],
};

pub(super) const AZURE: Cloud = Cloud {
    name: "Azure",
    hosts: &[],
    domains: &[".azurecr.io", ".azurecr.cn", ".azurecr.us"],
};

impl Cloud {
    /// Whether a host is one of its registries, or all are that a pattern for hosts stands for.
    fn has(&self, host: &str) -> bool {
        self.hosts.contains(&host) || self.domains.iter().any(|domain| host.ends_with(domain))
    }
}

/// Complains where a cloud's login would be given to a host that is none of its registries.
pub(super) fn check(
    section: &Section<'_>,
    asked: &Asked<'_>,
    cloud: &Cloud,
) -> Result<(), Reported> {
    let refuse = |what: &str, way: &str| {
        let message = format!(
            "this would give a login for {} to `{what}`, which is none of its registries over https: {way}",
            cloud.name
        );
        Err(section.complain("credentials", message))
    };
    // What is wrong with these is reported by itself.
    let (Some(registry), Some(endpoints), Some(trusted)) =
        (asked.registry, asked.endpoints, asked.trusted_realms)
    else {
        return Ok(());
    };
    if registry.exact().is_none() {
        let pattern = registry.to_string();
        let host = pattern.split(':').next().unwrap_or_default();
        if cloud.has(host) {
            return Ok(());
        }
        return refuse(&pattern, "write a table for each registry that may have it");
    }
    for endpoint in endpoints {
        let (host, authority) = names(endpoint);
        let is_own = endpoint.scheme() == "https" && cloud.has(&host);
        let is_trusted = trusted
            .iter()
            .any(|name| *name == host || *name == authority);
        if !is_own && !is_trusted {
            let way = format!("write `{authority}` in `trusted_realms` if it may have it");
            return refuse(endpoint.as_str(), &way);
        }
    }
    Ok(())
}

/// Host, and host and port where the port is not the scheme's own.
fn names(endpoint: &Url) -> (String, String) {
    let host = match endpoint.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
        Some(host) => host.to_string(),
        None => String::new(),
    };
    let authority = match endpoint.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    (host, authority)
}
