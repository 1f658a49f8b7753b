//! How findings are marked: words where a program may read along, signs on a terminal, in colour unless `NO_COLOR` is set.

use std::io::{self, IsTerminal as _};

/// How findings are marked.
#[derive(Clone, Copy)]
pub(super) enum Marks {
    Words,
    Signs { colour: bool },
}

/// What a mark says.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    Good,
    Note,
    Wrong,
}

impl Marks {
    /// Those for the standard output.
    pub(super) fn of_stdout() -> Marks {
        if io::stdout().is_terminal() {
            let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            Marks::Signs { colour }
        } else {
            Marks::Words
        }
    }

    /// The mark, and how wide it is.
    pub(super) fn of(self, mark: Mark) -> (String, usize) {
        let (word, sign, colour) = match mark {
            Mark::Good => ("ok", '✓', 32),
            Mark::Note => ("note", '!', 33),
            Mark::Wrong => ("FAIL", '✗', 31),
        };
        match self {
            Marks::Words => (format!("{word:<4}"), 4),
            Marks::Signs { colour: false } => (sign.to_string(), 1),
            Marks::Signs { colour: true } => (format!("\x1b[{colour}m{sign}\x1b[0m"), 1),
        }
    }
}
