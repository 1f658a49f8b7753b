//! The store against a model: any sequence of operations, checked after each step.
//!
//! The model knows which bodies were committed and in which order they were used, what each writer
//! has written, and which files are being read. It checks that
//! - what is read is right, and what was committed is there unless something newer was kept over it;
//! - a writer's frontier and extents are what was written, and a resume starts where one stopped;
//! - nothing is refused that would fit after eviction;
//! - the limit holds, in the ledger and on the disk.
//!
//! `PROPTEST_CASES` sets how many sequences are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use super::support::*;
use crate::store::fill::charged_partial;
use crate::store::touches::GRANULE;
use crate::store::writer::reserved_for;
use crate::store::{BlobFile, BlobWriter, Clock, Extents, Store, StoreError, upkeep};

const LIMIT: u64 = 10 * MIB;
const BODIES: u64 = 12;
const PIECE: u64 = 128 << 10;

#[derive(Clone, Debug)]
enum Step {
    Begin { blob: u64, sized: bool },
    Write { blob: u64, piece: u64 },
    WriteRest { blob: u64, wrong: bool },
    Drop { blob: u64 },
    Discard { blob: u64 },
    Open { blob: u64 },
    Close { blob: u64 },
    PutManifest { seed: u64 },
    Advance { minutes: u64 },
    Upkeep,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let blob = || 0..BODIES;
    prop_oneof![
        6 => (blob(), any::<bool>()).prop_map(|(blob, sized)| Step::Begin { blob, sized }),
        6 => (blob(), 0..24_u64).prop_map(|(blob, piece)| Step::Write { blob, piece }),
        8 => (blob(), prop::bool::weighted(0.1))
            .prop_map(|(blob, wrong)| Step::WriteRest { blob, wrong }),
        2 => blob().prop_map(|blob| Step::Drop { blob }),
        1 => blob().prop_map(|blob| Step::Discard { blob }),
        5 => blob().prop_map(|blob| Step::Open { blob }),
        3 => blob().prop_map(|blob| Step::Close { blob }),
        1 => (0..3_u64).prop_map(|seed| Step::PutManifest { seed }),
        2 => (1..100_u64).prop_map(|minutes| Step::Advance { minutes }),
        1 => Just(Step::Upkeep),
        1 => Just(Step::Reopen),
    ]
}

fn blob(number: u64) -> Bytes {
    body(number, 1 + number * 217 * 1024)
}

struct Writing {
    writer: BlobWriter,
    extents: Extents,
}

struct Model {
    dir: Dir,
    store: Store,
    millis: Arc<AtomicU64>,
    /// Committed, and not known to be evicted: last use, as recorded.
    committed: BTreeMap<u64, u64>,
    manifests: BTreeSet<u64>,
    writing: BTreeMap<u64, Writing>,
    /// How far a paused writer had hashed.
    paused: BTreeMap<u64, u64>,
    reading: BTreeMap<u64, Arc<BlobFile>>,
    /// The last stamp that was given out.
    stamp: u64,
}

async fn open(dir: &Dir, millis: &Arc<AtomicU64>) -> Store {
    let mut settings = dir.settings(LIMIT);
    settings.clock = Clock::manual(Arc::clone(millis));
    settings.open_files = 4;
    let store = Store::open(settings).await.unwrap();
    stop_upkeep(&store).await;
    store
}

impl Model {
    async fn new() -> Self {
        let dir = Dir::in_memory();
        let millis = Arc::new(AtomicU64::new(1_700_000_000_000));
        Self {
            store: open(&dir, &millis).await,
            dir,
            millis,
            committed: BTreeMap::new(),
            manifests: BTreeSet::new(),
            writing: BTreeMap::new(),
            paused: BTreeMap::new(),
            reading: BTreeMap::new(),
            stamp: 0,
        }
    }

