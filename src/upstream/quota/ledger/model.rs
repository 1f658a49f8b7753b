//! The ledger against a simulated registry: answers out of order or lost, windows that roll, restarts, clocks that jump,
//! others who spend.

use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::super::report::Allowance;
use super::super::snapshot::Snapshot;
use super::*;

const TICK: Duration = Duration::from_millis(100);

/// What happens next. Which pull, or how long, is picked by a number.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A pull is asked for, and sent if it is admitted.
    Pull(u8),
    /// The registry gets to a pull that was sent.
    Count(u8),
    /// Its answer arrives.
    Answer(u8),
    /// Its connection breaks, before or after the registry got to it.
    Lose(u8),
    /// It turns out that there is no such thing.
    Absent(u8),
    /// The registry is asked for free.
    Head,
    /// The same, and other things happen before its answer arrives.
    SendHead,
    HeadArrives,
    Wait(u8),
    WriteDown,
    /// The process is killed and started again, with what was written down last.
    Restart,
    /// Someone else pulls.
    Foreign(u8),
}

fn steps(foreign: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => any::<u8>().prop_map(Step::Pull),
        6 => any::<u8>().prop_map(Step::Count),
        6 => any::<u8>().prop_map(Step::Answer),
        1 => any::<u8>().prop_map(Step::Lose),
        1 => any::<u8>().prop_map(Step::Absent),
        1 => Just(Step::Head),
        1 => Just(Step::SendHead),
        1 => Just(Step::HeadArrives),
        3 => any::<u8>().prop_map(Step::Wait),
        1 => Just(Step::WriteDown),
        1 => Just(Step::Restart),
        1 => any::<u8>().prop_map(move |n| if foreign { Step::Foreign(n) } else { Step::Wait(n) }),
    ];
    prop::collection::vec(step, 1..250)
}

/// A registry with a fixed window, which begins with the first request after the last one.
struct Registry {
    limit: i64,
    window: Duration,
    spent: i64,
    since: Option<Instant>,
}

impl Registry {
    fn roll(&mut self, now: Instant) {
        if self.since.is_none_or(|since| now >= since + self.window) {
            (self.spent, self.since) = (0, Some(now));
        }
    }

    /// Counts a pull, or refuses it.
    fn pull(&mut self, now: Instant) -> (QuotaReport, bool) {
        self.roll(now);
        let refused = self.spent >= self.limit;
        self.spent += i64::from(!refused);
        (self.report(), refused)
    }

    fn head(&mut self, now: Instant) -> QuotaReport {
        self.roll(now);
        self.report()
    }

    fn report(&self) -> QuotaReport {
        let allowance = |count| Allowance {
            count,
            window: Some(self.window),
        };
        QuotaReport {
            limit: Some(allowance(self.limit)),
            remaining: Some(allowance(self.limit - self.spent)),
            source: None,
        }
    }
}

/// A pull on its way, and what the registry made of it once it got to it.
struct Pull {
    id: PullId,
    counted: Option<(QuotaReport, bool)>,
}

struct World {
    registry: Registry,
    ledger: Ledger,
    start: Instant,
    now: Instant,
    /// How far off the wall clock is, in seconds.
    jump: i64,
    next: PullId,
    pulls: Vec<Pull>,
    head: Option<(Instant, QuotaReport)>,
    written: Snapshot,
    refused: usize,
    /// Whether HEAD tells how much is left.
    head_tells: bool,
    /// Pulls that were sent while nothing was known and others were not heard of.
    blind: usize,
}

impl World {
    /// `is_told` of one that was asked for free how much is left.
    fn new(limit: i64, window: u64, is_told: bool) -> Self {
        let now = Instant::now();
        let registry = Registry {
            limit,
            window: Duration::from_secs(window),
            spent: 0,
            since: None,
        };
        let mut world = Self {
            registry,
            ledger: Ledger::new(),
            start: now,
            now,
            jump: 0,
            next: 0,
            pulls: Vec::new(),
            head: None,
            written: Snapshot::default(),
            refused: 0,
            head_tells: true,
            blind: 0,
        };
        if is_told {
            world.look();
        }
        world
    }

