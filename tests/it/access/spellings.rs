//! A repository that is denied is denied by whichever name a client has for it.
//!
//! The ways to name one are `forebay::http::Naming`, which is what the mirror itself goes through, and the match over them here
//! is exhaustive, as that over kinds of requests is: one that nobody has listed does not compile. Each spelling is proven to be
//! understood by a neighbour that is pulled by it.

use forebay::http::Naming;
use forebay::metrics::RequestKind;
use forebay_loadtest::origin::{Image, ImageSpec, Origin};
use http::{Method, StatusCode};
use tempfile::tempdir;

use super::matrix::says_nothing;
use super::{PASSWORD, basic, guarded};
use crate::harness::{Client, plain_origin};

const SECRET: &str = "library/secret";
const OPEN: &str = "library/open";
const AMAZON: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// Rules that say the same of `library/secret`, there and at Amazon's registry.
const DENIED: [[&str; 2]; 4] = [
    ["docker.io/library/secret", AMAZON],
    [
        "Index.Docker.io/secret",
        "123456789012.dkr-ecr-fips.eu-west-1.on.aws",
    ],
    ["*/secret", "123456789012.dkr.ecr.*.amazonaws.com"],
    ["*.io/secre?", "ecr"],
];

/// A registry as clients write it.
struct Called {
    /// By its hosts.
    hosts: &'static [&'static str],
    alias: &'static str,
    /// Under which the mirror is reached for it.
    mirror: &'static str,
    is_default: bool,
}

const CALLED: [Called; 2] = [
    Called {
        hosts: &[
            "docker.io",
            "Docker.IO",
            "index.docker.io",
            "registry-1.docker.io",
            "d%6fcker.io",
        ],
        alias: "dockerhub",
        mirror: "hub.mirror.test",
        is_default: true,
    },
    Called {
        hosts: &[
            AMAZON,
            "123456789012.DKR.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr-fips.eu-west-1.amazonaws.com",
            "123456789012.dkr-ecr.eu-west-1.on.aws",
            "123456789012.dkr-ecr-fips.eu-west-1.on.aws",
        ],
        alias: "amazon",
        mirror: "amazon.mirror.test",
        is_default: false,
    },
];

/// One way to write a repository: what stands before the endpoint in the path, after it in the query, and a header.
#[derive(Clone, Debug, Default)]
struct Spelling {
    before: String,
    after: String,
    header: Option<(&'static str, String)>,
}

impl Spelling {
    fn path(before: String) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }
}

impl Called {
    /// Names of a repository there.
    fn names(&self, name: &str) -> Vec<String> {
        let mut names = vec![name.to_owned(), name.replacen('l', "%6c", 1)];
        // Docker Hub's own images.
        names.extend(
            name.strip_prefix("library/")
                .filter(|_| self.is_default)
                .map(str::to_owned),
        );
        names
    }

    /// Every spelling of a repository; without a way, its registry is not named.
    fn spellings(&self, way: Option<Naming>, name: &str) -> Vec<Spelling> {
        let names = self.names(name);
        names
            .iter()
            .flat_map(|name| self.spellings_of(way, name))
            .collect()
    }

    fn spellings_of(&self, way: Option<Naming>, name: &str) -> Vec<Spelling> {
        let (first, hosts) = (self.hosts[0], self.hosts.iter());
        let both = || self.hosts.iter().chain([&self.alias]);
        match way {
            None if self.is_default => vec![Spelling::path(format!("/v2/{name}"))],
            None => Vec::new(),
            Some(Naming::Marked) => {
                let marked = |host| ["_", "%5F"].map(|mark| format!("/v2/{mark}/{host}/{name}"));
                both().flat_map(marked).map(Spelling::path).collect()
            }
            Some(Naming::Namespace) => hosts
                .flat_map(|host| {
                    let header = ("oci-namespace", (*host).to_owned());
                    let plain = |name: &str| Spelling {
                        after: format!("?ns={host}"),
                        ..Spelling::path(format!("/v2/{name}"))
                    };
                    let by_header = Spelling {
                        header: Some(header).filter(|_| !host.contains('%')),
                        after: format!("?ns={host}"),
                        ..Spelling::path(format!("/v2/{name}"))
                    };
                    [plain(name), plain(&format!("{first}/{name}")), by_header]
                })
                .collect(),
            Some(Naming::Host) => [
                self.mirror.to_owned(),
                format!("{}:5000", self.mirror.to_uppercase()),
            ]
            .into_iter()
            .flat_map(|host| {
                let of = |before| Spelling {
                    header: Some(("host", host.clone())),
                    ..Spelling::path(before)
                };
                [of(format!("/v2/{name}")), of(format!("/v2/{first}/{name}"))]
            })
            .collect(),
            Some(Naming::Prefix) => both()
                .map(|host| Spelling::path(format!("/{host}/v2/{name}")))
                .collect(),
            Some(Naming::Component) => hosts
                .map(|host| Spelling::path(format!("/v2/{host}/{name}")))
                .collect(),
            // With one component after it that is a repository of Docker Hub.
            Some(Naming::Alias) if !name.contains('/') => Vec::new(),
            Some(Naming::Alias) => vec![Spelling::path(format!("/v2/{}/{name}", self.alias))],
        }
    }
}

