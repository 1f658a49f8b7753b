//! Tests of the store as a whole.

mod basics;
mod catalog;
mod crash;
mod eviction;
mod lifetime;
mod limit;
mod lists;
mod model;
mod modes;
mod opening;
mod partial;
mod parts;
mod recovery;
mod size;
mod support;
mod traffic;
mod unreadable;
