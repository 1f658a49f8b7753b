//! What is going on: of a scenario a bar for each phase, of a comparison one for all of it. Lines where there is no terminal.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use forebay_loadtest::compare::Progress;
use forebay_loadtest::report::Unit;
use forebay_loadtest::scenario::{Live, Now};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const STYLE: &str = "{prefix:>22} {bar:24} {pos:>6}/{len} pulls  {wide_msg}";

const COURSE: &str = "{elapsed_precise} {bar:24} {pos:>4}/{len}  {wide_msg}";

/// Between two moments that a bar shows without news: some turns take a minute.
const TICK: Duration = Duration::from_secs(1);

/// How far a comparison is.
pub(super) struct CourseBar(ProgressBar);

impl Default for CourseBar {
    fn default() -> Self {
        if !stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template(COURSE).expect("the template is right");
        let bar = ProgressBar::new(0).with_style(style.progress_chars("=> "));
        bar.enable_steady_tick(TICK);
        Self(bar)
    }
}

impl CourseBar {
    /// Whose turn it is, and above the bar what came of the last.
    pub(super) fn tell(&self, progress: Progress<'_>) {
        match progress {
            Progress::Begins { done, of, what } => {
                self.0.set_length(of as u64);
                self.0.set_position(done as u64);
                self.0.set_message(what.to_owned());
            }
            Progress::Came(line) if self.0.is_hidden() => eprintln!("{line}"),
            Progress::Came(line) => self.0.println(line),
        }
    }

    /// Takes it away.
    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Shows what is going on until it is ended.
pub(super) struct Bars {
    task: JoinHandle<()>,
}

impl Bars {
    pub(super) fn show(live: &Live) -> Self {
        Self {
            task: tokio::spawn(follow(live.subscribe())),
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut now: watch::Receiver<Now>) {
    let mut shown: Option<(usize, ProgressBar)> = None;
    while now.changed().await.is_ok() {
        let now = now.borrow_and_update().clone();
        let is_shown = shown.as_ref().is_some_and(|(phase, _)| *phase == now.phase);
        if !is_shown && !now.name.is_empty() {
            if let Some((_, last)) = shown.take() {
                last.abandon();
            }
            shown = Some((now.phase, begin(&now)));
        }
        if let Some((_, bar)) = &shown {
            bar.set_position(now.done);
            bar.set_message(told(&now));
            if now.done == now.pulls {
                bar.abandon();
            }
        }
    }
}

fn begin(now: &Now) -> ProgressBar {
    if !stderr().is_terminal() {
        eprintln!("{}: {} pulls", now.name, now.pulls);
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(STYLE).expect("the template is right");
    let bar = ProgressBar::new(now.pulls).with_style(style.progress_chars("=> "));
    bar.with_prefix(now.name.clone())
}

fn told(now: &Now) -> String {
    let clients = now.sample.clients;
    let served = bytes(clients.bytes + clients.bytes_around);
    let Some(upstream) = now.sample.upstream else {
        return format!("{served} served");
    };
    let fetched = bytes(upstream.bytes);
    let left = upstream
        .quota_left
        .map(|left| format!(", {left} pulls left"));
    let left = left.unwrap_or_default();
    format!("{served} served, {fetched} from the upstream{left}")
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bytes(count: u64) -> String {
    Unit::Bytes.format(count as f64)
}
