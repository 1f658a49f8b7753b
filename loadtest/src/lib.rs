//! Upstream and load for container registry mirrors.
//!
//! [`fleet`] is clients that pull. [`certificates`] is an authority for their TLS, and [`front`] TLS
//! before what has none. [`cloud`] stands in for the services that
//! registries' logins come from. [`origin`] is a registry that behaves as Docker Hub does, fails on request, and counts every
//! request and every byte it sends. It serves tests in-process and load tests as a command. [`compare`] measures mirrors side by
//! side: [`peers`] starts them, [`raw`] is clients that cost next to nothing, [`measure`] is what the kernel tells of a process.
//! [`report`] tells what a run found out, [`stats`] sums it up, and [`units`] are sizes and times as people write them. Nothing
//! here depends on a mirror.

pub mod certificates;
pub mod cloud;
pub mod compare;
pub mod fleet;
pub mod front;
pub mod measure;
pub mod origin;
pub mod peers;
pub mod raw;
pub mod report;
pub mod scenario;
pub mod stats;
pub mod units;
