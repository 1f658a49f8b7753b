//! The promises of the mirror, tested on the real process over real sockets.
//!
//! One binary, one harness, a module an area. Upstreams are scripted origins that count what they are asked; the
//! clients' module uses the clients that people use.

mod harness;

mod access;
mod allowed;
mod architecture;
mod client;
mod clients;
mod compare;
mod crash;
mod credentials;
mod dependencies;
mod disk;
mod docs;
mod faults;
mod fills;
mod fleet;
mod freshness;
mod hostile;
mod inputs;
mod lifetime;
mod limit;
mod limits;
mod lists;
mod metrics;
mod online;
mod passthrough;
mod protocol;
mod quota;
mod reach;
mod refused;
mod registries;
mod reload;
mod restart;
mod rights;
mod scenarios;
mod sendfile;
mod service;
mod spec;
mod startup;
mod status;
mod tags;
mod tls;
mod tokens;
mod vectors;