    fn wall(&self) -> SystemTime {
        let years = Duration::from_hours(24 * 365 * 50);
        let wall = UNIX_EPOCH + years + (self.now - self.start);
        let off = Duration::from_secs(self.jump.unsigned_abs());
        if self.jump < 0 {
            wall - off
        } else {
            wall + off
        }
    }

    fn look(&mut self) {
        let sent = self.now;
        let report = self.registry.head(self.now);
        self.now += TICK / 10;
        if self.head_tells {
            self.ledger.heard(sent, self.now, Some(&report));
        } else {
            self.ledger.looked_in_vain(self.now, true);
        }
    }

    /// As a flow does it that asks for free what a tag points at.
    fn head(&mut self) {
        let sent = self.now;
        let report = self.registry.head(self.now);
        self.now += TICK / 10;
        let report = self.head_tells.then_some(&report);
        self.ledger.heard(sent, self.now, report);
    }

    /// As the gate does it: a look where one is due, then another try.
    fn pull(&mut self, priority: Priority) -> bool {
        self.next += 1;
        let id = self.next;
        let mut admitted = self.ledger.admit(id, self.now, priority);
        if admitted.is_err() && self.ledger.wants_look(self.now) {
            self.look();
            admitted = self.ledger.admit(id, self.now, priority);
        }
        if admitted.is_ok() {
            let is_alone = self.pulls.is_empty() && self.ledger.lost.is_empty();
            self.blind += usize::from(self.ledger.reported.is_none() && !is_alone);
            self.pulls.push(Pull { id, counted: None });
        }
        admitted.is_ok()
    }

    fn pick(&self, n: u8, wanted: impl Fn(&Pull) -> bool) -> Option<usize> {
        let found: Vec<_> = (0..self.pulls.len())
            .filter(|at| wanted(&self.pulls[*at]))
            .collect();
        let at = usize::from(n).checked_rem(found.len())?;
        Some(found[at])
    }

    fn count(&mut self, n: u8) {
        if let Some(at) = self.pick(n, |pull| pull.counted.is_none()) {
            let counted = self.registry.pull(self.now);
            self.refused += usize::from(counted.1);
            self.pulls[at].counted = Some(counted);
        }
    }

    fn answer(&mut self, n: u8) {
        let Some(at) = self.pick(n, |pull| pull.counted.is_some()) else {
            return;
        };
        let pull = self.pulls.swap_remove(at);
        let (report, refused) = pull.counted.unwrap();
        let closing = Closing {
            report: Some(&report),
            wait: None,
        };
        let outcome = if refused {
            Outcome::Refused(closing)
        } else {
            Outcome::Answered(Some(&report))
        };
        self.ledger.settle(pull.id, self.now, outcome);
    }

    fn restart(&mut self, jump: i64) {
        // The registry gets to all that was sent.
        for pull in std::mem::take(&mut self.pulls) {
            if pull.counted.is_none() {
                self.refused += usize::from(self.registry.pull(self.now).1);
            }
        }
        self.head = None;
        self.jump = jump;
        self.now += TICK;
        self.ledger = self.written.restore(self.now, self.wall());
        if self.ledger.reported.is_none() {
            self.look();
        }
    }

    fn step(&mut self, step: Step) {
        self.now += TICK / 10;
        match step {
            Step::Pull(n) if n.is_multiple_of(4) => drop(self.pull(Priority::Moved)),
            Step::Pull(_) => drop(self.pull(Priority::Client)),
            Step::Count(n) => self.count(n),
            Step::Answer(n) => self.answer(n),
            Step::Lose(n) => {
                if let Some(at) = self.pick(n, |_| true) {
                    let pull = self.pulls.swap_remove(at);
                    self.ledger.settle(pull.id, self.now, Outcome::Lost(None));
                }
            }
            Step::Absent(n) => {
                if let Some(at) = self.pick(n, |pull| pull.counted.is_none()) {
                    let pull = self.pulls.swap_remove(at);
                    self.ledger
                        .settle(pull.id, self.now, Outcome::Uncounted(None));
                }
            }
            Step::Head => self.head(),
            Step::SendHead => self.head = Some((self.now, self.registry.head(self.now))),
            Step::HeadArrives => {
                if let Some((sent, report)) = self.head.take() {
                    let report = self.head_tells.then_some(&report);
                    self.ledger.heard(sent, self.now, report);
                }
            }
            Step::Wait(n) => self.now += TICK * u32::from(n) / 8,
            Step::WriteDown => self.written = Snapshot::of(&self.ledger, "", self.now, self.wall()),
            Step::Restart => self.restart(0),
            Step::Foreign(n) => {
                for _ in 0..n % 4 {
                    self.registry.pull(self.now);
                }
            }
        }
    }

