//! Files of passwords and tokens, which people and machines replace while the mirror runs. A login that is taken out of one is
//! to end: whatever keeps a file from being taken up is tried again until it does not, and told as long as it does.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::Stamp;
use crate::metrics::{self, Loaded};

/// A file that is read when it may have changed.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    /// What it was when it was looked at last.
    looked: Option<Stamp>,
    /// What it was when all of it was taken up last. Not as it was read as a part of the configuration: it may have changed
    /// since.
    seen: Option<Stamp>,
    trouble: Option<Trouble>,
}

/// Why a file does not count as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong with it, with its path.
    pub error: String,
    /// Since when it is known that something is.
    pub since: SystemTime,
}

impl Watched {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            looked: None,
            seen: None,
            trouble: None,
        }
    }

    /// What `read` makes of it, if it may have changed. Blocks.
    pub(super) fn look<T>(
        &mut self,
        read: impl Fn(&Path) -> Result<T, String>,
    ) -> Option<Result<T, String>> {
        // Before it is read, so that what is written meanwhile is seen the next time.
        self.looked = Stamp::of(&self.path);
        let is_known = self.looked.is_some() && self.looked == self.seen;
        (!is_known).then(|| read(&self.path))
    }

    /// What came of it: whether it was anything new. What could not be taken up is read again by the next look, since a disk
    /// that fails, or another file that is in its way, changes nothing of the file itself.
    pub(super) fn took(&mut self, outcome: Result<bool, String>) {
        let file = self.path.display();
        match outcome {
            Ok(is_new) => {
                self.seen = self.looked;
                let was_in_trouble = self.trouble.take().is_some();
                if is_new {
                    metrics::access_file(Loaded::New);
                    tracing::info!(%file, "a file of [access] has changed and was read again");
                } else if was_in_trouble {
                    tracing::info!(%file, "a file of [access] is as it was before");
                }
            }
            Err(error) => {
                let before = self.trouble.take();
                if before.as_ref().is_none_or(|before| before.error != error) {
                    metrics::access_file(Loaded::Unusable);
                    tracing::warn!(%error, "a file of [access] can't be taken; what was read before goes on counting");
                }
                let since = before.map_or_else(SystemTime::now, |before| before.since);
                self.trouble = Some(Trouble { error, since });
            }
        }
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_when_it_has_changed_and_a_bad_one_until_it_is_mended() {
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
        let mut watched = Watched::new(&path);
        let mut look = || {
            let read = watched.look(read)?;
            watched.took(read.clone().map(|_| true));
            Some((read, watched.trouble().cloned()))
        };
        let is = |text: &str| Some((Ok(text.to_owned()), None));
        write("one");
        assert_eq!(look(), is("one"));
        assert_eq!(look(), None);
        write("two");
        assert_eq!(look(), is("two"));
        write("bad");
        let (read, trouble) = look().unwrap();
        let since = trouble.unwrap().since;
        assert!(read.is_err());
        std::fs::remove_file(&path).unwrap();
        let (_, trouble) = look().expect("it is read again");
        assert_eq!(trouble.unwrap().since, since);
        write("two");
        assert_eq!(look(), is("two"));
        assert_eq!(look(), None);
    }

    /// A disk that fails once changes nothing of the file, and the file that it failed for was not looked at again.
    #[test]
    fn a_file_that_could_not_be_read_is_read_again_though_it_has_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let mut watched = Watched::new(&path);
        let failed = watched.look(|_| Err::<(), _>("an I/O error".to_owned()));
        watched.took(failed.unwrap().map(|()| true));
        assert_eq!(watched.look(|_| Ok(())), Some(Ok(())));
    }
}
