//! Ramps on simulated lines.

use super::*;

/// A line that gives each connection `each` bytes a second, as far as `all` of them get no more than that.
#[derive(Clone, Copy)]
struct Line {
    each: u64,
    all: u64,
}

/// Fills that share a line: each opens what it is allowed at once, and takes its part of what comes.
struct Fills {
    line: Line,
    ramps: Vec<Ramp>,
    own: Vec<u64>,
    now: Instant,
}

const STEP: Duration = Duration::from_millis(10);
const MB: u64 = 1_000_000;

impl Fills {
    fn new(line: Line) -> Self {
        let mut fills = Self {
            line,
            ramps: Vec::new(),
            own: Vec::new(),
            now: Instant::now(),
        };
        fills.begin_another();
        fills
    }

    fn begin_another(&mut self) {
        self.ramps.push(Ramp::new(8));
        self.own.push(0);
    }

    fn connections(&self) -> Vec<usize> {
        self.ramps.iter().map(Ramp::connections).collect()
    }

    /// Lets time pass; returns the most connections that there were at a time.
    fn run(&mut self, time: Duration) -> usize {
        let end = self.now + time;
        let mut most = 0;
        while self.now < end {
            self.now += STEP;
            let open: usize = self.connections().iter().sum();
            most = most.max(open);
            let each = self.line.each.min(self.line.all / open as u64) / 100;
            for (own, ramp) in self.own.iter_mut().zip(&self.ramps) {
                *own += each * ramp.connections() as u64;
            }
            let all = self.own.iter().sum();
            for (own, ramp) in self.own.iter().zip(&mut self.ramps) {
                let open = ramp.connections();
                ramp.turn(self.now, open, Flow { own: *own, all });
            }
        }
        most
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn where_each_connection_is_held_to_a_rate_there_are_soon_as_many_as_may_be() {
    let capped = Line {
        each: 50 * MB,
        all: 10_000 * MB,
    };
    let mut fills = Fills::new(capped);
    assert_eq!(fills.connections(), [2]);
    fills.run(seconds(1));
    assert_eq!(fills.connections(), [8]);
    fills.run(seconds(60));
    assert_eq!(fills.connections(), [8], "and they stay");
    assert_eq!(fills.ramps[0].due(), None);
}

#[test]
fn where_the_line_is_full_more_are_tried_and_given_up() {
    let full = Line {
        each: 300 * MB,
        all: 300 * MB,
    };
    let mut fills = Fills::new(full);
    assert_eq!(fills.run(seconds(1)), 4, "more are tried");
    assert_eq!(fills.connections(), [2]);
    let mut tried = 0;
    for _ in 0..60 {
        tried += usize::from(fills.run(seconds(1)) > 2);
    }
    assert!((3..=6).contains(&tried), "ever more rarely: {tried} times");
}

#[test]
fn there_are_no_more_than_what_fills_the_line() {
    let wide = Line {
        each: 50 * MB,
        all: 180 * MB,
    };
    let mut fills = Fills::new(wide);
    fills.run(seconds(1));
    assert_eq!(fills.connections(), [4]);
}

#[test]
fn a_line_that_becomes_wider_is_found_out() {
    let narrow = Line {
        each: 50 * MB,
        all: 100 * MB,
    };
    let mut fills = Fills::new(narrow);
    fills.run(seconds(1));
    assert_eq!(fills.connections(), [2]);
    fills.line.all = 1000 * MB;
    fills.run(seconds(10));
    assert_eq!(fills.connections(), [8]);
}

/// By its own rate the second would get more with more connections: from the first.
#[test]
fn fills_that_share_a_full_line_do_not_outbid_one_another() {
    let full = Line {
        each: 100 * MB,
        all: 300 * MB,
    };
    let mut fills = Fills::new(full);
    fills.run(seconds(1));
    assert_eq!(fills.connections(), [4]);
    for _ in 0..2 {
        fills.begin_another();
        fills.run(seconds(1));
    }
    assert_eq!(fills.connections(), [4, 2, 2]);
}

#[test]
fn a_blob_that_is_one_connections_is_never_measured() {
    let mut ramp = Ramp::new(8);
    for second in 0..10 {
        let now = Instant::now() + seconds(second);
        let flow = Flow {
            own: second,
            all: second,
        };
        assert!(!ramp.turn(now, 1, flow));
        assert_eq!(ramp.due(), None);
    }
    assert_eq!(Ramp::new(1).connections(), 1);
}
