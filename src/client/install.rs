//! Puts a plan's files in place and takes them away again.
//!
//! All files are read and all new texts made before the first one is written, so that a refusal changes nothing. A file
//! that was there is kept beside the new one, once; each is replaced in one step, with its owner and mode. Where one
//! can't be, those before it are put back.

mod disk;

use std::path::{Path, PathBuf};

use disk::Found;

use super::block;
use super::edit::is_blank;
use super::{Existing, File, Kind, containerd, docker};

pub use disk::InstallError;

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It was changed; the text before is in the backup, where one was made now.
    Changed(Option<PathBuf>),
    /// It says what it should already.
    Unchanged,
    /// It is again as it was before.
    Restored,
    /// It is gone; there was none before.
    Deleted,
    /// Ours is out of it, the user's own later changes are still there; and so is the backup.
    TakenOut(Option<PathBuf>),
    /// There was nothing of ours in it.
    NothingOfOurs,
}

/// Whether plans are made for the whole machine, or for a directory that will be the root of one.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

/// A file and its new text; `None` where there is to be no file.
struct Change<'a> {
    file: &'a File,
    found: Found,
    text: Option<String>,
    outcome: Outcome,
}

impl Root {
    /// `/`, or the directory that stands for it.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self(directory.unwrap_or_else(|| "/".into()))
    }

    /// Where a path of the client's machine is on this one.
    pub fn place(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The path that a file of this machine has on the client's.
    pub fn seen_inside(&self, path: &Path) -> PathBuf {
        let root = std::path::absolute(&self.0).unwrap_or_else(|_| self.0.clone());
        let below = path.strip_prefix(root);
        below.map_or_else(|_| path.to_owned(), |below| Path::new("/").join(below))
    }

    /// What a plan for this kind of client depends on.
    pub fn existing(&self, kind: Kind) -> Result<Existing, InstallError> {
        let mut existing = Existing::default();
        if kind == Kind::Containerd {
            let found = self.find(containerd::CONFIG.as_ref())?;
            let config = found.text()?.unwrap_or_default();
            let directory = containerd::hosts_directory(&config);
            existing.hosts_directory =
                directory.map_err(|refusal| InstallError::new(found.path, refusal))?;
        }
        Ok(existing)
    }

    /// The directories of hosts files that have ours in them, for an undo that names no registry.
    pub fn hosts_of_ours(&self, kind: Kind) -> Result<Vec<String>, InstallError> {
        let existing = self.existing(kind)?;
        let usual = if kind == Kind::DockerContainerd {
            docker::CERTIFICATES
        } else {
            containerd::HOSTS
        };
        let directory = existing.hosts_directory.as_deref().unwrap_or(usual);
        let mut names = Vec::new();
        for name in disk::directories(&self.place(directory.as_ref()))? {
            let file = Path::new(directory).join(&name).join("hosts.toml");
            let text = self.find(&file)?.text()?.unwrap_or_default();
            if block::split(&text).is_ok_and(|split| split.body.is_some()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Puts ours into each file.
    pub fn write(&self, files: &[File]) -> Result<Vec<(PathBuf, Outcome)>, InstallError> {
        let changes: Result<Vec<_>, _> = files.iter().map(|file| self.merged(file)).collect();
        apply(changes?)
    }

    /// Takes ours out of each file.
    pub fn undo(&self, files: &[File]) -> Result<Vec<(PathBuf, Outcome)>, InstallError> {
        let changes: Result<Vec<_>, _> = files.iter().map(|file| self.removed(file)).collect();
        apply(changes?)
    }

    fn find(&self, path: &Path) -> Result<Found, InstallError> {
        disk::find(&self.0, &self.place(path))
    }

    fn merged<'a>(&self, file: &'a File) -> Result<Change<'a>, InstallError> {
        let found = self.find(&file.path)?;
        let refused = |refusal| InstallError::new(found.path.clone(), refusal);
        let current = found.text()?;
        let (text, outcome) = match &current {
            None => (file.edit.fresh(), Outcome::Created),
            Some(current) => {
                let text = file.edit.merge(current).map_err(refused)?;
                let unchanged = text == *current;
                // What has ours in it already is not what was there before.
                let untouched = file.edit.remove(current, None).map_err(refused)? == *current;
                let backup = (untouched && !found.has_backup()).then(|| found.backup());
                let outcome = if unchanged {
                    Outcome::Unchanged
                } else {
                    Outcome::Changed(backup)
                };
                (text, outcome)
            }
        };
        Ok(Change {
            file,
            found,
            text: Some(text),
            outcome,
        })
    }

    fn removed<'a>(&self, file: &'a File) -> Result<Change<'a>, InstallError> {
        let found = self.find(&file.path)?;
        let refused = |refusal| InstallError::new(found.path.clone(), refusal);
        let (text, outcome) = match (found.text()?, found.original()?) {
            (None, _) => (None, Outcome::NothingOfOurs),
            (Some(current), original) => {
                let edit = &file.edit;
                let rest = edit
                    .remove(&current, original.as_deref())
                    .map_err(refused)?;
                let as_written =
                    |original: &String| edit.merge(original).ok().as_ref() == Some(&current);
                match original {
                    _ if rest == current => (Some(rest), Outcome::NothingOfOurs),
                    Some(original) if rest == original || as_written(&original) => {
                        (Some(original), Outcome::Restored)
                    }
                    None if is_blank(&rest) => (None, Outcome::Deleted),
                    Some(_) => (Some(rest), Outcome::TakenOut(Some(found.backup()))),
                    None => (Some(rest), Outcome::TakenOut(None)),
                }
            }
        };
        Ok(Change {
            file,
            found,
            text,
            outcome,
        })
    }
}

fn apply(changes: Vec<Change<'_>>) -> Result<Vec<(PathBuf, Outcome)>, InstallError> {
    for (index, change) in changes.iter().enumerate() {
        if let Err(error) = change.apply() {
            for begun in changes[..=index].iter().rev() {
                begun.found.put_back();
            }
            return Err(error);
        }
    }
    let outcome = |change: Change<'_>| (change.found.path, change.outcome);
    Ok(changes.into_iter().map(outcome).collect())
}

impl Change<'_> {
    fn apply(&self) -> Result<(), InstallError> {
        let Self { found, outcome, .. } = self;
        match (outcome, &self.text) {
            (Outcome::Unchanged | Outcome::NothingOfOurs, _) => {}
            (_, Some(text)) => {
                if matches!(outcome, Outcome::Changed(Some(_))) {
                    found.keep()?;
                }
                found.replace(text)?;
                if *outcome == Outcome::Restored {
                    found.forget_backup()?;
                }
            }
            (_, None) => {
                found.delete()?;
                if self.file.own_directory {
                    found.delete_directory();
                }
            }
        }
        Ok(())
    }
}
