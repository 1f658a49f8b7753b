//! All figures: `hits` is what is cached, `herd` many clients at once, `pulls` one client alone, `memory` what it takes to be there.

mod herd;
mod hits;
mod memory;
mod pulls;

use super::figure::Figure;

/// In the order in which they are measured and told.
pub(super) fn all() -> Vec<Figure> {
    let mut all = hits::figures();
    all.extend(herd::figures());
    all.extend(pulls::figures());
    all.extend(memory::figures());
    all
}

/// The name of what a server does in a second of its CPU time.
const A_CORE: &str = "a core";
/// The name of what it does in a second.
const BY_THE_CLOCK: &str = "by the clock";
