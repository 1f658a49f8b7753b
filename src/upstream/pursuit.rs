//! One question to an upstream: its attempts, what they cost, and the endpoints that they go to.
//!
//! The time until the first attempt may be sent is the payer's own, who waits for a quota as long as it has said. From then
//! on the clock is the question's: an attempt that has another endpoint to fall back on leaves it its share, and with an
//! error in hand, nobody is asked again for long.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::budget::Counted;
use super::client::Upstream;
use super::course::{Course, Next};
use super::error::{ErrorKind, Trouble, UpstreamError};
use super::exchange::{Answer, Ask, Trace};
use super::metered::Toll;
use super::quota::{Caller, Priority, Spent};
use crate::metrics;

/// A question on its way.
pub(super) struct Pursuit<'a> {
    upstream: &'a Upstream,
    ask: &'a Ask<'a>,
    /// Who pays, where it costs a pull each time that it is sent.
    payer: Option<&'a Caller>,
    course: Course,
    /// When the first attempt was sent.
    began: Instant,
    /// What is told unless something better comes.
    in_hand: Option<UpstreamError>,
}

/// What an attempt came to, where that is no answer.
struct Failure {
    error: UpstreamError,
    /// It was given up, with its time.
    gave_up: bool,
    /// The quota that it was refused by.
    quota: Option<Spent>,
}

/// What is done about a failure.
enum Step<'a> {
    /// Another endpoint is asked, at once.
    Another,
    /// One that was passed over is asked as soon as its quota allows it.
    PassedOver,
    /// It is asked again after a pause, by the right to do so where it takes one.
    Again(Duration, Option<Counted<'a>>),
    /// It is told.
    Tell,
}

impl<'a> Pursuit<'a> {
    /// `None` where the upstream has no endpoint.
    pub(super) fn new(
        upstream: &'a Upstream,
        ask: &'a Ask<'a>,
        payer: Option<&'a Caller>,
    ) -> Option<Self> {
        let endpoints = upstream.endpoints().len();
        (endpoints > 0).then(|| Self {
            upstream,
            ask,
            payer,
            course: Course::new(endpoints, ask.anywhere, |endpoint| {
                upstream.is_left_alone(endpoint)
            }),
            began: Instant::now(),
            in_hand: None,
        })
    }

    /// Asks until there is an answer or no point in asking.
    pub(super) async fn run(mut self) -> Result<Answer, UpstreamError> {
        let answer = self.pursue().await;
        let waited = self
            .payer
            .is_some_and(|payer| payer.priority() == Priority::Client);
        if let Err(error) = &answer
            && let (true, Some(spent)) = (waited && error.is_unsent(), error.quota())
        {
            metrics::quota_refusal(self.upstream.label(), spent.by.into());
        }
        answer
    }

    async fn pursue(&mut self) -> Result<Answer, UpstreamError> {
        let mut toll = self.first_toll().await?;
        self.began = Instant::now();
        // Whoever waits for a quota puts no load on the upstream, and earns nobody a retry.
        let _request = self.upstream.budget().request();
        // Held through the pause and the attempt that it is for.
        let mut _retry = None;
        for made in 1.. {
            let failure = match self.attempt(toll).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match self.weigh(made, failure) {
                Step::Tell => return Err(self.in_hand.take().expect("it was weighed")),
                Step::Another => {}
                Step::PassedOver => {
                    // What is in hand is of an endpoint that can't speak for this one.
                    toll = self.toll(self.payer).await?;
                    self.began = Instant::now();
                    continue;
                }
                Step::Again(pause, retry) => {
                    _retry = retry;
                    tracing::debug!(registry = %self.upstream.registry(), error = self.in_hand.as_ref().map(tracing::field::display), ?pause, "asking the upstream again");
                    metrics::upstream_retry(self.upstream.label(), self.ask.kind);
                    sleep(pause).await;
                }
            }
            toll = match self.toll_at_once().await {
                Ok(toll) => toll,
                // What is in hand says more than that it can't be asked again.
                Err(spent) => return Err(self.in_hand.take().unwrap_or(spent)),
            };
        }
        unreachable!("attempts are bounded")
    }

    /// The toll of the first attempt, for which the payer waits; but not at one endpoint while another lets it pass.
    async fn first_toll(&mut self) -> Result<Toll, UpstreamError> {
        let first = self.course.clone();
        if self.alternatives() > 0 {
            if let Ok(toll) = self.toll_at_once().await {
                return Ok(toll);
            }
            self.course = first;
        }
        self.toll(self.payer).await
    }

