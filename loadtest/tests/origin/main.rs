//! The origin over real sockets, with a plain HTTP client and with skopeo.

mod client;

mod auth;
mod blobs;
mod command;
mod faults;
mod lifecycle;
mod manifests;
mod profiles;
mod record;
mod skopeo;