/// What a repository is asked for.
fn endpoints(kind: RequestKind, image: &Image) -> Vec<String> {
    let manifest = &image.root.digest;
    match kind {
        RequestKind::Manifest => {
            vec!["/manifests/v1".to_owned(), format!("/manifests/{manifest}")]
        }
        RequestKind::Blob => {
            vec![format!("/blobs/{}", image.linux("amd64").layers[0].digest)]
        }
        RequestKind::Tags => vec!["/tags/list".to_owned()],
        RequestKind::Referrers => vec![format!("/referrers/{manifest}")],
        // Of no repository in particular.
        RequestKind::Ping | RequestKind::Catalog | RequestKind::Other => Vec::new(),
    }
}

async fn origin() -> Origin {
    let spec = ImageSpec {
        layers: 1,
        layer_size: 1_000,
        ..ImageSpec::default()
    };
    let add = |builder: forebay_loadtest::origin::Builder, name| {
        builder.repository(name, |repository| {
            repository.multi_arch_image("v1", &spec);
        })
    };
    let builder = [SECRET, OPEN].into_iter().fold(plain_origin(), add);
    builder.start().await.unwrap()
}

async fn ask(
    client: &Client,
    method: Method,
    endpoint: &str,
    spelling: &Spelling,
    login: &str,
) -> crate::harness::Answer {
    let path = format!("{}{endpoint}{}", spelling.before, spelling.after);
    let mut headers = vec![("authorization", login)];
    headers.extend(
        spelling
            .header
            .iter()
            .map(|(name, value)| (*name, value.as_str())),
    );
    client.ask(method, &path, &headers).await
}

/// What each way to name a repository is denied and given, of every endpoint.
async fn holds(origin: &Origin, denied: [&str; 2], thorough: bool) {
    let dir = tempdir().unwrap();
    let [hub, amazon] = denied;
    let rules = format!(
        "[[access.rules]]\nclients = ['user:alice']\nrepositories = ['{hub}', '{amazon}/library/secret']\nallow = false\n"
    );
    let table = format!(
        "hosts = ['{}']\nalias = '{}'",
        CALLED[1].mirror, CALLED[1].alias
    );
    let forebay = guarded(origin, dir.path(), &rules)
        .upstream(&format!("hosts = ['{}']", CALLED[0].mirror))
        .also(AMAZON, origin, &table)
        .start()
        .await;
    let (client, alice) = (forebay.client(), basic("alice", PASSWORD));
    let (secret, open) = (origin.image(SECRET, "v1"), origin.image(OPEN, "v1"));
    for called in &CALLED {
        for way in Naming::ALL.map(Some).into_iter().chain([None]) {
            let (secrets, opens) = (called.spellings(way, SECRET), called.spellings(way, OPEN));
            for (spelling, neighbour) in secrets.iter().zip(&opens) {
                for kind in RequestKind::ALL {
                    let ends = endpoints(*kind, &secret)
                        .into_iter()
                        .zip(endpoints(*kind, &open));
                    for (end, other) in ends.take(if thorough { usize::MAX } else { 1 }) {
                        let context = format!("{denied:?} {way:?} {spelling:?} {end}");
                        let answer = ask(&client, Method::GET, &end, spelling, &alice).await;
                        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{context}");
                        assert!(says_nothing(&answer), "{context}: {}", answer.text());
                        let head = ask(&client, Method::HEAD, &end, spelling, &alice).await;
                        assert_eq!(head.status, StatusCode::FORBIDDEN, "{context}");
                        let given = ask(&client, Method::GET, &other, neighbour, &alice).await;
                        assert_eq!(
                            given.status,
                            StatusCode::OK,
                            "{neighbour:?} {other}: {}",
                            given.text()
                        );
                    }
                }
            }
        }
    }
    let asked = origin.requests();
    let about = |name: &str| asked.iter().filter(|it| it.target.contains(name)).count();
    assert!(about("secret") == 0 && about("open") > 0, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_denied_by_every_name_that_a_client_has_for_it() {
    let origin = origin().await;
    holds(&origin, DENIED[0], true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_denied_by_every_name_that_a_rule_has_for_it() {
    let origin = origin().await;
    for denied in &DENIED[1..] {
        holds(&origin, *denied, false).await;
    }
}
