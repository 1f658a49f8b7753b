//! What a scenario is played on: a mirror, and the upstream before it as far as that is ours.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::event::{Change, Condition, State};
use super::file::Scenario;
use super::images::{Gallery, Run};
use super::program::Program;
use super::values::Like;
use crate::fleet::{Place, Reference};
use crate::origin::{Auth, Builder, Fault, Origin, Quota, Reply, Server, When};
use crate::peers::{End, Peer, Running, Setting};

/// Whom the origin's quota counts for, whoever asks: all are behind one address.
const SOURCE: &str = "192.0.2.1";

/// A mirror, and the upstream before it.
#[derive(Debug)]
pub struct Stage {
    pub(super) upstream: Option<Upstream>,
    mirror: Mirror,
    pub(super) images: Vec<Reference>,
}

/// The origin, and what it holds.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) origin: Arc<Origin>,
    pub(super) gallery: Gallery,
}

#[derive(Debug)]
enum Mirror {
    /// A forebay that was started for this.
    Ours(Box<Program>),
    /// Something else, or a forebay among others, that was started for this. Its starts and ends block, so they have threads
    /// of their own.
    Peer(Arc<Mutex<Running>>, Arc<Place>),
    /// What was there before, and its process where that is known.
    Theirs { place: Arc<Place>, pid: Option<u32> },
    /// None: clients ask the origin.
    None { place: Arc<Place> },
}

impl Stage {
    /// A forebay of our own before an origin of our own, both gone with the stage. It has this processor alone, if one is named.
    ///
    /// # Errors
    /// Where the program can't be started, or not there.
    pub async fn with_program(
        scenario: &Scenario,
        program: &Path,
        core: Option<usize>,
    ) -> io::Result<Self> {
        let upstream = Upstream::of(scenario, behaviour(scenario), anywhere(), Run::Only).await?;
        let endpoint = upstream.origin.registry_url();
        let program = Program::start(program, &scenario.mirror.config, &endpoint, core).await?;
        Ok(Self::of(upstream, Mirror::Ours(Box::new(program))))
    }

    /// A mirror that is there. Where its upstream is to be seen it is the origin, which listens at `upstream`.
    ///
    /// # Errors
    /// Where the scenario wants more than can be had so.
    pub async fn with_mirror(
        scenario: &Scenario,
        mirror: Place,
        upstream: Option<SocketAddr>,
        pid: Option<u32>,
    ) -> io::Result<Self> {
        let changes: Vec<_> = scenario.changes().collect();
        let unable = |told: &str| Err(io::Error::other(format!("{}: {told}", scenario.name)));
        if changes
            .iter()
            .any(|it| matches!(it, Change::Restart | Change::Kill))
        {
            return unable(
                "it restarts the mirror, which has to be a forebay of its own: leave --target out",
            );
        }
        let place = Arc::new(mirror);
        let mirror = Mirror::Theirs { place, pid };
        if let Some(listen) = upstream {
            let upstream =
                Upstream::of(scenario, behaviour(scenario), listen, Run::of_many()).await?;
            return Ok(Self::of(upstream, mirror));
        }
        if changes.iter().any(|it| !matches!(it, Change::Rest(_))) {
            return unable(
                "it changes the mirror's upstream, which has to be the built-in origin: have the mirror pull from an \
                 address of this machine, and say which with --upstream-is HOST:PORT",
            );
        }
        if scenario.images.named.is_empty() {
            return unable(
                "it pulls images of the built-in origin: have the mirror pull from an address of this machine and say \
                 which with --upstream-is HOST:PORT, or name images that the mirror can get with --image",
            );
        }
        Ok(Self {
            upstream: None,
            mirror,
            images: scenario.images.named.clone(),
        })
    }

    /// No mirror: clients ask the origin itself, to see what that costs. It is open to them, whatever it is like.
    ///
    /// # Errors
    /// Where the scenario needs a mirror, or the origin can't listen.
    pub async fn without_mirror(scenario: &Scenario) -> io::Result<Self> {
        if scenario
            .changes()
            .any(|it| matches!(it, Change::Restart | Change::Kill))
        {
            let told = format!(
                "{}: it restarts the mirror: leave --direct out",
                scenario.name
            );
            return Err(io::Error::other(told));
        }
        let builder = open(scenario.upstream.like);
        let upstream = Upstream::of(scenario, builder, anywhere(), Run::Only).await?;
        let place = Arc::new(Place::mirror(upstream.address()));
        Ok(Self::of(upstream, Mirror::None { place }))
    }