    /// Everything on its way arrives; then whoever asks is served within two windows, whatever it is for, and even if
    /// nobody else ever asks.
    fn must_serve(&mut self, priority: Priority) {
        while !self.pulls.is_empty() {
            self.count(0);
            self.answer(0);
        }
        let end = self.now + self.registry.window * 2 + LONGEST_PAUSE;
        while !self.pull(priority) {
            assert!(self.now < end, "withheld for ever: {:?}", self.ledger);
            self.now += TICK;
        }
    }
}

fn priority() -> impl Strategy<Value = Priority> {
    prop::sample::select(&[
        Priority::Client,
        Priority::Moved,
        Priority::Refresh,
        Priority::Prefetch,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_registry_that_nobody_else_uses_never_refuses_and_everyone_is_served(
        limit in 1i64..12, window in 1u64..8, steps in steps(false),
        priority in priority(),
    ) {
        let mut world = World::new(limit, window, true);
        for step in steps {
            world.step(step);
            prop_assert_eq!(world.refused, 0, "{:?}", step);
        }
        world.must_serve(priority);
        world.count(0);
        prop_assert_eq!(world.refused, 0);
    }

    #[test]
    fn clocks_that_jump_over_a_restart_neither_overdraw_nor_withhold(
        limit in 1i64..12, window in 1u64..8, before in steps(false), after in steps(false),
        jump in -400_000_000i64..400_000_000, priority in priority(),
    ) {
        let mut world = World::new(limit, window, true);
        for step in before {
            world.step(step);
        }
        world.restart(jump);
        for step in after {
            world.step(step);
        }
        prop_assert_eq!(world.refused, 0);
        world.must_serve(priority);
    }

    #[test]
    fn others_who_spend_the_same_quota_withhold_nothing_for_ever(
        limit in 1i64..12, window in 1u64..8, steps in steps(true),
        priority in priority(),
    ) {
        let mut world = World::new(limit, window, true);
        for step in steps {
            world.step(step);
        }
        world.must_serve(priority);
    }

    /// The first pull goes alone, and whoever follows one that takes long, or was lost, may be one too many.
    #[test]
    fn a_start_with_nothing_known_overdraws_by_no_more_than_its_scouts(
        limit in 1i64..12, window in 1u64..8, steps in steps(false), head_tells in any::<bool>(),
        priority in priority(),
    ) {
        let mut world = World::new(limit, window, false);
        world.head_tells = head_tells;
        for step in steps {
            if !matches!(step, Step::Restart) {
                world.step(step);
            }
            prop_assert!(world.refused <= world.blind, "{:?}", step);
        }
        world.must_serve(priority);
    }

    /// Where HEAD tells nothing, one pull that goes alone sees that a window has ended.
    #[test]
    fn a_registry_whose_head_tells_nothing_never_refuses_and_everyone_is_served(
        limit in 1i64..12, window in 1u64..8, steps in steps(false),
        priority in priority(),
    ) {
        let mut world = World::new(limit, window, true);
        world.head_tells = false;
        for step in steps {
            // What was spent between writing it down and being killed, nobody tells.
            if !matches!(step, Step::Restart) {
                world.step(step);
            }
            prop_assert_eq!(world.refused, 0, "{:?}", step);
        }
        world.must_serve(priority);
    }
}
