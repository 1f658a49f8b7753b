//! One request of a registry client, from its head to its response's last byte.
//!
//! `vet` refuses messages that no client sends in earnest; `route` turns the rest into typed values; `client` tells where
//! a request comes from, `login` what it says of who asks, and `limit` lets it in, holds it or refuses it; the mirror
//! answers; `respond` and `errors` turn its answer into a response whose headers come from typed values only; `body` carries
//! the bytes, and with them the record that becomes the request's one line in the log.
//!
//! Owns no state of its own, but for what `limit` knows of clients.

mod address;
mod answering;
mod api;
mod asked;
#[doc(hidden)]
pub mod bench;
mod body;
mod client;
mod errors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod limit;
mod listing;
mod login;
mod passthrough;
mod query;
mod range;
mod record;
mod respond;
mod route;
mod vet;

pub use crate::mirror::{Chunk, Lost, PART, Part};
pub use address::Naming;
pub use answering::Answering;
pub use api::Api;
pub use body::{Aborted, ResponseBody};
pub use client::{Certified, ClientAddr, ClientKey, Peer, PeerCertificate, Remote, Scheme};
pub use limit::{Clients, Connected, Surplus, Terms};
pub use record::REQUESTS;
