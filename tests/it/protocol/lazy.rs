//! Lazy snapshotters: what they read of a layer, before and instead of the whole.
//!
//! Every one of them asks for parts of a blob that is not here yet. Parts are answered as their bytes come; the blob is
//! filled whole beside them, so that all of it costs one body.

use std::ops::Range;

use forebay_loadtest::origin::{Fault, Gate, Kind};

use crate::harness::blob_path;

use super::stage::Stage;
use super::transcript::Cache;

/// More than two of the mirror's pieces, so that the tail is asked for before the rest has come.
const LARGE: u64 = 40_000_000;

/// stargz: a probe of two bytes that follows redirects, HEAD for the size, then the footer.
const STARGZ: &str = r"
    > GET /v2/library/app/blobs/{layer}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: Go-http-client/1.1
    > Range: bytes=0-1
    << 206 blob layer 0-1; fwd=miss; detail=unverified

    > HEAD /v2/library/app/blobs/{layer}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: Go-http-client/1.1
    << 200 blob layer; fwd=miss; collapsed

    > GET /v2/library/app/blobs/{layer}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: Go-http-client/1.1
    > Accept-Encoding: identity
    > Range: bytes=39950000-39999999
    << 206 blob layer 39950000-39999999; fwd=miss; detail=unverified
";

/// stargz again, which asks for all that it lacks at once. It takes what comes: the parts in a multipart body, one part
/// that has them all, or with a 200 the whole layer, which it reads to the end before it goes on. A 400 has it ask again,
/// for one part that has them all.
const SEVERAL: &str = r"
    > GET /v2/library/app/blobs/{layer}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: Go-http-client/1.1
    > Accept-Encoding: identity
    > Range: bytes=20000000-20049999,20100000-20149999
    << 206 blob layer 20000000-20149999; fwd=miss; detail=unverified
";

/// SOCI: HEAD for the size and for `Accept-Ranges`, a probe, then spans, several at once.
const SOCI: &str = r"
    > HEAD /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > User-Agent: soci-snapshotter/v0.11.1
    << 200 blob layer; fwd=miss

    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > User-Agent: soci-snapshotter/v0.11.1
    > Range: bytes=0-1
    << 206 blob layer 0-1; fwd=miss; detail=unverified
";

/// A bounded part, as SOCI asks for a span.
const SPAN: &str = r"
    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > User-Agent: soci-snapshotter/v0.11.1
    > Accept-Encoding: identity
    > Range: bytes=FIRST-LAST
    << 206 blob layer FIRST-LAST; fwd=miss; detail=unverified
";

/// nydus: HEAD for the size, then bounded parts, which it assumes to be just that. Its headers are in lower case.
const NYDUS: &str = r"
    > HEAD /v2/library/app/blobs/{layer} HTTP/1.1
    > accept: */*
    > host: {mirror}
    << 200 blob layer; fwd=miss

    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > range: bytes=39000000-39999999
    > accept: */*
    > host: {mirror}
    << 206 blob layer 39000000-39999999; fwd=miss; detail=unverified
";

/// overlaybd: one byte to see whether it has to log in, again one byte for the size (the number after the slash). Its
/// keep-alive is said aloud.
const PROBE: &str = r"
    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > Range: bytes=0-0
    > User-Agent: overlaybd/1.0.15
    > Connection: keep-alive
    << 206 blob layer 0-0; fwd=miss; detail=unverified
";

/// overlaybd then, for what is read of the layer.
const TAIL: &str = r"
    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > Range: bytes=39999488-39999999
    > User-Agent: overlaybd/1.0.15
    > Connection: keep-alive
    << 206 blob layer 39999488-39999999; fwd=miss; detail=unverified
";

/// overlaybd then, for all of the layer.
const WHOLE: &str = r"
    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > User-Agent: overlaybd/1.0.15
    > Connection: keep-alive
    << 200 blob layer; fwd=miss; collapsed
";

/// Has the upstream hold the layer after two bytes: whatever is answered then, the layer has not come.
fn hold(stage: &Stage) -> Gate {
    hold_at(stage, 2)
}

/// Has the upstream hold the body that has this byte of the layer.
fn hold_at(stage: &Stage, byte: u64) -> Gate {
    let gate = Gate::new();
    let digest = &stage.blob("layer").digest;
    let fault = Fault::HoldByte(byte, gate.clone());
    stage.origin.on_body(digest).once(fault);
    gate
}

/// Lets the upstream go on, once it is seen to be held.
async fn let_go(gate: &Gate) {
    gate.reached(1).await;
    gate.release();
}

