//! Every kind of request that there is, for tests of who is answered what.
//!
//! The match over kinds is exhaustive, and so is the mirror's own from its routes and actions to those kinds, of which each has
//! one of its own (`src/http/route/tests.rs`): an endpoint that nobody has listed here does not compile.

use forebay::metrics::RequestKind;
use http::Method;

use super::{blob_path, manifest_path};

/// What no client of a mirror has any use for, whatever it may pull: all methods but GET and HEAD, and POST where a token may
/// be asked for. CONNECT has no path: see `tests/it/vectors`.
pub(crate) const REFUSED_METHODS: [Method; 6] = [
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

/// What a repository is said to hold.
pub(crate) struct Held<'a> {
    pub(crate) tag: &'a str,
    pub(crate) manifest: &'a str,
    pub(crate) blobs: Vec<&'a str>,
}

/// A request that is about a repository.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) kind: RequestKind,
    pub(crate) path: String,
    /// Whether it is for something that the repository holds.
    pub(crate) there: bool,
}

/// All requests about a repository that is called `name`; none that need not be permitted.
pub(crate) fn all_requests(name: &str, held: &Held<'_>) -> Vec<Listed> {
    let of = |&kind: &RequestKind| {
        let listed = requests(kind, name, held).into_iter();
        listed.map(move |(there, path)| Listed { kind, path, there })
    };
    RequestKind::ALL.iter().flat_map(of).collect()
}

fn requests(kind: RequestKind, name: &str, held: &Held<'_>) -> Vec<(bool, String)> {
    let Held {
        tag,
        manifest,
        blobs,
    } = held;
    match kind {
        // There is nothing of a repository in its answer.
        RequestKind::Ping => Vec::new(),
        RequestKind::Manifest => vec![
            (true, manifest_path(name, tag)),
            (true, manifest_path(name, manifest)),
            (false, manifest_path(name, "none")),
            (true, format!("/v2/docker.io/{name}/manifests/{tag}")),
            (true, format!("/v2/{name}/manifests/{tag}?ns=docker.io")),
            (true, format!("/docker.io/v2/{name}/manifests/{tag}")),
        ],
        RequestKind::Blob => {
            let absent = format!("sha256:{}", "0".repeat(64));
            let there = blobs.iter().map(|blob| (true, blob_path(name, blob)));
            there.chain([(false, blob_path(name, absent))]).collect()
        }
        RequestKind::Tags => vec![
            (true, format!("/v2/{name}/tags/list")),
            (true, format!("/v2/{name}/tags/list?n=1&last=a")),
        ],
        RequestKind::Referrers => vec![(true, format!("/v2/{name}/referrers/{manifest}"))],
        RequestKind::Catalog => vec![
            (true, "/v2/_catalog".to_owned()),
            (true, "/v2/docker.io/_catalog".to_owned()),
        ],
        RequestKind::Other => vec![
            (false, format!("/v2/{name}/nonsense")),
            (
                false,
                format!("/_/token?ns=docker.io&scope=repository:{name}:pull"),
            ),
            (false, format!("/v2/not.configured/{name}/manifests/{tag}")),
        ],
    }
}
