//! What a plan does to a file's text: pure, so that it can be tried on anything.

use std::fmt;

/// How one file is made, merged into and undone.
pub trait Edit: fmt::Debug {
    /// The whole file where there was none.
    fn fresh(&self) -> String;

    /// What is there already with ours in it. The same text where ours is in it already.
    fn merge(&self, existing: &str) -> Result<String, Refusal>;

    /// What is there without ours; blank where nothing remains.
    fn remove(&self, current: &str, known: Known<'_>) -> Result<String, Refusal>;

    /// The entries, each in one line, that `merge` puts into `existing` and that nothing in the text marks as ours.
    fn adds(&self, _existing: &str) -> Vec<String> {
        Vec::new()
    }

    /// Whether such an entry is in `current`.
    fn has(&self, _current: &str, _entry: &str) -> bool {
        false
    }
}

/// What was kept of an earlier write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The file as it was before ours came; `None` where there was none.
    pub original: Option<&'a str>,
    /// The entries without a mark that were put in; none other is ours to take.
    pub added: &'a [String],
}

/// Why a file is left as it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, as a clause about the file.
    problem: String,
    /// What a person should do.
    advice: String,
    /// Text to put in by hand.
    addition: Option<String>,
}

impl Refusal {
    pub(super) fn new(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            advice: advice.into(),
            addition: None,
        }
    }

    /// With the text that has to go in by hand.
    pub(super) fn add(mut self, text: impl Into<String>) -> Self {
        self.addition = Some(text.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem, self.advice)?;
        match &self.addition {
            Some(text) => write!(f, ":\n\n{}", text.trim_end()),
            None => Ok(()),
        }
    }
}

/// Whether nothing but space is in it.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A file's text as TOML; the refusal names the line.
pub(super) fn parse_toml(text: &str) -> Result<toml::Table, Refusal> {
    text.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(text.len(), |span| span.start);
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line = before.split(|byte| *byte == b'\n').count();
        Refusal::new(
            format!(
                "is not TOML (line {line}: {})",
                error.message().replace('\n', ", ")
            ),
            "correct it first",
        )
    })
}
