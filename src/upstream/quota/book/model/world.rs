//! The world around a book: registries, those who ask, and what is on its way between them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

use super::super::super::caller::Caller;
use super::super::super::gate::{Gate, Look, Turn};
use super::super::super::ledger::{Closing, Outcome};
use super::super::super::report::{Allowance, QuotaReport};
use super::super::{Book, Charge, Slot};
use super::Step;
use crate::config::Quota;
use crate::metrics::UpstreamName;
use crate::sync::lock;

const TICK: Duration = Duration::from_millis(100);
const SLOTS: usize = 3;
const REGISTRIES: usize = 2;

/// A registry, as one address of the mirror sees it; its window begins with the first request after the last one.
struct Registry {
    source: String,
    limit: i64,
    window: Duration,
    spent: i64,
    since: Option<Instant>,
}

impl Registry {
    fn head(&mut self) -> QuotaReport {
        let now = Instant::now();
        if self.since.is_none_or(|since| now >= since + self.window) {
            (self.spent, self.since) = (0, Some(now));
        }
        let allowance = |count| Allowance {
            count,
            window: Some(self.window),
        };
        QuotaReport {
            limit: Some(allowance(self.limit)),
            remaining: Some(allowance(self.limit - self.spent)),
            source: Some(self.source.clone()),
        }
    }

    /// Counts a pull, or refuses it.
    fn pull(&mut self) -> (QuotaReport, bool) {
        self.head();
        let refused = self.spent >= self.limit;
        self.spent += i64::from(!refused);
        (self.head(), refused)
    }
}

struct Pull {
    slot: usize,
    charge: Charge,
    at: Instant,
    /// Whom the slot was taken to be counted for when it was admitted.
    source: Option<String>,
    counted: Option<(QuotaReport, bool)>,
}

/// What those who asked hand to whoever moves the world.
#[derive(Default)]
struct Out {
    pulls: Vec<Pull>,
    looks: Vec<(usize, Look, oneshot::Sender<()>)>,
    served: [usize; SLOTS],
}

pub(super) struct World {
    book: Arc<Book>,
    slots: Vec<Arc<Slot>>,
    registries: Vec<Registry>,
    /// Which registry sees each slot now.
    homes: [usize; SLOTS],
    out: Arc<Mutex<Out>>,
    asking: Vec<JoinHandle<()>>,
    heads: Vec<(usize, Instant, QuotaReport)>,
    /// Pulls that a registry has refused for its quota.
    pub(super) refused: usize,
    /// Those that a ledger could not know of when it admitted them or others.
    pub(super) blind: usize,
    failed: usize,
    window: Duration,
    /// When pulls of the first slot were sent that have ended, and may have been counted.
    spent: Vec<Instant>,
    allowed: Option<u64>,
}

fn pick<T>(n: u8, of: &[T], wanted: impl Fn(&T) -> bool) -> Option<usize> {
    let found: Vec<_> = (0..of.len()).filter(|at| wanted(&of[*at])).collect();
    Some(found[usize::from(n).checked_rem(found.len())?])
}

impl World {
    pub(super) fn new(limit: i64, window: u64, allowed: Option<u64>) -> Self {
        let window = Duration::from_secs(window);
        let book: Arc<Book> = Arc::default();
        let slot = |number: usize| {
            let quota = allowed.filter(|_| number == 0);
            let quota = quota.map(|pulls| Quota { pulls, window });
            let key = format!("slot{number}.io");
            let label = UpstreamName::configured(&key);
            book.slot(key, "site".to_owned(), &label, quota)
        };
        let registry = |number| Registry {
            source: format!("192.0.2.{number}"),
            limit,
            window,
            spent: 0,
            since: None,
        };
        Self {
            slots: (0..SLOTS).map(slot).collect(),
            book,
            registries: (0..REGISTRIES).map(registry).collect(),
            homes: [0; SLOTS],
            out: Arc::default(),
            asking: Vec::new(),
            heads: Vec::new(),
            refused: 0,
            blind: 0,
            failed: 0,
            window,
            spent: Vec::new(),
            allowed,
        }
    }

