//! Our part of a file that can hold comments: whole lines between two of our own.
//!
//! The lines are all that marks it, so it can be found, replaced and taken out whatever it says and wherever it was moved.

use super::edit::Refusal;

/// Begins our part. What follows on the line may change between versions.
const BEGIN: &str = "# >>> forebay client";
/// Ends it.
const END: &str = "# <<< forebay client";

/// Our part, made of whole lines.
pub(super) fn wrap(body: &str) -> String {
    format!("{BEGIN} (taken out by --undo)\n{body}{END}\n")
}

/// A text without our part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split<'a> {
    pub(super) before: &'a str,
    /// What is between the two lines; `None` where they are not there.
    pub(super) body: Option<&'a str>,
    pub(super) after: &'a str,
}

impl Split<'_> {
    /// What is not ours.
    pub(super) fn rest(&self) -> String {
        format!("{}{}", self.before, self.after)
    }

    /// With `block` in place of ours, or at the end.
    pub(super) fn with(&self, block: &str) -> String {
        let gap = if self.before.is_empty() || self.before.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        format!("{}{gap}{block}{}", self.before, self.after)
    }
}

/// Finds our part.
pub(super) fn split(text: &str) -> Result<Split<'_>, Refusal> {
    let mut begins = lines_starting(text, BEGIN);
    let mut ends = lines_starting(text, END);
    match (begins.next(), ends.next(), begins.next(), ends.next()) {
        (None, None, ..) => Ok(Split {
            before: text,
            body: None,
            after: "",
        }),
        (Some(begin), Some(end), None, None) if begin.1 <= end.0 => Ok(Split {
            before: &text[..begin.0],
            body: Some(&text[begin.1..end.0]),
            after: &text[end.1..],
        }),
        _ => Err(Refusal::new(
            format!("does not have exactly one line `{BEGIN}` and after it one line `{END}`"),
            "put them back around what forebay wrote, or delete it with them, and try again",
        )),
    }
}

/// Where the lines are that start so: from their first byte to the next line's.
fn lines_starting<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    line_starts(text)
        .filter(move |at| {
            text[*at..]
                .trim_start_matches([' ', '\t'])
                .starts_with(start)
        })
        .map(move |at| {
            (
                at,
                text[at..].find('\n').map_or(text.len(), |end| at + end + 1),
            )
        })
}

/// Where each line starts.
pub(super) fn line_starts(text: &str) -> impl Iterator<Item = usize> + '_ {
    let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0)
        .chain(breaks)
        .filter(|at| *at < text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_missing_or_second_line_is_refused() {
        let block = wrap("x\n");
        for text in [
            block.replace(END, "#"),
            block.replace(BEGIN, "#"),
            format!("{block}{block}"),
            format!("{END}\n{BEGIN}\n"),
        ] {
            assert!(split(&text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_around_it_comes_back(
            before in "([a-z#\\[ ]{0,8}\r?\n){0,4}",
            body in "([a-z#\\[ ]{0,8}\n){0,4}",
            after in "([a-z#\\[ ]{0,8}\r?\n){0,4}[a-z]{0,3}",
        ) {
            let text = format!("{before}{}{after}", wrap(&body));
            let split = split(&text).unwrap();
            prop_assert_eq!(split.body, Some(body.as_str()));
            prop_assert_eq!(split.rest(), format!("{before}{after}"));
            prop_assert_eq!(split.with(&wrap(&body)), text.clone());
        }
    }
}
