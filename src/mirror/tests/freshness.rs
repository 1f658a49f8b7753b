//! What is asked of an upstream, and when, by how old a record is and how much of a quota is left. Records are made as old
//! as they have to be, so that nothing waits for time to pass.

use forebay_loadtest::origin::Gate;

use super::*;
use crate::upstream::Priority;

const HOUR: Duration = Duration::from_hours(1);
const FRESH: &str = "[tags]\nfresh_for = \"1h\"\nnegative_for = \"0s\"\nconfirm_wait = \"20s\"";
const STALE: CacheStatus = CacheStatus::Stale(StaleReason::Quota);

/// An origin with `v1`, and `w0` to `w8`.
async fn origin_of_many() -> Origin {
    let builder = Origin::builder().repository("library/app", |repository| {
        repository.image("v1", &image(1));
        for number in 0..9 {
            repository.image(&format!("w{number}"), &image(10 + number));
        }
    });
    builder.start().await.unwrap()
}

fn move_image(origin: &Origin) -> Digest {
    origin.edit("library/app", |repository| {
        repository.image("v1", &image(2));
    });
    root(origin)
}

impl Bench {
    /// A mirror that may pull ten times, has pulled `v1`, and has so many pulls left.
    async fn with_left(origin: &Origin, left: usize) -> Self {
        let lines = [FRESH, "quota = \"10/6h\""];
        let bench = Self::start(origin, lines, Faults::none()).await;
        bench.manifest("v1").await.unwrap();
        for number in 0..9 - left {
            bench.manifest(&format!("w{number}")).await.unwrap();
        }
        origin.reset();
        bench
    }

    fn record(&self) -> store::TagRecord {
        let told = self.mirror.inner.memory.tag(&app(), &v1()).unwrap();
        told.known.record().unwrap().clone()
    }

    /// Makes the record of `v1` so old.
    fn age(&self, age: Duration) {
        let mut record = self.record();
        record.confirmed_at = SystemTime::now() - age;
        let inner = &self.mirror.inner;
        let known = KnownTag::Record(record);
        inner.memory.learn_tag(&app(), &v1(), known);
        inner.held.remove(&app(), &v1());
    }

    async fn status(&self) -> CacheStatus {
        self.manifest("v1").await.unwrap().cache_status
    }

    /// Returns when the record was confirmed a moment ago.
    async fn until_renewed(&self) {
        let renewed = async {
            while self.record().confirmed_at < SystemTime::now() - HOUR / 60 {
                tokio::task::yield_now().await;
            }
        };
        let renewed = tokio::time::timeout(PATIENCE, renewed).await;
        renewed.expect("the tag is confirmed");
    }
}

/// Returns when the question has come.
async fn reached(gate: &Gate) {
    let reached = tokio::time::timeout(PATIENCE, gate.reached(1)).await;
    reached.expect("the tag is asked for");
}

fn heads(origin: &Origin) -> u64 {
    origin.counts().requests(Kind::ManifestHead)
}

fn gets(origin: &Origin) -> u64 {
    origin.counts().requests(Kind::ManifestGet)
}

#[tokio::test]
async fn a_move_is_followed_at_once_while_there_is_plenty_and_later_when_there_is_little() {
    for (left, age, is_followed) in [
        (5, 65, true),
        (3, 65, false),
        (3, 4 * 60, false),
        (3, 5 * 60, true),
        (2, 5 * 60, false),
        (2, 8 * 60, true),
    ] {
        let origin = origin_of_many().await;
        let bench = Bench::with_left(&origin, left).await;
        let old = root(&origin);
        let new = move_image(&origin);
        bench.age(Duration::from_mins(age));
        let served = bench.manifest("v1").await.unwrap();
        let is_new = served.digest == Some(new);
        assert_eq!(is_new, is_followed, "{left} left, {age} minutes old");
        assert_eq!(heads(&origin), 1, "the question is free");
        assert_eq!(gets(&origin), u64::from(is_followed));
        if !is_followed {
            assert_eq!((served.digest, served.cache_status), (Some(old), STALE));
            assert!(served.age.unwrap() >= Duration::from_mins(age));
        }
    }
}

#[tokio::test]
async fn a_move_that_is_put_off_is_not_asked_about_by_every_pull() {
    let origin = origin_of_many().await;
    let bench = Bench::with_left(&origin, 3).await;
    move_image(&origin);
    bench.age(2 * HOUR);
    for _ in 0..3 {
        assert_eq!(bench.status().await, STALE);
    }
    assert_eq!((heads(&origin), gets(&origin)), (1, 0));
}

