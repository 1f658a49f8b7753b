//! What ranges make the mirror fetch and send: never more than the blob once from the upstream, and once to each client.

use forebay_loadtest::origin::Kind;
use futures_util::future::join_all;

use crate::harness::{blob_path, heavy, mirror_of, origin_with_blob};

const SIZE: u64 = 8 << 20;
/// What a client's header line may hold of one range.
const LINE: usize = 15 << 10;

/// Each would be a request of its own to an upstream that is asked for what clients ask for.
#[tokio::test(flavor = "multi_thread")]
async fn tiny_ranges_all_over_a_cold_blob_fetch_it_once_at_most() {
    heavy();
    let (origin, blob) = origin_with_blob(5, SIZE).await;
    let content = origin.content("library/app", &blob.digest);
    let forebay = mirror_of(&origin).await;
    let path = blob_path("library/app", &blob.digest);
    let one = |at: u64| {
        let (client, path) = (forebay.client(), path.clone());
        async move {
            let answer = client.range(&path, &format!("bytes={at}-{at}")).await;
            (at, answer)
        }
    };
    let mut sent = 0;
    // The last first: what is far is asked for by itself.
    for wave in 0..4_u64 {
        let places = (0..32_u64).map(|number| SIZE - 1 - (number * 4 + wave) * (SIZE / 128));
        for (at, answer) in join_all(places.map(one)).await {
            assert_eq!(answer.status, 206, "{at}: {}", answer.text());
            let place = usize::try_from(at).unwrap();
            assert_eq!(answer.body, content.slice(place..=place), "{at}");
            sent += answer.body.len();
        }
    }
    assert_eq!(sent, 128);
    let fetched = origin.body_bytes(&blob.digest);
    assert!(fetched <= SIZE, "{fetched} bytes came for {sent}");
    assert_eq!(origin.repeated_bytes_sent(&blob.digest), 0);
    // And the rest costs the rest.
    forebay.client().pulls("library/app", &blob.digest).await;
    assert_eq!(origin.body_bytes(&blob.digest), SIZE);
    let asked = origin.counts().requests(Kind::BlobGet);
    assert!(asked <= 128, "{asked} requests");
}

/// As many as a header holds: none comes twice, and no list is passed on.
#[tokio::test(flavor = "multi_thread")]
async fn many_ranges_at_once_get_no_more_than_the_blob() {
    heavy();
    let (origin, blob) = origin_with_blob(6, SIZE).await;
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let path = blob_path("library/app", &blob.digest);
    let list = |range: &str| {
        format!(
            "bytes={}",
            [range].repeat(LINE / (range.len() + 1)).join(",")
        )
    };
    let stairs: Vec<_> = (0..1500).map(|at| format!("{at}-{}", at + 9)).collect();
    let far: Vec<_> = (0..500).map(|at| (at * 16_000).to_string()).collect();
    let far: Vec<_> = far.iter().map(|at| format!("{at}-{at}")).collect();
    let mut sent = 0;
    let mut asked = 0;
    for (range, most) in [
        (list("0-"), SIZE),
        (list("-1"), SIZE),
        (list("0-0"), 1),
        (list("0-99"), 100),
        (list("5-4"), SIZE),
        (format!("{},-1", list("0-0")), SIZE),
        (format!("bytes={}", stairs.join(",")), 1509),
        (format!("bytes={}", far.join(",")), 499 * 16_000 + 1),
        (format!("bytes={}-", SIZE - 1), 1),
        (
            "bytes=0-18446744073709551615,0-18446744073709551616".to_owned(),
            SIZE,
        ),
    ] {
        let shown = &range[..range.len().min(40)];
        for _ in 0..3 {
            let answer = client.range(&path, &range).await;
            let got = answer.body.len() as u64;
            assert!(answer.complete, "{shown}");
            assert!(answer.status.is_success(), "{shown}: {}", answer.status);
            assert!(got <= most, "{shown}: {got} bytes, and not {most} at most");
            assert!(!answer.header("content-type").contains("multipart"));
            sent += got;
            asked += 1;
        }
    }
    assert!(sent <= asked * SIZE);
    assert_eq!(origin.body_bytes(&blob.digest), SIZE);
    assert_eq!(origin.repeated_bytes_sent(&blob.digest), 0);
    for request in origin.requests_for(Kind::BlobGet) {
        let range = request.range.unwrap_or_default();
        assert!(!range.contains(','), "{range}");
    }
}
