//! containerd's `hosts.toml` in its forms: a file a registry, one for all, and the ways to write the mirror's address.

use forebay_loadtest::origin::{ImageSpec, Origin};

use super::containerd::Containerd;
use super::node::{Node, Site};
use super::upstream::given;
use super::{AMD64, APP, story, wanted};
use crate::harness::{Forebay, Setup, mirror_of};

/// A mirror of three registries, each an origin of its own with an image of its own, and a node.
struct Three {
    origins: [Origin; 3],
    forebay: Forebay,
    site: Site,
}

async fn origin(seed: u64) -> Origin {
    let spec = ImageSpec {
        seed: Some(seed),
        ..ImageSpec::default()
    };
    let builder =
        Origin::docker_hub().repository(APP, |repository| repository.multi_arch_image("v1", &spec));
    builder.start().await.expect("the origin starts")
}

const REGISTRIES: [&str; 3] = ["docker.io", "ghcr.io", "quay.io"];

impl Three {
    async fn start(options: &[&str]) -> Self {
        let origins = [origin(1).await, origin(2).await, origin(3).await];
        let forebay = Setup::new(&origins[0])
            .also(REGISTRIES[1], &origins[1], "")
            .also(REGISTRIES[2], &origins[2], "")
            .start()
            .await;
        let site = Site::with(forebay.address, options).await;
        Self {
            origins,
            forebay,
            site,
        }
    }

    /// Pulls the same name from each registry, and gets each one's own image, once.
    async fn pull_from_each(&self, node: &Containerd) {
        for (registry, origin) in REGISTRIES.iter().zip(&self.origins) {
            let image = origin.image(APP, "v1").linux("amd64").clone();
            let before = self.forebay.log().len();
            let pulled = node.pull(&format!("{registry}/{APP}:v1"), AMD64).await;
            pulled.unwrap_or_else(|error| panic!("{registry}: {error}"));
            assert!(node.has(&image).await, "{registry}'s own image");
            story::all_from_the_mirror(&self.forebay, before, &image).await;
            assert_eq!(given(origin), (2, 3), "{registry}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_pulls_from_every_registry_through_one_default_file() {
    if !wanted(Containerd::PROGRAMS) {
        return;
    }
    let three = Three::start(&["--registry", "*", "--no-fallback"]).await;
    let node = Containerd::start(&three.site).await;
    three.pull_from_each(&node).await;
    let pulled = node.pull("registry.example/app:v1", AMD64).await;
    pulled.expect_err("the mirror does not have this registry");
    let refused = |log: &String| log.contains("registry registry.example is not configured here");
    three.forebay.until_logged("the refusal", refused).await;
    node.stop().await;
    assert_eq!(three.site.tripwire.touched(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_pulls_from_every_registry_through_a_file_of_its_own() {
    if !wanted(Containerd::PROGRAMS) {
        return;
    }
    let options = REGISTRIES.map(|registry| ["--registry", registry]);
    let three = Three::start(options.as_flattened()).await;
    let node = Containerd::start(&three.site).await;
    three.pull_from_each(&node).await;
    node.stop().await;
    assert_eq!(three.site.tripwire.touched(), Vec::<String>::new());
}

/// What stands behind the mirror's address in a `hosts.toml`, and whether containerd is told to add no `/v2`.
const ADDRESSES: [(&str, bool); 7] = [
    ("", false),
    ("/v2", true),
    ("/docker.io", false),
    ("/docker.io/v2", true),
    ("/dockerhub", false),
    ("/dockerhub/v2", true),
    ("/v2/docker.io", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn containerd_pulls_whatever_way_the_mirrors_address_is_written() {
    if !wanted(Containerd::PROGRAMS) {
        return;
    }
    let origin = origin(1).await;
    let image = origin.image(APP, "v1").linux("amd64").clone();
    let forebay = mirror_of(&origin).await;
    let mirror = format!("http://{}", forebay.address);
    for (path, whole) in ADDRESSES {
        let site = Site::with(
            forebay.address,
            &["--registry", "docker.io", "--no-fallback"],
        )
        .await;
        let node = Containerd::start(&site).await;
        let file = node.certs().join("docker.io/hosts.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let host = format!("[host.\"{mirror}\"]\n");
        let own = format!("[host.\"{mirror}{path}\"]\n  override_path = {whole}\n");
        assert!(text.contains(&host), "{text}");
        // Where there is no `server`, the registry itself comes next, and the tripwire sees it.
        let text = text
            .replace(&format!("server = \"{mirror}\"\n"), "")
            .replace(&host, &own);
        std::fs::write(&file, &text).unwrap();
        let pulled = node.pull(&format!("docker.io/{APP}:v1"), AMD64).await;
        pulled.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(node.has(&image).await, "{text}");
        node.stop().await;
        assert_eq!(site.tripwire.touched(), Vec::<String>::new(), "{text}");
        assert_eq!(given(&origin), (2, 3), "each asks for the same repository");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_fetches_all_platforms_when_told_to() {
    if !wanted(Containerd::PROGRAMS) {
        return;
    }
    let origin = origin(1).await;
    let forebay = mirror_of(&origin).await;
    let site = Site::new(forebay.address).await;
    let node = Containerd::start(&site).await;
    let pulled = node
        .pull_with(&format!("docker.io/{APP}:v1"), &["--all-platforms"])
        .await;
    pulled.unwrap_or_else(|error| panic!("{error}"));
    for image in &origin.image(APP, "v1").manifests {
        assert!(node.has(image).await);
    }
    node.stop().await;
    assert_eq!(given(&origin), (3, 6));
}