    /// One of several that are compared, on a processor of its own, with a cache below `dir`. What logs in by itself has an
    /// upstream that wants it to; see [`Peer::logs_in`].
    ///
    /// # Errors
    /// Where it can't be started.
    pub async fn with_peer(
        scenario: &Scenario,
        peer: Peer,
        program: &Path,
        core: usize,
        dir: &Path,
    ) -> io::Result<Self> {
        let builder = behaviour_before(peer, scenario);
        let upstream = Upstream::of(scenario, builder, anywhere(), Run::Only).await?;
        let mut setting = Setting::plain(upstream.address());
        setting.forebay = Some(scenario.mirror.config.clone());
        if let Some(time) = scenario.mirror.tags_fresh_for()? {
            setting.tags_fresh_for = time;
        }
        let (program, dir) = (program.to_owned(), dir.to_owned());
        let running =
            blocking(move || Running::start(peer, &program, &setting, core, &dir)).await?;
        let place = Arc::new(Place::mirror(running.address()));
        let running = Arc::new(Mutex::new(running));
        Ok(Self::of(upstream, Mirror::Peer(running, place)))
    }

    fn of(upstream: Upstream, mirror: Mirror) -> Self {
        Self {
            images: upstream.gallery.references(),
            upstream: Some(upstream),
            mirror,
        }
    }

    /// Waits until the mirror answers: some want their upstream to be there before they start.
    ///
    /// # Errors
    /// Where it does not within this time.
    pub async fn until_ready(&self, patience: Duration) -> io::Result<()> {
        self.mirror().until_it_answers(patience).await
    }

    /// What it is, a name and a value each.
    pub(super) fn about(&self) -> Vec<(String, String)> {
        let mirror = match &self.mirror {
            Mirror::Ours(program) => program.about(),
            Mirror::Theirs { place, .. } | Mirror::Peer(_, place) => format!("{place:?}"),
            Mirror::None { .. } => "none: clients ask the origin itself".to_owned(),
        };
        let upstream = match &self.upstream {
            Some(upstream) => format!("the built-in origin, at {}", upstream.address()),
            None => "not to be seen from here".to_owned(),
        };
        vec![
            ("mirror".to_owned(), mirror),
            ("upstream".to_owned(), upstream),
        ]
    }

    /// Where clients ask.
    pub(super) fn mirror(&self) -> Arc<Place> {
        match &self.mirror {
            Mirror::Ours(program) => Arc::new(Place::mirror(program.address())),
            Mirror::Theirs { place, .. } | Mirror::None { place } | Mirror::Peer(_, place) => {
                Arc::clone(place)
            }
        }
    }

    /// Where clients go by themselves.
    pub(super) fn registry(&self) -> Option<Arc<Place>> {
        let upstream = self.upstream.as_ref()?;
        Some(Arc::new(Place::registry(upstream.address())))
    }

    /// The mirror's process, where it is known.
    pub(super) fn pid(&self) -> Option<u32> {
        match &self.mirror {
            Mirror::Ours(program) => program.pid(),
            Mirror::Peer(running, _) => Some(locked(running).id()),
            Mirror::Theirs { pid, .. } => *pid,
            Mirror::None { .. } => None,
        }
    }

    /// Has something happen.
    pub(super) async fn change(&mut self, change: Change) -> io::Result<()> {
        match (change, &mut self.upstream, &mut self.mirror) {
            (Change::Rest(time), ..) => tokio::time::sleep(time).await,
            (Change::Upstream(condition), Some(upstream), _) => upstream.be(&condition).await?,
            (Change::MoveTags(count), Some(upstream), _) => {
                upstream.gallery.move_tags(&upstream.origin, count);
            }
            (Change::Restart, _, mirror) => mirror.again(End::Stopped).await?,
            (Change::Kill, _, mirror) => mirror.again(End::Killed).await?,
            // Nothing else is staged, which was looked at before.
            _ => {}
        }
        Ok(())
    }

    /// Ends what was started for this. Another origin may listen where this one did from then on.
    ///
    /// # Errors
    /// Where that does not end.
    pub async fn end(self) -> io::Result<()> {
        let ended = match self.mirror {
            Mirror::Ours(mut program) => program.end(End::Killed).await,
            // The last of it goes there, which ends it.
            Mirror::Peer(running, _) => {
                let ended = blocking(move || {
                    drop(running);
                    Ok(())
                });
                ended.await
            }
            Mirror::Theirs { .. } | Mirror::None { .. } => Ok(()),
        };
        if let Some(upstream) = self.upstream {
            upstream.origin.stop().await;
        }
        ended
    }
}

