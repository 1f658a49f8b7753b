//! Google's registries: an access token as password, from a service account's key or from where Google's own tools find
//! one: a file that the environment names, the file of `gcloud auth application-default login`, the metadata of an
//! instance.
//!
//! These are single requests, so they are made here: a library with an HTTP stack of its own knows neither the proxies nor
//! the trusted certificates, and one that keeps tokens knows nothing of those that were refused. The file is read each
//! time, so that another key counts without a restart.

mod key;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::{Method, Request};
use serde::Deserialize;

use self::key::Key;
use super::cloud::{Cloud, Question, form};
use super::{Issued, Issuing, Login, LoginError, Source, in_time};
use crate::config::{self, Secret};
use crate::oci::RepositoryName;
use crate::upstream::address::Origin;

/// Google's registries ask for no narrower one.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The user's name that says that the password is an access token.
const USER: &str = "oauth2accesstoken";
/// A token that says otherwise is not believed.
const LONGEST: Duration = Duration::from_hours(1);
/// Where a machine finds its service account.
const METADATA: &str = "metadata.google.internal";
/// Where `gcloud` writes its user's login, below its directory.
const WELL_KNOWN: &str = "application_default_credentials.json";

/// The access tokens of one account.
#[derive(Debug)]
pub(super) struct Gcp {
    settings: config::Gcp,
    cloud: Cloud,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// In seconds.
    expires_in: u64,
}

impl Gcp {
    pub(super) fn new(settings: config::Gcp, cloud: Cloud) -> Gcp {
        Gcp { settings, cloud }
    }

    async fn token(&self) -> Result<Issued, LoginError> {
        let named = self.settings.key_file.clone();
        let file = named
            .or_else(|| variable("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from))
            .or_else(|| well_known().filter(|path| path.exists()));
        let answer = match file {
            Some(path) => self.by_file(path).await?,
            None => self.by_metadata().await?,
        };
        read(&answer)
    }

    /// A token for the key or the login in a file.
    async fn by_file(&self, path: PathBuf) -> Result<bytes::Bytes, LoginError> {
        // Reading and signing take a while.
        let proof = move || Key::read(&path)?.proof(SCOPE, SystemTime::now());
        let proof = tokio::task::spawn_blocking(proof)
            .await
            .map_err(|_| LoginError::Broken("Google's credentials can't be read".to_owned()))??;
        let fields: Vec<_> = proof
            .fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let secrets: Vec<_> = fields
            .iter()
            .filter(|(name, _)| proof.secrets.contains(name))
            .map(|(_, value)| *value)
            .collect();
        let question = Question {
            who: "Google's token service",
            request: Request::builder()
                .method(Method::POST)
                .uri(proof.token_uri.as_str()),
            form: Some(form(&fields)),
            secrets: &secrets,
        };
        self.cloud.ask(question).await
    }

    /// A token of the service account that the machine has.
    async fn by_metadata(&self) -> Result<bytes::Bytes, LoginError> {
        let host = variable("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned());
        let scopes = form(&[("scopes", SCOPE)]);
        let path = "computeMetadata/v1/instance/service-accounts/default/token";
        let question = Question {
            who: "no Google credentials are found: set gcp_key_file or GOOGLE_APPLICATION_CREDENTIALS, or run where there \
                  is a metadata server. That of this machine",
            request: Request::builder()
                .uri(format!("http://{host}/{path}?{scopes}"))
                .header("metadata-flavor", "Google"),
            form: None,
            secrets: &[],
        };
        self.cloud.ask(question).await
    }
}

/// The login that an answer gives. Its life is counted from now, whatever the machine's clock says.
fn read(answer: &[u8]) -> Result<Issued, LoginError> {
    let unusable = || LoginError::Broken("Google gives no usable access token".to_owned());
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| unusable())?;
    // The metadata server keeps a token until shortly before its end.
    let life = Duration::from_secs(answer.expires_in).min(LONGEST);
    if life.is_zero() || answer.access_token.is_empty() {
        return Err(unusable());
    }
    let login = Login::Password {
        username: USER.to_owned(),
        password: Secret::new(answer.access_token),
    };
    Ok(Issued::for_a_while(login, life))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The file of the login that `gcloud auth application-default login` made.
fn well_known() -> Option<PathBuf> {
    if let Some(directory) = variable("CLOUDSDK_CONFIG") {
        return Some(Path::new(&directory).join(WELL_KNOWN));
    }
    let home = variable("HOME")?;
    Some(Path::new(&home).join(".config/gcloud").join(WELL_KNOWN))
}

impl Source for Gcp {
    fn account(&self, _: &Origin, _: Option<&RepositoryName>) -> String {
        USER.to_owned()
    }

    fn issue<'a>(&'a self, _: &'a Origin, _: &'a str) -> Issuing<'a> {
        Box::pin(in_time("Google gives no access token", self.token()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library's token was good until a time by the machine's clock, at least for a minute and without an upper bound: with
    /// the clock an hour behind a dead token was taken for good, and a dying one was kept.
    #[test]
    fn a_token_is_believed_for_as_long_as_google_says_and_an_hour_at_most() {
        let life = |seconds: &str| {
            let answer = format!(r#"{{"access_token": "t", "expires_in": {seconds}}}"#);
            read(answer.as_bytes()).map(|issued| (issued.renew_after, issued.expires_after))
        };
        let lasts = |seconds| {
            Ok((
                Duration::from_secs(seconds) / 2,
                Some(Duration::from_secs(seconds)),
            ))
        };
        assert_eq!(life("3599"), lasts(3599));
        assert_eq!(life("86400"), lasts(3600));
        assert_eq!(life("5"), lasts(5));
        for odd in ["0", "-1", "null"] {
            assert!(matches!(life(odd), Err(LoginError::Broken(_))), "{odd}");
        }
    }
}
