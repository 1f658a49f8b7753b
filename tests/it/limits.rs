//! What one client may take, with the real process, real sockets, and clients at addresses of their own.
//!
//! Nothing here depends on how fast anything is: rates are so low, or waits so long, that a test is over before they count.

mod bombs;
mod bytes;
mod connections;
mod fleet;
mod house;
mod memory;
mod proxies;
mod ranges;
mod requests;
mod series;
mod slow;
mod socket;
