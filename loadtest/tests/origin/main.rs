//! The origin over real sockets, with a plain HTTP client and with skopeo; and scenarios and comparisons as commands.

mod client;

mod auth;
mod blobs;
mod command;
mod compare;
mod faults;
mod lifecycle;
mod manifests;
mod profiles;
mod record;
mod run;
mod skopeo;
