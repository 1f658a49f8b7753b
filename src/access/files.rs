//! Files of passwords and tokens, which people and machines replace while the mirror runs.

use std::path::{Path, PathBuf};

use crate::files::Stamp;
use crate::metrics::{self, Loaded};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Never,
    Missing,
    At(Stamp),
}

/// A file that is read when it has changed.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    /// When it was last looked at; the first look reads it, since it may have changed since it was read as a part of the
    /// configuration.
    seen: Seen,
}

impl Watched {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            seen: Seen::Never,
        }
    }

    /// What `read` makes of it, if it has changed and can be read. Blocks.
    pub(super) fn look<T>(&mut self, read: impl Fn(&Path) -> Result<T, String>) -> Option<T> {
        // Before it is read, so that what is written meanwhile is seen the next time.
        let now = Stamp::of(&self.path).map_or(Seen::Missing, Seen::At);
        if self.seen == now {
            return None;
        }
        self.seen = now;
        match read(&self.path) {
            Ok(read) => Some(read),
            Err(error) => {
                metrics::access_file(Loaded::Unusable);
                tracing::warn!(%error, "a file of [access] has changed and can't be taken; what was read before goes on counting");
                None
            }
        }
    }

    /// What came of it counts from now on.
    pub(super) fn replaced(&self) {
        metrics::access_file(Loaded::New);
        tracing::info!(file = %self.path.display(), "a file of [access] has changed and was read again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_when_it_has_changed_and_a_bad_one_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let write = |text: &str| {
            let new = dir.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &path).unwrap();
        };
        let read = |path: &Path| match std::fs::read_to_string(path) {
            Ok(text) if text != "bad" => Ok(text),
            _ => Err("bad".to_owned()),
        };
        write("one");
        let mut watched = Watched::new(&path);
        assert_eq!(watched.look(read).as_deref(), Some("one"));
        assert_eq!(watched.look(read), None);
        write("two");
        assert_eq!(watched.look(read).as_deref(), Some("two"));
        write("bad");
        assert_eq!(watched.look(read), None);
        assert_eq!(
            watched.look(|_| -> Result<(), _> { panic!("read twice") }),
            None
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(watched.look(read), None);
        write("two");
        assert_eq!(watched.look(read).as_deref(), Some("two"));
    }
}
