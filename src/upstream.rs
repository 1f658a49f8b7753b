//! Upstreams: the registries that this mirror fetches from, and all that it takes to talk to them.
//!
//! A question goes down through these, each with one concern:
//! [`Upstreams`] finds or makes the upstream of a registry; [`Upstream`] knows the registry API's
//! endpoints, pays for what costs (`metered`, `quota`) and tries again where that helps (`retry`); `exchange` logs in
//! (`auth`, `challenge`, `token`, with who `credentials` says that forebay is) and follows redirects (`redirect`);
//! `transport` sends one request, under the address policy (`address`, `resolver`) and the timeouts.
//!
//! Where each client sees what is theirs, an upstream is asked with the login that its client has brought (`brought`), and what
//! that login may see is known for a short while (`entitled`).
//!
//! `probe` goes the same way a step at a time, to say where it ends.
//!
//! What holds here, whatever an upstream answers:
//! - Credentials go to the upstream's own endpoint and to a token service that passes the realm rule,
//!   and nowhere else; they are in no error, log or debug output.
//! - No host is dialled that the address policy refuses, on any hop.
//! - Every wait has an end: connecting, the first byte, each piece of a body, small bodies as a whole.
//!   Only a blob that keeps flowing may take as long as it likes.
//! - No pull is sent that a quota has no room for.
//! - 429, 5xx and failed logins are never reported as absence.

mod address;
mod auth;
mod blob;
mod body;
mod bounds;
mod breaker;
mod brought;
mod budget;
mod challenge;
mod client;
mod course;
mod credentials;
mod entitled;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod link;
mod manifest;
mod metered;
mod probe;
mod proxy;
mod pursuit;
mod quota;
mod range;
mod redirect;
mod referrers;
mod refusal;
mod registry;
mod resolver;
mod retry;
mod retry_after;
mod standing;
mod tags;
mod tls;
mod token;
mod token_service;
mod transport;

pub use blob::{BlobResponse, Confirmed};
pub use body::BlobBody;
pub use bounds::BlobPermit;
pub use breaker::HostState;
pub use brought::Proof;
pub use client::Upstream;
pub use credentials::Access;
pub use error::{ErrorKind, Fault, Trouble, UpstreamError};
pub use manifest::{FetchedManifest, ManifestHead};
pub use probe::{Finding, Image, Report, Step, Target, Verdict, probe};
pub use quota::{Caller, ClientKey, Hold, Priority, Spent, SpentBy, Standing};
pub use range::ByteRange;
pub use referrers::Referrers;
pub use registry::{Quotas, SetupError, Upstreams};
pub use standing::{HostStanding, QuotaStanding, UpstreamStanding};
pub use tags::{AllTags, Mark, TagPage};
pub use tls::TlsError;

#[cfg(test)]
mod tests;
