//! Hostile upstreams get nothing: where they point the mirror, nobody calls, no login is seen, and the client is told in
//! time which rule was broken and which key would have allowed it.
//!
//! Each test runs on a machine apart, whose network is its own: the addresses that nobody is to be led to are this machine's,
//! and a canary listens on them all. What follows from a refusal, and what the keys allow, is tested here, too.

mod canary;
mod keys;
mod logins;
mod names;
mod realms;
mod redirects;
mod resolved;
mod stage;
mod stale;
mod strays;
