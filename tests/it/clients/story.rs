//! The story that every client goes through with every upstream, each step with what it costs the upstream: cold and warm,
//! by tag and by digest, another platform, across a restart of the mirror, and with the upstream off.
//!
//! An image is an index, and for each of two platforms a manifest, a config and three layers.

use forebay_loadtest::origin::ImageManifest;

use super::node::{Node, Site};
use super::upstream::Upstream;
use super::{AMD64, APP, ARM64, TOOL};
use crate::harness::Forebay;

/// How an image is named.
#[derive(Clone, Copy, Debug)]
enum By {
    Tag,
    /// The index's digest.
    Index,
    /// The digest of the platform's manifest.
    Manifest,
}

/// The manifests and the blobs that the upstream gives for a step.
type Cost = (u64, u64);

const NOTHING: Cost = (0, 0);
/// A platform's manifest, its config and its layers.
const PLATFORM: Cost = (1, 4);
const INDEX_AND_PLATFORM: Cost = (2, 4);

/// A pull: its repository, its reference, its platform, its cost.
type Step = (&'static str, By, &'static str, Cost);

const COLD_AND_WARM: [Step; 7] = [
    (APP, By::Tag, AMD64, INDEX_AND_PLATFORM),
    (APP, By::Tag, AMD64, NOTHING),
    (APP, By::Index, AMD64, NOTHING),
    (APP, By::Manifest, AMD64, NOTHING),
    (APP, By::Tag, ARM64, PLATFORM),
    (APP, By::Index, ARM64, NOTHING),
    (TOOL, By::Manifest, AMD64, PLATFORM),
];

const BEFORE_THE_RESTART: Step = (TOOL, By::Index, ARM64, INDEX_AND_PLATFORM);
const AFTER_THE_RESTART: Step = (APP, By::Tag, AMD64, NOTHING);

const RESTARTED: [Step; 2] = [
    (APP, By::Tag, ARM64, NOTHING),
    (TOOL, By::Manifest, AMD64, NOTHING),
];

const UPSTREAM_OFF: [Step; 4] = [
    (APP, By::Tag, AMD64, NOTHING),
    (APP, By::Tag, ARM64, NOTHING),
    (TOOL, By::Index, AMD64, NOTHING),
    (APP, By::Manifest, AMD64, NOTHING),
];

/// Tells it. A client is new for each step, but for the one under which the mirror is restarted.
pub(super) async fn tell<N: Node>(upstream: Upstream) {
    let forebay = upstream.mirror().start().await;
    let site = Site::new(forebay.address).await;
    let running = N::start(&site).await;
    let mut story = Story {
        site,
        forebay,
        upstream,
        spent: NOTHING,
    };
    story.each_with_a_new::<N>(&COLD_AND_WARM).await;
    story.pull(&running, BEFORE_THE_RESTART).await;
    story.forebay = story.forebay.restart().await;
    story.pull(&running, AFTER_THE_RESTART).await;
    running.stop().await;
    story.each_with_a_new::<N>(&RESTARTED).await;
    story.upstream.stop().await;
    story.each_with_a_new::<N>(&UPSTREAM_OFF).await;
    let touched = story.site.tripwire.touched();
    assert!(touched.is_empty(), "asked around the mirror: {touched:#?}");
}

struct Story {
    site: Site,
    forebay: Forebay,
    upstream: Upstream,
    /// What the upstream has given until now.
    spent: Cost,
}

impl Story {
    async fn each_with_a_new<N: Node>(&mut self, steps: &[Step]) {
        for step in steps {
            let node = N::start(&self.site).await;
            self.pull(&node, *step).await;
            node.stop().await;
        }
    }

    /// A step: the client gets the whole image, all of it from the mirror, at this cost to the upstream.
    async fn pull<N: Node>(&mut self, node: &N, step: Step) {
        let (repository, by, platform, cost) = step;
        let image = self.upstream.image(repository);
        let wanted = image.linux(platform.trim_start_matches("linux/"));
        let reference = match by {
            By::Tag => ":v1".to_owned(),
            By::Index => format!("@{}", image.root.digest),
            By::Manifest => format!("@{}", wanted.descriptor.digest),
        };
        let before = self.forebay.log().len();
        let reference = format!("docker.io/{repository}{reference}");
        if let Err(error) = node.pull(&reference, platform).await {
            panic!(
                "{step:?}: {error}\nthe mirror's log:\n{}",
                self.forebay.log()
            );
        }
        assert!(
            node.has(wanted).await,
            "{step:?}: it does not have the image"
        );
        all_from_the_mirror(&self.forebay, before, wanted).await;
        self.spent = (self.spent.0 + cost.0, self.spent.1 + cost.1);
        let given = self.upstream.given(self.spent).await;
        assert_eq!(given, self.spent, "{step:?}: what the upstream gave in all");
    }
}

/// Waits until the mirror's log after its first `before` bytes has a good GET of each part of the image.
pub(super) async fn all_from_the_mirror(forebay: &Forebay, before: usize, image: &ImageManifest) {
    for part in std::iter::once(&image.descriptor).chain(image.blobs()) {
        let digest = part.digest.as_str();
        let served = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let fields = &event["fields"];
            event["target"] == "forebay::access"
                && fields["method"] == "GET"
                && fields["reference"] == digest
                && fields["status"] == 200
        };
        let what = format!("a GET of {digest}");
        let logged = |log: &String| log[before..].lines().any(served);
        forebay.until_logged(&what, logged).await;
    }
}
