//! `forebay-loadtest origin`: an upstream registry to load a mirror against.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use forebay_loadtest::origin::{
    Auth, Blobs, Builder, Content, Fault, Image, ImageSpec, Origin, Pace, Platform, Profile, Quota,
    Redirect, Server, When,
};
use serde_json::json;

use super::interrupts::Interrupts;
use super::units;

pub(super) const TAG: &str = "v1";

/// Run an upstream registry that behaves as Docker Hub does.
///
/// Prints one line of JSON with its URLs and images, runs until SIGINT or
/// SIGTERM, and prints one line with its counts. The same flags make the same
/// images, digest for digest.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the registry listens; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the token service listens [default: the registry's address, a free port]
    #[arg(long, value_name = "ADDRESS")]
    token_listen: Option<SocketAddr>,
    /// Where the CDN listens [default: the registry's address, a free port]
    #[arg(long, value_name = "ADDRESS")]
    cdn_listen: Option<SocketAddr>,
    /// Host in the URLs that clients are given [default: the address]
    #[arg(long, value_name = "HOST")]
    public_name: Option<String>,

    /// How many repositories, each with one image: library/image-0:v1, ...
    #[arg(long, value_name = "N", default_value_t = 1)]
    images: u64,
    /// Architectures of each image
    #[arg(long, value_delimiter = ',', default_value = "amd64,arm64")]
    architectures: Vec<String>,
    /// Layers for each architecture
    #[arg(long, value_name = "N", default_value_t = 3)]
    layers: usize,
    /// About how large each layer is
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = units::size)]
    layer_size: u64,
    /// What layers are made of
    #[arg(long, value_enum, default_value_t = LayerContent::Tar)]
    content: LayerContent,
    /// Decides every byte of every image
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Behave as this registry does, in place of --auth and --redirect
    #[arg(long, value_name = "REGISTRY", value_parser = profiles(), conflicts_with_all = ["auth", "redirect"])]
    profile: Option<String>,
    /// How the registry asks for credentials
    #[arg(long, value_enum, default_value_t = AuthMode::None)]
    auth: AuthMode,
    /// A user who may log in; can be repeated
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = user)]
    users: Vec<(String, String)>,
    /// Let only users read
    #[arg(long)]
    private: bool,
    /// Redirect blobs to the CDN
    #[arg(long)]
    redirect: bool,
    /// How long redirects are good for
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = units::duration)]
    redirect_lifetime: Duration,
    /// Manifests that each client may fetch in 6 hours [default: no limit]
    #[arg(long, value_name = "N")]
    quota: Option<i64>,

    /// Delay every response by this much
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    delay: Option<Duration>,
    /// Send each body at this many bytes a second
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    throttle: Option<u64>,
    /// Send all bodies together at this many bytes a second
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    throttle_total: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AuthMode {
    /// Bearer tokens, as Docker Hub
    Token,
    /// User and password on every request
    Basic,
    /// Open to everyone
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LayerContent {
    /// Real tar.gz archives, which clients unpack
    Tar,
    /// Random bytes: quick to make
    Random,
}

fn profiles() -> PossibleValuesParser {
    PossibleValuesParser::new(Profile::ALL.map(|profile| profile.name))
}

fn user(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() => Ok((name.to_owned(), password.to_owned())),
        _ => Err("write a user as NAME:PASSWORD".to_owned()),
    }
}

impl Args {
    pub(crate) async fn run(self) -> io::Result<()> {
        let mut interrupts = Interrupts::listen()?;
        let origin = self.start().await?;
        let images: Vec<Image> = self.names().map(|name| origin.image(&name, TAG)).collect();
        say(&introduction(&origin, &images))?;
        interrupts.next().await;
        origin.stop().await;
        say(&json!({"counts": origin.counts()}))
    }

    async fn start(&self) -> io::Result<Origin> {
        let beside = SocketAddr::new(self.listen.ip(), 0);
        let mut builder = self
            .behaviour()
            .listen(Server::Registry, self.listen)
            .listen(Server::Token, self.token_listen.unwrap_or(beside))
            .listen(Server::Cdn, self.cdn_listen.unwrap_or(beside));
        if let Some(name) = &self.public_name {
            builder = builder.public_name(name);
        }
        if let Some(limit) = self.quota {
            builder = builder.quota(Quota {
                anonymous: limit,
                user: limit,
                ..Quota::default()
            });
        }
        for (name, password) in &self.users {
            builder = builder.user(name, password);
        }
        for (number, name) in (0..).zip(self.names()) {
            builder = builder.repository(&name, |repository| {
                repository.multi_arch_image(TAG, &self.spec(number));
                if self.private {
                    repository.private();
                }
            });
        }
        let origin = builder.start().await?;
        self.slow_down(&origin);
        Ok(origin)
    }

    fn behaviour(&self) -> Builder {
        match self.profile.as_deref().and_then(Profile::named) {
            Some(profile) => profile.origin(),
            None => Origin::builder().auth(self.auth()).blobs(self.blobs()),
        }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        (0..self.images).map(name)
    }

    fn spec(&self, number: u64) -> ImageSpec {
        ImageSpec {
            // Far apart, so that neighbouring seeds share no image.
            seed: Some(self.seed.wrapping_mul(1 << 32).wrapping_add(number)),
            layers: self.layers,
            layer_size: self.layer_size,
            content: match self.content {
                LayerContent::Tar => Content::TarGz,
                LayerContent::Random => Content::Opaque,
            },
            platforms: self
                .architectures
                .iter()
                .map(|name| Platform::linux(name))
                .collect(),
            ..ImageSpec::default()
        }
    }

    fn auth(&self) -> Auth {
        match self.auth {
            AuthMode::Token => Auth::token(),
            AuthMode::Basic => Auth::Basic,
            AuthMode::None => Auth::Open,
        }
    }

    fn blobs(&self) -> Blobs {
        if !self.redirect {
            return Blobs::Direct;
        }
        Blobs::Redirect(Redirect {
            lifetime: self.redirect_lifetime,
            ..Redirect::default()
        })
    }

    fn slow_down(&self, origin: &Origin) {
        let faults = [
            self.delay.map(Fault::Delay),
            self.throttle.map(Fault::Throttle),
            self.throttle_total
                .map(|rate| Fault::ThrottleTotal(Pace::new(rate))),
        ];
        for fault in faults.into_iter().flatten() {
            origin.on(When::any()).always(fault);
        }
    }
}

/// The repository of an image.
pub(super) fn name(number: u64) -> String {
    format!("library/image-{number}")
}

fn introduction(origin: &Origin, images: &[Image]) -> serde_json::Value {
    let images: Vec<_> = images
        .iter()
        .map(|image| {
            let Image {
                repository,
                tag,
                root,
                ..
            } = image;
            json!({
                "reference": format!("{}/{repository}:{tag}", origin.host()),
                "repository": repository,
                "tag": tag,
                "digest": root.digest,
                "manifests": image.manifests,
            })
        })
        .collect();
    json!({
        "registry": origin.registry_url(),
        "token": origin.token_url(),
        "cdn": origin.cdn_url(),
        "images": images,
    })
}

fn say(line: &serde_json::Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
