//! What an upstream reports of a quota, against what may not be in its reports yet.
//!
//! Pure; takes `now`. The upstream counts a pull somewhere between its sending and its answer, and answers come in any
//! order, or not at all. What may be spent is therefore the lowest number that was believed, less every pull that it may
//! not have counted yet:
//!
//! - those under way, which the ledger knows;
//! - those that ended without an answer, until something that was sent after their end is reported on (*doubtful*);
//! - where a new window has raised the number, those that were answered since the question was sent that showed it.
//!
//! A number that is not above the known one is always believed. A higher one shows a new window only if it was asked for
//! after the known one came: any slower answer shows a higher number too. Where nobody else spends, what is left here is
//! thus never more than what is left there.

use std::time::{Duration, Instant};

use super::caller::Priority;
use super::report::{LONGEST, QuotaReport};

/// A window that the upstream doesn't tell, for what has to be forgotten some time.
const UNKNOWN_WINDOW: Duration = Duration::from_hours(6);
/// How often a window is looked at for its end.
const LOOKS: u32 = 64;
const SHORTEST_LOOK: Duration = Duration::from_millis(250);
const LONGEST_LOOK: Duration = Duration::from_mins(1);
/// Doubtful and late pulls that are kept, which only a limit far above any known one lets come about.
const KEPT: usize = 10_000;

/// An upstream's account of a quota.
#[derive(Debug, Clone)]
pub(crate) struct Reported {
    pub(crate) limit: u64,
    pub(crate) window: Option<Duration>,
    /// What was left when it was last believed.
    pub(crate) remaining: i64,
    /// When that was asked for, and when it came.
    asked_at: Instant,
    believed_at: Instant,
    /// When anything was last heard, or asked in vain.
    heard_at: Instant,
    /// When it was asked in vain, if nothing was heard since.
    vain_at: Option<Instant>,
    /// The window that `remaining` is of has begun by then.
    began_by: Option<Instant>,
    /// And it does not end before then.
    lasts_until: Option<Instant>,
    /// Ends of pulls that `remaining` may not have counted.
    doubtful: Vec<Instant>,
    /// Answers since `believed_at` that showed more: late ones, or the first of a new window.
    late: Vec<Instant>,
    /// Whether it is from before a restart, and nothing was heard since.
    pub(crate) is_old: bool,
    /// How often nothing new was heard in a row.
    quiet: u32,
}

/// How a report came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// When its question was sent.
    pub(crate) sent: Instant,
    /// When it came.
    pub(crate) now: Instant,
    /// Whether it answers a pull that was counted.
    pub(crate) pulled: bool,
    /// Other pulls that are under way.
    pub(crate) under_way: usize,
}

impl Reported {
    /// The first report that an upstream makes; `None` of one that says too little. `lost` are the ends of pulls that
    /// were not answered.
    pub(crate) fn new(report: &QuotaReport, heard: Heard, lost: &[Instant]) -> Option<Self> {
        let remaining = report.remaining?.count;
        let mut new = Self {
            limit: limit_of(report, 0),
            window: window_of(report),
            remaining,
            asked_at: heard.sent,
            believed_at: heard.now,
            heard_at: heard.now,
            vain_at: None,
            began_by: None,
            lasts_until: None,
            doubtful: lost.to_vec(),
            late: Vec::new(),
            is_old: false,
            quiet: 0,
        };
        new.doubtful.retain(|ended| *ended >= heard.sent);
        new.believe(remaining, heard);
        Some(new)
    }

    /// What an earlier process knew. Its window ends by `ends_by`, at most a window from `now`; where that is not known, and
    /// some of it was spent, it has begun.
    pub(crate) fn restored(
        limit: u64,
        window: Option<Duration>,
        remaining: i64,
        ends_by: Option<Instant>,
        now: Instant,
    ) -> Self {
        let limit = limit.max(1);
        let is_begun = !is_untouched(remaining, limit);
        let began_by = match ends_by {
            // No instant can be told that is before the machine's start.
            Some(ends) => ends.checked_sub(window.unwrap_or(UNKNOWN_WINDOW)),
            None => None,
        };
        let began_by = began_by.or_else(|| is_begun.then_some(now));
        Self {
            limit,
            window,
            remaining,
            asked_at: now,
            believed_at: now,
            heard_at: now,
            vain_at: None,
            began_by,
            lasts_until: None,
            doubtful: Vec::new(),
            late: Vec::new(),
            is_old: true,
            quiet: 0,
        }
    }

