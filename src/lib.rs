//! placeholder
pub mod cli;
pub mod config;
pub mod metrics;
pub mod oci;
pub mod store;
pub mod upstream;