/// Plays `script` while the upstream holds the layer back; lets it go, and plays it warm.
async fn lazily(stage: &Stage, script: &str) {
    let gate = hold(stage);
    stage.play(Cache::Cold, script).await;
    let_go(&gate).await;
    stage.settle(&["layer"]).await;
    stage.warm(script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stargz_has_the_footer_of_a_large_layer_before_the_layer() {
    lazily(&Stage::pulled_layer(LARGE).await, STARGZ).await;
}

/// It was given the whole layer, and a file that lacked two chunks waited for all the others.
#[tokio::test(flavor = "multi_thread")]
async fn stargz_is_given_one_part_that_has_all_it_asks_for_before_the_layer() {
    lazily(&Stage::pulled_layer(LARGE).await, SEVERAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn soci_reads_spans_of_a_large_layer_at_once_and_before_the_layer() {
    let stage = Stage::pulled_layer(LARGE).await;
    let spans = [
        20_000_000..24_000_000,
        25_000_000..26_000_000,
        36_000_000..LARGE,
    ]
    .map(span);
    let gate = hold(&stage);
    for cache in [Cache::Cold, Cache::Warm] {
        stage.play(cache, SOCI).await;
        tokio::join!(
            stage.play(cache, &spans[0]),
            stage.play(cache, &spans[1]),
            stage.play(cache, &spans[2]),
        );
        if cache == Cache::Cold {
            let_go(&gate).await;
            stage.settle(&["layer"]).await;
        }
    }
    stage.cost_nothing();
}

fn span(part: Range<u64>) -> String {
    SPAN.replace("FIRST", &part.start.to_string())
        .replace("LAST", &(part.end - 1).to_string())
        .replace("LENGTH", &(part.end - part.start).to_string())
}

/// The mirror was restarted, or the manifest came from elsewhere: nothing tells it how large the layer is. It asked for
/// the whole, found out, and gave this span only behind all that comes before it; SOCI waits 3 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_of_a_layer_whose_size_nothing_tells_comes_before_the_layer() {
    for probed in [false, true] {
        let stage = Stage::layer(LARGE).await;
        let gate = hold(&stage);
        if probed {
            stage.play(Cache::Cold, span(0..2)).await;
        }
        stage.play(Cache::Cold, span(36_000_000..LARGE)).await;
        let_go(&gate).await;
        stage.settle(&["layer"]).await;
    }
}

/// A small one is all there with the first request, and that is the only one.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_of_a_small_layer_whose_size_nothing_tells_costs_one_request() {
    let stage = Stage::layer(300_000).await;
    let gate = hold_at(&stage, 250_000);
    stage.play(Cache::Cold, span(200_000..250_000)).await;
    let_go(&gate).await;
    stage.until_filled().await;
    assert_eq!(stage.cost().bodies, 1);
    stage.settle(&["layer"]).await;
}

/// The mirror asks for that range first, is told where the layer ends, and goes on from there. It asked twice: it took
/// the refusal for that of a target that had expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_beyond_a_layer_whose_size_nothing_tells_is_a_416_and_costs_one_body() {
    let stage = Stage::layer(300_000).await;
    let path = blob_path("library/app", &stage.blob("layer").digest);
    let client = stage.forebay.client();
    let answer = client.range(&path, "bytes=20000000-20000999").await;
    assert_eq!(answer.status, 416);
    assert_eq!(answer.header("content-range"), "bytes */300000");
    stage.until_filled().await;
    let cost = stage.cost();
    assert_eq!((cost.refused, cost.bodies), (vec![Kind::CdnGet], 1));
    stage.sent_once(&["layer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nydus_has_the_tail_of_a_large_layer_before_the_layer() {
    lazily(&Stage::pulled_layer(LARGE).await, NYDUS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlaybd_learns_the_size_from_one_byte_and_has_the_tail_before_the_layer() {
    let script = [PROBE, TAIL].concat();
    lazily(&Stage::pulled_layer(LARGE).await, &script).await;
}

/// The probe begins what the GET then reads, whether the size was known or not.
#[tokio::test(flavor = "multi_thread")]
async fn overlaybd_has_the_whole_layer_for_one_body_after_its_probe() {
    let script = [PROBE, WHOLE].concat();
    for stage in [Stage::pulled_layer(LARGE).await, Stage::layer(LARGE).await] {
        let gate = hold(&stage);
        let follows = stage
            .forebay
            .until_metric("forebay_followers_total", "", |readers| readers > 0.5);
        let ((), ()) = tokio::join!(stage.play(Cache::Cold, &script), async {
            follows.await;
            gate.release();
        });
        stage.settle(&["layer"]).await;
        stage.warm(&script).await;
    }
}
