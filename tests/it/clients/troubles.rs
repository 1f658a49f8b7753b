//! What clients print when a pull goes wrong is what the troubleshooting page begins with: its headings quote them.

use std::path::Path;

use forebay_loadtest::origin::{Fault, ImageSpec, Kind, Origin};

use super::containerd::Containerd;
use super::dockerd::Dockerd;
use super::node::{Node, Site};
use super::podman::Podman;
use super::skopeo::copy_all;
use super::{AMD64, APP, TOOL, attempt, wanted, with_images};
use crate::harness::{Setup, mirror_of};

/// What the heading quotes whose first quote begins with `first`.
fn quotes(first: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/troubleshooting.md");
    let page = std::fs::read_to_string(page).unwrap();
    let begins = format!("### `{first}");
    let heading = page.lines().find(|line| line.starts_with(&begins));
    let heading = heading.unwrap_or_else(|| panic!("no heading begins with {begins}"));
    let quoted = heading.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// Who reads this finds that heading.
fn leads_to(first: &str, printed: &str) {
    let quotes = quotes(first);
    // Not what was asked: a port has digits, too.
    let (_, printed) = printed.split_once(" failed:\n").expect("an error");
    assert!(
        quotes.iter().any(|quote| printed.contains(quote)),
        "none of {quotes:?} is in:\n{printed}"
    );
}

/// A client that turns to nobody but the mirror.
struct Strict<N> {
    node: N,
    /// What image names begin with, for one that has no mirrors of other registries than Docker Hub.
    before: String,
}

impl<N: Node> Strict<N> {
    async fn prints(&self, image: &str) -> String {
        let image = format!("{}{image}", self.before);
        self.node.pull(&image, AMD64).await.expect_err(&image)
    }
}

async fn upstream() -> Origin {
    let builder = with_images(Origin::docker_hub()).repository("library/private", |repository| {
        repository.multi_arch_image("v1", &ImageSpec::default());
        repository.private();
    });
    builder.start().await.expect("the origin starts")
}

/// How a client is kept from asking others than the mirror, and what it does of its own.
#[derive(Clone, Copy)]
struct Manner {
    options: &'static [&'static str],
    /// Whether the mirror is part of the image's name.
    by_name: bool,
    /// Whether it waits by itself when it is told to come back later.
    waits: bool,
}

/// Pulls in vain for each reason that there is.
async fn every_trouble_leads_to_its_heading<N: Node>(manner: Manner) {
    let origin = upstream().await;
    let lines = "timeouts = { connect = \"1s\", first_byte = \"1s\" }";
    let forebay = Setup::new(&origin).upstream(lines).start().await;
    let site = Site::with(forebay.address, manner.options).await;
    let client = Strict {
        node: N::start(&site).await,
        before: if manner.by_name {
            format!("{}/", forebay.address)
        } else {
            String::new()
        },
    };
    let app = format!("docker.io/{APP}");
    for (heading, image) in [
        ("name unknown", "registry.example/app:v1"),
        ("manifest unknown", &format!("{app}:v0")),
        ("denied", "docker.io/library/private:v1"),
    ] {
        leads_to(heading, &client.prints(image).await);
    }
    origin.stop().await;
    let forebay = forebay.restart().await;
    let printed = client.prints(&format!("docker.io/{TOOL}:v1")).await;
    leads_to("503 Service Unavailable", &printed);
    // At last, since an upstream that has refused for load is left alone for a while, over a restart too.
    origin.start_again().await.expect("its port is free");
    let forebay = forebay.restart().await;
    if !manner.waits {
        for kind in [Kind::ManifestGet, Kind::ManifestHead] {
            origin.on(kind).always(Fault::status(429));
        }
        let printed = client.prints(&format!("{app}:v1")).await;
        leads_to("toomanyrequests", &printed);
    }
    forebay.stop().await;
    let printed = client.prints(&format!("{app}:v1")).await;
    leads_to("connect: connection refused", &printed);
    client.node.stop().await;
    assert_eq!(site.tripwire.touched(), Vec::<String>::new());
}

const STRICT: [&str; 5] = [
    "--registry",
    "docker.io",
    "--registry",
    "registry.example",
    "--no-fallback",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_podman_prints_leads_to_a_heading() {
    if wanted(Podman::PROGRAMS) {
        let manner = Manner {
            options: &STRICT,
            by_name: false,
            waits: true,
        };
        every_trouble_leads_to_its_heading::<Podman>(manner).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_containerd_prints_leads_to_a_heading() {
    if wanted(Containerd::PROGRAMS) {
        let manner = Manner {
            options: &STRICT,
            by_name: false,
            waits: false,
        };
        every_trouble_leads_to_its_heading::<Containerd>(manner).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dockerd_prints_leads_to_a_heading() {
    if wanted(Dockerd::PROGRAMS) {
        let manner = Manner {
            options: &["--registry", "docker.io"],
            by_name: true,
            waits: false,
        };
        every_trouble_leads_to_its_heading::<Dockerd>(manner).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_skopeo_prints_leads_to_a_heading() {
    if !wanted(&["skopeo"]) {
        return;
    }
    let origin = upstream().await;
    let forebay = mirror_of(&origin).await;
    let image = |host: &str| format!("docker://{host}/{APP}:v1");
    let mirror = image(&forebay.address.to_string());
    let copy = tempfile::tempdir().unwrap();
    let target = format!("dir:{}", copy.path().display());

    let mut over_tls = copy_all(&mirror, &target);
    over_tls.arg("--src-tls-verify=true");
    let printed = attempt(&mut over_tls).await.unwrap_err();
    leads_to("http: server gave HTTP response to HTTPS client", &printed);

    let mut as_proxy = copy_all(&image("registry.example"), &target);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        as_proxy.env(name, format!("http://{}", forebay.address));
    }
    let printed = attempt(&mut as_proxy).await.unwrap_err();
    leads_to("Bad Request", &printed);
    as_proxy.arg("--src-tls-verify=true");
    let printed = attempt(&mut as_proxy).await.unwrap_err();
    leads_to("Bad Request", &printed);

    super::run(&mut copy_all(&mirror, &target)).await;
    let printed = attempt(&mut copy_all(&target, &mirror)).await.unwrap_err();
    leads_to("unsupported", &printed);
}
