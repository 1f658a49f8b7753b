//! What stays in a cache that is too small for all that goes through it, and what goes.

use std::time::Duration;

use forebay_loadtest::origin::{Content, Descriptor, Image, ImageSpec, Origin};
use http::{Method, StatusCode};

use crate::harness::{
    Client, Forebay, Sampler, Setup, blob_file, blob_path, bytes_below, bytes_free, heavy,
    manifest_path, plain_origin, sha256,
};

const MB: u64 = 1_000_000;
const LIMIT: u64 = 30 * MB;
/// Images of two layers, and blobs that belong to none.
const IMAGES: u64 = 14;
const BLOBS: u64 = 20;
const SIZE: u64 = 2 * MB;
const APP: &str = "library/app";

fn tag(image: u64) -> String {
    format!("v{image}")
}

async fn start_origin() -> (Origin, Vec<Descriptor>) {
    let mut blobs = Vec::new();
    let builder = plain_origin().repository(APP, |repository| {
        for image in 0..IMAGES {
            let spec = ImageSpec {
                layer_size: SIZE,
                content: Content::Opaque,
                ..ImageSpec::default()
            };
            drop(repository.multi_arch_image(&tag(image), &spec));
        }
        blobs.extend((0..BLOBS).map(|seed| repository.random_blob(seed, SIZE)));
    });
    (builder.start().await.unwrap(), blobs)
}

fn small(origin: &Origin) -> Setup {
    Setup::new(origin).config(&format!(
        "[cache]\nmax_size = {LIMIT}\nmin_free = 0\n[tags]\nfresh_for = \"1h\""
    ))
}

/// What a client asks for that has all layers: the index and its platform's manifest.
async fn look(client: &Client, image: &Image) {
    let index = client.manifest(APP, &image.tag).await;
    assert!(index.is_exactly(&image.root.digest), "{}", index.status);
    let manifest = &image.linux("amd64").descriptor.digest;
    let answer = client.manifest(APP, manifest).await;
    assert!(answer.is_exactly(manifest), "{}", answer.status);
}

async fn pull(client: &Client, image: &Image) {
    look(client, image).await;
    for blob in image.linux("amd64").blobs() {
        fetch(client, blob).await;
    }
}

async fn fetch(client: &Client, blob: &Descriptor) {
    let answer = client.blob(APP, &blob.digest).await;
    assert!(answer.is_exactly(&blob.digest), "{}", answer.text());
}

/// Blobs that nobody needs twice. Each is in its place before the next one comes, however slow the disk is: what is
/// on its way there can't go, and would push out what is guarded.
async fn flood(forebay: &Forebay, blobs: &[Descriptor]) {
    let client = forebay.client();
    for blob in blobs {
        let in_place = async {
            fetch(&client, blob).await;
            while !has_file(forebay, blob) {
                fetch(&client, blob).await;
            }
        };
        let in_place = tokio::time::timeout(Duration::from_mins(1), in_place).await;
        assert!(in_place.is_ok(), "{} is not kept", blob.digest);
    }
}

/// A blob is asked for with HEAD, which fetches nothing while its upstream is off.
async fn has(client: &Client, blob: &Descriptor) -> bool {
    let answer = client.head(&blob_path(APP, &blob.digest)).await;
    answer.status == http::StatusCode::OK
}

/// Nodes that have an image ask for its manifest only, while jobs push other images and blobs through.
/// Its layers were not used for all that time, and the next new node, on a day without upstream, met a
/// hole.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_whose_manifest_is_served_outlives_a_flood_and_pulls_without_its_upstream() {
    heavy();
    let (origin, blobs) = start_origin().await;
    let forebay = small(&origin).start().await;
    let client = forebay.client();
    let cache = forebay.cache_dir();
    let disk = Sampler::start(move || bytes_below(&cache));
    let limit = f64::from(u32::try_from(LIMIT).unwrap());
    let regular = origin.image(APP, &tag(0));
    pull(&client, &regular).await;
    for (number, blob) in (1..IMAGES).zip(&blobs) {
        pull(&client, &origin.image(APP, &tag(number))).await;
        flood(&forebay, std::slice::from_ref(blob)).await;
        look(&client, &regular).await;
        let counted = forebay.metric("forebay_store_bytes", "").await;
        assert!(counted <= limit, "{counted} bytes by the metrics");
    }
    let evictions = forebay.metric("forebay_evictions_total", "").await;
    assert!(evictions > 20.0, "only {evictions} evictions");
    forebay
        .until_metric("forebay_store_bytes", "", |bytes| bytes <= 0.95 * limit)
        .await;
    origin.stop().await;
    pull(&client, &regular).await;
    assert!(!has(&client, &blobs[0]).await, "nothing had to go");
    let (samples, highest) = disk.stop().await;
    assert!(samples > 20, "only {samples} samples were taken");
    assert!(highest <= LIMIT, "{highest} bytes on disk");
    assert!(highest > LIMIT / 2, "only {highest} bytes were used");
}

