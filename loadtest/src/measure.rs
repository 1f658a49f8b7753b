//! What processes take of a machine, and what a measurement asks of it.
//!
//! `process` reads a process's CPU time and memory, `cores` pins threads, `pages` puts files out of the page cache, and has
//! free memory ready.

mod cores;
mod pages;
mod process;

pub use self::cores::{Cores, pin};
pub use self::pages::{Evicted, evict, on_a_disk, ready};
pub use self::process::{Usage, end_descendants, own_cpu, raise_descriptors, tcp_memory};