/// It is the answer that costs; and it is in time that a tag is seen to be gone.
#[tokio::test]
async fn however_little_is_left_a_tag_is_seen_to_be_unmoved_deleted_or_refused() {
    let origin = origin_of_many().await;
    let bench = Bench::with_left(&origin, 2).await;
    bench.age(HOUR);
    assert_eq!(bench.status().await, CacheStatus::Revalidated);
    let head = origin.on(Kind::ManifestHead).always(Fault::status(403));
    bench.age(HOUR);
    let refused = bench.manifest("v1").await.unwrap_err();
    assert!(matches!(refused, MirrorError::Denied { .. }), "{refused}");
    head.remove();
    origin.on(Kind::ManifestHead).always(Fault::status(404));
    let gone = bench.manifest("v1").await.unwrap_err();
    assert!(matches!(gone, MirrorError::NotFound { .. }), "{gone}");
    assert_eq!(gets(&origin), 0);
}

#[tokio::test]
async fn a_move_to_what_is_here_already_costs_nothing_and_is_followed() {
    let origin = origin_of_many().await;
    let bench = Bench::with_left(&origin, 2).await;
    origin.edit("library/app", |repository| {
        repository.image("v1", &image(10));
    });
    bench.age(HOUR);
    let served = bench.manifest("v1").await.unwrap();
    assert_eq!(served.digest, Some(root(&origin)), "as `w0`");
    assert_eq!(gets(&origin), 0);
}

/// It was refused for the quota, as who could do without was, and failed.
#[tokio::test]
async fn a_client_with_nothing_to_be_served_asks_itself_where_it_joined_one_who_could_do_without() {
    let origin = origin_of_many().await;
    let bench = Bench::with_left(&origin, 2).await;
    let new = move_image(&origin);
    bench.age(2 * HOUR);
    let mut refused = bench.record();
    refused.refused = true;
    let known = KnownTag::Record(refused);
    bench.mirror.inner.memory.learn_tag(&app(), &v1(), known);
    let gate = origin.on(Kind::ManifestHead).hold_head();
    bench
        .mirror
        .refresh(&bench.upstream, &app(), &v1(), Priority::Moved);
    reached(&gate).await;
    let mut client = std::pin::pin!(bench.manifest("v1"));
    assert!(poll!(&mut client).is_pending(), "it has joined");
    gate.release();
    assert_eq!(client.await.unwrap().digest, Some(new));
}

#[tokio::test]
async fn a_hot_tag_is_asked_for_ahead_of_its_time_and_no_pull_waits_for_it() {
    let origin = origin_of_many().await;
    let bench = Bench::with_left(&origin, 9).await;
    let new = move_image(&origin);
    bench.age(Duration::from_mins(55));
    let gate = origin.on(Kind::ManifestHead).hold_head();
    assert_eq!(bench.status().await, CacheStatus::Hit);
    assert_eq!(bench.mirror.inner.hot.available_permits(), ahead::WAITING);
    assert_eq!(bench.status().await, CacheStatus::Hit);
    reached(&gate).await;
    for _ in 0..5 {
        // The upstream does not answer; who waited for it would be served as from one that is away.
        assert_eq!(bench.status().await, CacheStatus::Hit);
    }
    gate.release();
    bench.until_renewed().await;
    let served = bench.manifest("v1").await.unwrap();
    assert_eq!(served.cache_status, CacheStatus::Hit);
    assert_eq!(served.digest, Some(new), "it has moved meanwhile");
    assert_eq!((heads(&origin), gets(&origin)), (1, 1));
    assert_eq!(bench.mirror.inner.hot.available_permits(), ahead::WAITING);
}

/// It was asked for by the configuration before, from where that said, for as long as ten minutes after a reload.
#[tokio::test]
async fn what_a_configuration_has_planned_is_planned_anew_by_the_next() {
    let origin = origin_of_many().await;
    let bench = Bench::with_left(&origin, 9).await;
    bench.age(Duration::from_mins(45));
    for _ in 0..2 {
        assert_eq!(bench.status().await, CacheStatus::Hit);
    }
    let places = || bench.mirror.inner.hot.available_permits();
    assert_eq!(places(), ahead::WAITING - 1);
    let config =
        "[upstreams.'docker.io']\nendpoints = ['http://127.0.0.1:9']\ntags = { fresh_for = '1h' }";
    let config = Config::from_toml(config).unwrap();
    let next = bench.mirror.reconfigured(&config).unwrap();
    // Nothing is given up for one that does not count yet, and may never.
    tokio::task::yield_now().await;
    assert_eq!(places(), ahead::WAITING - 1);
    bench.mirror.replaced();
    let given_up = async {
        while places() < ahead::WAITING {
            tokio::task::yield_now().await;
        }
    };
    let given_up = tokio::time::timeout(PATIENCE, given_up).await;
    given_up.expect("it waits no longer");
    let (asked, tag) = (Permit::for_tests(&app()), "v1".parse().unwrap());
    let served = next.manifest(&asked, &tag, Wanted::Body, waiter()).await;
    assert_eq!(served.unwrap().cache_status, CacheStatus::Hit);
    assert_eq!(places(), ahead::WAITING - 1);
    assert_eq!(heads(&origin), 0);
}

