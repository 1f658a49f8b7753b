//! Google's registries: an access token as password, from a service account's key or from where Google's own tools find
//! one (the application default credentials, the metadata of an instance), by `gcp_auth`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gcp_auth::{CustomServiceAccount, TokenProvider};
use tokio::sync::OnceCell;

use super::{Issued, Issuing, Login, LoginError, Source, in_time};
use crate::config::{self, Secret};
use crate::oci::RepositoryName;
use crate::upstream::address::Origin;
use crate::upstream::error::causes;

/// Google's registries ask for no narrower one.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The user's name that says that the password is an access token.
const USER: &str = "oauth2accesstoken";

/// The access tokens of one account.
pub(super) struct Gcp {
    settings: config::Gcp,
    /// Where tokens come from, found out when one is first needed.
    provider: OnceCell<Arc<dyn TokenProvider>>,
}

impl std::fmt::Debug for Gcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gcp").field(&self.settings).finish()
    }
}

impl Gcp {
    pub(super) fn new(settings: config::Gcp) -> Gcp {
        Gcp {
            settings,
            provider: OnceCell::new(),
        }
    }

    async fn token(&self) -> Result<Issued, gcp_auth::Error> {
        let provider = self.provider.get_or_try_init(|| self.find()).await?;
        let token = provider.token(&[SCOPE]).await?;
        let end = u64::try_from(token.expires_at().timestamp()).unwrap_or_default();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let login = Login::Password {
            username: USER.to_owned(),
            password: Secret::new(token.as_str()),
        };
        // The provider gives the same token until shortly before its end.
        let left = Duration::from_secs(end).saturating_sub(now);
        Ok(Issued::for_a_while(login, left.max(Duration::from_mins(1))))
    }

    async fn find(&self) -> Result<Arc<dyn TokenProvider>, gcp_auth::Error> {
        match &self.settings.key_file {
            Some(path) => Ok(Arc::new(CustomServiceAccount::from_file(path)?)),
            None => gcp_auth::provider().await,
        }
    }
}

impl Source for Gcp {
    fn account(&self, _: &Origin, _: Option<&RepositoryName>) -> String {
        USER.to_owned()
    }

    fn issue<'a>(&'a self, _: &'a Origin, _: &'a str) -> Issuing<'a> {
        Box::pin(in_time("Google gives no access token", async {
            self.token().await.map_err(|error| explain(&error))
        }))
    }
}

fn explain(error: &gcp_auth::Error) -> LoginError {
    LoginError::Broken(match error {
        gcp_auth::Error::NoAuthMethod(..) => {
            "no Google credentials are found: set gcp_key_file, or GOOGLE_APPLICATION_CREDENTIALS, or run where there \
             is a metadata server"
                .to_owned()
        }
        error => format!("Google gives no access token: {}", causes(error)),
    })
}
