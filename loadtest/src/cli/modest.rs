//! Modest clients: each has an address and a connection of its own, asks for what is cached, and waits before it asks again.
//! How long they are answered in is what others may not cost them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use forebay_loadtest::fleet::{Connection, Way};
use forebay_loadtest::stats::percentile;
use http::Method;
use tokio::task::JoinSet;

use super::units;

/// What they ask, and how often.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Modest {
    /// Where the mirror listens, on this machine
    #[arg(long)]
    mirror: SocketAddr,
    /// The authority of its certificate, as PEM: it is asked over TLS then
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// What is asked for, such as /v2/library/app/manifests/v1
    #[arg(long)]
    pub(super) path: String,
    /// Modest clients, each with one connection
    #[arg(long = "modest", value_name = "N", default_value_t = 50)]
    clients: u8,
    /// Requests of each modest client
    #[arg(long, default_value_t = 100)]
    requests: usize,
    /// Between two requests of a modest client
    #[arg(long, default_value = "50ms", value_parser = units::duration)]
    pause: Duration,
}

impl Modest {
    /// The way to the mirror.
    pub(super) fn way(&self) -> io::Result<Way> {
        match &self.ca {
            None => Ok(Way::plain(self.mirror)),
            Some(authority) => Way::secure(self.mirror, authority),
        }
    }

    /// The first to ask may have to wait for an upstream.
    pub(super) async fn warm(&self) -> io::Result<()> {
        let mut first = connect(&self.way()?, Ipv4Addr::LOCALHOST).await?;
        first.ask(&Method::GET, &self.path).await?;
        Ok(())
    }

    /// A request, on a new connection where the server has ended the present one, as every client does.
    async fn status(&self, way: &Way, client: &mut Connection, from: Ipv4Addr) -> io::Result<u16> {
        if client.is_open() {
            match client.ask(&Method::GET, &self.path).await {
                Err(_) if client.was_over() => {}
                answer => return Ok(answer?.status),
            }
        }
        *client = connect(way, from).await?;
        Ok(client.ask(&Method::GET, &self.path).await?.status)
    }

    /// All of them at once, each at its own pace.
    pub(super) async fn ask(&self) -> io::Result<Times> {
        let way = self.way()?;
        let mut clients = JoinSet::new();
        for last in 1..=self.clients {
            let from = Ipv4Addr::new(127, 0, 1, last);
            let mut client = connect(&way, from).await?;
            let (modest, way) = (self.clone(), way.clone());
            let (requests, pause) = (self.requests, self.pause);
            clients.spawn(async move {
                let mut times = Vec::with_capacity(requests);
                // They do not march in step.
                tokio::time::sleep(pause / 50 * u32::from(last % 50)).await;
                for _ in 0..requests {
                    let start = Instant::now();
                    match modest.status(&way, &mut client, from).await? {
                        200 => times.push(start.elapsed()),
                        status => {
                            return Err(io::Error::other(format!(
                                "a modest client is answered {status}"
                            )));
                        }
                    }
                    tokio::time::sleep(pause).await;
                }
                Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(client) = clients.join_next().await {
            times.extend(client.map_err(io::Error::other)??);
        }
        Ok(Times::of(times))
    }
}

/// A connection from an address of this machine.
pub(super) async fn connect(way: &Way, from: Ipv4Addr) -> io::Result<Connection> {
    Connection::open(Some(from.into()), way).await
}

/// How long requests took, from the first byte sent to the last one read.
pub(super) struct Times {
    pub(super) count: usize,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) longest: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent| percentile(&times, percent);
        Self {
            count: times.len(),
            p50: at(50),
            p99: at(99),
            longest: at(100),
        }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            count,
            p50,
            p99,
            longest,
        } = self;
        write!(
            f,
            "{count} requests, p50 {p50:.1?}, p99 {p99:.1?}, longest {longest:.1?}"
        )
    }
}
