//! Puts a plan's files in place and takes them away again.
//!
//! All files are read and all new texts made before the first one is written, so that a refusal changes nothing. A file
//! that was there and has nothing of ours in it is kept beside the new one, and no backup is written over; what a format
//! without comments can't mark as ours is noted beside it. Each file is replaced in one step, with its owner and mode.
//! Where one can't be, those before it are put back.

mod disk;
mod journal;
mod look;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use disk::Found;
use journal::Journal;

use super::edit::{Known, is_blank};
use super::{File, containerd};

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
    /// Ours is left in it: without it the client would no longer read this file.
    StillNeeded(PathBuf),
    /// It says what ours would, and nothing tells that a write put it there.
    PerhapsTheirs,
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
    /// The entries to note as ours from now on.
    added: Vec<String>,
    /// Whether its directory is another one by its own name.
    through_link: bool,
}

/// Noted where there was no file.
const WHOLE_FILE: &str = "the file";
/// What a note begins with, for whoever finds it.
const NOTE: &str =
    "# what `forebay client --write` put into the file beside this; --undo takes it out\n";

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

    /// Puts ours into each file.
    pub fn write(&self, files: &[File]) -> Result<Vec<(PathBuf, Outcome)>, InstallError> {
        let mut changes = Vec::new();
        for file in files {
            changes.push(if file.absent {
                self.removed(file)?
            } else {
                self.merged(file)?
            });
        }
        for (index, change) in changes.iter().enumerate() {
            let same = |other: &&Change<'_>| other.found.path == change.found.path;
            if let Some(other) = changes[..index].iter().find(same) {
                return Err(InstallError::new(
                    self.place(&change.file.path),
                    format!(
                        "is the same file as {}, through a symbolic link, and can't say both; remove the link first",
                        self.place(&other.file.path).display()
                    ),
                ));
            }
        }
        let mut outcomes = apply(changes)?;
        // Nobody has asked for what is to be absent.
        outcomes.retain(|(_, outcome)| *outcome != Outcome::NothingOfOurs);
        Ok(outcomes)
    }

    /// Takes ours out of each file.
    pub fn undo(&self, files: &[File]) -> Result<Vec<(PathBuf, Outcome)>, InstallError> {
        let mut changes: Vec<Change<'_>> = Vec::new();
        for file in files {
            let change = self.removed(file)?;
            // Through a link it is found twice.
            if changes
                .iter()
                .all(|other| other.found.path != change.found.path)
            {
                changes.push(change);
            }
        }
        for index in 0..changes.len() {
            let Some(directory) = changes[index].file.opens else {
                continue;
            };
            let is_ours = !matches!(
                changes[index].outcome,
                Outcome::NothingOfOurs | Outcome::PerhapsTheirs
            );
            if let Some(left) = self.left_below(directory, &changes)?.filter(|_| is_ours) {
                changes[index].outcome = Outcome::StillNeeded(left);
            }
        }
        apply(changes)
    }

    /// A file that containerd reads below a directory of hosts, and that is still there after these changes.
    fn left_below(
        &self,
        directory: &str,
        changes: &[Change<'_>],
    ) -> Result<Option<PathBuf>, InstallError> {
        let directory = self.place(directory.as_ref());
        for host in disk::entries(&directory)? {
            let host = directory.join(host);
            for name in disk::entries(&host)? {
                let path = host.join(&name);
                let goes = |change: &Change<'_>| {
                    change.outcome == Outcome::Deleted
                        && path
                            .canonicalize()
                            .is_ok_and(|path| path == change.found.path)
                };
                let is_read = name == "hosts.toml" || containerd::is_certificate(&name);
                if is_read && !changes.iter().any(goes) {
                    return Ok(Some(path));
                }
            }
        }
        Ok(None)
    }

    fn find(&self, path: &Path) -> Result<Found, InstallError> {
        disk::find(&self.0, &self.place(path))
    }

    fn merged<'a>(&self, file: &'a File) -> Result<Change<'a>, InstallError> {
        let found = self.find(&file.path)?;
        let refused = |refusal| InstallError::new(found.path.clone(), refusal);
        let edit = &file.edit;
        let Some(current) = found.text()? else {
            let mut added = edit.adds("");
            if !added.is_empty() {
                added.insert(0, WHOLE_FILE.into());
            }
            return Ok(Change {
                file,
                text: Some(edit.fresh()),
                found,
                outcome: Outcome::Created,
                added,
                through_link: false,
            });
        };
        let text = edit.merge(&current).map_err(refused)?;
        let mut added = found.added()?;
        added.retain(|entry| edit.has(&current, entry) || entry == WHOLE_FILE);
        let known = Known {
            original: None,
            added: &added,
        };
        // What has ours in it already is not what was there before.
        let has_ours = edit.remove(&current, known).map_err(refused)? != current
            || added.iter().any(|entry| edit.has(&current, entry));
        if !has_ours {
            added.clear();
        }
        let outcome = if text == current {
            Outcome::Unchanged
        } else {
            added.extend(edit.adds(&current));
            Outcome::Changed((!has_ours).then(|| found.next_backup()))
        };
        Ok(Change {
            file,
            found,
            text: Some(text),
            outcome,
            added,
            through_link: false,
        })
    }

    fn removed<'a>(&self, file: &'a File) -> Result<Change<'a>, InstallError> {
        let found = self.find(&file.path)?;
        let mut added = found.added()?;
        let edit = &file.edit;
        let (text, outcome) = match found.text()? {
            None => (None, Outcome::NothingOfOurs),
            Some(current) => {
                let taken = taken_out(file, &found, current, &added)?;
                let text = taken.0.as_deref().unwrap_or_default();
                added.retain(|entry| edit.has(text, entry));
                if !added.is_empty() && found.added()?.iter().any(|entry| entry == WHOLE_FILE) {
                    added.insert(0, WHOLE_FILE.into());
                }
                taken
            }
        };
        Ok(Change {
            file,
            found,
            text,
            outcome,
            added,
            through_link: self
                .place(&file.path)
                .parent()
                .is_some_and(Path::is_symlink),
        })
    }
}

