//! A quota's ledger: what is under way, what an upstream reports, what the configuration allows, and when the upstream
//! wants to be left alone. The smallest of them rules.
//!
//! Pure: takes `now`, decides, owns numbers only.

#[cfg(test)]
mod model;
mod scouts;
mod telling;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::caller::Priority;
use super::ceiling::Ceiling;
use super::ceilings::{Ceilings, Counts, Owned, Owner};
use super::report::QuotaReport;
use super::reported::{Heard, Reported};
use scouts::Scouts;

pub(crate) use terms::{Closing, Outcome, Refusal};
pub use terms::{Spent, SpentBy, Standing};

/// The first time that an upstream is left alone which did not say for how long, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// For how long, and how many, pulls without an answer are remembered where nothing is reported.
const LOST_FOR: Duration = Duration::from_mins(1);
const LOST: usize = 1_000;

/// The right to send one pull. It has to be given back to [`Ledger::settle`].
pub(crate) type PullId = u64;

/// What there is to know of a quota, and to decide on.
#[derive(Debug)]
pub(crate) struct Ledger {
    under_way: HashMap<PullId, UnderWay>,
    pub(super) reported: Option<Reported>,
    pub(super) ceilings: Ceilings,
    pub(super) closed_until: Option<Instant>,
    /// When it was closed last, and for how long where the upstream did not say.
    closed_at: Option<Instant>,
    pause: Duration,
    scouts: Scouts,
    /// Ends of pulls that were not answered, while nothing is reported.
    lost: Vec<Instant>,
}

#[derive(Debug)]
struct UnderWay {
    sent: Instant,
    counted: Counts,
}

