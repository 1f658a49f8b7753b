//! Bytes a second.

use http::Method;

use crate::harness::{Setup, blob_path, origin_with_blob};

/// At 64 KiB/s the blob takes its client five minutes. The fill behind it, and other clients of the same fill, do not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_paced_client_slows_down_neither_the_fill_nor_another_client() {
    const SIZE: u64 = 20_000_000;
    let (origin, blob) = origin_with_blob(1, SIZE).await;
    let forebay = Setup::new(&origin)
        .config("[limits]\nper_client_bytes = \"64KiB/s\"\nexempt = [\"127.0.0.3\"]")
        .start()
        .await;
    let path = blob_path("library/app", &blob.digest);
    // The same client twice: both of its bodies are paced.
    let mut paced = Vec::new();
    for _ in 0..2 {
        let mut response = forebay.client_at(0, 2).open(Method::GET, &path, &[]).await;
        let first = response.chunk().await.unwrap().unwrap();
        assert!(!first.is_empty());
        paced.push(response);
    }
    forebay
        .until_metric("forebay_fills_total", "committed", |fills| fills >= 1.0)
        .await;
    let exempt = forebay.client_at(0, 3).get(&path).await;
    assert!(exempt.is_exactly(&blob.digest));
    // A client of its own has a burst of its own.
    let range = forebay.client_at(0, 4).range(&path, "bytes=0-60000").await;
    assert!(range.complete && range.body.len() == 60_001);
    let sent = forebay.metric("forebay_client_delays_total", "bytes").await;
    assert!(sent >= 2.0, "{sent} bodies were paced");
    assert_eq!(origin.body_bytes(&blob.digest), SIZE, "one body for all");
}
