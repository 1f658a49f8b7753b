//! A scriptable upstream registry.
//!
//! It serves manifests and blobs as Docker Hub does: a token service and a CDN on
//! ports of their own, rate-limit headers, redirects with signed URLs that expire.
//! It fails as asked ([`Origin::on`]), and keeps a record of every request and of
//! every byte of body that a socket took ([`Origin::counts`]).
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use forebay_loadtest::origin::{Fault, ImageSpec, Kind, Origin};
//!
//! let origin = Origin::docker_hub()
//!     .repository("library/app", |r| r.multi_arch_image("v1", &ImageSpec::default()))
//!     .start()
//!     .await?;
//! let image = origin.image("library/app", "v1");
//! let layer = &image.linux("amd64").layers[0];
//!
//! // The second half waits until the test says so, and the first try is cut.
//! let gate = origin.on_body(&layer.digest).hold_at(layer.size / 2);
//! origin.on_body(&layer.digest).once(Fault::CutAt(1000));
//! // ... pull it through what is tested ...
//! gate.reached(1).await;
//! gate.release();
//!
//! assert_eq!(origin.counts().requests(Kind::ManifestGet), 2);
//! assert_eq!(origin.body_bytes(&layer.digest), layer.size);
//! # Ok(())
//! # }
//! ```
//!
//! One subject a file. `builder` makes an [`Origin`] (in `handle`); `listener` owns its ports;
//! `serve` runs one connection with `connection` (bytes in), `target` (what is
//! asked for), `registry`, `token`, `cdn` (the answers), and `transmit` (bytes
//! out). `repository`, `image` and `seeded` make content; `faults`, `script` and
//! `gate` break things; `quirks` and `profiles` make it like one registry or another;
//! `request`, `record` and `queries` remember.

mod auth;
mod builder;

mod cdn;
mod connection;
mod descriptor;
mod digest;
mod faults;
mod gate;
mod handle;
mod image;
mod listener;
mod profiles;
mod queries;
mod quirks;
mod quota;
mod range;
mod record;
mod registry;
mod reply;
mod repository;
mod request;
mod script;
mod seeded;
mod serve;
mod state;
mod target;
mod token;
mod transmit;

pub use self::auth::{Auth, Mint, Passwords, Refresh, Scope, TokenAuth, TokenField};
pub use self::builder::Builder;
pub use self::cdn::{Blobs, Redirect};
pub use self::descriptor::{Descriptor, Platform, media_type};
pub use self::digest::{Algorithm, Digest};
pub use self::faults::Fault;
pub use self::gate::{Gate, Pace};
pub use self::handle::Origin;
pub use self::image::{Content, Flavour, Image, ImageManifest, ImageSpec};
pub use self::profiles::Profile;
pub use self::quirks::{Expiry, Quirks, Unaccepted};
pub use self::quota::Quota;
pub use self::record::{Counts, Tally};
pub use self::reply::Reply;
pub use self::repository::Repository;
pub use self::request::{Authorization, Kind, Outcome, Request, When};
pub use self::script::{On, Scripted};
pub use self::seeded::random_bytes;

/// One of an origin's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The registry's API.
    Registry,
    /// The token service.
    Token,
    /// The CDN that blobs are redirected to.
    Cdn,
}
