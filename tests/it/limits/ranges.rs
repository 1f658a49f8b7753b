//! What ranges make the mirror fetch and send: never more than the blob once from the upstream, and once to each client.

use forebay_loadtest::origin::Kind;
use futures_util::future::join_all;

use crate::harness::{blob_path, heavy, mirror_of, origin_with_blob, plain_origin};

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

/// As many ranges as a header holds, or stranger ones, and how many bytes an answer to them has at most.
fn lists() -> Vec<(String, u64)> {
    let list = |range: &str| {
        format!(
            "bytes={}",
            [range].repeat(LINE / (range.len() + 1)).join(",")
        )
    };
    let stairs: Vec<_> = (0..1500).map(|at| format!("{at}-{}", at + 9)).collect();
    let far: Vec<_> = (0..500).map(|at| (at * 16_000).to_string()).collect();
    let far: Vec<_> = far.iter().map(|at| format!("{at}-{at}")).collect();
    vec![
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
    ]
}

/// None comes twice, and no list is passed on, of a blob that is cold as of one that is being fetched.
#[tokio::test(flavor = "multi_thread")]
async fn many_ranges_at_once_get_no_more_than_the_blob() {
    heavy();
    let lists = lists();
    let mut blobs = Vec::new();
    let builder = plain_origin().repository("library/app", |repository| {
        let seeds = (0..).take(lists.len());
        blobs.extend(seeds.map(|seed| repository.random_blob(seed, SIZE)));
    });
    let origin = builder.start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    for ((range, most), blob) in lists.iter().zip(&blobs) {
        let shown = &range[..range.len().min(40)];
        let path = blob_path("library/app", &blob.digest);
        for _ in 0..3 {
            let answer = client.range(&path, range).await;
            let got = answer.body.len() as u64;
            assert!(answer.complete, "{shown}");
            assert!(answer.status.is_success(), "{shown}: {}", answer.status);
            assert!(got <= *most, "{shown}: {got} bytes, and not {most} at most");
            assert!(!answer.header("content-type").contains("multipart"));
        }
        client.pulls("library/app", &blob.digest).await;
        assert_eq!(origin.body_bytes(&blob.digest), SIZE, "{shown}");
        assert_eq!(origin.repeated_bytes_sent(&blob.digest), 0, "{shown}");
    }
    for request in origin.requests_for(Kind::BlobGet) {
        let range = request.range.unwrap_or_default();
        assert!(!range.contains(','), "{range}");
    }
}
