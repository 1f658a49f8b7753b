//! Clients of a registry or a mirror, as many as are wanted.
//!
//! Each [`Node`] pulls whole images as containerd does, over connections of its own that it keeps, and checks every byte
//! against its digest. `way` leads to a server, `connection` is HTTP as far as that takes it, `node` is a
//! pull.

mod connection;
mod node;
mod way;

pub use self::connection::{Answer, Connection};
pub use self::node::{Failure, Node, Pulled};
pub use self::way::{Stream, Way};