    fn ask(&mut self, number: usize, patience: Duration) {
        let (slot, out) = (Arc::clone(&self.slots[number]), Arc::clone(&self.out));
        let address = std::net::IpAddr::from([198, 51, 100, u8::try_from(number).unwrap()]);
        let caller = Caller::client(Some(address.into()), Instant::now() + patience);
        self.asking.push(tokio::spawn(async move {
            let mut visit = slot.visit(&caller);
            loop {
                match visit.turn().await {
                    Turn::Go(charge) => {
                        let source = slot.standing().source;
                        let mut out = lock(&out);
                        out.served[number] += 1;
                        out.pulls.push(Pull {
                            slot: number,
                            charge,
                            at: Instant::now(),
                            source,
                            counted: None,
                        });
                        return;
                    }
                    Turn::Refused(_) => return,
                    Turn::Look(look) => {
                        let (done, waits) = oneshot::channel();
                        lock(&out).looks.push((number, look, done));
                        let _ = waits.await;
                    }
                }
            }
        }));
    }

    /// Lets everyone get as far as they can.
    async fn settle_down(&mut self) {
        for _ in 0..30 {
            tokio::task::yield_now().await;
        }
        self.asking.retain(|asking| !asking.is_finished());
    }

    fn count(&mut self, n: u8) {
        let out = Arc::clone(&self.out);
        let mut out = lock(&out);
        let Some(at) = pick(n, &out.pulls, |pull| pull.counted.is_none()) else {
            return;
        };
        let pull = &mut out.pulls[at];
        let registry = &mut self.registries[self.homes[pull.slot]];
        let knows = Some(&registry.source);
        let standing = self.slots[pull.slot].standing();
        // What came along may be more than there is.
        let nothing_is_known = standing.limit.is_none();
        let is_too_many = standing.left.map_or(nothing_is_known, |left| left < 0);
        let is_known = standing.source.as_ref() == knows;
        let is_own = pull.source.as_ref() == knows;
        self.blind += usize::from(!is_known || (!is_own && is_too_many));
        let counted = registry.pull();
        self.refused += usize::from(counted.1);
        pull.counted = Some(counted);
    }

    fn take(&mut self, n: u8, wanted: impl Fn(&Pull) -> bool) -> Option<Pull> {
        let mut out = lock(&self.out);
        let at = pick(n, &out.pulls, wanted)?;
        Some(out.pulls.swap_remove(at))
    }

    fn answer(&mut self, n: u8) {
        let Some(mut pull) = self.take(n, |pull| pull.counted.is_some()) else {
            return;
        };
        let (report, refused) = pull.counted.take().unwrap();
        let closing = Closing {
            report: Some(&report),
            wait: None,
        };
        if refused {
            pull.charge.settle(Outcome::Refused(closing));
        } else {
            self.end(&pull);
            pull.charge.settle(Outcome::Answered(Some(&report)));
        }
    }

    fn end(&mut self, pull: &Pull) {
        if pull.slot == 0 {
            self.spent.push(pull.at);
        }
    }

    /// What is configured of the first slot holds wherever that is counted.
    pub(super) fn is_beyond_configured(&self) -> bool {
        let out = lock(&self.out);
        let pulls = out.pulls.iter().filter(|pull| pull.slot == 0);
        let all = pulls.map(|pull| pull.at).chain(self.spent.iter().copied());
        let recent = all.filter(|at| *at + self.window > Instant::now()).count();
        self.allowed.is_some_and(|allowed| recent as u64 > allowed)
    }

