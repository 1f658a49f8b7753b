//! Upstreams as clients' own logins see them: one for each login that its registry has found good.

use std::sync::Arc;

use url::Url;

use super::Upstreams;
use crate::login::Login;
use crate::oci::Registry;
use crate::upstream::client::{Upstream, endpoints_of};

impl Upstreams {
    /// Where clients' logins of a registry are shown; `None` unless one is configured there that lets each client see what is
    /// theirs.
    pub fn login_endpoint(&self, registry: &Registry) -> Option<Url> {
        let settings = &self.origins[self.routes.upstream_for(registry)?].settings;
        settings.passthrough?;
        endpoints_of(settings, registry).into_iter().next()
    }

    /// The upstream of a login's registry, asked with that login; `None` unless one is configured there that lets each client
    /// see what is theirs.
    pub fn with_login(&self, login: &Arc<Login>) -> Option<Arc<Upstream>> {
        let upstream = self.to_prove(login)?;
        Some(self.keep(login, upstream))
    }

    /// The same, of a login that nobody has proven yet: nothing is kept for it.
    pub fn to_prove(&self, login: &Arc<Login>) -> Option<Arc<Upstream>> {
        if let Some(known) = self.logins.get(&login.id()) {
            return Some(known);
        }
        let upstream = self.get(login.registry())?.with_login(login)?;
        Some(Arc::new(upstream))
    }

    /// The upstream's answer was that the login is good.
    pub fn keep(&self, login: &Login, upstream: Arc<Upstream>) -> Arc<Upstream> {
        let entry = self.logins.entry(login.id());
        entry.or_insert(upstream).into_value()
    }

    /// Whether a login was good a while ago.
    pub fn knows(&self, login: &Login) -> bool {
        self.logins.contains_key(&login.id())
    }
}
