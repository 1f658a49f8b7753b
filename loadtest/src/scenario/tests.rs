//! Scenarios as they are read, and as they are played on the origin itself.

use super::*;

mod played;
mod written;
