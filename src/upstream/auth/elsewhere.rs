//! Other registries, which an upstream redirects to and which make challenges of their own, as those
//! behind registry.k8s.io do. They are met anonymously: forebay's own credentials are never offered.

use std::sync::Arc;

use url::Url;

use super::{Auth, Grant, Wish, is_about_login};
use crate::oci::RepositoryName;
use crate::upstream::address::Origin;
use crate::upstream::challenge::{Bearer, Challenge, ChallengeError, Complaint};
use crate::upstream::credentials::{Held, Login};
use crate::upstream::error::{ErrorKind, UpstreamError};
use crate::upstream::redirect;
use crate::upstream::refusal::Refusal;

impl Auth {
    /// What a request to another registry can bring along on account of earlier challenges: an anonymous token of that
    /// registry, or nothing.
    pub(crate) async fn foresee_elsewhere(
        &self,
        asked: &Url,
    ) -> Result<Option<Grant>, UpstreamError> {
        let (Some(registry), Some(name)) = (Origin::of(asked), redirect::repository_in(asked))
        else {
            return Ok(None);
        };
        let Some(bearer) = self.elsewhere.get(&registry) else {
            return Ok(None);
        };
        match self.anonymous(&registry, &bearer, &name).await {
            Ok(grant) => Ok(Some(grant)),
            // As in `foresee`.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Policy) => {
                self.elsewhere.invalidate(&registry);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What meets the challenge of another registry, as [`Auth::answer`] does at home, anonymously.
    pub(crate) async fn answer_elsewhere(
        &self,
        asked: &Url,
        refusal: &Refusal,
        refused: Option<&Grant>,
    ) -> Result<Option<Grant>, UpstreamError> {
        let (Some(registry), Some(name)) = (Origin::of(asked), redirect::repository_in(asked))
        else {
            return Ok(None);
        };
        let fault = Complaint::from_headers(&refusal.headers).fault;
        if !is_about_login(refusal, fault, refused)
            || refused.is_some_and(|grant| !self.forget_token(grant, fault))
        {
            return Ok(None);
        }
        let bearer = match Challenge::from_headers(&refusal.headers, asked) {
            Ok(Challenge::Bearer(bearer)) => Some(Arc::new(bearer)),
            Err(ChallengeError::Missing) => self.elsewhere.get(&registry),
            _ => None,
        };
        let Some(bearer) = bearer else {
            return Ok(None);
        };
        let grant = self.anonymous(&registry, &bearer, &name).await?;
        self.elsewhere.insert(registry, bearer);
        Ok(Some(grant))
    }

    async fn anonymous(
        &self,
        registry: &Origin,
        bearer: &Bearer,
        name: &RepositoryName,
    ) -> Result<Grant, UpstreamError> {
        let nobody = Arc::new(Held::fixed(Login::Anonymous));
        let wish = Wish {
            registry,
            known_as: Some(name),
        };
        self.bearer(bearer, nobody, wish).await
    }
}
