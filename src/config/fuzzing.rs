//! What has to hold of a configuration's file.

use super::{Config, render};

/// A file is taken as a whole and prints as what reads back as the same, or is refused with something to say.
pub(crate) fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // Files that are named there are read, and a terminal would be waited for.
    if text.contains("dev") {
        return;
    }
    match Config::from_toml(text) {
        Ok(config) => {
            let printed = render(&config);
            // Secrets are left out, so that a login may be without its password.
            if let Ok(again) = Config::from_toml(&printed) {
                assert_eq!(render(&again), printed);
            }
        }
        Err(errors) => {
            assert!(errors.iter().count() > 0);
            for error in errors.iter() {
                assert!(!error.message().is_empty());
                assert!(!error.message().contains('\u{1b}'), "{error}");
            }
        }
    }
}