/// What was served before it is guarded after it, by what the index says of last uses: what came later
/// than the image and was not served with a manifest goes first.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_served_before_a_restart_or_a_crash_outlives_what_was_not() {
    heavy();
    for crash in [false, true] {
        let (origin, blobs) = start_origin().await;
        let forebay = small(&origin).start().await;
        let client = forebay.client();
        let (first, others) = blobs.split_at(6);
        let image = origin.image(APP, &tag(0));
        pull(&client, &image).await;
        flood(&forebay, first).await;
        let setup = if crash {
            forebay.kill().await
        } else {
            forebay.stop().await.1
        };
        let forebay = setup.start().await;
        let client = forebay.client();
        flood(&forebay, others).await;
        origin.stop().await;
        pull(&client, &image).await;
        for blob in first {
            assert!(!has(&client, blob).await, "crash: {crash}");
        }
    }
}

/// Without any manifest the order is that of last use, and goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_order_in_which_blobs_were_used() {
    heavy();
    let (origin, blobs) = start_origin().await;
    let forebay = small(&origin).start().await;
    flood(&forebay, &blobs[..8]).await;
    let setup = forebay.stop().await.1;
    let forebay = setup.start().await;
    let client = forebay.client();
    flood(&forebay, &blobs[8..16]).await;
    origin.stop().await;
    let mut kept = Vec::new();
    for blob in &blobs[..16] {
        kept.push(has(&client, blob).await);
    }
    assert!(!kept[0] && kept[15], "{kept:?}");
    assert!(kept.is_sorted(), "an older one outlived a newer: {kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stands_still_through_a_flood_reads_to_the_end() {
    heavy();
    let (origin, blobs) = start_origin().await;
    let large = origin.edit(APP, |repository| repository.random_blob(100, 12 * MB));
    let forebay = small(&origin).start().await;
    let client = forebay.client();
    fetch(&client, &large).await;
    let path = blob_path(APP, &large.digest);
    let mut reader = client.open(Method::GET, &path, &[]).await;
    let mut body = reader.chunk().await.unwrap().unwrap().to_vec();
    flood(&forebay, &blobs).await;
    assert!(bytes_below(&forebay.cache_dir()) <= LIMIT);
    assert!(!has_file(&forebay, &blobs[0]), "nothing had to go");
    while let Some(chunk) = reader.chunk().await.expect("it is not cut") {
        body.extend_from_slice(&chunk);
    }
    assert_eq!(sha256(&body), large.digest.as_str());
    // Nobody reads it any more.
    flood(&forebay, &blobs).await;
    assert!(!has_file(&forebay, &large));
}

fn has_file(forebay: &Forebay, blob: &Descriptor) -> bool {
    blob_file(&forebay.cache_dir(), &blob.digest).exists()
}

/// A file system that others write to as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_stay_free_on_a_small_disk_stays_free() {
    const DISK: u64 = 40 << 20;
    const FREE: u64 = 10 * MB;
    heavy();
    let (origin, blobs) = start_origin().await;
    let forebay = Setup::new(&origin)
        .config(&format!("[cache]\nmax_size = \"1GB\"\nmin_free = {FREE}"))
        .disk_of(DISK)
        .start()
        .await;
    let client = forebay.client();
    let cache = forebay.seen(&forebay.cache_dir());
    let disk = cache.parent().unwrap().to_owned();
    let free_at_first = bytes_free(&disk);
    let own = DISK / 2..=DISK;
    assert!(
        own.contains(&free_at_first),
        "{free_at_first} are free: not its own disk"
    );
    let watched = disk.clone();
    let used = Sampler::start(move || DISK - bytes_free(&watched));
    for blob in &blobs {
        fetch(&client, blob).await;
    }
    let (samples, most) = used.stop().await;
    assert!(samples > 20, "only {samples} samples were taken");
    assert!(most <= DISK - FREE, "{most} bytes were used of {DISK}");
    assert!(most > DISK / 2, "only {most} bytes were used");
    // Another program takes some of what is free: the next blob's room is made with that counted.
    std::fs::write(disk.join("other"), vec![1; 7_500_000]).unwrap();
    assert!(bytes_free(&disk) < FREE);
    let before = forebay.metric("forebay_evictions_total", "").await;
    fetch(&client, &blobs[0]).await;
    assert!(bytes_free(&disk) >= FREE, "{} are free", bytes_free(&disk));
    assert!(forebay.metric("forebay_evictions_total", "").await > before);
    let alone = forebay.metric("forebay_solo_total", "").await;
    assert!(alone < 1.0, "{alone} pulls went past the cache");
}

/// A poller for updates that asked HEAD for every tag each minute held four fifths of the cache with images that
/// nobody pulled, and what was being pulled went.
#[tokio::test(flavor = "multi_thread")]
async fn looking_for_updates_keeps_nothing_in_the_cache() {
    heavy();
    let (origin, blobs) = start_origin().await;
    let forebay = small(&origin).start().await;
    let client = forebay.client();
    let polled = origin.image(APP, &tag(0));
    let platform = polled.linux("amd64");
    for blob in platform.blobs() {
        fetch(&client, blob).await;
    }
    for reference in [polled.tag.as_str(), platform.descriptor.digest.as_str()] {
        let looked = client.head(&manifest_path(APP, reference)).await;
        assert_eq!(looked.status, StatusCode::OK, "{reference}");
    }
    flood(&forebay, &blobs).await;
    let left = platform.blobs().filter(|blob| has_file(&forebay, blob));
    assert_eq!(left.count(), 0);
}