    fn now(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamp = self.now().max(self.stamp + 1);
        self.stamp
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Begin { blob, sized } => self.begin(blob, sized).await,
            Step::Write { blob, piece } => self.write(blob, piece).await,
            Step::WriteRest { blob, wrong } => self.write_rest(blob, wrong).await,
            Step::Drop { blob } => self.pause(blob).await,
            Step::Discard { blob } => {
                if let Some(writing) = self.writing.remove(&blob) {
                    writing.writer.discard().await;
                }
            }
            Step::Open { blob } => self.open(blob).await,
            Step::Close { blob } => drop(self.reading.remove(&blob)),
            Step::PutManifest { seed } => {
                if self.manifests.insert(seed) {
                    put_manifest(&self.store, seed).await;
                }
            }
            Step::Advance { minutes } => {
                self.millis.fetch_add(minutes * 60_000, Ordering::Relaxed);
            }
            Step::Upkeep => {
                let mut all = upkeep::Upkeep::new();
                upkeep::round(&self.store.0, &mut all).await.unwrap();
            }
            Step::Reopen => self.reopen().await,
        }
        self.check().await;
    }

    /// Bytes that eviction could not free now.
    fn fixed(&self) -> u64 {
        let sums = self.store.0.ledger.sums();
        let read: u64 = self.reading.values().map(|file| file.size()).sum();
        // The readers' bytes, generously rounded: each is charged at most 2 blocks more.
        let read = read + self.reading.len() as u64 * 8192;
        sums.total() + sums.headroom() - sums.evictable() + read
    }

    async fn begin(&mut self, number: u64, sized: bool) {
        let body = blob(number);
        let length = body.len() as u64;
        let wanted = if sized {
            charged_partial(length)
        } else {
            reserved_for(0)
        };
        let fixed = self.fixed();
        match self
            .store
            .begin(digest(&body), sized.then_some(length))
            .await
        {
            Ok(writer) => {
                assert!(!self.writing.contains_key(&number));
                assert!(!self.reading.contains_key(&number));
                if let Some(hashed) = self.paused.remove(&number) {
                    // All of it, or nothing where it was evicted.
                    assert!([0, hashed].contains(&writer.hashed()));
                } else {
                    assert_eq!(writer.hashed(), 0);
                }
                let extents = Extents::prefix(writer.hashed());
                assert_eq!(writer.extents(), &extents);
                self.writing.insert(number, Writing { writer, extents });
            }
            Err(StoreError::Busy) => assert!(self.writing.contains_key(&number)),
            Err(StoreError::AlreadyStored) => assert!(self.committed.contains_key(&number)),
            Err(StoreError::NoRoom { .. }) => {
                assert!(fixed + wanted > LIMIT, "{wanted} would fit beside {fixed}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn write(&mut self, number: u64, piece_number: u64) {
        let body = blob(number);
        let length = body.len() as u64;
        let Some(Writing {
            writer,
            mut extents,
        }) = self.writing.remove(&number)
        else {
            return;
        };
        let from = (piece_number * PIECE).min(length);
        let range = from..(from + PIECE).min(length);
        let (writer, result) = write(writer, vec![piece(&body, range.clone())]).await;
        match result {
            Ok(()) => extents.insert(range),
            Err(StoreError::NoRoom { .. }) => assert!(writer.size().is_none()),
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(writer.extents(), &extents);
        assert_eq!(writer.hashed(), extents.contiguous_from(0));
        self.writing.insert(number, Writing { writer, extents });
    }

    async fn write_rest(&mut self, number: u64, wrong: bool) {
        let body = blob(number);
        let length = body.len() as u64;
        let Some(Writing {
            mut writer,
            extents,
        }) = self.writing.remove(&number)
        else {
            return;
        };
        let mut gaps = extents.gaps(length);
        // The last first.
        gaps.reverse();
        let mut is_wrong = false;
        for gap in gaps {
            let (at, mut bytes) = piece(&body, gap);
            if wrong {
                bytes = bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into();
                is_wrong = true;
            }
            let (next, result) = write(writer, vec![(at, bytes)]).await;
            writer = next;
            if let Err(error) = result {
                assert!(matches!(error, StoreError::NoRoom { .. }), "{error:?}");
                writer.discard().await;
                return;
            }
        }
        assert_eq!(writer.hashed(), length);
        match writer.finish() {
            Ok((verified, complete)) => {
                assert!(!is_wrong);
                complete.commit(verified).await.unwrap();
                let stamp = self.next_stamp();
                self.committed.insert(number, stamp);
            }
            Err(mismatch) => {
                assert!(is_wrong, "{mismatch}");
            }
        }
    }

    async fn pause(&mut self, number: u64) {
        let Some(writing) = self.writing.remove(&number) else {
            return;
        };
        let hashed = writing.writer.hashed();
        drop(writing);
        self.quiet().await;
        if hashed > 0 {
            self.paused.insert(number, hashed);
            self.next_stamp();
        }
    }

    async fn quiet(&self) {
        let writing = self.writing.len();
        until("background work done", async || {
            self.store.0.live.owned() == writing
        })
        .await;
    }

    async fn open(&mut self, number: u64) {
        let body = blob(number);
        let Some(file) = self.store.blob(&digest(&body)).await.unwrap() else {
            return;
        };
        assert!(read(&file).await == body[..], "wrong bytes");
        let last = self.committed[&number];
        if self.now().saturating_sub(last) >= GRANULE {
            let stamp = self.next_stamp();
            self.committed.insert(number, stamp);
        }
        self.reading.insert(number, file);
    }

    async fn reopen(&mut self) {
        self.reading.clear();
        let numbers: Vec<u64> = self.writing.keys().copied().collect();
        for number in numbers {
            self.pause(number).await;
        }
        self.quiet().await;
        self.store.close().await;
        self.store = open(&self.dir, &self.millis).await;
    }

    async fn check(&mut self) {
        self.quiet().await;
        let usage = self.store.usage();
        assert!(usage.total <= LIMIT, "{usage:?}");
        let real = on_disk(self.dir.path());
        assert!(real <= LIMIT, "{real} bytes on disk, {usage:?}");
        // What went must be older than all that stayed and could have gone.
        let mut gone = Vec::new();
        for (&number, &last_use) in &self.committed {
            let size = self.store.stat(&digest(&blob(number))).await.unwrap();
            match size {
                Some(size) => assert_eq!(size, blob(number).len() as u64),
                None => gone.push((number, last_use)),
            }
        }
        for (number, _) in &gone {
            self.committed.remove(number);
        }
        for (number, last_use) in gone {
            assert!(
                !self.reading.contains_key(&number),
                "evicted under a reader"
            );
            for (other, &other_use) in &self.committed {
                let spared = self.reading.contains_key(other);
                assert!(
                    spared || other_use > last_use,
                    "{number} was evicted and the older {other} was not"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::with_cases(cases())
    })]

    #[test]
    fn any_sequence_of_operations_does_what_the_model_says(
        steps in prop::collection::vec(step(), 1..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut model = Model::new().await;
            for step in steps {
                model.step(step).await;
            }
            model.writing.clear();
            model.reading.clear();
            model.quiet().await;
            audit(&model.dir, &model.store).await;
        });
    }
}

fn cases() -> u32 {
    let set = std::env::var("PROPTEST_CASES").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(100)
}
