//! What is going on while a scenario is played: a bar for each phase on a terminal, a line elsewhere.

use std::io::{IsTerminal as _, stderr};

use forebay_loadtest::report::Unit;
use forebay_loadtest::scenario::{Live, Now};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const STYLE: &str = "{prefix:>22} {bar:24} {pos:>6}/{len} pulls  {wide_msg}";

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
