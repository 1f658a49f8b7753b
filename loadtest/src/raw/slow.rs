//! Downloads that are slow: each connection reads a little, and waits.

use std::io;
use std::time::{Duration, Instant};

use super::Target;
use super::exchange::Exchange;
use super::wire::Wire;

/// What the kernel keeps for a client that does not read: as little as a slow line would have on its way.
const RECEIVED: usize = 64 << 10;
/// Between two looks at all connections.
const TICK: Duration = Duration::from_millis(100);

/// Downloads that go on.
pub struct Slow {
    connections: Vec<(Wire, Exchange)>,
    /// What each reads in a tick.
    step: Vec<u8>,
}

impl Slow {
    /// Opens so many, each of which reads so many bytes a second.
    ///
    /// # Errors
    /// As connecting has them.
    pub fn open(
        target: &Target,
        connections: usize,
        request: &[u8],
        bytes_per_second: usize,
    ) -> io::Result<Self> {
        let mut slow = Self {
            connections: Vec::with_capacity(connections),
            step: vec![0; (bytes_per_second / 10).max(1)],
        };
        for _ in 0..connections {
            let mut wire = Wire::open(target, Some(RECEIVED))?;
            wire.send(request)?;
            slow.connections.push((wire, Exchange::default()));
        }
        Ok(slow)
    }

    /// Reads on for so long, and calls `look` after each tick. How many of them are under way then, with a byte of body each.
    ///
    /// # Errors
    /// Where an answer is no success, or a connection breaks.
    pub fn run_for(
        &mut self,
        duration: Duration,
        mut look: impl FnMut() -> io::Result<()>,
    ) -> io::Result<usize> {
        let began = Instant::now();
        while began.elapsed() < duration {
            let tick = Instant::now();
            for (wire, exchange) in &mut self.connections {
                if exchange.is_over() {
                    continue;
                }
                match wire.receive(exchange, &mut self.step) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => received?,
                }
            }
            look()?;
            std::thread::sleep(TICK.saturating_sub(tick.elapsed()));
        }
        let running = |(_, exchange): &&(Wire, Exchange)| exchange.body > 0 && !exchange.is_over();
        Ok(self.connections.iter().filter(running).count())
    }
}
