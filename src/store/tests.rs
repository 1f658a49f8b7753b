//! Tests of the store as a whole.

mod basics;
mod crash;
mod eviction;
mod limit;
mod model;
mod recovery;
mod support;
