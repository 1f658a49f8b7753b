//! What people would put before a registry: a mirror, or a cache that was made for something else. Each is set up as well as it
//! can be, in a directory of its own, and listens on a port that the system chooses.
//!
//! `forebay`, `nginx` and `registry` are how each is configured, `running` is a process of one.

mod forebay;
mod nginx;
mod registry;
mod running;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use self::running::{End, Running, no_more_starts};

/// The name of an origin that speaks TLS.
pub const ORIGIN: &str = "localhost";

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// The mirror that this belongs to.
    Forebay,
    /// nginx's `proxy_cache`, which reads files into buffers of its own.
    Nginx,
    /// The same with sendfile: which of both is faster depends on the processor's caches, and on where the files are.
    NginxSendfile,
    /// The reference registry as a pull-through cache.
    DockerRegistry,
}

/// What a peer is to do.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The registry behind it.
    pub origin: SocketAddr,
    /// Whose word counts for the origin's certificate, which is for [`ORIGIN`], where it speaks TLS.
    pub origin_ca: Option<PathBuf>,
    /// The certificate and its key, where it is to speak TLS.
    pub tls: Option<[PathBuf; 2]>,
    /// Whether it writes a line for each request.
    pub logged: bool,
    /// How long a tag is trusted, where a peer can be told.
    pub tags_fresh_for: Duration,
    /// What somebody else configures of forebay, in place of what is set here beside addresses and places.
    pub forebay: Option<String>,
}

/// How long tags are trusted that never move.
const LONG: Duration = Duration::from_hours(1);

impl Setting {
    /// Before this origin, and nothing else.
    pub fn plain(origin: SocketAddr) -> Self {
        Self {
            origin,
            origin_ca: None,
            tls: None,
            logged: false,
            tags_fresh_for: LONG,
            forebay: None,
        }
    }
}

/// Where a peer is to be.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    address: SocketAddr,
}

