//! Tests of the store as a whole.

mod basics;
mod crash;
mod eviction;
mod limit;
mod recovery;
mod support;
