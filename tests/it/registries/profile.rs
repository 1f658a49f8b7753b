//! A registry as one of the origin's profiles, and a mirror of it that logs in by a password or at the registry's cloud.

use std::time::Duration;

use forebay_loadtest::cloud::{Aws, Azure, Google, Key};
use forebay_loadtest::origin::{Image, ImageManifest, ImageSpec, Kind, Origin, Profile, Request};
use futures_util::future::join_all;

use crate::harness::{Answer, Forebay, Setup};

pub(crate) const REPOSITORY: &str = "team/app";
/// The password while nothing has expired.
pub(crate) const PASSWORD: &str = "canary-password";

/// The password after it.
const NEXT: &str = "canary-password-2";

/// All registries in all ways of logging in: the profiles, and behind a blank those that a cloud's login opens besides a
/// password.
pub(crate) const SITES: [&str; 13] = [
    "docker-hub",
    "ghcr",
    "ecr",
    "ecr-public",
    "gar",
    "gar gcp",
    "quay",
    "acr",
    "acr acr",
    "k8s",
    "harbor",
    "gitlab",
    "distribution-basic",
];

/// A registry with two multi-arch images, and what gives its passwords.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) profile: Profile,
    pub(crate) origin: Origin,
    pub(crate) cloud: Option<Cloud>,
}

/// The cloud that gives the passwords.
pub(crate) enum Cloud {
    Aws(Aws),
    Azure(Azure),
    Google(Google),
}

impl Cloud {
    /// The one that gives a registry's passwords under this name.
    async fn of(name: &str) -> Option<Self> {
        match name {
            "ecr" => {
                let key = Key::new("AKIDCANARY", "canary-key", Some("canary-session"));
                let aws = Aws::start(key, PASSWORD).await.expect("it starts");
                Some(Self::Aws(aws))
            }
            "acr acr" => Azure::start(PASSWORD).await.ok().map(Self::Azure),
            "gar gcp" => Google::start(PASSWORD).await.ok().map(Self::Google),
            _ => None,
        }
    }

    /// How often it has been asked.
    fn calls(&self) -> usize {
        match self {
            Self::Aws(aws) => aws.calls().len(),
            Self::Azure(azure) => azure.calls().len(),
            Self::Google(google) => google.calls().len(),
        }
    }

    /// Gives another password from now on.
    fn set_password(&self, password: &str) {
        match self {
            Self::Aws(aws) => aws.set_password(password, Duration::from_hours(12)),
            Self::Azure(azure) => azure.set_token(password),
            Self::Google(google) => google.set_token(password),
        }
    }

    /// The upstream's lines.
    fn login(&self, registry: &str) -> String {
        let host = registry.replace("http://", "");
        let trusted = format!("trusted_realms = [{:?}]", host.trim_end_matches('/'));
        match self {
            Self::Aws(aws) => format!("credentials = \"ecr\"\necr_endpoint = {:?}", aws.url()),
            Self::Azure(_) => format!("credentials = \"acr\"\n{trusted}"),
            Self::Google(_) => format!("credentials = \"gcp\"\n{trusted}"),
        }
    }

    /// The mirror's environment.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let of = |name, value: &str| (name, value.to_owned());
        match self {
            Self::Aws(_) => vec![
                of("AWS_ACCESS_KEY_ID", "AKIDCANARY"),
                of("AWS_SECRET_ACCESS_KEY", "canary-key"),
                of("AWS_SESSION_TOKEN", "canary-session"),
            ],
            Self::Azure(azure) => vec![
                of("AZURE_AUTHORITY_HOST", &azure.url()),
                of("AZURE_TENANT_ID", Azure::TENANT),
                of("AZURE_CLIENT_ID", Azure::CLIENT),
                of("AZURE_CLIENT_SECRET", Azure::SECRET),
            ],
            Self::Google(google) => vec![of("GCE_METADATA_HOST", &google.host())],
        }
    }

    /// What the mirror knows and nobody else.
    pub(crate) fn secrets(&self) -> &'static [&'static str] {
        match self {
            Self::Aws(_) => &["canary-key", "canary-session"],
            Self::Azure(_) => &[Azure::SECRET],
            Self::Google(_) => &[],
        }
    }
}

/// The requests that an upstream was asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Passwords from a cloud.
    pub(crate) passwords: usize,
    pub(crate) tokens: usize,
    /// Answered with 400, 401 or 403: to ask for a login, or for another one.
    pub(crate) refused: usize,
    pub(crate) redirects: usize,
    pub(crate) manifests: usize,
    pub(crate) blobs: usize,
    /// Manifests confirmed by HEAD.
    pub(crate) confirmed: usize,
    /// Requests that no pull needs.
    pub(crate) others: usize,
}