impl Place {
    fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Forebay,
        Self::Nginx,
        Self::NginxSendfile,
        Self::DockerRegistry,
    ];

    /// As it is called in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forebay => "forebay",
            Self::Nginx => "nginx",
            Self::NginxSendfile => "nginx-sendfile",
            Self::DockerRegistry => "docker-registry",
        }
    }

    /// Where its program is: for forebay beside the one that runs, for others where the system has programs.
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Self::Forebay => {
                let own = std::env::current_exe().ok()?;
                Some(own.parent()?.join(self.name())).filter(|program| program.is_file())
            }
            Self::Nginx | Self::NginxSendfile => installed("nginx"),
            Self::DockerRegistry => installed("docker-registry"),
        }
    }

    /// Whether it fetches tokens and follows redirects by itself, as Docker Hub wants. nginx does neither, and hands both to
    /// clients that log in nowhere. docker-registry has to be asked to: before a registry that is open to everyone it looks
    /// whether that still is so, for each request and one after the other.
    pub fn logs_in(self) -> bool {
        matches!(self, Self::Forebay | Self::DockerRegistry)
    }

    /// What it says of its version.
    ///
    /// # Errors
    /// Where it can't be run.
    pub fn version(self, program: &Path) -> io::Result<String> {
        let flag = match self {
            Self::Nginx | Self::NginxSendfile => "-v",
            Self::Forebay | Self::DockerRegistry => "--version",
        };
        let said = Command::new(program).arg(flag).output()?;
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().next().unwrap_or_default();
        // nginx names itself before, docker-registry where it was made.
        Ok(line.rsplit([' ', '/']).next().unwrap_or(line).to_owned())
    }

    /// How it is set up here: for what, and its configuration. What is the same as before is left out.
    pub fn settings(self) -> Vec<(&'static str, String)> {
        let port = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let place = Place {
            dir: "/var/lib/peer".into(),
            address: port(5001),
        };
        let plain = Setting::plain(port(5000));
        let file = |name| PathBuf::from("/etc/peer").join(name);
        let tls = Setting {
            tls: Some([file("server.crt"), file("server.key")]),
            ..plain.clone()
        };
        let tls_to_the_origin = Setting {
            origin_ca: Some(file("ca.pem")),
            ..plain.clone()
        };
        let moving = Setting {
            tags_fresh_for: Duration::from_secs(1),
            forebay: Some("[tags]\nfresh_for = \"1s\"\n".to_owned()),
            ..plain.clone()
        };
        let mut settings: Vec<(_, String)> = Vec::new();
        for (what, setting) in [
            ("plain", plain),
            ("TLS", tls),
            ("TLS to the origin", tls_to_the_origin),
            ("tags that are trusted for a second", moving),
        ] {
            let config = self.config(&setting, &place);
            if settings.iter().all(|(_, known)| *known != config) {
                settings.push((what, config));
            }
        }
        settings
    }

    /// Its configuration as it is written down.
    pub(crate) fn config(self, setting: &Setting, place: &Place) -> String {
        match self {
            Self::Forebay => forebay::config(setting, place),
            Self::Nginx => nginx::config(setting, place, false),
            Self::NginxSendfile => nginx::config(setting, place, true),
            Self::DockerRegistry => registry::config(setting, place),
        }
    }

    /// What it takes from its environment.
    fn environment(self, setting: &Setting) -> Option<(&'static str, PathBuf)> {
        let ca = setting.origin_ca.clone();
        // Go's way to say whom to trust; the others are told in their files.
        ca.filter(|_| self == Self::DockerRegistry)
            .map(|ca| ("SSL_CERT_FILE", ca))
    }

    fn arguments(self, config: &Path, place: &Place) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        match self {
            Self::Forebay => vec!["serve".to_owned(), "--config".to_owned(), path(config)],
            Self::DockerRegistry => vec!["serve".to_owned(), path(config)],
            Self::Nginx | Self::NginxSendfile => {
                let log = place.dir.join("error.log");
                let flags = [
                    "-p",
                    &path(&place.dir),
                    "-c",
                    &path(config),
                    "-e",
                    &path(&log),
                ];
                flags.map(str::to_owned).to_vec()
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A program of the system. Servers may be where only root looks.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(origin: &str) -> Setting {
        Setting::plain(origin.parse().unwrap())
    }

    fn place() -> Place {
        Place {
            dir: "/var/lib/peer".into(),
            address: "127.0.0.1:5443".parse().unwrap(),
        }
    }

    #[test]
    fn every_peer_listens_where_it_is_told_before_the_origin_in_its_own_directory() {
        for peer in Peer::ALL {
            let text = peer.config(&setting("127.0.0.1:5000"), &place());
            for wanted in ["127.0.0.1:5443", "127.0.0.1:5000", "/var/lib/peer/cache"] {
                assert!(text.contains(wanted), "{peer} without {wanted}:\n{text}");
            }
        }
    }

    #[test]
    fn origin_with_tls_is_asked_by_its_name_and_its_certificate_is_checked() {
        let plain = setting("127.0.0.1:5000");
        let over_tls = Setting {
            origin_ca: Some("/tls/ca.pem".into()),
            ..plain.clone()
        };
        for peer in Peer::ALL {
            let [plain, over_tls] = [&plain, &over_tls].map(|setting| {
                let environment = peer.environment(setting);
                (peer.config(setting, &place()), environment)
            });
            assert!(plain.0.contains("http://") && !plain.0.contains("https://"));
            assert_eq!(plain.1, None);
            assert!(over_tls.0.contains("https://") && over_tls.0.contains("localhost"));
            let told = format!("{}{:?}", over_tls.0, over_tls.1);
            assert!(told.contains("/tls/ca.pem"), "{peer}:\n{told}");
        }
    }

    #[test]
    fn tls_and_logs_are_there_where_they_are_asked_for_alone() {
        for (peer, log) in [
            (Peer::Forebay, "level = \"info\""),
            (Peer::Nginx, "access_log /var/lib/peer/access.log"),
            (Peer::NginxSendfile, "access_log /var/lib/peer/access.log"),
            (Peer::DockerRegistry, "accesslog: {disabled: false}"),
        ] {
            let plain = setting("127.0.0.1:5000");
            let full = Setting {
                tls: Some(["/tls/a.crt".into(), "/tls/a.key".into()]),
                logged: true,
                ..plain.clone()
            };
            let [plain, full] = [plain, full].map(|setting| peer.config(&setting, &place()));
            for wanted in ["/tls/a.crt", "/tls/a.key", log] {
                assert!(full.contains(wanted), "{peer} without {wanted}:\n{full}");
                assert!(!plain.contains(wanted), "{peer} with {wanted}:\n{plain}");
            }
        }
    }

    #[test]
    fn time_that_tags_are_trusted_is_of_tags_alone_and_left_to_who_configures_forebay() {
        let plain = setting("127.0.0.1:5000");
        let moving = Setting {
            tags_fresh_for: Duration::from_secs(7),
            forebay: Some("[tags]\nfresh_for = \"7s\"\n[log]\nlevel = \"info\"\n".to_owned()),
            ..plain.clone()
        };
        let configs = |peer: Peer| [&plain, &moving].map(|it| peer.config(it, &place()));
        for peer in [Peer::Nginx, Peer::NginxSendfile] {
            let [plain, moving] = configs(peer);
            let trusted = |config: &str| config.matches("proxy_cache_valid 200 1h;").count();
            assert_eq!((trusted(&plain), trusted(&moving)), (1, 1), "{moving}");
            let (_, tags) = moving
                .split_once("location ~ ^/v2/.+/manifests/[^:/]+$ {")
                .unwrap();
            assert!(tags.contains("proxy_cache_valid 200 7s;"), "{moving}");
            assert!(!plain.contains("location ~"), "{plain}");
        }
        let [plain, moving] = configs(Peer::Forebay).map(|config| {
            let config: toml::Table = config.parse().unwrap();
            let upstream = &config["upstreams"]["docker.io"];
            let quota = upstream.get("read_quota").and_then(toml::Value::as_bool);
            let told = |table: &str, key: &str| config[table][key].as_str().unwrap().to_owned();
            let endpoint = upstream["endpoints"][0].as_str().unwrap().to_owned();
            (
                quota,
                told("tags", "fresh_for"),
                told("log", "level"),
                endpoint,
            )
        });
        let told = |quota, fresh: &str, level: &str| {
            let endpoint = "http://127.0.0.1:5000".to_owned();
            (quota, fresh.to_owned(), level.to_owned(), endpoint)
        };
        assert_eq!(plain, told(Some(false), "3600s", "warn"));
        assert_eq!(moving, told(None, "7s", "info"));
    }

    #[test]
    fn settings_are_listed_for_each_way_in_which_a_peer_is_set_up_otherwise() {
        let listed = |peer: Peer| {
            let settings = peer.settings().into_iter();
            settings
                .map(|(what, _)| what)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let tags = "tags that are trusted for a second";
        let nginx = format!("plain, TLS, TLS to the origin, {tags}");
        assert_eq!(listed(Peer::Nginx), nginx);
        assert_eq!(
            listed(Peer::DockerRegistry),
            "plain, TLS, TLS to the origin"
        );
        assert_eq!(
            listed(Peer::Forebay),
            format!("plain, TLS, TLS to the origin, {tags}")
        );
    }
}
