//! A file that is ours alone: a drop-in, or one that we only write where there is none.

use super::block;
use super::edit::{Edit, Known, Refusal, is_blank};

/// A file that holds our block and what a user put around it.
#[derive(Debug)]
pub(super) struct Owned {
    /// Our lines.
    pub(super) body: String,
    /// What to do where somebody else's file is in the way.
    pub(super) advice: &'static str,
}

impl Edit for Owned {
    fn fresh(&self) -> String {
        block::wrap(&self.body)
    }

    fn merge(&self, existing: &str) -> Result<String, Refusal> {
        let split = block::split(existing)?;
        if split.body.is_none() && !is_blank(existing) {
            let refusal = Refusal::new(
                "was not written by forebay and is left as it is",
                self.advice,
            );
            return Err(refusal.add(&self.body));
        }
        Ok(split.with(&self.fresh()))
    }

    fn remove(&self, current: &str, _: Known<'_>) -> Result<String, Refusal> {
        block::split(current).map(|split| split.rest())
    }
}