    /// A toll that takes no waiting, here or at an endpoint that was not asked.
    async fn toll_at_once(&mut self) -> Result<Toll, UpstreamError> {
        let payer = self.payer.map(Caller::at_once);
        loop {
            let spent = match self.toll(payer.as_ref()).await {
                Ok(toll) => return Ok(toll),
                Err(spent) => spent,
            };
            let upstream = self.upstream;
            if !self
                .course
                .skip(|endpoint| upstream.is_left_alone(endpoint))
            {
                return Err(spent);
            }
        }
    }

    async fn toll(&self, payer: Option<&Caller>) -> Result<Toll, UpstreamError> {
        let endpoint = self.course.endpoint();
        self.upstream.toll(self.ask, payer, endpoint).await
    }

    async fn attempt(&self, toll: Toll) -> Result<Answer, Failure> {
        let (upstream, ask) = (self.upstream, self.ask);
        let sent = Instant::now();
        let trace = Trace::default();
        let exchange = upstream.exchange(self.course.endpoint(), &trace);
        let attempt = timeout_at(self.deadline(sent), exchange.run(ask)).await;
        let gave_up = attempt.is_err();
        let attempt = attempt.unwrap_or_else(|_| Err(upstream.too_slow(sent.elapsed())));
        upstream.count(ask, sent, attempt.as_ref());
        let quota = toll.settle(attempt.as_ref(), &trace.so_far());
        attempt.map_err(|error| Failure {
            error,
            gave_up,
            quota,
        })
    }

    /// When an attempt that begins `now` is given up.
    fn deadline(&self, now: Instant) -> Instant {
        let retries = self.upstream.retries();
        let end = self.began + retries.patience;
        let others = self.alternatives();
        if others > 0 {
            let left = end.saturating_duration_since(now);
            return now + left / (others + 1);
        }
        // An error in hand: it is better to tell it than to wait. Not where this endpoint has had no chance yet.
        match &self.in_hand {
            Some(_) if self.course.is_second_round() => end.min(self.began + retries.give_up),
            _ => end,
        }
    }

    /// How many endpoints are there to fall back on.
    fn alternatives(&self) -> u32 {
        let upstream = self.upstream;
        let left_alone = |endpoint| upstream.is_left_alone(endpoint);
        self.course.unasked(left_alone)
    }

    /// What follows from a failure. The error to tell is in hand after it.
    fn weigh(&mut self, made: u32, failure: Failure) -> Step<'a> {
        let (error, upstream) = (failure.error, self.upstream);
        let hearsay = self.course.is_hearsay(&error);
        // A quota of another host is none of the upstream's own.
        let of_another = self.course.endpoint() > 0 && error.kind() == ErrorKind::TooManyRequests;
        let left_alone = |endpoint| upstream.is_left_alone(endpoint);
        let step = match self.course.after(&error, left_alone) {
            Next::Another => Step::Another,
            Next::PassedOver => Step::PassedOver,
            Next::Again => {
                let before = self.in_hand.as_ref().filter(|_| of_another);
                self.again(made, before.unwrap_or(&error))
            }
            Next::Nobody => Step::Tell,
        };
        let error = match failure.quota {
            Some(quota) => error.with_quota(quota),
            None => error,
        };
        let says_little = hearsay || of_another || failure.gave_up || error.is_not_asked();
        self.in_hand = Some(worth_telling(
            error,
            self.in_hand.take(),
            says_little,
            hearsay,
        ));
        step
    }

    /// A pause, and the right to ask again after it, if it is to be had.
    fn again(&self, made: u32, error: &UpstreamError) -> Step<'a> {
        let (upstream, elapsed) = (self.upstream, self.began.elapsed());
        let pause = upstream
            .retries()
            .pause(made, elapsed, error, rand::random());
        let Some(pause) = pause else {
            return Step::Tell;
        };
        if error.is_not_asked() {
            // Nothing was sent that could be sent again.
            return Step::Again(pause, None);
        }
        let retry = upstream.budget().retry();
        if retry.is_none() {
            metrics::upstream_retry_refused(upstream.label());
            return Step::Tell;
        }
        Step::Again(pause, retry)
    }
}

/// Of an error and the one before it, the one to tell. What another endpoint lacks says nothing of the upstream.
fn worth_telling(
    error: UpstreamError,
    before: Option<UpstreamError>,
    says_little: bool,
    hearsay: bool,
) -> UpstreamError {
    match before {
        Some(before) if says_little => before,
        None if hearsay => {
            let message = "can't tell, and the upstream's first endpoint is left alone, since it has kept failing";
            UpstreamError::new(
                ErrorKind::Unavailable(Trouble::Connect),
                error.host(),
                message,
            )
        }
        _ => error,
    }
}
