//! The same challenges, met with another login: one that a client has brought.

use super::{Auth, Grant, Memory, Wish};
use crate::upstream::address::Origin;
use crate::upstream::credentials::Credentials;
use crate::upstream::error::UpstreamError;

impl Auth {
    /// The same with other credentials. What is met anonymously is met alike.
    pub(crate) fn with_credentials(&self, credentials: Credentials) -> Auth {
        Auth {
            credentials,
            trusted_realms: self.trusted_realms.clone(),
            tokens: self.tokens.clone(),
            transport: self.transport.clone(),
            label: self.label.clone(),
            elsewhere: self.elsewhere.clone(),
        }
    }

    /// What meets an earlier challenge where the registry itself is asked, as for a login; `None` where none is known.
    pub(crate) async fn foresee_at_registry(
        &self,
        registry: &Origin,
        memory: &Memory,
    ) -> Result<Option<Grant>, UpstreamError> {
        let Some(challenge) = memory.get() else {
            return Ok(None);
        };
        let login = self.credentials.login(registry, None).await?;
        let wish = Wish {
            registry,
            known_as: None,
        };
        self.meet(&challenge, login, wish).await.map(Some)
    }
}