/// A file's text without ours, and what that makes of it.
fn taken_out(
    file: &File,
    found: &Found,
    current: String,
    added: &[String],
) -> Result<(Option<String>, Outcome), InstallError> {
    let refused = |refusal| InstallError::new(found.path.clone(), refusal);
    let edit = &file.edit;
    let is_new = added.iter().any(|entry| entry == WHOLE_FILE);
    // A backup of an earlier file of this name is no backup of this one.
    let original = found.original()?.filter(|_| !is_new);
    let known = Known {
        original: original.as_deref(),
        added,
    };
    let rest = edit.remove(&current, known).map_err(refused)?;
    if rest == current {
        let wanted = edit.adds("");
        let is_there = wanted.iter().any(|entry| edit.has(&current, entry));
        let outcome = if is_there {
            Outcome::PerhapsTheirs
        } else {
            Outcome::NothingOfOurs
        };
        return Ok((Some(current), outcome));
    }
    let as_written = |original: &String| edit.merge(original).ok().as_ref() == Some(&current);
    Ok(match original {
        Some(original) if rest == original || as_written(&original) => {
            (Some(original), Outcome::Restored)
        }
        _ if is_blank(&rest) => (None, Outcome::Deleted),
        Some(_) => (Some(rest), Outcome::TakenOut(found.backup())),
        None => (Some(rest), Outcome::TakenOut(None)),
    })
}

fn apply(changes: Vec<Change<'_>>) -> Result<Vec<(PathBuf, Outcome)>, InstallError> {
    let mut journal = Journal::default();
    for change in &changes {
        if let Err(error) = change.apply(&mut journal) {
            journal.put_back();
            return Err(error);
        }
    }
    for change in &changes {
        if change.outcome == Outcome::Deleted && change.file.own_directory && !change.through_link {
            change.found.delete_directory();
        }
    }
    let outcome = |change: Change<'_>| (change.found.path, change.outcome);
    Ok(changes.into_iter().map(outcome).collect())
}

impl Change<'_> {
    fn apply(&self, journal: &mut Journal) -> Result<(), InstallError> {
        let found = &self.found;
        let before = found.bytes.as_ref();
        match &self.outcome {
            Outcome::Unchanged
            | Outcome::NothingOfOurs
            | Outcome::PerhapsTheirs
            | Outcome::StillNeeded(_) => return Ok(()),
            Outcome::Changed(Some(backup)) => {
                journal.set(found, backup.clone(), None, before.map(Vec::as_slice))?;
            }
            _ => {}
        }
        let text = self.text.as_ref().map(String::as_bytes);
        journal.set(found, found.path.clone(), before, text)?;
        if let (Outcome::Restored, Some(backup)) = (&self.outcome, &found.backup) {
            journal.set(found, backup.path.clone(), Some(&backup.bytes), None)?;
        }
        let note = (!self.added.is_empty()).then(|| format!("{NOTE}{}\n", self.added.join("\n")));
        let note = note.as_ref().map(String::as_bytes);
        if found.added.as_deref() != note {
            journal.set(found, found.note(), found.added.as_ref(), note)?;
        }
        Ok(())
    }
}
