//! A machine that pulls images: HEAD of the tag, the index and its platform's manifest by digest, then config and layers
//! over a few connections at once.
//!
//! As containerd: connections are kept, 408 and 429 are asked again at once, five times, whatever `Retry-After` says, and
//! whatever else is wrong fails the pull. It keeps nothing between pulls, as a CI runner that is thrown away.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::Method;
use serde::Deserialize;

use super::connection::{Answer, Connection};
use super::way::Way;
use crate::origin::{Descriptor, Digest, Platform};

/// How many blobs a node fetches at once.
const AT_ONCE: usize = 3;
/// How often it asks again where it is told that there is too much to do.
const AGAIN: usize = 5;

/// A machine that pulls.
#[derive(Debug)]
pub struct Node {
    lines: [Line; AT_ONCE],
    platform: Platform,
}

/// A whole image that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What the tag pointed at.
    pub root: Digest,
    /// `Cache-Status` of the tag's answer; empty where there is none.
    pub cache_status: String,
}

/// A pull that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was asked for.
    pub path: String,
    /// The status that it was answered with, if there was an answer.
    pub status: Option<u16>,
    /// What is wrong with it.
    pub told: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, status, told } = self;
        match status {
            Some(status) => write!(f, "{path}: {status}: {told}"),
            None => write!(f, "{path}: {told}"),
        }
    }
}

impl std::error::Error for Failure {}

/// What a manifest refers to, be it an index or an image's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
}

impl Node {
    /// One for Linux on amd64, which asks there, from an address of this machine or from any.
    pub fn new(from: Option<IpAddr>, registry: SocketAddr) -> Self {
        Self {
            lines: std::array::from_fn(|_| Line {
                from,
                registry,
                connection: None,
                requests: 0,
            }),
            platform: Platform::linux("amd64"),
        }
    }

    /// How many requests it has sent.
    pub fn requests(&self) -> u64 {
        self.lines.iter().map(|line| line.requests).sum()
    }

    /// Pulls an image, whole and checked.
    pub async fn pull(&mut self, repository: &str, tag: &str) -> Result<Pulled, Failure> {
        let manifest = |reference: &str| format!("/v2/{repository}/manifests/{reference}");
        let line = &mut self.lines[0];
        let head = line.ask(&Method::HEAD, &manifest(tag)).await?;
        let root = Digest::from(head.header("docker-content-digest"));
        let mut found = line.manifest(&manifest(root.as_str()), &root).await?;
        if found.config.is_none() {
            let wanted = Some(&self.platform);
            let mut children = found.manifests.iter();
            let child = children.find(|child| child.platform.as_ref() == wanted);
            let child = child.ok_or_else(|| {
                failure(&manifest(tag), None, "there is no image for the platform")
            })?;
            let path = manifest(child.digest.as_str());
            found = line.manifest(&path, &child.digest).await?;
        }
        let blobs: Vec<_> = found.config.iter().chain(&found.layers).collect();
        self.blobs(repository, &blobs).await?;
        Ok(Pulled {
            root,
            cache_status: head.header("cache-status").to_owned(),
        })
    }

    async fn blobs(&mut self, repository: &str, blobs: &[&Descriptor]) -> Result<(), Failure> {
        let [first, second, third] = &mut self.lines;
        let every = |nth: usize| blobs.iter().skip(nth).step_by(AT_ONCE).copied();
        tokio::try_join!(
            first.blobs(repository, every(0)),
            second.blobs(repository, every(1)),
            third.blobs(repository, every(2)),
        )?;
        Ok(())
    }
}

/// One of a node's connections, made when it is needed.
#[derive(Debug)]
struct Line {
    from: Option<IpAddr>,
    registry: SocketAddr,
    connection: Option<Connection>,
    requests: u64,
}

impl Line {
    async fn blobs(
        &mut self,
        repository: &str,
        blobs: impl Iterator<Item = &Descriptor>,
    ) -> Result<(), Failure> {
        for blob in blobs {
            let path = format!("/v2/{repository}/blobs/{}", blob.digest);
            let body = self.content(&path, &blob.digest).await?;
            if body.len() as u64 != blob.size {
                return Err(failure(&path, None, "its size is another one"));
            }
        }
        Ok(())
    }

    async fn manifest(&mut self, path: &str, digest: &Digest) -> Result<Manifest, Failure> {
        let body = self.content(path, digest).await?;
        serde_json::from_slice(&body).map_err(|error| failure(path, None, &error.to_string()))
    }

