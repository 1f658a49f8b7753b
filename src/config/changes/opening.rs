//! What would open a running mirror: that somebody is kept out, or something, is only ever taken back by a restart. A file that
//! was read while half of it was written takes back what its other half says.

use super::Staying;
use crate::config::access::Access;
use crate::config::merge::{UPSTREAMS, join};
use crate::config::pattern::RegistryPattern;
use crate::config::types::{Config, Tls, Upstream};

impl Staying {
    /// Other files are taken up; whether TLS is spoken at all is not, nor that clients need no certificate any more.
    pub(super) fn tls(&mut self, key: &str, new: &mut Option<Tls>, running: Option<&Tls>) {
        let (Some(new), Some(running)) = (&mut *new, running) else {
            if new.is_some() != running.is_some() {
                *new = running.cloned();
                self.name(key);
            }
            return;
        };
        match (&mut new.clients, &running.clients) {
            (new @ None, Some(running)) => {
                *new = Some(running.clone());
                self.name(join(key, "client_ca_file"));
            }
            (Some(new), Some(running)) if running.required && !new.required => {
                new.required = true;
                self.name(join(key, "client_certificates"));
            }
            _ => {}
        }
    }

    /// All is taken up but that there is nobody to keep out any more.
    pub(super) fn access(&mut self, new: &mut Option<Access>, running: Option<&Access>) {
        match (new, running) {
            (new @ None, Some(running)) => {
                *new = Some(running.clone());
                self.name(Config::ACCESS);
            }
            (Some(new), Some(running)) if new.rules.is_empty() && !running.rules.is_empty() => {
                new.rules.clone_from(&running.rules);
                self.name("access.rules");
            }
            _ => {}
        }
    }

    /// All is taken up but that a registry is there that was switched off, or that nothing is denied any more in one that is
    /// still served. Returns whether one is left out.
    pub(super) fn upstreams(
        &mut self,
        new: &mut Vec<Upstream>,
        disabled: &mut Vec<RegistryPattern>,
        running: &Config,
    ) -> bool {
        let before = new.len();
        new.retain(|upstream| {
            let is_off = running.disabled.contains(&upstream.registry);
            if is_off {
                disabled.push(upstream.registry.clone());
                self.name(of(upstream, "enabled"));
            }
            !is_off
        });
        let is_one_left_out = new.len() < before;
        for running in &running.upstreams {
            let same = new.iter_mut().find(|new| new.registry == running.registry);
            if let Some(same) = same {
                self.pulls(same, running);
            } else if falls_to_a_family(running, new) {
                self.name(join(UPSTREAMS, &running.registry.to_string()));
                new.push(running.clone());
                new.sort_by_cached_key(|upstream| upstream.registry.to_string());
            }
        }
        is_one_left_out
    }

    fn pulls(&mut self, new: &mut Upstream, running: &Upstream) {
        if new.pulls.allow.is_none() && running.pulls.allow.is_some() {
            new.pulls.allow.clone_from(&running.pulls.allow);
            self.name(of(new, "allow"));
        }
        if new.pulls.deny.patterns().is_empty() && !running.pulls.deny.patterns().is_empty() {
            new.pulls.deny.clone_from(&running.pulls.deny);
            self.name(of(new, "deny"));
        }
    }
}

/// Whether what a table keeps from being pulled would be had by that of a family, now that the table is gone.
fn falls_to_a_family(gone: &Upstream, new: &[Upstream]) -> bool {
    let keeps_back = gone.pulls.allow.is_some() || !gone.pulls.deny.patterns().is_empty();
    let is_had = |registry| new.iter().any(|other| other.registry.matches(registry));
    keeps_back && gone.registry.exact().is_some_and(is_had)
}

fn of(upstream: &Upstream, key: &str) -> String {
    join(&join(UPSTREAMS, &upstream.registry.to_string()), key)
}
