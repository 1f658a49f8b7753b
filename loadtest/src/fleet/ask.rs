//! Requests as the clients write them: method, path, and headers in their order.
//!
//! As `tests/it/protocol` of the mirror holds them, from the clients' own source.

use std::fmt::Write as _;
use std::ops::Range;

use http::Method;

use super::flavour::Flavour;

const CONTAINERD: &str = "containerd/v2.2.1";
const DOCKERD: &str = "docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 \
     UpstreamClient(Docker-Client/28.5.2 \\(linux\\))";
const PODMAN: &str = "containers/5.36.2 (github.com/containers/image)";
const STARGZ: &str = "Go-http-client/1.1";

/// What containerd accepts where it does not know yet what a tag points at.
const OF_A_TAG: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, */*";
const ENCODINGS: &str = "Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5\r\n";

/// dockerd has a line for each of them, in an order that changes.
const OF_DOCKERD: [&str; 6] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/json",
];
/// podman has a line for each of them.
const OF_PODMAN: [&str; 6] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
];

/// A request.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    headers: String,
    /// Whether no other request follows on its connection.
    pub(super) closes: bool,
}

impl Ask {
    fn new(flavour: Flavour, method: Method, path: String) -> Self {
        let mut ask = Self {
            method,
            path,
            headers: String::new(),
            closes: flavour == Flavour::Dockerd,
        };
        let agent = match flavour {
            Flavour::Containerd | Flavour::Lazy => CONTAINERD,
            Flavour::Dockerd => DOCKERD,
            Flavour::Podman => PODMAN,
        };
        ask.header("User-Agent", agent);
        ask
    }

    /// Whether there is a registry at all.
    pub(super) fn ping(flavour: Flavour, path: String) -> Self {
        Self::new(flavour, Method::GET, path).ended(flavour)
    }

    /// What a tag points at: a HEAD, but for podman.
    pub(super) fn tag(flavour: Flavour, path: String) -> Self {
        if flavour == Flavour::Podman {
            return Self::manifest(flavour, path, "");
        }
        let mut ask = Self::new(flavour, Method::HEAD, path);
        match flavour {
            Flavour::Dockerd => ask.accepts(&OF_DOCKERD, rand::random_range(0..OF_DOCKERD.len())),
            _ => ask.header("Accept", OF_A_TAG),
        }
        ask.closed()
    }

    /// A manifest. `media_type` is what its descriptor says.
    pub(super) fn manifest(flavour: Flavour, path: String, media_type: &str) -> Self {
        let mut ask = Self::new(flavour, Method::GET, path);
        match flavour {
            Flavour::Dockerd => ask.accepts(&OF_DOCKERD, rand::random_range(0..OF_DOCKERD.len())),
            Flavour::Podman => ask.accepts(&OF_PODMAN, 0),
            Flavour::Containerd | Flavour::Lazy => ask.typed(media_type),
        }
        ask.ended(flavour)
    }

    /// A blob from this byte on.
    pub(super) fn blob(flavour: Flavour, path: String, media_type: &str, from: u64) -> Self {
        let mut ask = Self::new(flavour, Method::GET, path);
        if matches!(flavour, Flavour::Containerd | Flavour::Lazy) {
            ask.typed(media_type);
        }
        if from == 0 {
            return ask.ended(flavour);
        }
        ask.header("Range", &format!("bytes={from}-"));
        // Go leaves its own `Accept-Encoding` out beside a range.
        match flavour {
            Flavour::Dockerd => ask.closed(),
            _ => ask.ended(flavour),
        }
    }

    /// A bounded range, as stargz asks for it.
    pub(super) fn part(path: String, range: &Range<u64>) -> Self {
        let mut ask = Self::of_stargz(Method::GET, path);
        ask.headers.push_str("Accept-Encoding: identity\r\n");
        ask.header("Range", &format!("bytes={}-{}", range.start, range.end - 1));
        ask
    }

    /// How large a layer is, as stargz asks for it.
    pub(super) fn size(path: String) -> Self {
        Self::of_stargz(Method::HEAD, path)
    }

    fn of_stargz(method: Method, path: String) -> Self {
        let mut ask = Self {
            method,
            path,
            headers: String::new(),
            closes: false,
        };
        ask.header("User-Agent", STARGZ);
        ask
    }

    /// As it goes out.
    pub(super) fn written(&self, host: &str) -> String {
        let Self {
            method,
            path,
            headers,
            ..
        } = self;
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")
    }

    fn header(&mut self, name: &str, value: &str) {
        write!(self.headers, "{name}: {value}\r\n").expect("a string takes every write");
    }

    fn accepts(&mut self, types: &[&str], first: usize) {
        for nth in 0..types.len() {
            self.header("Accept", types[(first + nth) % types.len()]);
        }
    }

    fn typed(&mut self, media_type: &str) {
        self.header("Accept", &format!("{media_type}, */*"));
        self.headers.push_str(ENCODINGS);
    }

    /// The headers that each of a flavour's GETs ends with.
    fn ended(mut self, flavour: Flavour) -> Self {
        if flavour == Flavour::Podman {
            self.header("Docker-Distribution-Api-Version", "registry/2.0");
        }
        if matches!(flavour, Flavour::Podman | Flavour::Dockerd) {
            self.header("Accept-Encoding", "gzip");
        }
        self.closed()
    }

    fn closed(mut self) -> Self {
        if self.closes {
            self.header("Connection", "close");
        }
        self
    }
}