    /// What a digest names.
    async fn content(&mut self, path: &str, digest: &Digest) -> Result<Bytes, Failure> {
        let answer = self.ask(&Method::GET, path).await?;
        if Digest::sha256(&answer.body) == *digest {
            Ok(answer.body)
        } else {
            Err(failure(
                path,
                None,
                "its bytes are not what its digest says",
            ))
        }
    }

    /// An answer of 200.
    async fn ask(&mut self, method: &Method, path: &str) -> Result<Answer, Failure> {
        let mut again = AGAIN;
        loop {
            let answer = self.exchange(method, path).await;
            let answer = answer.map_err(|error| failure(path, None, &error.to_string()))?;
            match answer.status {
                200 => return Ok(answer),
                408 | 429 if again > 0 => again -= 1,
                status => {
                    let told = String::from_utf8_lossy(&answer.body);
                    return Err(failure(path, Some(status), &told));
                }
            }
        }
    }

    /// Asks on the connection that it has, and where that turns out to have been over, on a new one.
    async fn exchange(&mut self, method: &Method, path: &str) -> io::Result<Answer> {
        if let Some(connection) = self.connection.as_mut().filter(|it| it.is_open()) {
            self.requests += 1;
            let answer = connection.ask(method, path).await;
            if answer.is_ok() || !connection.was_over() {
                return answer;
            }
        }
        let connection = Connection::open(self.from, &Way::plain(self.registry)).await?;
        self.requests += 1;
        self.connection.insert(connection).ask(method, path).await
    }
}

fn failure(path: &str, status: Option<u16>, told: &str) -> Failure {
    Failure {
        path: path.to_owned(),
        status,
        told: told.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Content, Fault, ImageSpec, Kind, Origin, Quota, Reply};

    async fn origin() -> Origin {
        let spec = ImageSpec {
            layers: 4,
            layer_size: 5_000,
            content: Content::Opaque,
            ..ImageSpec::default()
        };
        let builder = Origin::builder().repository("library/app", |repository| {
            repository.multi_arch_image("v1", &spec)
        });
        builder.start().await.unwrap()
    }

    fn node(origin: &Origin) -> Node {
        Node::new(None, origin.host().parse().unwrap())
    }

    #[tokio::test]
    async fn a_pull_asks_for_each_part_of_one_platforms_image_once() {
        let origin = origin().await;
        let mut node = node(&origin);
        let pulled = node.pull("library/app", "v1").await.unwrap();
        assert_eq!(pulled.root, origin.image("library/app", "v1").root.digest);
        let counts = origin.counts();
        let asked = [Kind::ManifestHead, Kind::ManifestGet, Kind::BlobGet];
        assert_eq!(asked.map(|kind| counts.requests(kind)), [1, 2, 5]);
        assert_eq!((counts.total(), node.requests()), (8, 8));
        let ports: std::collections::HashSet<_> =
            origin.requests().iter().map(|it| it.client).collect();
        assert_eq!(ports.len(), AT_ONCE, "connections are kept");
    }

    #[tokio::test]
    async fn a_refusal_for_load_is_asked_again_at_once_and_then_fails_the_pull() {
        let origin = origin().await;
        origin.set_quota(Some(Quota {
            anonymous: 1,
            ..Quota::default()
        }));
        let failed = node(&origin).pull("library/app", "v1").await.unwrap_err();
        assert_eq!(failed.status, Some(429), "{failed}");
        assert_eq!(origin.counts().requests(Kind::ManifestGet), 7);
        origin.set_quota(None);
        let busy = Fault::Answer(Reply::abuse_limit());
        origin.on(Kind::ManifestHead).times(5, busy);
        node(&origin).pull("library/app", "v1").await.unwrap();
    }

    #[tokio::test]
    async fn wrong_bytes_and_cut_ones_fail_the_pull() {
        for fault in [Fault::FlipBit(3), Fault::CutAt(3)] {
            let origin = origin().await;
            origin.on(Kind::BlobGet).once(fault);
            let failed = node(&origin).pull("library/app", "v1").await.unwrap_err();
            assert_eq!(failed.status, None, "{failed}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_meanwhile_is_made_anew() {
        let origin = origin().await;
        let mut node = node(&origin);
        node.pull("library/app", "v1").await.unwrap();
        origin.stop().await;
        assert!(node.pull("library/app", "v1").await.is_err());
        origin.start_again().await.unwrap();
        node.pull("library/app", "v1").await.unwrap();
    }
}
