//! Where a client asks, and how it writes an image's name there.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use tokio::time::{sleep, timeout};
use url::Url;

use super::connection::{Answer, Connection};
use super::reference::Reference;
use super::way::Way;

/// Between two looks whether somebody answers.
const PAUSE: Duration = Duration::from_millis(100);

/// What a client takes a server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What it asks first.
    Mirror,
    /// The registry that the image is from.
    Registry,
}

/// A server that clients ask for images.
#[derive(Clone)]
pub struct Place {
    pub(super) way: Way,
    pub(super) role: Role,
    /// What stands before `/v2/` in each path: empty, or a path without a slash at its end.
    base: String,
}

impl Place {
    /// A mirror, in plain HTTP.
    pub fn mirror(address: SocketAddr) -> Self {
        Self::plain(address, Role::Mirror)
    }

    /// The registry itself, in plain HTTP.
    pub fn registry(address: SocketAddr) -> Self {
        Self::plain(address, Role::Registry)
    }

    fn plain(address: SocketAddr, role: Role) -> Self {
        Self {
            way: Way::plain(address),
            role,
            base: String::new(),
        }
    }

    /// A mirror by its URL, whose host is looked up here. `authority` is the PEM file of whom to trust with `https`.
    ///
    /// # Errors
    /// What is no URL of a mirror, can't be looked up, or lacks an authority.
    pub async fn of_url(url: &str, authority: Option<&Path>) -> io::Result<Self> {
        let no = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {what}"));
        let parsed = Url::parse(url).map_err(|error| no(&error.to_string()))?;
        let port = parsed.port_or_known_default();
        let (Some(host), Some(port)) = (parsed.host_str(), port) else {
            return Err(no("write it as http://HOST:PORT"));
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut found = tokio::net::lookup_host((bare, port)).await?;
        let address = found.next().ok_or_else(|| no("its host has no address"))?;
        let way = match (parsed.scheme(), authority) {
            ("http", _) => Way::plain(address),
            ("https", Some(authority)) => Way::secure(address, authority)?,
            ("https", None) => return Err(no("whom is to be trusted? say so with --ca FILE")),
            _ => return Err(no("write it as http://HOST:PORT")),
        };
        let authority = match parsed.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self {
            way: way.named(bare, &authority)?,
            role: Role::Mirror,
            base: parsed.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.way.address()
    }

    /// Waits until somebody answers there, whatever the answer: a mirror may want its upstream to be there before it starts.
    ///
    /// # Errors
    /// Where nobody does in this time.
    pub async fn until_it_answers(&self, patience: Duration) -> io::Result<()> {
        let answered = async {
            // Nobody tells when it begins to.
            while self.ask().await.is_err() {
                sleep(PAUSE).await;
            }
        };
        let told = |_| format!("{self:?}: nobody answers there");
        let answered = timeout(patience, answered).await.map_err(told);
        answered.map_err(|told| io::Error::new(io::ErrorKind::TimedOut, told))
    }

    async fn ask(&self) -> io::Result<Answer> {
        let mut connection = Connection::open(None, &self.way).await?;
        connection.ask(&Method::GET, &self.ping()).await
    }

    /// The ping's path.
    pub(super) fn ping(&self) -> String {
        format!("{}/v2/", self.base)
    }

    /// A path in the image's repository, the registry named in a query, as containerd does it; not to the registry itself.
    pub(super) fn with_ns(&self, image: &Reference, rest: &str) -> String {
        let (base, repository) = (&self.base, image.repository());
        match self.role {
            Role::Mirror => format!("{base}/v2/{repository}/{rest}?ns={}", image.registry()),
            Role::Registry => format!("{base}/v2/{repository}/{rest}"),
        }
    }

    /// A path in the image's repository, the registry named in the path, as other clients are set up for it; not Docker Hub,
    /// which mirrors take for meant.
    pub(super) fn with_prefix(&self, image: &Reference, rest: &str) -> String {
        let (base, repository) = (&self.base, image.repository());
        if self.role == Role::Mirror && !image.is_of_docker_hub() {
            format!("{base}/v2/{}/{repository}/{rest}", image.registry())
        } else {
            format!("{base}/v2/{repository}/{rest}")
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, role, base } = self;
        write!(f, "{role:?} at {}{base}", way.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mirrors_url_may_have_a_path_and_names_the_host_that_is_asked_for() {
        let place = Place::of_url("http://localhost:5000/team/", None).await;
        let place = place.unwrap();
        let image: Reference = "ghcr.io/a/b:v1".parse().unwrap();
        assert_eq!(place.ping(), "/team/v2/");
        assert_eq!(place.with_ns(&image, "x"), "/team/v2/a/b/x?ns=ghcr.io");
        assert_eq!(place.with_prefix(&image, "x"), "/team/v2/ghcr.io/a/b/x");
        assert_eq!(place.way.host(), "localhost:5000");
        let hub: Reference = "alpine".parse().unwrap();
        assert_eq!(place.with_prefix(&hub, "x"), "/team/v2/library/alpine/x");
        for bad in ["localhost:5000", "ftp://localhost", "https://localhost", ""] {
            assert!(Place::of_url(bad, None).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_yet_is_waited_for() {
        let origin = crate::origin::Origin::builder().start().await.unwrap();
        let place = Place::mirror(origin.host().parse().unwrap());
        origin.stop().await;
        let error = place.until_it_answers(Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains("nobody answers there"));
        let waits = place.until_it_answers(Duration::from_mins(1));
        let (waited, started) = tokio::join!(waits, origin.start_again());
        waited.unwrap();
        started.unwrap();
    }

    #[test]
    fn the_registry_itself_is_told_of_no_registry() {
        let place = Place::registry("127.0.0.1:1".parse().unwrap());
        let image: Reference = "ghcr.io/a/b:v1".parse().unwrap();
        assert_eq!(place.with_ns(&image, "x"), "/v2/a/b/x");
        assert_eq!(place.with_prefix(&image, "x"), "/v2/a/b/x");
    }
}
