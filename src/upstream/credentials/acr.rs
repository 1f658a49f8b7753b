//! Azure's container registry: an access token of Entra ID is exchanged at the registry for a refresh token, which its
//! token service takes.
//!
//! The access token comes from where Azure's own tools find one, first things first: a service principal's secret, a
//! federated token (workload identity), the managed identity of the machine or of the app service. These are single
//! requests, so they are made here, rather than by a library with an HTTP stack of its own.

mod entra;

use std::time::Duration;

use http::{Method, Request};
use serde::Deserialize;

use super::cloud::{Cloud, Question, form};
use super::{Issued, Issuing, Login, LoginError, Source, in_time};
use crate::config::{self, Secret};
use crate::oci::RepositoryName;
use crate::upstream::address::Origin;

/// A registry's refresh token lives for three hours; it is replaced well before.
const LIFE: Duration = Duration::from_hours(2);

/// The refresh tokens of one registry.
#[derive(Debug)]
pub(super) struct Acr {
    settings: config::Acr,
    cloud: Cloud,
}

#[derive(Deserialize)]
struct Exchanged {
    refresh_token: String,
}

impl Acr {
    pub(super) fn new(settings: config::Acr, cloud: Cloud) -> Acr {
        Acr { settings, cloud }
    }

    async fn refresh_token(&self, registry: &Origin) -> Result<Issued, LoginError> {
        let token = entra::access_token(&self.cloud, &self.settings).await?;
        let body = form(&[
            ("grant_type", "access_token"),
            ("service", &registry.authority()),
            ("access_token", token.expose()),
        ]);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{registry}/oauth2/exchange"));
        let question = Question {
            who: "the registry's token exchange",
            request,
            form: Some(body),
            secrets: &[token.expose()],
        };
        let answer = self.cloud.ask(question).await?;
        let answer: Exchanged = serde_json::from_slice(&answer).map_err(|_| {
            LoginError::Broken("the registry's token exchange gives no refresh token".to_owned())
        })?;
        let login = Login::IdentityToken(Secret::new(answer.refresh_token));
        Ok(Issued::for_a_while(login, LIFE))
    }
}

impl Source for Acr {
    fn account(&self, registry: &Origin, _: Option<&RepositoryName>) -> String {
        registry.authority()
    }

    fn issue<'a>(&'a self, registry: &'a Origin, _: &'a str) -> Issuing<'a> {
        Box::pin(async move {
            let what = format!("no login for {}", registry.authority());
            in_time(&what, self.refresh_token(registry)).await
        })
    }
}
