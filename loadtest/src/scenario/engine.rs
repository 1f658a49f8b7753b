//! Plays a scenario: phase after phase, the clients beside what happens to them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::watch;

use super::crowd::Crowd;
use super::event::Event;
use super::expectation::{Expectation, Verdict};
use super::file::{Phase, Scenario};
use super::measures::Mark;
use super::outcome::{Fate, Measures, Outcome, PhaseOutcome, Pull, Sample};
use super::sampler::{Sampler, Sight};
use super::stage::Stage;
use crate::fleet::Tally;

/// How many failures are told.
const TOLD: usize = 20;

/// Where what is going on can be seen.
pub type Live = watch::Sender<Now>;

/// What is going on.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// The phase's number, from 0 on.
    pub phase: usize,
    /// Its name.
    pub name: String,
    /// How many pulls it is.
    pub pulls: u64,
    /// How many of them are over.
    pub done: u64,
    /// How everything stood not long ago.
    pub sample: Sample,
}

/// Plays a scenario to its end.
///
/// # Errors
/// Where something that is to happen can't be done. What goes wrong with clients is no error, but what came of it.
pub async fn play(scenario: &Scenario, stage: &mut Stage, live: &Live) -> io::Result<Outcome> {
    let play = Play::of(scenario, stage, live);
    let about = stage.about();
    let start = play.mark(stage);
    let (mut phases, mut verdicts, mut pulls) = (Vec::new(), Vec::new(), Vec::new());
    for (number, phase) in scenario.phases.iter().enumerate() {
        live.send_modify(|now| {
            now.phase = number;
            now.name.clone_from(&phase.name);
            now.pulls = phase.pulls(scenario.image_count());
            now.done = 0;
        });
        let mark = play.mark(stage);
        let began = play.tally.age();
        let of_phase = play.phase(phase, stage).await?;
        let measures = play.measures(stage, &mark, &of_phase);
        verdicts.extend(judged(&phase.expect, Some(&phase.name), &measures));
        phases.push(PhaseOutcome {
            name: phase.name.clone(),
            began: began.as_secs_f64(),
            seconds: play.tally.age().saturating_sub(began).as_secs_f64(),
            measures,
        });
        pulls.extend(of_phase);
    }
    let measures = play.measures(stage, &start, &pulls);
    verdicts.extend(judged(&scenario.expect, None, &measures));
    Ok(Outcome {
        scenario: scenario.name.clone(),
        about: scenario.about.clone(),
        stage: about,
        seconds: play.tally.age().as_secs_f64(),
        phases,
        measures,
        verdicts,
        failures: failures(&pulls),
        samples: play.sampler.samples(),
        asked: play.tally.asked(0),
    })
}

fn judged(expected: &[Expectation], phase: Option<&str>, measures: &Measures) -> Vec<Verdict> {
    let verdict = |expected: &Expectation| Verdict {
        value: measures.get(&expected.measure).copied(),
        expected: expected.clone(),
        phase: phase.map(str::to_owned),
    };
    expected.iter().map(verdict).collect()
}

fn failures(pulls: &[Pull]) -> Vec<String> {
    let failures = pulls.iter().filter_map(|pull| match &pull.fate {
        Fate::Failed(told) => Some(told.clone()),
        Fate::Pulled | Fate::Stale => None,
    });
    failures.take(TOLD).collect()
}

/// What lasts as long as the run.
struct Play<'a> {
    scenario: &'a Scenario,
    live: &'a Live,
    tally: Arc<Tally>,
    sampler: Sampler,
}

impl<'a> Play<'a> {
    fn of(scenario: &'a Scenario, stage: &Stage, live: &'a Live) -> Self {
        let tally = Arc::new(Tally::default());
        let upstream = stage.upstream.as_ref();
        let sight = Sight {
            tally: Arc::clone(&tally),
            origin: upstream.map(|upstream| Arc::clone(&upstream.origin)),
            pid: AtomicU32::new(stage.pid().unwrap_or(0)),
        };
        Self {
            scenario,
            live,
            tally,
            sampler: Sampler::start(sight, live.clone()),
        }
    }

    fn mark(&self, stage: &Stage) -> Mark {
        Mark::at(&self.tally, stage.upstream.as_ref())
    }

    fn measures(&self, stage: &Stage, since: &Mark, pulls: &[Pull]) -> Measures {
        let samples = self.sampler.samples();
        since.measures(&self.tally, stage.upstream.as_ref(), &samples, pulls)
    }

    async fn phase(&self, phase: &Phase, stage: &mut Stage) -> io::Result<Vec<Pull>> {
        let (first, later) = {
            let at_once = phase.events.iter().take_while(|event| event.after == 0);
            phase.events.split_at(at_once.count())
        };
        self.happen(first, stage).await?;
        let upstream = stage.upstream.as_ref();
        let crowd = Crowd {
            mirror: stage.mirror(),
            registry: stage.registry().filter(|_| self.scenario.around),
            origin: upstream.map(|upstream| Arc::clone(&upstream.origin)),
            images: stage.images.clone().into(),
            tally: Arc::clone(&self.tally),
            hurry: self.scenario.hurry,
            live: self.live.clone(),
        };
        let (pulls, happened) = tokio::join!(crowd.pull(phase), self.happen(later, stage));
        happened?;
        Ok(pulls)
    }

    /// Has each event happen when its time has come.
    async fn happen(&self, events: &[Event], stage: &mut Stage) -> io::Result<()> {
        let mut now = self.live.subscribe();
        for event in events {
            // The sender is borrowed, so it can't be gone.
            let _ = now.wait_for(|now| now.done >= event.after).await;
            stage.change(event.change).await?;
            let pid = stage.pid().unwrap_or(0);
            self.sampler.sight.pid.store(pid, Ordering::Relaxed);
        }
        Ok(())
    }
}
