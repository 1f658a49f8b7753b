//! What several clients' transcripts have in common: a pull, a replay that finds everything there, a transfer that is
//! cut off.

use forebay_loadtest::origin::{Fault, Gate, Kind};
use futures_util::future::join_all;

use super::stage::{Cost, Stage};
use super::transcript::Cache;
use crate::harness::Wire;

/// A transcript about one content, for each of these: `NAME` in it is filled in.
pub(super) fn each<const N: usize>(transcript: &str, names: [&str; N]) -> [String; N] {
    names.map(|name| transcript.replace("NAME", name))
}

impl Stage {
    /// Plays a pull cold and then warm. Its steps come one after the other; the transcripts of a step are played at once,
    /// each on a connection of its own. It costs two manifests and one body of each of `blobs`, and then nothing.
    pub(super) async fn pull(&self, steps: &[&[String]], blobs: &[&str]) {
        for cache in [Cache::Cold, Cache::Warm] {
            for step in steps {
                join_all(step.iter().map(|transcript| self.play(cache, transcript))).await;
            }
            if cache == Cache::Cold {
                assert_eq!(self.cost(), Cost::of_a_pull(blobs.len()));
                self.settle(blobs).await;
            }
        }
        self.cost_nothing();
    }

    /// Plays a transcript about `layer` cold, for which that is needed once, and then warm, at no cost.
    pub(super) async fn cold_and_warm(&self, transcript: &str) {
        self.play(Cache::Cold, transcript).await;
        self.settle(&["layer"]).await;
        self.warm(transcript).await;
    }

    /// Plays a transcript about what is not there: cold, for which the upstream is asked once for each of `kinds`, and then
    /// warm, at no cost.
    pub(super) async fn absent(&self, transcript: &str, kinds: &[Kind]) {
        self.play(Cache::Cold, transcript).await;
        assert_eq!(self.cost(), Cost::of_absence(kinds));
        self.origin.reset();
        self.warm(transcript).await;
    }

    /// Plays a transcript of what is in the cache.
    pub(super) async fn warm(&self, transcript: &str) {
        self.play(Cache::Warm, transcript).await;
        self.cost_nothing();
    }

    /// Asks for `layer`, which the upstream holds back after two thirds, and reads the first `length` bytes of it.
    pub(super) async fn begin_layer(&self, query: &str, length: usize) -> (Wire, Gate) {
        let layer = self.blob("layer");
        let gate = Gate::new();
        self.origin
            .on_body(&layer.digest)
            .once(Fault::HoldAt(layer.size / 3 * 2, gate.clone()));
        let wire = self.read_of_layer(query, length).await;
        (wire, gate)
    }

    /// Asks for `layer` and reads its first `length` bytes.
    pub(super) async fn read_of_layer(&self, query: &str, length: usize) -> Wire {
        let mut wire = Wire::open(&self.forebay).await;
        wire.send(format!(
            "GET /v2/library/app/blobs/{}{query} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.blob("layer").digest,
            self.forebay.address
        ))
        .await;
        let whole = &self.contents["layer"];
        assert_eq!(wire.head().await.length(), whole.len());
        assert!(wire.body(length).await == whole.slice(..length));
        wire
    }
}
