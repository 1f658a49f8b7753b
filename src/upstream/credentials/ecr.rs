//! Amazon ECR: a password for the registry, given by the region's API for a request signed with an AWS key.
//!
//! The key comes from AWS's standard chain, which `aws-config` walks: environment, profiles, web identity, the metadata of
//! containers and instances.

mod api;
mod http;

use std::time::SystemTime;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use tokio::sync::OnceCell;

use super::{Issued, Issuing, Login, LoginError, Source, in_time};
use crate::config::{self, EcrHost};
use crate::oci::{Registry, RepositoryName};
use crate::upstream::address::Origin;
use crate::upstream::credentials::cloud::Cloud;
use crate::upstream::error::causes;

/// The passwords of one registry.
#[derive(Debug)]
pub(super) struct Ecr {
    settings: config::Ecr,
    registry: Registry,
    cloud: Cloud,
    /// AWS's chain, set up when it is first needed.
    chain: OnceCell<SdkConfig>,
}

impl Ecr {
    pub(super) fn new(settings: config::Ecr, registry: Registry, cloud: Cloud) -> Ecr {
        Ecr {
            settings,
            registry,
            cloud,
            chain: OnceCell::new(),
        }
    }

    async fn password(&self) -> Result<Issued, LoginError> {
        let unknown =
            || LoginError::Broken(format!("{} is no registry of Amazon ECR", self.registry));
        let host = EcrHost::of(&self.registry).ok_or_else(unknown)?;
        let endpoint = self.settings.endpoint.clone().or_else(|| host.api());
        let endpoint = endpoint.ok_or_else(unknown)?;
        let key = self.key(&host.region).await?;
        let now = SystemTime::now();
        let request = api::signed(&endpoint, &host, key, now)?;
        let answer = self
            .cloud
            .send(request)
            .await
            .map_err(|what| LoginError::Broken(format!("Amazon ECR's API {what}")))?;
        let password = api::read(&answer, now)?;
        let login = Login::Password {
            username: password.username,
            password: password.secret,
        };
        Ok(Issued::for_a_while(login, password.life))
    }

    /// The AWS key that the chain comes up with.
    async fn key(&self, region: &str) -> Result<aws_credential_types::Credentials, LoginError> {
        let chain = self.chain.get_or_init(|| self.set_up(region)).await;
        let provider = chain
            .credentials_provider()
            .ok_or_else(|| LoginError::Broken("AWS's credential chain is empty".to_owned()))?;
        provider.provide_credentials().await.map_err(|error| {
            let what = match error {
                CredentialsError::CredentialsNotLoaded(_) => {
                    "no AWS key is found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role"
                }
                CredentialsError::ProviderTimedOut(_) => "the AWS key takes too long to come",
                CredentialsError::InvalidConfiguration(_) => "AWS's configuration can't be used",
                _ => "the AWS key can't be had",
            };
            // The causes name files, profiles and statuses, and no key.
            LoginError::Broken(format!("{what} ({})", causes(&error)))
        })
    }

    async fn set_up(&self, region: &str) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .http_client(http::SmithyClient::new(self.cloud.clone()));
        if let Some(profile) = &self.settings.profile {
            loader = loader.profile_name(profile);
        }
        loader.load().await
    }
}

impl Source for Ecr {
    fn account(&self, _: &Origin, _: Option<&RepositoryName>) -> String {
        self.registry.to_string()
    }

    fn issue<'a>(&'a self, _: &'a Origin, _: &'a str) -> Issuing<'a> {
        Box::pin(in_time("no password for Amazon ECR", self.password()))
    }
}