    /// Takes a report in.
    pub(crate) fn hear(&mut self, report: &QuotaReport, heard: Heard) {
        let Some(remaining) = report.remaining.map(|remaining| remaining.count) else {
            return;
        };
        let limit = limit_of(report, self.limit);
        let window = window_of(report).or(self.window);
        (self.heard_at, self.vain_at) = (heard.now, None);
        self.is_old = false;
        self.quiet = if remaining == self.remaining {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        let is_same = self.limit == limit;
        (self.limit, self.window) = (limit, window);
        // A pull that came after the known number, in its window, has made it smaller.
        let is_more = remaining > self.remaining;
        let is_new = (is_more || (heard.pulled && remaining == self.remaining))
            && heard.sent > self.believed_at;
        if is_new {
            self.doubtful.retain(|ended| *ended >= heard.sent);
            let late = self.late.drain(..);
            self.doubtful.extend(late.filter(|at| *at >= heard.sent));
            self.began_by = None;
            // The last window was still there when its number was asked for.
            self.lasts_until = window
                .filter(|_| is_same)
                .map(|window| self.asked_at + window);
            self.believe(remaining, heard);
            return;
        }
        if self.began_by.is_some() && self.may_be_new(remaining, heard) {
            self.began_by = Some(heard.now);
        }
        if !is_more {
            self.doubtful.retain(|ended| *ended >= heard.sent);
            self.late.clear();
            self.believe(remaining, heard);
        } else if heard.pulled && self.late.len() < KEPT {
            self.late.push(heard.now);
        }
    }

    fn believe(&mut self, remaining: i64, heard: Heard) {
        (self.asked_at, self.believed_at) = (heard.sent, heard.now);
        self.remaining = remaining;
        if is_untouched(remaining, self.limit) {
            self.began_by = None;
            self.lasts_until = self.window.map(|window| heard.sent + window);
        } else if self.began_by.is_none() {
            self.began_by = Some(heard.now);
        }
    }

    /// Whether a number may be of a later window than the known one, though it does not show it: then what is known of
    /// the window's end would be too early.
    fn may_be_new(&self, remaining: i64, heard: Heard) -> bool {
        if self.ends_by().is_some_and(|end| end <= heard.sent) {
            return true;
        }
        let spent = i128::from(self.limit) - i128::from(remaining);
        let uncounted = heard.under_way + self.doubtful.len() + self.late.len() + 1;
        let is_possible = self.lasts_until.is_none_or(|end| end <= heard.now);
        is_possible && spent <= uncounted as i128
    }

    /// A pull may have been counted, and nothing was reported on it.
    pub(crate) fn lose(&mut self, now: Instant) {
        let window = self.window_or_long();
        self.doubtful.retain(|ended| *ended + window > now);
        if self.doubtful.len() < KEPT {
            self.doubtful.push(now);
        }
    }

    fn window_or_long(&self) -> Duration {
        self.window.unwrap_or(UNKNOWN_WINDOW)
    }

    /// Pulls that are left whatever becomes of those under way, for whoever can't wait to hear of them.
    pub(crate) fn least_left(&self, under_way: usize) -> i64 {
        let uncounted = self.doubtful.len() + self.late.len() + under_way;
        self.remaining.saturating_sub_unsigned(uncounted as u64)
    }

    /// Pulls left at `now`, besides those under way.
    pub(crate) fn left(&self, now: Instant, under_way: usize) -> i64 {
        // What ended a window ago is in none that is left.
        let window = self.window_or_long();
        let doubtful = self.doubtful.iter().filter(|at| **at + window > now);
        let uncounted = doubtful.count() + under_way;
        let mut remaining = self.remaining;
        if remaining < 1 && self.may_find_out(now) {
            remaining = 1;
        }
        remaining.saturating_sub_unsigned(uncounted as u64)
    }

    /// Whether the window has certainly ended: what was left of it says nothing of the next.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.ends_by().is_some_and(|end| end <= now)
    }

