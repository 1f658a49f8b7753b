//! One of a client's connections to one place, made when it is needed, and each request on it told to the tally.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use tokio::time::timeout;

use super::ask::Ask;
use super::connection::{Answer, Connection, Head};
use super::failure::Trouble;
use super::place::{Place, Role};
use super::sink::Sink;
use super::tally::{Asked, Tally};

/// How long a connection may take, as Go's clients have it.
const CONNECT: Duration = Duration::from_secs(30);
/// Within this time bytes flow or an error comes, of any mirror that people can work with.
const SILENCE: Duration = Duration::from_mins(1);
/// What is kept of an answer that says what is wrong.
const TOLD: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Line {
    place: Arc<Place>,
    from: Option<IpAddr>,
    tally: Arc<Tally>,
    connection: Option<Connection>,
    requests: u64,
}

impl Line {
    pub(super) fn to(place: Arc<Place>, from: Option<IpAddr>, tally: Arc<Tally>) -> Self {
        Self {
            place,
            from,
            tally,
            connection: None,
            requests: 0,
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// How many requests it has sent.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// How many requests it has sent around the mirror.
    pub(super) fn around(&self) -> u64 {
        match self.place.role {
            Role::Mirror => 0,
            Role::Registry => self.requests,
        }
    }

    /// One request. The body of a 200 or a 206 goes into the sink, and any other answer is trouble.
    pub(super) async fn ask(&mut self, ask: &Ask, sink: &mut impl Sink) -> Result<Answer, Trouble> {
        let began = Instant::now();
        let mut asked = Asked {
            at: self.tally.age(),
            role: self.place.role,
            status: None,
            whole: false,
            first_byte: Duration::ZERO,
            took: Duration::ZERO,
        };
        let answer = self.exchange(ask, sink, began, &mut asked).await;
        asked.took = began.elapsed();
        if asked.first_byte.is_zero() {
            asked.first_byte = asked.took;
        }
        self.tally.add(asked);
        if ask.closes {
            self.connection = None;
        }
        answer
    }

    async fn exchange(
        &mut self,
        ask: &Ask,
        sink: &mut impl Sink,
        began: Instant,
        asked: &mut Asked,
    ) -> Result<Answer, Trouble> {
        let head = self.begin(ask).await.map_err(Trouble::Unanswered)?;
        asked.status = Some(head.status);
        let wanted = matches!(head.status, 200 | 206);
        if wanted && ask.method != Method::HEAD {
            // The rest of such a body would be in the way of the next answer.
            sink.begin(&head).map_err(Trouble::Wrong)?;
        }
        let connection = self.connection.as_mut().expect("just used");
        let (tally, role) = (&self.tally, self.place.role);
        let mut told = Vec::new();
        let rest = connection.rest(&head, |bytes| {
            if asked.first_byte.is_zero() {
                asked.first_byte = began.elapsed();
            }
            tally.received(role, bytes.len());
            if wanted {
                sink.take(bytes);
            } else if told.len() < TOLD {
                told.extend_from_slice(bytes);
            }
        });
        rest.await.map_err(Trouble::Cut)?;
        asked.whole = true;
        if wanted {
            return Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: told.into(),
            });
        }
        Err(Trouble::Refused {
            status: head.status,
            told: String::from_utf8_lossy(&told).into_owned(),
            retry_after: head
                .header("retry-after")
                .parse()
                .ok()
                .map(Duration::from_secs),
        })
    }

    /// Asks on the connection that it has, and where that turns out to have been over, on a new one.
    async fn begin(&mut self, ask: &Ask) -> io::Result<Head> {
        let request = ask.written(self.place.way.host());
        if let Some(connection) = self.connection.as_mut().filter(|it| it.is_open()) {
            self.requests += 1;
            match connection.begin(&ask.method, &request).await {
                Err(error) if connection.was_over() && error.kind() != io::ErrorKind::TimedOut => {}
                head => return head,
            }
        }
        self.connection = None;
        let connection = timeout(CONNECT, Connection::open(self.from, &self.place.way)).await;
        let connection = connection.map_err(|_| io::ErrorKind::TimedOut)??;
        self.requests += 1;
        let connection = self.connection.insert(connection.patient(SILENCE));
        connection.begin(&ask.method, &request).await
    }
}