/// What a slot takes along to another ledger: its own configured quota, and its pulls under way, which that one may count.
#[derive(Debug)]
pub(crate) struct Luggage {
    ceiling: Option<Owned>,
    under_way: Vec<(PullId, Instant)>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            under_way: HashMap::new(),
            reported: None,
            ceilings: Ceilings::default(),
            closed_until: None,
            closed_at: None,
            pause: Duration::ZERO,
            scouts: Scouts::wanted(),
            lost: Vec::new(),
        }
    }

    /// As an earlier process left it.
    pub(crate) fn restored(
        reported: Option<Reported>,
        closed_until: Option<Instant>,
        now: Instant,
    ) -> Self {
        Self {
            reported,
            closed_until,
            closed_at: closed_until.map(|_| now),
            ..Self::new()
        }
    }

    /// Holds a configured quota from now on.
    pub(crate) fn limit(&mut self, ceiling: Owned) {
        self.ceilings.add(ceiling);
    }

    /// The configured quota that it holds for a slot.
    pub(crate) fn ceiling_of(&self, owner: &Owner) -> Option<Ceiling> {
        self.ceilings.of(owner)
    }

    /// Holds another for a slot, or none.
    pub(crate) fn limit_anew(&mut self, owner: &Owner, ceiling: Option<Owned>) {
        self.ceilings.take(owner);
        if let Some(ceiling) = ceiling {
            self.limit(ceiling);
        }
    }

    /// Charges a pull, if there is one.
    pub(crate) fn admit(
        &mut self,
        id: PullId,
        now: Instant,
        priority: Priority,
    ) -> Result<(), Refusal> {
        self.may(now, priority)?;
        let counted = self.ceilings.spend(now);
        self.under_way.insert(id, UnderWay { sent: now, counted });
        self.scouts.sent(id, now);
        Ok(())
    }

    /// A pull is sent now that was admitted before: whom it was granted to may have been looking how much is left. Until now
    /// no upstream can have counted it, and it comes back a window from now.
    pub(crate) fn set_out(&mut self, id: PullId, now: Instant) {
        if let Some(under_way) = self.under_way.get_mut(&id) {
            std::mem::take(&mut under_way.counted).refund();
            under_way.counted = self.ceilings.spend(now);
            under_way.sent = now;
        }
    }

    /// Whether a pull could be made.
    pub(crate) fn may(&self, now: Instant, priority: Priority) -> Result<(), Refusal> {
        if self.is_closed(now) {
            return Err(Refusal::Spent(SpentBy::Closed));
        }
        if !self.ceilings.may_take(now, priority) {
            return Err(Refusal::Spent(SpentBy::Configured));
        }
        if let Some(reported) = &self.reported {
            if reported.is_old {
                return Err(Refusal::Unknown);
            }
            let under_way = self.under_way.len();
            if !reported.may_take(now, under_way, priority) {
                let would_do = under_way > 0 && reported.may_take(now, 0, priority);
                return Err(if would_do {
                    Refusal::Taken
                } else {
                    Refusal::Spent(SpentBy::Reported)
                });
            }
        }
        match self.scouts.waits_until(now) {
            Some(until) => Err(Refusal::Alone { until }),
            None => Ok(()),
        }
    }

    /// A pull has ended.
    pub(crate) fn settle(&mut self, id: PullId, now: Instant, outcome: Outcome<'_>) {
        let Some(UnderWay { sent, counted }) = self.under_way.remove(&id) else {
            return;
        };
        self.scouts.ended(id);
        match outcome {
            Outcome::Uncounted(_) if self.is_recent(sent) => self.scouts.learned_nothing(),
            Outcome::Lost(_) | Outcome::Unsent if self.is_recent(sent) => self.scouts.failed(),
            _ => {}
        }
        match outcome {
            Outcome::Elsewhere => {}
            Outcome::Answered(report) => {
                self.open(sent);
                self.hear(report, sent, now, true);
            }
            Outcome::Uncounted(report) => {
                counted.refund();
                self.hear(report, sent, now, false);
            }
            Outcome::Refused(closing) => {
                counted.refund();
                self.close(sent, now, closing);
            }
            Outcome::Lost(report) => match (report, &mut self.reported) {
                (Some(_), _) => self.hear(report, sent, now, true),
                (None, Some(reported)) => reported.lose(now),
                (None, None) => self.lose(now),
            },
            Outcome::Unsent | Outcome::Withdrawn => counted.refund(),
        }
    }

    /// Something was answered that costs nothing.
    pub(crate) fn heard(&mut self, sent: Instant, now: Instant, report: Option<&QuotaReport>) {
        if report.is_none_or(|report| report.remaining.is_none())
            && let Some(reported) = &mut self.reported
        {
            reported.heard_nothing(sent, now);
        }
        self.hear(report, sent, now, false);
    }

    /// The upstream was asked for free how much is left, and told nothing: it does not answer that, or not now.
    pub(crate) fn looked_in_vain(&mut self, now: Instant, is_answered: bool) {
        if let Some(reported) = &mut self.reported {
            reported.looked_in_vain(now, is_answered);
        }
    }

    /// Whether what was sent then may tell that a closure is over.
    fn is_recent(&self, sent: Instant) -> bool {
        self.closed_at.is_none_or(|at| sent > at)
    }

    /// The upstream has answered a pull: it takes more.
    fn open(&mut self, sent: Instant) {
        if self.is_recent(sent) {
            self.scouts.back();
            self.pause = Duration::ZERO;
        }
    }

    /// An answer without a report says that the upstream does not count what was asked for.
    fn hear(&mut self, report: Option<&QuotaReport>, sent: Instant, now: Instant, pulled: bool) {
        let Some(report) = report else { return };
        let heard = Heard {
            sent,
            now,
            pulled,
            under_way: self.under_way.len(),
        };
        match &mut self.reported {
            Some(reported) => reported.hear(report, heard),
            None => self.reported = Reported::new(report, heard, &std::mem::take(&mut self.lost)),
        }
        // What is left says all, unless the upstream has refused pulls since: whether it takes them again, only a pull tells.
        if report.remaining.is_some() && self.closed_at.is_none() {
            self.scouts.back();
        }
    }

    fn lose(&mut self, now: Instant) {
        self.lost.retain(|at| *at + LOST_FOR > now);
        if self.lost.len() < LOST {
            self.lost.push(now);
        }
    }

    /// The upstream refuses for load: for as long as it says; else until its window is known to have ended, where it
    /// reports one; else for a while that doubles.
    pub(crate) fn close(&mut self, sent: Instant, now: Instant, closing: Closing<'_>) {
        self.hear(closing.report, sent, now, false);
        let is_spent = self
            .reported
            .as_ref()
            .is_some_and(|reported| reported.remaining < 1);
        // Those that were under way together are refused together.
        let is_again = self.is_recent(sent);
        let wait = match closing.wait {
            Some(wait) => wait,
            None if is_spent || !is_again => return,
            None => {
                let doubled = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                self.pause = doubled;
                doubled
            }
        };
        if is_again {
            self.closed_at = Some(now);
        }
        self.scouts = Scouts::wanted();
        self.closed_until = self.closed_until.max(Some(now + wait));
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }

    /// Whether the upstream is to be asked for free how much is left.
    pub(crate) fn wants_look(&self, now: Instant) -> bool {
        let reported = self.reported.as_ref();
        !self.is_closed(now) && reported.is_some_and(|reported| reported.look_at() <= now)
    }

    /// Takes in another ledger, which has turned out to be of the same quota.
    pub(crate) fn absorb(&mut self, other: Ledger) {
        self.under_way.extend(other.under_way);
        match (&mut self.reported, other.reported) {
            (Some(own), Some(others)) => own.join(others),
            (own @ None, others) => *own = others,
            (Some(_), None) => {}
        }
        self.ceilings.extend(other.ceilings);
        self.closed_until = self.closed_until.max(other.closed_until);
        self.closed_at = self.closed_at.max(other.closed_at);
        self.pause = self.pause.max(other.pause);
        if self.closed_at == other.closed_at && other.closed_at.is_some() {
            self.scouts = other.scouts;
        }
        self.lost.extend(other.lost);
    }

    /// A slot goes to another ledger, with pulls under way: they may be counted there, or still here.
    pub(crate) fn leave(
        &mut self,
        owner: &Owner,
        pulls: impl IntoIterator<Item = PullId>,
    ) -> Luggage {
        let sent = |id| Some((id, self.under_way.get(&id)?.sent));
        Luggage {
            under_way: pulls.into_iter().filter_map(sent).collect(),
            ceiling: self.ceilings.take(owner),
        }
    }

    /// As [`Ledger::leave`], from the other side.
    pub(crate) fn arrive(&mut self, luggage: Luggage) {
        if let Some(ceiling) = luggage.ceiling {
            self.ceilings.add(ceiling);
        }
        for (id, sent) in luggage.under_way {
            self.meet(id, sent);
        }
    }

    /// A pull that is under way, wherever it was admitted.
    pub(crate) fn meet(&mut self, id: PullId, sent: Instant) {
        self.under_way.entry(id).or_insert_with(|| UnderWay {
            sent,
            counted: Counts::default(),
        });
    }
}
