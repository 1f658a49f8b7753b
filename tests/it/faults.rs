//! Whatever an upstream does, no client completes a 200 with wrong bytes, and the next pull succeeds.

use forebay_loadtest::origin::{Auth, Blobs, Content, Fault, Gate, ImageSpec, Kind, Origin, Reply};
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    Forebay, blob_path, committed, get, mirror_of, origin_with_blob, plain_origin,
};

const SIZE: u64 = 3_000_000;

/// Pulls one blob with several clients through a fault that happens once. `clean` says that no client may notice.
async fn pull_through(seed: u64, size: u64, fault: Fault, clean: bool) -> (Forebay, Origin) {
    let (origin, blob) = origin_with_blob(seed, size).await;
    origin.on_body(&blob.digest).once(fault.clone());
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let pulls = (0..8).map(|_| client.blob("library/app", &blob.digest));
    for answer in futures_util::future::join_all(pulls).await {
        if answer.claims_success() {
            assert!(
                answer.is_exactly(&blob.digest),
                "{fault:?}: a 200 completed with wrong bytes"
            );
        }
        if clean {
            assert!(
                answer.is_exactly(&blob.digest),
                "{fault:?}: a client noticed: {:?}",
                answer.status
            );
        }
    }
    // Whatever is there by now is right.
    committed(&forebay.cache_dir());
    let next = client.blob("library/app", &blob.digest).await;
    assert!(
        next.is_exactly(&blob.digest),
        "{fault:?}: the next pull fails with {}",
        next.status
    );
    // Until its file is synced, the fill serves who comes.
    forebay
        .until_metric("forebay_fills_running", "", |running| running == 0.0)
        .await;
    let cached = client.blob("library/app", &blob.digest).await;
    assert!(
        cached.header("cache-status").contains("hit"),
        "{fault:?}: {:?}",
        cached.headers
    );
    (forebay, origin)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_never_served_whole_nor_kept() {
    for at in [0, SIZE / 2, SIZE - 1] {
        pull_through(10 + at, SIZE, Fault::FlipBit(at), false).await;
    }
}

/// A body that is withheld whole until it is verified: its clients see nothing of the bad fetch.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_small_blob_costs_a_second_fetch_and_no_client_anything() {
    pull_through(20, 40_000, Fault::FlipBit(20_000), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_resumed_where_it_happened_and_no_client_notices() {
    for cut in [SIZE / 2, SIZE - 1] {
        let (_forebay, origin) = pull_through(30, SIZE, Fault::CutAt(cut), true).await;
        assert_eq!(resumed_at(&origin), cut);
    }
}

/// A reset throws away what the kernel had not sent yet, so that the origin can't say how far the mirror got: the
/// mirror's own question does.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_resumed_at_the_last_byte_that_came_and_no_client_notices() {
    let (_forebay, origin) = pull_through(30, SIZE, Fault::ResetAt(SIZE / 2), true).await;
    let resumed = resumed_at(&origin);
    assert!(resumed > 0 && resumed <= SIZE / 2, "{resumed}");
}

/// Where the second and last request for the blob began.
fn resumed_at(origin: &Origin) -> u64 {
    let spans: Vec<_> = origin
        .requests_for(Kind::BlobGet)
        .into_iter()
        .map(|request| request.span.unwrap())
        .collect();
    let [first, second] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!((first.start, second.end), (0, SIZE));
    second.start
}

/// The connection of each body ends with FIN, so that what its socket took is what the mirror got: no buffer has a say in
/// how much that is.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_cuts_in_a_row_cost_one_fill_and_no_byte_twice() {
    const CUTS: u64 = 50;
    const LAYER: u64 = 15_000_000;
    let spec = ImageSpec {
        layers: 1,
        layer_size: LAYER,
        content: Content::Opaque,
        ..ImageSpec::default()
    };
    let builder = plain_origin().repository("library/app", |repository| {
        repository.image("v1", &spec);
    });
    let origin = builder.start().await.unwrap();
    let layer = &origin.image("library/app", "v1").manifests[0].layers[0];
    for cut in 1..=CUTS {
        let at = LAYER * cut / (CUTS + 1);
        origin.on_body(&layer.digest).once(Fault::CutAt(at));
    }
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    // As clients do: then the mirror knows how large the layer is, and asks for no more than it wants.
    client.manifest("library/app", "v1").await;
    let pulls = (0..3).map(|_| client.pulls("library/app", &layer.digest));
    futures_util::future::join_all(pulls).await;

    let asked = origin.ranges_requested(&layer.digest).len() as u64;
    let sent = origin.body_bytes(&layer.digest);
    println!("{CUTS} cuts: {asked} requests, {sent} bytes for {LAYER}");
    assert!(asked > CUTS, "{asked} requests: not every cut was met");
    assert!(sent >= LAYER && sent * 100 <= LAYER * 105, "{sent}");
    assert_eq!(origin.repeated_bytes_sent(&layer.digest), 0);
    forebay
        .until_metric("forebay_fills_running", "", |running| running == 0.0)
        .await;
    let fills = forebay.metric("forebay_fills_total", "").await;
    assert_eq!(fills.to_string(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_whose_range_is_ignored_throws_away_what_it_has() {
    let (origin, blob) = origin_with_blob(31, SIZE).await;
    origin.on_body(&blob.digest).once(Fault::CutAt(SIZE / 2));
    origin.on_body(&blob.digest).always(Fault::IgnoreRange);
    let forebay = mirror_of(&origin).await;
    forebay.client().pulls("library/app", &blob.digest).await;
}

/// A blob whose size nothing tells is asked for in a part that may be all of it, which an upstream may be worse at.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_makes_no_sense_of_ranges_is_asked_for_the_whole() {
    let (origin, blob) = origin_with_blob(32, SIZE).await;
    origin.on_body(&blob.digest).always(Fault::ShiftRange(1));
    let forebay = mirror_of(&origin).await;
    forebay.client().pulls("library/app", &blob.digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_too_many_or_too_few_completes_for_nobody() {
    pull_through(40, SIZE, Fault::Extra(1), false).await;
    pull_through(41, SIZE, Fault::Short(1), false).await;
    pull_through(42, 40_000, Fault::Short(1), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_length_completes_for_nobody() {
    pull_through(50, SIZE, Fault::ClaimLength(-1), false).await;
    pull_through(51, SIZE, Fault::ClaimLength(1), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_is_served_with_one() {
    pull_through(60, SIZE, Fault::Chunked, true).await;
    pull_through(61, SIZE, Fault::UntilClose, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_an_encoding_are_refused() {
    let (origin, blob) = origin_with_blob(62, SIZE).await;
    origin.on_body(&blob.digest).always(Fault::claims_gzip());
    let forebay = mirror_of(&origin).await;
    let refused = forebay.client().blob("library/app", &blob.digest).await;
    assert_eq!(
        refused.status,
        StatusCode::BAD_GATEWAY,
        "{}",
        refused.text()
    );
}

/// The signed URL of the first response is dead when the body breaks off: the registry has to be asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_expires_in_the_middle_is_asked_for_again() {
    let mut blob = None;
    let builder = Origin::builder()
        .auth(Auth::token())
        .blobs(Blobs::redirect());
    let origin = builder
        .repository("library/app", |repository| {
            blob = Some(repository.random_blob(70, SIZE));
        })
        .start()
        .await
        .unwrap();
    let blob = blob.unwrap();
    let gate = Gate::new();
    let faults = [
        Fault::HoldAt(SIZE / 2, gate.clone()),
        Fault::CutAt(SIZE / 2),
    ];
    for fault in faults {
        origin.on_body(&blob.digest).once(fault);
    }
    let forebay = mirror_of(&origin).await;
    let (client, digest) = (forebay.client(), blob.digest.clone());
    let pull = tokio::spawn(async move { client.blob("library/app", &digest).await });
    gate.reached(1).await;
    origin.expire_redirects();
    gate.release();
    let answer = pull.await.unwrap();
    assert!(answer.is_exactly(&blob.digest), "{}", answer.status);
    let counts = origin.counts();
    assert_eq!(
        counts.of(Kind::BlobGet).ok,
        2,
        "the registry is asked for a new redirect"
    );
    assert_eq!(
        counts.requests(Kind::CdnGet),
        2,
        "the dead one is not tried again"
    );
    let authorized = origin
        .requests()
        .into_iter()
        .filter(|request| request.kind == Kind::CdnGet);
    for request in authorized {
        assert!(
            request.header("authorization").is_empty(),
            "the CDN was shown credentials"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_refuses_is_passed_on_honestly_and_trouble_is_never_a_404() {
    for (status, expected) in [
        (404, StatusCode::NOT_FOUND),
        (500, StatusCode::SERVICE_UNAVAILABLE),
        (503, StatusCode::SERVICE_UNAVAILABLE),
        (429, StatusCode::TOO_MANY_REQUESTS),
        (403, StatusCode::FORBIDDEN),
    ] {
        let (origin, blob) = origin_with_blob(80, SIZE).await;
        origin
            .on(Kind::BlobGet)
            .always(Fault::Answer(Reply::status(status)));
        let forebay = mirror_of(&origin).await;
        let answer = forebay.client().blob("library/app", &blob.digest).await;
        let gateway = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE];
        let fits = answer.status == expected
            || gateway.contains(&expected) && gateway.contains(&answer.status);
        assert!(fits, "upstream {status} became {}", answer.status);
        assert!(
            !answer.code().is_empty(),
            "an error has the spec's body: {}",
            answer.text()
        );
    }
}

/// A blob whose bytes are wrong every time is not asked for again at once: every try costs its upstream a whole body.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_always_wrong_is_refused_and_left_alone_for_a_while() {
    let (origin, blob) = origin_with_blob(90, 40_000).await;
    origin.on_body(&blob.digest).always(Fault::FlipBit(1));
    let forebay = mirror_of(&origin).await;
    let refused = forebay.client().blob("library/app", &blob.digest).await;
    assert_eq!(
        refused.status,
        StatusCode::BAD_GATEWAY,
        "{}",
        refused.text()
    );
    let asked = origin.counts().requests(Kind::BlobGet);
    assert_eq!(asked, 2, "fetched, and fetched once more");
    let again = forebay.client().blob("library/app", &blob.digest).await;
    assert_eq!(again.status, StatusCode::BAD_GATEWAY);
    assert_eq!(origin.counts().requests(Kind::BlobGet), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_does_not_match_is_asked_for_once_more_then_refused() {
    let builder = crate::harness::plain_origin();
    let origin = builder
        .repository("library/app", |repository| {
            drop(repository.image("v1", &ImageSpec::default()));
        })
        .start()
        .await
        .unwrap();
    let digest = origin.image("library/app", "v1").root.digest;
    origin.on(Kind::ManifestGet).once(Fault::FlipBit(20));
    let forebay = mirror_of(&origin).await;
    forebay
        .client()
        .pulls_manifest("library/app", &digest)
        .await;
    assert_eq!(origin.counts().requests(Kind::ManifestGet), 2);
}

/// Reads a response to a plain GET until the connection ends: how many bytes came, and the error that ended it.
async fn read_raw(forebay: &Forebay, path: &str) -> (u64, Option<std::io::ErrorKind>) {
    let mut stream = TcpStream::connect(forebay.address).await.unwrap();
    let request = get(path);
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut all, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return (all, None),
            Ok(read) => all += read as u64,
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

/// A client that was given good bytes may go on behind them; one that was given bad ones must not, for a good tail would
/// complete a wrong whole.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_stop_coming_end_with_fin_and_wrong_bytes_with_reset() {
    let wrong = [Fault::FlipBit(SIZE / 2)];
    let cut = [Fault::CutAt(SIZE / 2), Fault::CutAt(SIZE / 2 + 1)];
    for (seed, faults, expected) in [
        (91, &wrong[..], Some(std::io::ErrorKind::ConnectionReset)),
        (92, &cut[..], None),
    ] {
        let (origin, blob) = origin_with_blob(seed, SIZE).await;
        for fault in faults {
            origin.on_body(&blob.digest).always(fault.clone());
        }
        let forebay = mirror_of(&origin).await;
        let (bytes, ended) = read_raw(&forebay, &blob_path("library/app", &blob.digest)).await;
        assert_eq!(ended, expected, "{faults:?}");
        assert!(bytes > 0 && bytes < SIZE, "{faults:?}: {bytes} bytes");
        assert_eq!(
            committed(&forebay.cache_dir()),
            Vec::<String>::new(),
            "{faults:?}"
        );
    }
}
