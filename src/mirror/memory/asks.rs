//! What is kept of a tag beside its record, for as long as that stands: how often it was served, and with what.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, RwLock, Weak};

use super::StoredManifest;
use crate::mirror::rights::Granted;
use crate::sync::{read, write};
use crate::upstream::Upstream;

/// How often a tag was served as it was last confirmed, whether it will be asked for ahead of its time, and what it was served
/// with last.
#[derive(Debug, Default)]
pub struct Asks {
    count: AtomicU32,
    is_planned: AtomicBool,
    at_hand: RwLock<Option<AtHand>>,
    /// How often that was looked at.
    looked_at: AtomicU32,
}

/// What a tag was served with last. It keeps neither alive, but the place that each had in memory.
#[derive(Debug)]
struct AtHand {
    /// The upstream by the configuration that the right to read it was found by.
    upstream: Weak<Upstream>,
    manifest: Weak<StoredManifest>,
}

impl AtHand {
    fn is_of(&self, upstream: &Arc<Upstream>) -> bool {
        Weak::as_ptr(&self.upstream) == Arc::as_ptr(upstream)
    }
}

/// Which of so many is found by its names and not taken from where it is at hand: what is looked for often stays in memory.
const LOOKED_FOR: u32 = 4;

impl Asks {
    /// Counts one more, and says how often it was; not at all once it is planned.
    pub fn one_more(&self) -> u32 {
        if self.is_planned.load(Ordering::Relaxed) {
            return 0;
        }
        self.count.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// It could not be asked for; whoever asks for it next may plan it again.
    pub fn plan_again(&self) {
        self.is_planned.store(false, Ordering::Relaxed);
    }

    /// The manifest that this tag points at, where it is still in memory, and the right to read it was found under the present
    /// configuration of its upstream.
    pub fn at_hand(&self, upstream: &Arc<Upstream>) -> Option<Arc<StoredManifest>> {
        let looked_at = self.looked_at.fetch_add(1, Ordering::Relaxed);
        if looked_at.is_multiple_of(LOOKED_FOR) {
            return None;
        }
        let at_hand = read(&self.at_hand);
        let known = at_hand.as_ref()?;
        let is_theirs = known.is_of(upstream);
        known.manifest.upgrade().filter(|_| is_theirs)
    }

    /// Has what the tag points at at hand from now on, as far as the right to it lasts.
    pub fn keep_at_hand(
        &self,
        upstream: &Arc<Upstream>,
        granted: &Granted,
        manifest: &Arc<StoredManifest>,
    ) {
        if !granted.is_fact() || *granted.digest() != manifest.digest {
            return;
        }
        // What is looked for now and then is there mostly, and others read it.
        let is_there = read(&self.at_hand).as_ref().is_some_and(|known| {
            known.is_of(upstream) && Weak::as_ptr(&known.manifest) == Arc::as_ptr(manifest)
        });
        if is_there {
            return;
        }
        *write(&self.at_hand) = Some(AtHand {
            upstream: Arc::downgrade(upstream),
            manifest: Arc::downgrade(manifest),
        });
    }

    /// True for the one who plans it.
    pub fn plan(&self) -> bool {
        !self.is_planned.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, Manifest};

    fn upstream() -> Arc<Upstream> {
        let config = crate::config::Config::from_toml("cache.dir = '/nowhere'").unwrap();
        let upstreams = crate::upstream::Upstreams::new(&config).unwrap();
        upstreams.get(&"docker.io".parse().unwrap()).unwrap()
    }

    fn manifest() -> Arc<StoredManifest> {
        let text = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let parsed = Manifest::parse(text.as_bytes(), None).unwrap();
        let digest = Digest::of(crate::oci::Algorithm::Sha256, text.as_bytes());
        Arc::new(StoredManifest::new(digest, text.into(), &parsed))
    }

    /// How many of so many are taken from where they are at hand.
    fn taken(asks: &Asks, upstream: &Arc<Upstream>, times: u32) -> u32 {
        (0..times)
            .map(|_| u32::from(asks.at_hand(upstream).is_some()))
            .sum()
    }

    /// Else the tier would take what is asked for all the time for what nobody wants.
    #[test]
    fn what_is_at_hand_is_looked_for_now_and_then() {
        let (upstream, manifest, asks) = (upstream(), manifest(), Asks::default());
        assert_eq!(taken(&asks, &upstream, LOOKED_FOR * 2), 0);
        let granted = Granted::for_tests(&manifest.digest, true);
        asks.keep_at_hand(&upstream, &granted, &manifest);
        assert_eq!(
            taken(&asks, &upstream, LOOKED_FOR * 10),
            (LOOKED_FOR - 1) * 10
        );
    }

    #[test]
    fn what_is_at_hand_is_so_for_the_configuration_that_it_was_granted_under_and_keeps_nothing() {
        let (before, manifest, asks) = (upstream(), manifest(), Asks::default());
        let granted = Granted::for_tests(&manifest.digest, true);
        asks.keep_at_hand(&before, &granted, &manifest);
        let is_at_hand = |upstream| taken(&asks, upstream, LOOKED_FOR) > 0;
        assert!(is_at_hand(&before));
        let after = upstream();
        assert!(!is_at_hand(&after));
        asks.keep_at_hand(&after, &granted, &manifest);
        assert!(is_at_hand(&after) && !is_at_hand(&before));
        assert_eq!(Arc::strong_count(&manifest), 1);
        drop(manifest);
        assert!(!is_at_hand(&after));
    }

    #[test]
    fn the_word_of_a_running_fill_and_a_right_to_something_else_are_not_kept() {
        let (upstream, manifest, asks) = (upstream(), manifest(), Asks::default());
        let other = Digest::of(crate::oci::Algorithm::Sha256, b"other");
        for granted in [
            Granted::for_tests(&manifest.digest, false),
            Granted::for_tests(&other, true),
        ] {
            asks.keep_at_hand(&upstream, &granted, &manifest);
            assert_eq!(taken(&asks, &upstream, LOOKED_FOR), 0);
        }
    }
}
