//! What a plan does to a file's text: pure, so that it can be tried on anything.

use std::fmt;

/// How one file is made, merged into and undone.
pub trait Edit: fmt::Debug {
    /// The whole file where there was none.
    fn fresh(&self) -> String;

    /// What is there already with ours in it. The same text where ours is in it already.
    fn merge(&self, existing: &str) -> Result<String, Refusal>;

    /// What is there without ours; blank where nothing remains. `original` is the file as it was before ours came, where
    /// that is known: what stood there is not ours to take.
    fn remove(&self, current: &str, original: Option<&str>) -> Result<String, Refusal>;
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