    /// Whether that is so, and asking for free since has told nothing.
    pub(crate) fn has_ended_in_vain(&self, now: Instant) -> bool {
        let ended = self.ends_by().zip(self.vain_at);
        self.is_over(now) && ended.is_some_and(|(end, vain_at)| end <= vain_at)
    }

    /// Whether one pull, which goes alone, is to find out how much there is in the new window, unless that may have gone
    /// already. Whatever it is for, or nobody would ever see the window where only lesser ones come.
    fn may_find_out(&self, now: Instant) -> bool {
        let window = self.window_or_long();
        let late = self.late.iter().filter(|at| **at + window > now);
        self.has_ended_in_vain(now) && self.limit > late.count() as u64
    }

    pub(crate) fn may_take(&self, now: Instant, under_way: usize, priority: Priority) -> bool {
        let window = self.window_or_long();
        let mut doubtful = self.doubtful.iter().filter(|at| **at + window > now);
        let is_alone = under_way == 0 && doubtful.next().is_none();
        priority.may_take(self.left(now, under_way), self.limit)
            || (is_alone && self.may_find_out(now))
    }

    /// When the window has ended at the latest; of one whose length is not told, when it is taken to have.
    pub(crate) fn ends_by(&self) -> Option<Instant> {
        Some(self.began_by? + self.window_or_long())
    }

    /// As [`Reported::ends_by`], where the upstream tells the window's length.
    pub(crate) fn told_end(&self) -> Option<Instant> {
        self.ends_by().filter(|_| self.window.is_some())
    }

    /// When the upstream may be asked for free how much is left.
    pub(crate) fn look_at(&self) -> Instant {
        if self.is_old && self.vain_at.is_none() {
            return self.heard_at;
        }
        let every = match self.window {
            _ if self.is_old => SHORTEST_LOOK,
            Some(window) => window / LOOKS,
            // It may be a second.
            None => SHORTEST_LOOK * (1 << self.quiet.min(10)),
        };
        let next = self.heard_at + every.clamp(SHORTEST_LOOK, LONGEST_LOOK);
        // Not past the end of a window: those who wait for it are to see it when it comes.
        match self.ends_by() {
            Some(end) if end > self.heard_at => next.min(end),
            _ => next,
        }
    }

    /// The upstream was asked for free, and told nothing. What was known before a restart is asked for once more where there
    /// was no answer at all.
    pub(crate) fn looked_in_vain(&mut self, now: Instant, is_answered: bool) {
        self.is_old &= !is_answered && self.vain_at.is_none();
        (self.heard_at, self.vain_at) = (now, Some(now));
        self.quiet = self.quiet.saturating_add(1);
    }

    /// Something that costs nothing was answered, and told nothing of the quota.
    pub(crate) fn heard_nothing(&mut self, sent: Instant, now: Instant) {
        if !self.is_old && self.ends_by().is_some_and(|end| end <= sent) {
            self.vain_at = Some(now);
        }
    }

    /// Another account of the same quota: what is known of both is the less.
    pub(crate) fn join(&mut self, other: Reported) {
        self.remaining = self.remaining.min(other.remaining);
        self.asked_at = self.asked_at.max(other.asked_at);
        self.believed_at = self.believed_at.max(other.believed_at);
        self.heard_at = self.heard_at.max(other.heard_at);
        self.began_by = self.began_by.max(other.began_by);
        self.lasts_until = None;
        self.doubtful.extend(other.doubtful);
        self.late.extend(other.late);
        self.is_old &= other.is_old;
    }
}

fn is_untouched(remaining: i64, limit: u64) -> bool {
    u64::try_from(remaining).is_ok_and(|left| left >= limit)
}

/// Where it is not told, it is what it was, and not less than what is left of it. One of nothing could never be seen to
/// renew.
fn limit_of(report: &QuotaReport, before: u64) -> u64 {
    let count = |count| u64::try_from(count).unwrap_or(0);
    let limit = report.limit.map(|limit| count(limit.count));
    let remaining = report
        .remaining
        .map_or(0, |remaining| count(remaining.count));
    limit.unwrap_or(before.max(remaining)).max(1)
}

fn window_of(report: &QuotaReport) -> Option<Duration> {
    let limit = report.limit.and_then(|limit| limit.window);
    let window = limit.or(report.remaining?.window);
    window.map(|window| window.min(LONGEST))
}
