//! The handle on a running origin: its content, its faults, its switches.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Server;
use super::builder::Builder;
use super::cdn::Blobs;
use super::image::Image;
use super::listener::Port;
use super::profiles::Profile;
use super::quota::Quota;
use super::repository::Repository;
use super::request::{Kind, When};
use super::script::On;
use super::state::State;

/// A running origin. Dropping it stops it.
#[derive(Debug)]
pub struct Origin {
    pub(crate) state: Arc<State>,
    /// In the order of [`Server`]'s variants.
    ports: [Port; 3],
}

impl Origin {
    pub(crate) fn new(state: Arc<State>, ports: [Port; 3]) -> Self {
        Self { state, ports }
    }

    /// An origin to be decided on.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// One with tokens, redirects to the CDN, and Docker Hub's quota.
    pub fn docker_hub() -> Builder {
        Profile::DOCKER_HUB.origin()
    }

    /// The registry as `host:port`.
    pub fn host(&self) -> &str {
        &self.state.hosts.registry
    }

    /// The registry as `http://host:port`.
    pub fn registry_url(&self) -> String {
        format!("http://{}", self.state.hosts.registry)
    }

    /// The token service's URL, the realm of challenges.
    pub fn token_url(&self) -> String {
        self.state.token_url()
    }

    /// The CDN as `http://host:port`.
    pub fn cdn_url(&self) -> String {
        self.state.cdn_url()
    }

    // Content.

    /// The image under a tag, all the way down.
    ///
    /// # Panics
    ///
    /// If there is no such repository or tag.
    pub fn image(&self, repository: &str, tag: &str) -> Image {
        self.state
            .repository(repository)
            .and_then(|known| known.describe(tag))
            .unwrap_or_else(|| panic!("the origin has no {repository}:{tag}"))
    }

    /// Changes a repository while the origin runs: adds to it, moves and deletes
    /// tags, opens and shuts it. One that does not exist is made.
    pub fn edit<R>(&self, repository: &str, change: impl FnOnce(&mut Repository) -> R) -> R {
        self.state.edit(repository, change)
    }

    /// The bytes of a blob or manifest that the origin holds.
    ///
    /// # Panics
    ///
    /// If it does not hold them.
    pub fn content(&self, repository: &str, digest: impl AsRef<str>) -> Bytes {
        let digest = digest.as_ref();
        self.state
            .repository(repository)
            .and_then(|known| known.content(digest))
            .unwrap_or_else(|| panic!("the origin has no {digest} in {repository}"))
    }

    // Faults.

    /// Begins to script a fault for some requests: a [`Kind`] or a [`When`].
    pub fn on(&self, when: impl Into<When>) -> On<'_> {
        On::new(&self.state.faults, when.into())
    }

    /// As [`Self::on`], for the requests that get the bytes of a blob: at the CDN
    /// where blobs are redirected, else at the registry.
    pub fn on_body(&self, digest: impl AsRef<str>) -> On<'_> {
        let kind = match self.state.settings.blobs {
            Blobs::Direct => Kind::BlobGet,
            Blobs::Redirect(_) => Kind::CdnGet,
        };
        self.on(kind).reference(digest)
    }

    /// Forgets all faults; what they hold stays held.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Makes every token that was issued expire now.
    pub fn expire_tokens(&self) {
        self.state.guard.expire_tokens();
    }

    /// The refresh tokens that it gave for access tokens and that are good, in no order.
    pub fn refresh_tokens(&self) -> Vec<String> {
        self.state.guard.exchanged()
    }

    /// Gives a user another password; the old one has expired, and what was given for it.
    pub fn set_password(&self, user: &str, password: &str) {
        self.state.guard.set_password(user, password);
    }

    /// Makes every signed URL that was given out invalid now.
    pub fn expire_redirects(&self) {
        self.state.signer.void();
    }

    /// Sets or lifts the quota, with nothing spent.
    ///
    /// # Panics
    ///
    /// If a thread panicked while it did the same.
    pub fn set_quota(&self, quota: Option<Quota>) {
        *self
            .state
            .quota
            .lock()
            .expect("nobody panics with the lock") = quota;
        self.state.ledger.reset();
    }

    /// How many pulls are left, if there is a quota: to the address or the user that has the least.
    pub fn quota_left(&self) -> Option<i64> {
        let quota = self.state.quota()?;
        Some(self.state.ledger.left(&quota))
    }

    // Off and on.

    /// Switches everything off: connects are refused, connections end.
    pub async fn stop(&self) {
        for port in &self.ports {
            port.stop().await;
        }
    }

    /// Switches on what is off, on the same ports.
    #[expect(
        clippy::unused_async,
        reason = "to be called where tasks can be spawned"
    )]
    pub async fn start_again(&self) -> io::Result<()> {
        self.ports
            .iter()
            .try_for_each(|port| port.start(&self.state))
    }

    /// Switches one server off.
    pub async fn stop_server(&self, server: Server) {
        self.ports[server as usize].stop().await;
    }

    /// Switches one server on again.
    #[expect(
        clippy::unused_async,
        reason = "to be called where tasks can be spawned"
    )]
    pub async fn start_server(&self, server: Server) -> io::Result<()> {
        self.ports[server as usize].start(&self.state)
    }
}
