//! placeholder
pub mod metrics;
pub mod oci;
