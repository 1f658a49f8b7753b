//! Many connections, each with a request at a time, on one thread.

use std::io;
use std::ops::AddAssign;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;

use super::Target;
use super::exchange::Exchange;
use super::wire::Wire;
use crate::measure::own_cpu;

/// What is read, or thrown away, at a time.
const STEP: usize = 1 << 20;
/// Events that are taken at a time.
const EVENTS: usize = 512;
/// Where nothing comes for so long, a server has forgotten its clients.
const PATIENCE: Duration = Duration::from_mins(2);

/// Connections to one server.
pub struct Load {
    target: Target,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// What is asked, over and over.
    requests: Vec<Vec<u8>>,
    /// How many requests have been sent.
    sent: usize,
    /// How many there are to be.
    wanted: usize,
    scratch: Vec<u8>,
    events: Vec<Event>,
}

struct Connection {
    wire: Wire,
    exchange: Exchange,
    /// Which request it waits for the answer of.
    asked: Option<Asked>,
}

#[derive(Clone, Copy)]
struct Asked {
    number: usize,
    first: Option<Instant>,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Whole answers.
    pub answers: u64,
    /// Bytes of bodies, of answers that are not whole too.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// The clients' own CPU time.
    pub cpu: Duration,
}

impl AddAssign for Tally {
    /// What came of one run after the other.
    fn add_assign(&mut self, other: Self) {
        let Self {
            answers,
            bytes,
            elapsed,
            cpu,
        } = other;
        self.answers += answers;
        self.bytes += bytes;
        self.elapsed += elapsed;
        self.cpu += cpu;
    }
}

/// When the first byte of an answer came, and the last one, since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The first byte.
    pub first: Duration,
    /// The last byte.
    pub last: Duration,
}

impl Load {
    /// Opens so many connections, which are to ask for these in turn.
    ///
    /// # Errors
    /// As connecting has them.
    pub fn open(target: &Target, connections: usize, requests: Vec<Vec<u8>>) -> io::Result<Self> {
        let mut load = Self {
            target: target.clone(),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(connections),
            requests,
            sent: 0,
            wanted: 0,
            scratch: vec![0; STEP],
            events: Vec::with_capacity(EVENTS),
        };
        for index in 0..connections {
            let wire = load.connect(index)?;
            load.connections.push(Connection {
                wire,
                exchange: Exchange::default(),
                asked: None,
            });
        }
        Ok(load)
    }

    /// Asks and asks for so long. What is on its way then goes on with the next run.
    ///
    /// # Errors
    /// Where an answer is no success, or a connection breaks.
    pub fn run_for(&mut self, duration: Duration) -> io::Result<Tally> {
        self.wanted = usize::MAX;
        let mut run = Run::begin();
        self.ask_all()?;
        while run.began.elapsed() < duration {
            self.step(&mut run, &mut |_, _| ())?;
        }
        Ok(run.end())
    }

    /// Asks so many times, by whichever connection is free, and waits for all answers: their times in order of asking.
    ///
    /// # Errors
    /// As [`Self::run_for`].
    pub fn run_each(&mut self, count: usize) -> io::Result<(Tally, Vec<Times>)> {
        self.finish()?;
        self.sent = 0;
        self.wanted = count;
        let mut times = vec![Times::default(); count];
        let mut run = Run::begin();
        self.ask_all()?;
        while run.answers < count as u64 {
            self.step(&mut run, &mut |number, its| times[number] = its)?;
        }
        Ok((run.end(), times))
    }

    /// Waits for what is on its way.
    fn finish(&mut self) -> io::Result<()> {
        self.wanted = self.sent;
        let mut run = Run::begin();
        while self.connections.iter().any(|it| it.asked.is_some()) {
            self.step(&mut run, &mut |_, _| ())?;
        }
        Ok(())
    }

    /// Has every connection ask that does not wait for an answer.
    fn ask_all(&mut self) -> io::Result<()> {
        for index in 0..self.connections.len() {
            if self.connections[index].asked.is_none() {
                self.ask(index)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, index: usize) -> io::Result<()> {
        if self.sent == self.wanted {
            return Ok(());
        }
        let number = self.sent;
        self.sent += 1;
        self.connections[index].asked = Some(Asked {
            number,
            first: None,
        });
        self.send(index, number)
    }

    fn send(&mut self, index: usize, number: usize) -> io::Result<()> {
        let request = &self.requests[number % self.requests.len()];
        let connection = &mut self.connections[index];
        connection.exchange = Exchange::default();
        match connection.wire.send(request) {
            Err(error) if is_over(&error) => self.again(index, number),
            sent => sent,
        }
    }

    /// The same request over another connection.
    fn again(&mut self, index: usize, number: usize) -> io::Result<()> {
        self.reconnect(index)?;
        let request = &self.requests[number % self.requests.len()];
        self.connections[index].wire.send(request)
    }

    fn reconnect(&mut self, index: usize) -> io::Result<()> {
        self.connections[index].wire = self.connect(index)?;
        Ok(())
    }

    fn connect(&self, index: usize) -> io::Result<Wire> {
        let wire = Wire::open(&self.target, None)?;
        let data = EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &wire, data, EventFlags::IN)?;
        Ok(wire)
    }

    /// Waits until something comes, and takes it.
    fn step(&mut self, run: &mut Run, done: &mut impl FnMut(usize, Times)) -> io::Result<()> {
        let patience = Timespec {
            tv_sec: PATIENCE.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience))?;
        if events.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the server sends nothing",
            ));
        }
        for event in &events {
            let data = event.data;
            let index = usize::try_from(data.u64()).unwrap_or(usize::MAX);
            self.receive(index, run, done)?;
        }
        self.events = events;
        Ok(())
    }

    fn receive(
        &mut self,
        index: usize,
        run: &mut Run,
        done: &mut impl FnMut(usize, Times),
    ) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let before = connection.exchange.body;
        let received = connection
            .wire
            .receive(&mut connection.exchange, &mut self.scratch);
        run.bytes += connection.exchange.body - before;
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // An end between two answers: each server has a limit of its own of how long a connection is kept.
            Err(error) if is_over(&error) => match connection.asked {
                None => return self.reconnect(index),
                Some(asked) if connection.exchange.is_untouched() => {
                    return self.again(index, asked.number);
                }
                Some(_) => return Err(error),
            },
            received => received?,
        }
        let Some(asked) = &mut connection.asked else {
            return Ok(());
        };
        if asked.first.is_none() && connection.exchange.body > 0 {
            asked.first = Some(Instant::now());
        }
        if !connection.exchange.is_over() {
            return Ok(());
        }
        let last = run.began.elapsed();
        let first = asked
            .first
            .map_or(last, |first| first.saturating_duration_since(run.began));
        let number = asked.number;
        connection.asked = None;
        run.answers += 1;
        done(number, Times { first, last });
        self.ask(index)
    }
}

/// A run that is going on.
struct Run {
    began: Instant,
    cpu: Duration,
    answers: u64,
    bytes: u64,
}

impl Run {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
            cpu: own_cpu(),
            answers: 0,
            bytes: 0,
        }
    }

    fn end(self) -> Tally {
        Tally {
            answers: self.answers,
            bytes: self.bytes,
            elapsed: self.began.elapsed(),
            cpu: own_cpu().saturating_sub(self.cpu),
        }
    }
}

/// Whether the server has ended the connection.
fn is_over(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}