impl Cost {
    pub(crate) fn total(&self) -> usize {
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
    /// One of [`SITES`].
    pub(crate) async fn named(name: &'static str) -> Self {
        let profile = name.split(' ').next().and_then(Profile::named);
        let mut site = Self::start(profile.expect("it is one")).await;
        site.name = name;
        site.cloud = Cloud::of(name).await;
        site
    }

    /// One with a password.
    pub(crate) async fn start(profile: Profile) -> Self {
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
        Self {
            name: profile.name,
            profile,
            origin: builder.start().await.expect("the origin starts"),
            cloud: None,
        }
    }

    /// A mirror of it that says all there is to say.
    pub(crate) fn mirror(&self) -> Setup {
        let lines = self.login();
        let setup = match self.profile.registry {
            "docker.io" => Setup::new(&self.origin).upstream(&lines),
            registry => {
                Setup::with_endpoint("http://127.0.0.1:9").also(registry, &self.origin, &lines)
            }
        };
        let environment = self.cloud.iter().flat_map(Cloud::environment);
        let setup = setup.env("FOREBAY_LOG__LEVEL", "trace").without_clouds();
        environment.fold(setup, |setup, (name, value)| setup.env(name, value))
    }

    fn login(&self) -> String {
        match (&self.cloud, self.profile.user) {
            (Some(cloud), _) => cloud.login(&self.origin.registry_url()),
            (None, Some(user)) => format!("username = {user:?}\npassword = {PASSWORD:?}"),
            (None, None) => String::new(),
        }
    }

    /// Whether it serves blobs itself.
    pub(crate) fn is_direct(&self) -> bool {
        ["harbor", "distribution-basic"].contains(&self.profile.name)
    }

    pub(crate) fn image(&self, tag: &str) -> Image {
        self.origin.image(REPOSITORY, tag)
    }

    /// What the registry has been asked since `before`.
    pub(crate) fn spent(&self, before: &Mark) -> Cost {
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

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            requests: self.origin.requests().len(),
            passwords: self.passwords(),
        }
    }

    fn passwords(&self) -> usize {
        self.cloud.as_ref().map_or(0, Cloud::calls)
    }

    /// Everything that logged in is out of date from now on; false where nothing ever is.
    pub(crate) fn expire_login(&self) -> bool {
        if let (Some(cloud), Some(user)) = (&self.cloud, self.profile.user) {
            self.origin.set_password(user, NEXT);
            cloud.set_password(NEXT);
        }
        self.origin.expire_tokens();
        self.logins() > 0
    }

    /// How many steps a login takes: a cloud's password, a refresh token for it, a token.
    pub(crate) fn logins(&self) -> usize {
        match (self.name, &self.cloud) {
            ("distribution-basic", _) => 0,
            (_, Some(Cloud::Azure(_))) => 3,
            (_, Some(Cloud::Google(_))) => 2,
            _ => 1,
        }
    }

    pub(crate) fn path(&self, tail: &str) -> String {
        format!("/v2/{}/{REPOSITORY}/{tail}", self.profile.registry)
    }

    pub(crate) async fn ask(&self, forebay: &Forebay, tail: &str) -> Answer {
        forebay.client().get(&self.path(tail)).await
    }

    /// Pulls the index of a tag.
    pub(crate) async fn pull_index(&self, forebay: &Forebay, tag: &str) {
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
    pub(crate) async fn pull_platform(&self, forebay: &Forebay, image: &ImageManifest) {
        self.pull_manifest(forebay, image).await;
        self.pull_blobs(forebay, image).await;
    }

    pub(crate) async fn pull_manifest(&self, forebay: &Forebay, image: &ImageManifest) {
        let digest = &image.descriptor.digest;
        let manifest = self.ask(forebay, &format!("manifests/{digest}")).await;
        assert!(manifest.is_exactly(digest), "{}", manifest.text());
    }

    pub(crate) async fn pull_blobs(&self, forebay: &Forebay, image: &ImageManifest) {
        let blobs = image.blobs().map(|blob| async move {
            let answer = self.ask(forebay, &format!("blobs/{}", blob.digest)).await;
            assert!(answer.is_exactly(&blob.digest), "{}", answer.text());
        });
        join_all(blobs).await;
    }

    /// Pulls an image for amd64.
    pub(crate) async fn pull(&self, forebay: &Forebay, tag: &str) {
        self.pull_index(forebay, tag).await;
        self.pull_platform(forebay, self.image(tag).linux("amd64"))
            .await;
    }
}

/// A point in the record of a registry.
pub(crate) struct Mark {
    requests: usize,
    passwords: usize,
}
