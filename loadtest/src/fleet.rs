//! Clients of a registry or a mirror, as many as are wanted.
//!
//! Each [`Node`] pulls whole images as one of the clients that people use does ([`Flavour`]), over connections of its own,
//! and checks every byte against its digest. `way` leads to a server, and `place` says what is behind it; `connection` is
//! HTTP as far as that takes it, `line` one connection to one place with what is asked there, `ask` what the flavours write;
//! `sink` is where bodies go, `hand` what fetches a part of a pull at a time; `node` is a pull, and `containerd`, `dockerd`,
//! `podman` and `lazy` are how each of them goes about it. [`Tally`] adds up what they got.

mod ask;
mod connection;
mod containerd;
mod dockerd;
mod failure;
mod flavour;
mod hand;
mod lazy;
mod line;
mod node;
mod place;
mod podman;
mod reference;
mod sink;
mod tally;
mod way;

pub use self::connection::{Answer, Connection};
pub use self::failure::Failure;
pub use self::flavour::Flavour;
pub use self::node::{Client, Node, Pulled};
pub use self::place::{Place, Role};
pub use self::reference::Reference;
pub use self::tally::{Asked, Sums, Tally};
pub use self::way::{Stream, Way};
