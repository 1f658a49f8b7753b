//! Tests of the store as a whole.

mod basics;
mod crash;
mod limit;
mod support;
