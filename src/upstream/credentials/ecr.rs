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
    /// To the services that keys come from.
    cloud: Cloud,
    /// To the API that gives the passwords.
    api: Cloud,
}

impl Ecr {
    pub(super) fn new(settings: config::Ecr, registry: Registry, cloud: Cloud, api: Cloud) -> Ecr {
        Ecr {
            settings,
            registry,
            cloud,
            api,
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
            .api
            .send(request)
            .await
            .map_err(|what| LoginError::Broken(format!("Amazon ECR's API {what}")))?;
        issued(&answer, now)
    }

    /// The AWS key that the chain comes up with. It is set up for each password, since it keeps what it has read and got: a
    /// key that is written over another one in a file would count after a restart.
    async fn key(&self, region: &str) -> Result<aws_credential_types::Credentials, LoginError> {
        let client = http::SmithyClient::new(self.cloud.clone());
        let chain = self.set_up(region, client.clone()).await;
        let provider = chain
            .credentials_provider()
            .ok_or_else(|| LoginError::Broken("AWS's credential chain is empty".to_owned()))?;
        provider.provide_credentials().await.map_err(|error| {
            let (what, may_be_refused) = match error {
                CredentialsError::CredentialsNotLoaded(_) => (
                    "no AWS key is found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role",
                    false,
                ),
                CredentialsError::ProviderTimedOut(_) => {
                    ("the AWS key takes too long to come", false)
                }
                CredentialsError::InvalidConfiguration(_) => {
                    ("AWS's configuration can't be used", false)
                }
                _ => ("the AWS key can't be had", true),
            };
            // The causes name files, profiles and statuses, and no key.
            let message = format!("{what} ({})", causes(&error));
            if may_be_refused && client.was_refused() {
                LoginError::Refused(message)
            } else {
                LoginError::Broken(message)
            }
        })
    }

    async fn set_up(&self, region: &str, client: http::SmithyClient) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .http_client(client);
        if let Some(profile) = &self.settings.profile {
            loader = loader.profile_name(profile);
        }
        loader.load().await
    }
}

/// The login that the API's answer gives.
fn issued(answer: &::http::Response<bytes::Bytes>, now: SystemTime) -> Result<Issued, LoginError> {
    let password = api::read(answer, now)?;
    let login = Login::Password {
        username: password.username,
        password: password.secret,
    };
    Ok(Issued::for_a_while(login, password.life))
}

impl Source for Ecr {
    fn account(&self, _: &Origin, _: Option<&RepositoryName>) -> String {
        self.registry.to_string()
    }

    fn issue<'a>(&'a self, _: &'a Origin, _: &'a str) -> Issuing<'a> {
        Box::pin(in_time("no password for Amazon ECR", self.password()))
    }
}

#[cfg(test)]
mod tests;
