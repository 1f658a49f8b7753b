//! What all figures stand on: an origin with content, certificates, and peers that are started when they are measured.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::Options;
use super::figure::Who;
use crate::certificates::Authority;
use crate::front::tls_before;
use crate::measure::Cores;
use crate::origin::{Content, Descriptor, ImageSpec, Kind, Origin, Platform};
use crate::peers::{ORIGIN, Peer, Running, Setting};
use crate::raw::Target;
use crate::stats::float;

/// The repository of all content.
const REPOSITORY: &str = "library/app";
const TAG: &str = "v1";

/// How large things are, and how long they take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// What sizes and clients are divided by.
    shrunk: usize,
    /// How long a rate is measured.
    pub(super) measured: Duration,
    /// How long it is warmed up before.
    pub(super) warm: Duration,
}

impl Sizes {
    fn of(options: &Options) -> Self {
        if options.quick {
            return Self {
                shrunk: 10,
                measured: Duration::from_millis(300),
                warm: Duration::from_millis(100),
            };
        }
        Self {
            shrunk: 1,
            measured: Duration::from_secs(4),
            warm: Duration::from_secs(1),
        }
    }

    /// So many bytes.
    pub(super) fn bytes(self, bytes: u64) -> u64 {
        bytes / self.shrunk as u64
    }

    /// So many clients.
    pub(super) fn clients(self, clients: usize) -> usize {
        (clients / self.shrunk).max(2)
    }
}

/// The bench.
pub(super) struct Bench<'a> {
    options: &'a Options,
    cores: Cores,
    pub(super) sizes: Sizes,
    pub(super) origin: Origin,
    /// The blobs that were asked for so far, by seed and size.
    blobs: RefCell<HashMap<(u64, u64), Descriptor>>,
    certificate: [PathBuf; 2],
    tls: Arc<ClientConfig>,
    /// The origin again, over TLS, and who signs for it.
    origin_over_tls: (SocketAddr, PathBuf),
    dir: TempDir,
    /// The origin's, with a thread of its own.
    _runtime: Runtime,
}

/// What a figure asks of a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) tls: Tls,
    pub(super) logged: bool,
}

/// Where TLS is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tls {
    #[default]
    Nowhere,
    WithClients,
    WithOrigin,
}

impl<'a> Bench<'a> {
    /// Starts the origin. Its thread has the processor of the thread that calls.
    pub(super) fn start(options: &'a Options, cores: Cores) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let image = ImageSpec {
            layers: 6,
            layer_size: 1 << 10,
            content: Content::Opaque,
            platforms: vec![Platform::linux("amd64")],
            ..ImageSpec::default()
        };
        let origin = Origin::builder()
            .send_buffer(1 << 20)
            .repository(REPOSITORY, |repository| repository.image(TAG, &image));
        let origin = runtime.block_on(origin.start())?;
        let dir = tempfile::Builder::new()
            .prefix("compare-")
            .tempdir_in(&options.dir)?;
        let authority = Authority::new("compare");
        let pair = authority.server(&["127.0.0.1", ORIGIN]);
        let front = tls_before(
            origin.host().to_owned(),
            pair.shown_by(provider()),
            Ipv4Addr::LOCALHOST.into(),
        );
        let origin_over_tls = (runtime.block_on(front)?, dir.path().join("ca.pem"));
        fs::write(&origin_over_tls.1, authority.pem())?;
        Ok(Self {
            options,
            cores,
            sizes: Sizes::of(options),
            origin,
            blobs: RefCell::default(),
            certificate: pair.write(dir.path(), "server")?,
            tls: Arc::new(client(&authority).map_err(io::Error::other)?),
            origin_over_tls,
            dir,
            _runtime: runtime,
        })
    }

    /// Starts a peer that has nothing yet.
    pub(super) fn serve(&self, peer: Peer, asked: Asked) -> io::Result<(Running, Target)> {
        let (origin, origin_ca) = if asked.tls == Tls::WithOrigin {
            let (address, ca) = &self.origin_over_tls;
            (*address, Some(ca.clone()))
        } else {
            (self.direct()?.address, None)
        };
        let with_clients = asked.tls == Tls::WithClients;
        let setting = Setting {
            origin,
            origin_ca,
            tls: with_clients.then(|| self.certificate.clone()),
            logged: asked.logged,
            ..Setting::plain(origin)
        };
        let known = self.options.peers.iter().find(|(it, _)| *it == peer);
        let (_, program) = known.ok_or_else(|| io::Error::other(format!("no {peer}")))?;
        let dir = self.dir.path();
        let server = Running::start(peer, program, &setting, self.cores.server, dir)?;
        let target = Target {
            address: server.address(),
            tls: with_clients.then(|| Arc::clone(&self.tls)),
        };
        Ok((server, target))
    }

    /// As [`Self::serve`], for figures that are of peers alone.
    pub(super) fn serve_peer(&self, who: Who, asked: Asked) -> io::Result<(Running, Target)> {
        match who {
            Who::Peer(peer) => self.serve(peer, asked),
            Who::Direct => Err(io::Error::other("not a server to be measured")),
        }
    }

    /// The way to the origin itself.
    pub(super) fn direct(&self) -> io::Result<Target> {
        let address = self.origin.host().parse().map_err(io::Error::other)?;
        Ok(Target::plain(address))
    }

    /// A blob of the origin.
    pub(super) fn blob(&self, seed: u64, size: u64) -> Descriptor {
        let make = || {
            self.origin
                .edit(REPOSITORY, |repository| repository.random_blob(seed, size))
        };
        let mut blobs = self.blobs.borrow_mut();
        blobs.entry((seed, size)).or_insert_with(make).clone()
    }

    /// How often this blob's bytes have left the origin since its last reset.
    pub(super) fn bodies(&self, blob: &Descriptor) -> f64 {
        float(self.origin.body_bytes(&blob.digest)) / float(blob.size.max(1))
    }

    /// How many bodies of blobs the origin was asked for since its last reset.
    pub(super) fn body_requests(&self) -> u64 {
        self.origin.counts().requests(Kind::BlobGet)
    }
}

/// The path of a blob.
pub(super) fn blob_path(blob: &Descriptor) -> String {
    format!("/v2/{REPOSITORY}/blobs/{}", blob.digest)
}

/// The path of a small image's manifest, by its tag.
pub(super) fn manifest_path() -> String {
    format!("/v2/{REPOSITORY}/manifests/{TAG}")
}

/// TLS with one cipher, so that all peers are measured with the same: the one that Go's clients, which dockerd, containerd and
/// podman are, prefer where the processor has AES.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider
}

fn client(authority: &Authority) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
    roots.add(root.map_err(|error| rustls::Error::General(error.to_string()))?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_protocol_versions(&[&TLS13])?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
