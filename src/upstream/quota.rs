//! Quotas: what an upstream allows in a window, and how it is never overdrawn.
//!
//! - [`report`]: what an answer's headers say.
//! - [`reported`], [`ceiling`]: the two sources of truth, what the upstream reports and what the configuration allows.
//!   Pure; they take `now`.
//! - [`ceilings`]: the configured quotas of all that share a ledger. Pure.
//! - [`ledger`]: both together, what is under way, and when the upstream is left alone. Pure.
//! - [`queue`]: who waits, fair across clients. Pure.
//! - [`snapshot`]: a ledger as it is written down.
//! - [`gate`]: a ledger and its queue behind a lock: where requests are admitted, wait, and are settled.
//! - [`book`]: all gates, of which those that the upstream counts as one are one.
//! - [`caller`]: for whom something is asked, and how long they wait.
//!
//! A GET of a manifest costs one pull; HEAD, blobs, tokens, lists and referrers cost none. A pull is charged before it
//! is sent, and again for each time that it is sent.

mod book;
mod caller;
mod ceiling;
mod ceilings;
mod gate;
mod ledger;
mod queue;
mod report;
mod reported;
mod snapshot;

pub(crate) use book::{Book, Charge, Slot};
pub use caller::{Caller, ClientKey, Hold, Priority};
pub(crate) use gate::Turn;
pub(crate) use ledger::{Closing, Outcome};
pub use ledger::{Spent, SpentBy, Standing};
pub(crate) use report::{Allowance, QuotaReport, told_of};
