//! What a configuration says that is no mistake in itself, and hardly what is meant.

use ipnet::IpNet;

use super::access::{Access, ClientPattern};
use super::pattern::RegistryPattern;
use super::types::Config;

impl Config {
    /// What whoever wrote it should know; each says which keys it is about.
    pub fn warnings(&self) -> Vec<String> {
        let Some(access) = &self.access else {
            return self.exposed.iter().cloned().chain(self.open()).collect();
        };
        let clear = self.clear_text(access);
        let trusted = access.trusted.iter();
        let trusted = trusted.filter_map(|range| self.shared(range));
        let trusted = trusted.map(|what| format!("access.trusted: {what}"));
        let rules = access.rules.iter().enumerate().flat_map(|(number, rule)| {
            let nobody = rule
                .clients
                .iter()
                .filter_map(|client| self.nobody(access, client));
            let nothing = rule.repositories.iter().filter(|pattern| {
                let of = pattern.registry().and_then(RegistryPattern::exact);
                of.is_some_and(|of| !self.upstreams.iter().any(|it| it.registry.matches(of)))
            });
            let nothing =
                nothing.map(|pattern| format!("no upstream is configured for `{pattern}`"));
            let letting_in = rule.clients.iter().filter(|_| rule.allow);
            let shared = letting_in.filter_map(|client| match client {
                ClientPattern::Address(range) => self.shared(range),
                _ => None,
            });
            let all: Vec<_> = nobody.chain(nothing).chain(shared).collect();
            all.into_iter()
                .map(move |what| format!("access.rules[{number}]: {what}"))
        });
        let mixed = access.passwords.iter().filter_map(|file| {
            let warning = file.users.warning()?;
            Some(format!("access.htpasswd_file: {warning}"))
        });
        let exposed = self.exposed.iter().cloned();
        let all = exposed.chain(clear).chain(trusted).chain(mixed);
        all.chain(rules).collect()
    }

    /// Whether nobody but who is on this machine speaks to it.
    fn is_alone(&self) -> bool {
        let mut listen = self.server.listen.iter();
        listen.all(|address| address.ip().is_loopback())
    }

    /// A table that is there and says nothing is none.
    fn open(&self) -> Option<String> {
        // A proxy on this machine may be reached from others.
        let alone = self.is_alone() && self.server.proxies.trusted.is_empty();
        (!alone).then(|| {
            "access: whoever reaches `server.listen` may pull all that this mirror can read: say in [access] who may, or that \
             this is meant, with rules = [{ clients = [\"*\"], repositories = [\"**\"], allow = true }]"
                .to_owned()
        })
    }

    fn clear_text(&self, access: &Access) -> Option<String> {
        let server = &self.server;
        // A proxy before it may speak TLS to the clients.
        let is_clear = server.tls.is_none() && server.proxies.trusted.is_empty();
        (access.has_logins() && is_clear && !self.is_alone()).then(|| {
            "access: clients send their logins in clear text to `server.listen`: set [server.tls], or listen on this machine \
             alone"
                .to_owned()
        })
    }

    /// Why an address is not one client's.
    fn shared(&self, range: &IpNet) -> Option<String> {
        (range.addr().is_loopback() && !self.is_alone()).then(|| {
            format!(
                "`{range}` is whoever reaches a proxy or the published port of a container on this machine, while \
                 `server.listen` is open to others: let clients log in, or list the proxy in `server.trusted_proxies`"
            )
        })
    }

    /// Why a pattern means nobody.
    fn nobody(&self, access: &Access, client: &ClientPattern) -> Option<String> {
        let is_known = match client {
            ClientPattern::User(name) => {
                let mut users = access.passwords.iter().flat_map(|file| file.users.users());
                users.any(|user| ClientPattern::names(name, user))
            }
            ClientPattern::Token(name) => {
                let mut tokens = access.tokens.iter();
                tokens.any(|token| ClientPattern::names(name, &token.name))
            }
            ClientPattern::Certificate(_) => {
                let tls = self.server.tls.as_ref();
                tls.is_some_and(|tls| tls.clients.is_some())
            }
            _ => true,
        };
        let what = match client {
            ClientPattern::User(_) => "no such user is in `htpasswd_file`",
            ClientPattern::Token(_) => "there is no such token",
            _ => "no client certificate counts without `client_ca_file` in [server.tls]",
        };
        (!is_known).then(|| format!("`{client}` is nobody: {what}"))
    }
}
