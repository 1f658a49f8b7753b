//! The read side of the distribution specification, whole: what its conformance suite asserts, on content of
//! every kind and in every state of the cache.

mod conformance;
mod content;
mod heads;
mod listing;
mod routing;
