//! Tests of the store as a whole.

mod basics;
mod support;
