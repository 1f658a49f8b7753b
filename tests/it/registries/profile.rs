//! A registry as one of the origin's profiles, and a mirror of it.

use std::time::Duration;

use forebay_loadtest::cloud::{Aws, Key};
use forebay_loadtest::origin::{Image, ImageManifest, ImageSpec, Kind, Origin, Profile, Request};
use futures_util::future::join_all;

use crate::harness::{Answer, Forebay, Setup};

pub(super) const REPOSITORY: &str = "team/app";
/// The password while nothing has expired.
pub(super) const PASSWORD: &str = "canary-password";

/// A registry with two multi-arch images, and what gives its passwords.
pub(super) struct Site {
    pub(super) profile: Profile,
    pub(super) origin: Origin,
    pub(super) aws: Option<Aws>,
}

/// The requests that an upstream was asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Passwords from a cloud.
    pub(super) passwords: usize,
    pub(super) tokens: usize,
    /// Answered with 400, 401 or 403: to ask for a login, or for another one.
    pub(super) refused: usize,
    pub(super) redirects: usize,
    pub(super) manifests: usize,
    pub(super) blobs: usize,
    /// Manifests confirmed by HEAD.
    pub(super) confirmed: usize,
    /// Requests that no pull needs.
    pub(super) others: usize,
}

impl Cost {
    pub(super) fn total(&self) -> usize {
        let Self {
            passwords,
            tokens,
            refused,
            redirects,
            manifests,
            blobs,
            confirmed,
            others,
        } = self;
        passwords + tokens + refused + redirects + manifests + blobs + confirmed + others
    }

    fn add(&mut self, request: &Request) {
        let status = request.status.unwrap_or_default();
        let class = match (request.kind, status) {
            (Kind::Token, 200) => &mut self.tokens,
            (_, 400 | 401 | 403) => &mut self.refused,
            (_, 300..400) => &mut self.redirects,
            (Kind::ManifestGet, 200) => &mut self.manifests,
            (Kind::ManifestHead, 200) => &mut self.confirmed,
            (Kind::BlobGet | Kind::CdnGet, 200 | 206) => &mut self.blobs,
            _ => &mut self.others,
        };
        *class += 1;
    }
}

impl Site {
    pub(super) async fn start(profile: Profile) -> Self {
        let mut builder = profile.origin().repository(REPOSITORY, |repository| {
            for tag in ["v1", "v2"] {
                repository.multi_arch_image(tag, &ImageSpec::default());
            }
            if profile.user.is_some() {
                repository.private();
            }
        });
        if let Some(user) = profile.user {
            builder = builder.user(user, PASSWORD);
        }
        let aws = if profile.name == "ecr" {
            let key = Key::new("AKIDCANARY", "canary-key", Some("canary-session"));
            Some(Aws::start(key, PASSWORD).await.expect("it starts"))
        } else {
            None
        };
        Self {
            profile,
            origin: builder.start().await.expect("the origin starts"),
            aws,
        }
    }

    /// A mirror of it that says all there is to say.
    pub(super) fn mirror(&self) -> Setup {
        let lines = self.login();
        let setup = match self.profile.registry {
            "docker.io" => Setup::new(&self.origin).upstream(&lines),
            registry => {
                Setup::with_endpoint("http://127.0.0.1:9").also(registry, &self.origin, &lines)
            }
        };
        setup
            .env("FOREBAY_LOG__LEVEL", "trace")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_ACCESS_KEY_ID", "AKIDCANARY")
            .env("AWS_SECRET_ACCESS_KEY", "canary-key")
            .env("AWS_SESSION_TOKEN", "canary-session")
    }

    fn login(&self) -> String {
        match (&self.aws, self.profile.user) {
            (Some(aws), _) => format!("credentials = \"ecr\"\necr_endpoint = {:?}", aws.url()),
            (None, Some(user)) => format!("username = {user:?}\npassword = {PASSWORD:?}"),
            (None, None) => String::new(),
        }
    }

    /// Whether it serves blobs itself.
    pub(super) fn is_direct(&self) -> bool {
        ["harbor", "distribution-basic"].contains(&self.profile.name)
    }

    pub(super) fn image(&self, tag: &str) -> Image {
        self.origin.image(REPOSITORY, tag)
    }

    /// What the registry has been asked since `before`.
    pub(super) fn spent(&self, before: &Mark) -> Cost {
        let mut cost = Cost {
            passwords: self.passwords() - before.passwords,
            ..Cost::default()
        };
        let requests = self.origin.requests();
        for request in &requests[before.requests..] {
            cost.add(request);
        }
        cost
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            requests: self.origin.requests().len(),
            passwords: self.passwords(),
        }
    }

    fn passwords(&self) -> usize {
        self.aws.as_ref().map_or(0, |aws| aws.calls().len())
    }

    /// Everything that logged in is out of date from now on; false where nothing ever is.
    pub(super) fn expire_login(&self) -> bool {
        match (&self.aws, self.profile.name) {
            (Some(aws), _) => {
                self.origin.set_password("AWS", "canary-password-2");
                aws.set_password("canary-password-2", Duration::from_hours(12));
                true
            }
            (None, "distribution-basic") => false,
            (None, _) => {
                self.origin.expire_tokens();
                true
            }
        }
    }

    pub(super) fn path(&self, tail: &str) -> String {
        format!("/v2/{}/{REPOSITORY}/{tail}", self.profile.registry)
    }

    pub(super) async fn ask(&self, forebay: &Forebay, tail: &str) -> Answer {
        forebay.client().get(&self.path(tail)).await
    }

    /// Pulls the index of a tag.
    pub(super) async fn pull_index(&self, forebay: &Forebay, tag: &str) {
        let answer = self.ask(forebay, &format!("manifests/{tag}")).await;
        let index = self.image(tag).root;
        assert!(answer.is_exactly(&index.digest), "{}", answer.text());
        assert_eq!(answer.header("content-type"), index.media_type);
        assert_eq!(
            answer.header("docker-content-digest"),
            index.digest.as_str()
        );
    }

    /// Pulls a platform's manifest, then its blobs at once, as clients do.
    pub(super) async fn pull_platform(&self, forebay: &Forebay, image: &ImageManifest) {
        self.pull_manifest(forebay, image).await;
        self.pull_blobs(forebay, image).await;
    }

    pub(super) async fn pull_manifest(&self, forebay: &Forebay, image: &ImageManifest) {
        let digest = &image.descriptor.digest;
        let manifest = self.ask(forebay, &format!("manifests/{digest}")).await;
        assert!(manifest.is_exactly(digest), "{}", manifest.text());
    }

    pub(super) async fn pull_blobs(&self, forebay: &Forebay, image: &ImageManifest) {
        let blobs = image.blobs().map(|blob| async move {
            let answer = self.ask(forebay, &format!("blobs/{}", blob.digest)).await;
            assert!(answer.is_exactly(&blob.digest), "{}", answer.text());
        });
        join_all(blobs).await;
    }

    /// Pulls an image for amd64.
    pub(super) async fn pull(&self, forebay: &Forebay, tag: &str) {
        self.pull_index(forebay, tag).await;
        self.pull_platform(forebay, self.image(tag).linux("amd64"))
            .await;
    }
}

/// A point in the record of a registry.
pub(super) struct Mark {
    requests: usize,
    passwords: usize,
}