impl Mirror {
    /// Ends it and starts it again, where it is ours.
    async fn again(&mut self, end: End) -> io::Result<()> {
        match self {
            Self::Ours(program) => program.again(end).await,
            Self::Peer(running, _) => {
                let running = Arc::clone(running);
                blocking(move || locked(&running).again(end)).await
            }
            // No scenario asks for it, which was looked at before.
            Self::Theirs { .. } | Self::None { .. } => Ok(()),
        }
    }
}

fn locked(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().expect("nobody panics with the lock")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

/// An origin that is like what the scenario says.
fn behaviour(scenario: &Scenario) -> Builder {
    let like = scenario.upstream.like;
    like.map_or_else(Origin::builder, |Like(profile)| profile.origin())
}

/// The same as far as a peer can deal with it; what logs in by itself does so everywhere.
fn behaviour_before(peer: Peer, scenario: &Scenario) -> Builder {
    match (peer.logs_in(), scenario.upstream.like) {
        (true, Some(Like(profile))) => profile.origin(),
        (true, None) => Origin::builder().auth(Auth::token()),
        (false, like) => open(like),
    }
}

/// An origin that nobody has to log in to, whatever it is like.
fn open(like: Option<Like>) -> Builder {
    like.map_or_else(Origin::builder, |Like(profile)| profile.open())
}

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

impl Upstream {
    async fn of(
        scenario: &Scenario,
        builder: Builder,
        listen: SocketAddr,
        run: Run,
    ) -> io::Result<Self> {
        let beside = SocketAddr::new(listen.ip(), 0);
        let mut builder = builder
            .listen(Server::Registry, listen)
            .listen(Server::Token, beside)
            .listen(Server::Cdn, beside);
        if let Some(quota) = scenario.upstream.quota {
            builder = builder.quota(Quota {
                anonymous: i64::from(quota.pulls),
                window: quota.window,
                source: Some(SOURCE.to_owned()),
                ..Quota::default()
            });
        }
        let origin = Arc::new(builder.start().await?);
        let upstream = Self {
            gallery: Gallery::put(&scenario.images, &origin, run),
            origin,
        };
        upstream.be(&scenario.upstream.condition).await?;
        Ok(upstream)
    }

    fn address(&self) -> SocketAddr {
        let host = self.origin.host().parse();
        host.expect("it was given no other name than its address")
    }

    async fn be(&self, condition: &Condition) -> io::Result<()> {
        let origin = &self.origin;
        origin.clear_faults();
        let faults = [
            condition.delay.map(|time| Fault::Delay(time.0)),
            condition.throttle.map(|rate| Fault::Throttle(rate.0)),
            condition
                .throttle_total
                .map(|rate| Fault::throttle_total(rate.0)),
            match condition.state {
                State::Up | State::Down => None,
                State::Refuses => Some(Fault::Answer(Reply::abuse_limit())),
                State::Fails => Some(Fault::status(503)),
            },
        ];
        for fault in faults.into_iter().flatten() {
            origin.on(When::any()).before_auth().always(fault);
        }
        match condition.state {
            State::Down => origin.stop().await,
            State::Up | State::Refuses | State::Fails => origin.start_again().await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::fleet::{Connection, Way};
    use crate::scenario::BUILTIN;

    #[tokio::test]
    async fn upstream_of_a_comparison_wants_a_login_of_those_alone_that_log_in() {
        let named = |name: &str| BUILTIN.iter().find(|builtin| builtin.name == name);
        for name in ["deploy", "morning-storm"] {
            let scenario = named(name).unwrap().scenario();
            for (peer, status) in [
                (Peer::Forebay, 401),
                (Peer::Nginx, 200),
                (Peer::DockerRegistry, 401),
            ] {
                let origin = behaviour_before(peer, &scenario).start().await.unwrap();
                let way = Way::plain(origin.host().parse().unwrap());
                let mut connection = Connection::open(None, &way).await.unwrap();
                let answer = connection.ask(&Method::GET, "/v2/").await.unwrap();
                assert_eq!(answer.status, status, "{name}, {peer}");
            }
        }
    }
}