    pub(super) async fn step(&mut self, step: Step) {
        match step {
            Step::Ask(slot, n) => {
                let patience = self.window * u32::from(n) / 100;
                self.ask(usize::from(slot) % SLOTS, patience);
            }
            Step::Leave(n) => {
                if let Some(at) = pick(n, &self.asking, |_| true) {
                    self.asking.swap_remove(at).abort();
                }
            }
            Step::Count(n) => self.count(n),
            Step::Answer(n) => self.answer(n),
            Step::Lose(n) => {
                if let Some(pull) = self.take(n, |_| true) {
                    self.end(&pull);
                }
            }
            Step::Absent(n) => {
                if let Some(pull) = self.take(n, |pull| pull.counted.is_none()) {
                    pull.charge.settle(Outcome::Uncounted(None));
                }
            }
            Step::Refuse(n) => {
                if let Some(pull) = self.take(n, |pull| pull.counted.is_none()) {
                    pull.charge.settle(Outcome::Refused(Closing {
                        report: None,
                        wait: Some(5 * TICK),
                    }));
                }
            }
            Step::Look(n) => self.look(n, true),
            Step::LookFails(n) => self.look(n, false),
            Step::SendHead(n) => {
                let slot = usize::from(n) % SLOTS;
                let report = self.registries[self.homes[slot]].head();
                self.heads.push((slot, Instant::now(), report));
            }
            Step::HeadArrives(n) => {
                if let Some(at) = pick(n, &self.heads, |_| true) {
                    let (slot, sent, report) = self.heads.swap_remove(at);
                    self.slots[slot].heard(sent, Some(&report));
                }
            }
            Step::Move(slot, to) => {
                self.homes[usize::from(slot) % SLOTS] = usize::from(to) % REGISTRIES;
            }
            Step::MoveTold(slot, to) => {
                let (slot, home) = (usize::from(slot) % SLOTS, usize::from(to) % REGISTRIES);
                self.homes[slot] = home;
                let report = self.registries[home].head();
                self.slots[slot].heard(Instant::now(), Some(&report));
            }
            Step::Wait(n) => advance(TICK * u32::from(n) / 8).await,
        }
        // No two things happen at one time.
        advance(TICK / 100).await;
        self.settle_down().await;
    }

    fn look(&mut self, n: u8, answered: bool) {
        let mut out = lock(&self.out);
        let Some(at) = pick(n, &out.looks, |_| true) else {
            return;
        };
        let (slot, mut look, done) = out.looks.swap_remove(at);
        drop(out);
        if answered {
            let report = self.registries[self.homes[slot]].head();
            self.slots[slot].heard(Instant::now(), Some(&report));
            look.answered();
        } else {
            self.failed += 1;
        }
        drop(look);
        let _ = done.send(());
    }

    /// Refusals that a ledger is to answer for: not those that pulls have led to which it could not know of.
    pub(super) fn is_overdrawn(&self) -> bool {
        let excused = if self.blind == 0 {
            0
        } else {
            self.blind + self.failed
        };
        self.refused > excused
    }

    async fn all_arrive(&mut self) {
        loop {
            self.settle_down().await;
            let (pulls, looks) = {
                let out = lock(&self.out);
                (out.pulls.len(), out.looks.len())
            };
            if pulls + looks == 0 {
                return;
            }
            self.count(0);
            self.answer(0);
            self.look(0, true);
            advance(TICK / 100).await;
        }
    }

    /// Everyone who waits comes to an end, nothing stays charged, and whoever asks then is served.
    pub(super) async fn must_serve(&mut self) {
        let end = Instant::now() + self.window * 4 + Duration::from_mins(1);
        while Instant::now() < end {
            self.all_arrive().await;
            advance(TICK).await;
        }
        assert!(self.asking.is_empty(), "someone waits for ever");
        for number in 0..SLOTS {
            let served = lock(&self.out).served[number];
            self.ask(number, self.window * 3);
            let end = Instant::now() + self.window * 3;
            while lock(&self.out).served[number] == served {
                assert!(
                    Instant::now() < end,
                    "withheld for ever: {:?}",
                    self.slots[number]
                );
                self.all_arrive().await;
                advance(TICK).await;
            }
        }
        self.all_arrive().await;
        let gates = lock(&self.book.tables).sources.clone();
        for standing in gates.values().map(Gate::standing) {
            assert_eq!((standing.under_way, standing.waiting), (0, 0));
        }
    }
}
