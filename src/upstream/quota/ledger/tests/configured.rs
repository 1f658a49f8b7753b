//! What the configuration allows, counted when it is sent.

use super::*;

/// Whoever was granted a pull while it looked how much was left sent it seconds later, and had it back as many too early.
#[test]
fn a_pull_that_is_sent_late_comes_back_a_window_after_that() {
    let mut bench = Bench::configured(1);
    let id = bench.client().unwrap();
    // More than a span of the window, so that it is told apart.
    bench.now += WINDOW / 20;
    bench.ledger.set_out(id, bench.now);
    bench.now += WINDOW / 40 * 39;
    assert_eq!(bench.client(), Err(Refusal::Spent(SpentBy::Configured)));
    bench.now += WINDOW / 20;
    bench.client().unwrap();
}
