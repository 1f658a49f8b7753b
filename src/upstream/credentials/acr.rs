//! Azure's container registry: an access token of Entra ID is exchanged at the registry for a refresh token, which its
//! token service takes.
//!
//! The access token comes from where Azure's own tools find one, first things first: a service principal's secret, a
//! federated token (workload identity), the managed identity of the machine or of the app service. These are single
//! requests, so they are made here, rather than by a library with an HTTP stack of its own.

mod entra;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use serde::Deserialize;

use super::cloud::{Cloud, MAX_ANSWER, form, judge};
use super::{Issued, Issuing, Login, LoginError, Source, in_time};
use crate::config::{self, Secret};
use crate::oci::RepositoryName;
use crate::upstream::address::Origin;
use crate::upstream::body::read_small;
use crate::upstream::transport::{Outgoing, Transport};

/// How errors call it.
const EXCHANGE: &str = "the registry's token exchange";
/// A registry's refresh token lives for three hours; it is replaced well before.
const LIFE: Duration = Duration::from_hours(2);

/// The refresh tokens of one registry.
#[derive(Debug)]
pub(super) struct Acr {
    settings: config::Acr,
    /// To whoever knows the identity.
    cloud: Cloud,
    /// To the registry.
    transport: Arc<Transport>,
}

#[derive(Deserialize)]
struct Exchanged {
    refresh_token: String,
}

impl Acr {
    pub(super) fn new(settings: config::Acr, cloud: Cloud, transport: Arc<Transport>) -> Acr {
        Acr {
            settings,
            cloud,
            transport,
        }
    }

    async fn refresh_token(&self, registry: &Origin) -> Result<Issued, LoginError> {
        let token = entra::access_token(&self.cloud, &self.settings).await?;
        let body = form(&[
            ("grant_type", "access_token"),
            ("service", &registry.authority()),
            ("access_token", token.expose()),
        ]);
        let answer = self.exchange(registry, body).await?;
        let answer = judge(EXCHANGE, &answer, &[token.expose()])?;
        let answer: Exchanged = serde_json::from_slice(&answer)
            .map_err(|_| LoginError::Broken(format!("{EXCHANGE} gives no refresh token")))?;
        let login = Login::IdentityToken(Secret::new(answer.refresh_token));
        Ok(Issued::for_a_while(login, LIFE))
    }

    /// Asks the registry, by the way that all requests to it take.
    async fn exchange(
        &self,
        registry: &Origin,
        form: String,
    ) -> Result<Response<Bytes>, LoginError> {
        let broken = |what: &dyn std::fmt::Display| {
            LoginError::Broken(format!("{EXCHANGE} can't be asked: {what}"))
        };
        let url = format!("{registry}/oauth2/exchange");
        let outgoing = Outgoing {
            method: Method::POST,
            url: url.parse().map_err(|error| broken(&error))?,
            authorization: None,
            accept: None,
            range: None,
            form: Some(form),
            unproven: false,
        };
        let answer = self.transport.send(outgoing).await;
        let mut answer = answer.map_err(|error| broken(&error))?;
        let body = read_small(&mut answer, MAX_ANSWER, self.transport.body_idle()).await;
        let mut read = Response::new(body.map_err(|error| broken(&error))?);
        *read.status_mut() = answer.status();
        Ok(read)
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
