//! Others' words in our errors: fit to be shown, and without the secrets that they repeat.

/// Whether a message holds a secret: as it is, as [`printable`] writes it, or the beginning of it where the message was cut.
pub(crate) fn repeats(message: &str, secret: &str) -> bool {
    /// A beginning that is shorter may be chance, and tells little.
    const TELLING: usize = 4;
    if secret.is_empty() {
        return false;
    }
    let printed: String = secret.chars().flat_map(char::escape_debug).collect();
    let cut = printed
        .char_indices()
        .map(|(end, _)| &printed[..end])
        .filter(|beginning| beginning.len() >= TELLING)
        .any(|beginning| message.ends_with(beginning));
    cut || message.contains(secret) || message.contains(&printed)
}

/// Foreign text, shortened and without control characters, fit for one line of a log.
pub(crate) fn printable(text: &str) -> String {
    const MAX_CHARS: usize = 240;
    text.chars()
        .take(MAX_CHARS)
        .flat_map(char::escape_debug)
        .collect()
}

/// An error and its causes, the last one last, fit to be printed.
#[cfg(feature = "aws")]
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::super::UpstreamError;
    use super::*;

    /// A registry that repeats a login was found out only where it did so word for word: not where the message was cut in
    /// the middle of it, nor where it was escaped.
    #[test]
    fn a_repeated_secret_is_withheld_cut_and_escaped_too() {
        let secret = "pass\"word-1234";
        for said in [
            format!("bad {secret}, sorry"),
            format!("{}{secret}", "x".repeat(233)),
        ] {
            let error = UpstreamError::invalid("a.io", printable(&said)).without(secret);
            assert!(!error.to_string().contains("pass"), "{error}");
        }
        let error = UpstreamError::invalid("a.io", "the pass is shut").without(secret);
        assert!(error.to_string().contains("shut"));
    }

    #[test]
    fn foreign_text_is_shortened_and_escaped() {
        assert_eq!(printable("a\r\nb\u{1b}[31m"), "a\\r\\nb\\u{1b}[31m");
        assert_eq!(printable(&"x".repeat(1000)).len(), 240);
    }
}