#[tokio::test]
async fn a_tag_is_not_asked_for_ahead_when_it_is_not_hot_or_its_upstream_is_in_trouble() {
    let origin = origin_of_many().await;
    for is_hot in [false, true] {
        let bench = Bench::with_left(&origin, 9).await;
        bench.age(Duration::from_mins(55));
        bench.status().await;
        let registry = bench.upstream.registry();
        if is_hot {
            bench.mirror.inner.troubles.note(registry);
            bench.status().await;
        }
        bench.mirror.shutdown().await;
        assert_eq!(heads(&origin), 0, "hot: {is_hot}");
    }
}

#[tokio::test]
async fn more_hot_tags_than_there_are_places_for_are_asked_for_when_one_is_free() {
    let origin = origin_of_many().await;
    let bench = Bench::with_left(&origin, 9).await;
    bench.age(Duration::from_mins(55));
    let hot = Arc::clone(&bench.mirror.inner.hot);
    let all = hot.acquire_many_owned(u32::try_from(ahead::WAITING).unwrap());
    let all = all.await.unwrap();
    for _ in 0..3 {
        assert_eq!(bench.status().await, CacheStatus::Hit);
    }
    drop(all);
    let gate = origin.on(Kind::ManifestHead).hold_head();
    bench.status().await;
    reached(&gate).await;
    gate.release();
    bench.until_renewed().await;
    assert_eq!(heads(&origin), 1);
}

/// What is left when little is left is for clients with nothing else to be served, and for tags that are due.
#[tokio::test]
async fn ahead_of_its_time_a_move_is_followed_only_while_nothing_is_put_off() {
    for (left, is_followed) in [(5, true), (4, false), (2, false)] {
        let origin = origin_of_many().await;
        let bench = Bench::with_left(&origin, left).await;
        let old = root(&origin);
        let new = move_image(&origin);
        bench.age(Duration::from_mins(55));
        let gate = origin.on(Kind::ManifestHead).hold_head();
        for _ in 0..2 {
            bench.status().await;
        }
        reached(&gate).await;
        gate.release();
        if is_followed {
            bench.until_renewed().await;
        } else {
            // The question ends, and another is not asked as long as the tag is fresh.
            let (upstream, patient) = (&bench.upstream, Caller::impatient(Priority::Refresh));
            let asked = bench
                .mirror
                .confirm(upstream, &app(), &v1(), &patient)
                .await;
            assert!(matches!(asked.0, Err(MirrorError::TooManyRequests { .. })));
        }
        let served = bench.manifest("v1").await.unwrap();
        let expected = if is_followed { new } else { old };
        assert_eq!(served.digest, Some(expected), "{left} left");
        assert_eq!(served.cache_status, CacheStatus::Hit);
        assert_eq!(gets(&origin), u64::from(is_followed));
        // Nothing is held against it when it is due.
        assert_eq!(bench.mirror.inner.held.get(&app(), &v1()), None);
    }
}

/// What a pull of it would go on to is as much a part of it as the index.
#[tokio::test]
async fn a_tag_stays_where_it_was_until_what_was_pulled_of_it_is_here_of_the_new_one() {
    let origin = origin_with_image().await;
    let bench = Bench::start(&origin, [ALWAYS_DUE, ""], Faults::none()).await;
    let old = root(&origin);
    let children = |origin: &Origin| {
        let image = origin.image("library/app", "v1");
        ["amd64", "arm64"].map(|platform| image.linux(platform).descriptor.digest.to_string())
    };
    bench.manifest("v1").await.unwrap();
    bench.manifest(&children(&origin)[0]).await.unwrap();
    move_tag(&origin);
    let [pulled, other] = children(&origin);
    let by_digest = |digest: &str| origin.on(Kind::ManifestGet).reference(digest);
    by_digest(&other).always(Fault::status(503));
    let missing = by_digest(&pulled).always(Fault::status(503));
    let stale = bench.manifest("v1").await.unwrap();
    assert_eq!(stale.digest, Some(old), "its index alone is no image");
    assert_eq!(bench.record().descriptor.digest, old);
    missing.remove();
    let moved = async {
        while bench.manifest("v1").await.unwrap().digest == Some(old) {
            tokio::task::yield_now().await;
        }
    };
    let moved = tokio::time::timeout(PATIENCE, moved).await;
    moved.expect("nobody has pulled the other platform");
    assert_eq!(bench.record().descriptor.digest, root(&origin));
}
