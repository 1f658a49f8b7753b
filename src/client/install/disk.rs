//! One file on the disk, with what we keep beside it.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What is put after the name of a file to keep it as it was.
const BACKUP: &str = ".forebay-backup";
/// What is put after the name of a file that has no comments, to note what we put into it.
const ADDED: &str = ".forebay-added";
/// Of a file that was not there; clients may run as anyone.
const MODE: u32 = 0o644;
/// No client's configuration is larger.
const MAX_FILE: u64 = 4 << 20;

/// A file that can't be changed, and why.
#[derive(Debug)]
pub struct InstallError {
    path: PathBuf,
    problem: String,
}

impl InstallError {
    pub(super) fn new(path: PathBuf, problem: impl fmt::Display) -> Self {
        Self {
            path,
            problem: problem.to_string(),
        }
    }

    pub(super) fn io(path: &Path, what: &str, error: &io::Error) -> Self {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => {
                "; run it as root, or with --root DIR to write below another directory"
            }
            ErrorKind::ReadOnlyFilesystem => {
                "; the system's configuration is made elsewhere: print the file without --write, and put it there"
            }
            _ => "",
        };
        Self::new(path.into(), format!("{what}: {error}{advice}"))
    }
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for InstallError {}

/// A file, or the place of one.
#[derive(Debug)]
pub(super) struct Found {
    /// The file itself, links followed.
    pub(super) path: PathBuf,
    /// What is in it; `None` where it is not there.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) owner: Owner,
    /// The newest backup.
    pub(super) backup: Option<Kept>,
    /// What says which of its entries are ours, where the file itself can't.
    pub(super) added: Option<Vec<u8>>,
    /// The directories above it that are not there, the innermost first.
    pub(super) missing: Vec<PathBuf>,
}

/// A file as it was before ours came.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    number: u32,
    pub(super) bytes: Vec<u8>,
}

/// Whose a file is, and who may do what with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// User and group; `None` for a new file, which is its writer's.
    pub(super) ids: Option<(u32, u32)>,
    pub(super) mode: u32,
}

impl Owner {
    fn of(path: &Path) -> Self {
        let metadata = fs::metadata(path).ok();
        Self {
            ids: metadata.as_ref().map(|found| (found.uid(), found.gid())),
            mode: metadata.map_or(MODE, |found| found.mode() & 0o7777),
        }
    }
}

/// Looks at what is at `path`, which has to be below `root`.
pub(super) fn find(root: &Path, path: &Path) -> Result<Found, InstallError> {
    let path = follow(root, path)?;
    let above = path.ancestors().skip(1);
    let missing = above.take_while(|directory| !directory.exists());
    Ok(Found {
        bytes: read(&path)?,
        owner: Owner::of(&path),
        backup: newest_backup(&path)?,
        added: read(&beside(&path, ADDED))?,
        missing: missing.map(Path::to_owned).collect(),
        path,
    })
}

/// The backup with the highest number. The first has none.
fn newest_backup(path: &Path) -> Result<Option<Kept>, InstallError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let first = beside(path, BACKUP);
    let first = first.file_name().and_then(|name| name.to_str());
    let number = |name: &str| match name.strip_prefix(first?)? {
        "" => Some(1),
        rest => rest.strip_prefix('.')?.parse().ok(),
    };
    let names = entries(directory)?;
    let Some(number) = names.iter().filter_map(|name| number(name)).max() else {
        return Ok(None);
    };
    let path = backup_of(path, number);
    let bytes = read(&path)?;
    Ok(bytes.map(|bytes| Kept {
        path,
        number,
        bytes,
    }))
}

/// The names of what is in a directory, which may not be there, in order.
pub(super) fn entries(path: &Path) -> Result<Vec<String>, InstallError> {
    let failed = |error: io::Error| InstallError::io(path, "cannot be read", &error);
    let found = match fs::read_dir(path) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in found {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The file that a path means. A link out of a root that is not `/` would mean another file once that is the root.
fn follow(root: &Path, path: &Path) -> Result<PathBuf, InstallError> {
    let failed = |at: &Path, error: io::Error| InstallError::io(at, "cannot be looked at", &error);
    let mut there = path;
    let mut below = Vec::new();
    while let Err(error) = there.symlink_metadata() {
        match (error.kind(), there.parent(), there.file_name()) {
            (ErrorKind::NotFound, Some(parent), Some(name)) => {
                below.push(name.to_owned());
                there = if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                };
            }
            _ => return Err(failed(there, error)),
        }
    }
    let real = there.canonicalize().map_err(|error| match error.kind() {
        ErrorKind::NotFound => InstallError::new(
            there.into(),
            "is a symbolic link to what is not there; remove it first",
        ),
        _ => failed(there, error),
    })?;
    // A root that is not there yet holds no links.
    let inside = root
        .canonicalize()
        .map_or(true, |root| real.starts_with(root));
    if !inside {
        return Err(InstallError::new(
            there.into(),
            format!(
                "is a symbolic link out of {}; remove it first",
                root.display()
            ),
        ));
    }
    below.reverse();
    Ok(below.iter().fold(real, |path, name| path.join(name)))
}

pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    let failed = |error: io::Error| InstallError::io(path, "cannot be read", &error);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.is_file() {
        return Err(InstallError::new(
            path.into(),
            "is not a file; move it away first",
        ));
    }
    if metadata.len() > MAX_FILE {
        return Err(InstallError::new(
            path.into(),
            "is too large to be a configuration; look at it first",
        ));
    }
    fs::read(path).map(Some).map_err(failed)
}

/// The path with something after its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(suffix);
    path.with_file_name(name)
}

fn backup_of(path: &Path, number: u32) -> PathBuf {
    match number {
        1 => beside(path, BACKUP),
        _ => beside(path, &format!("{BACKUP}.{number}")),
    }
}

fn utf8(path: &Path, bytes: Option<&Vec<u8>>) -> Result<Option<String>, InstallError> {
    let text = bytes
        .map(|bytes| String::from_utf8(bytes.clone()))
        .transpose();
    text.map_err(|_| InstallError::new(path.into(), "is not text in UTF-8; look at it first"))
}

impl Found {
    /// What it says; `None` where it is not there.
    pub(super) fn text(&self) -> Result<Option<String>, InstallError> {
        utf8(&self.path, self.bytes.as_ref())
    }

    /// What its newest backup says.
    pub(super) fn original(&self) -> Result<Option<String>, InstallError> {
        let Some(backup) = &self.backup else {
            return Ok(None);
        };
        utf8(&backup.path, Some(&backup.bytes))
    }

    /// Where the newest backup is.
    pub(super) fn backup(&self) -> Option<PathBuf> {
        self.backup.as_ref().map(|backup| backup.path.clone())
    }

    /// Where the next backup goes: none is written over.
    pub(super) fn next_backup(&self) -> PathBuf {
        let last = self.backup.as_ref().map_or(0, |backup| backup.number);
        backup_of(&self.path, last + 1)
    }

    /// Where it is noted which entries are ours.
    pub(super) fn note(&self) -> PathBuf {
        beside(&self.path, ADDED)
    }

    /// The entries that are noted as ours.
    pub(super) fn added(&self) -> Result<Vec<String>, InstallError> {
        let text = utf8(&self.note(), self.added.as_ref())?.unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Ok(lines.map(str::to_owned).collect())
    }

    /// Removes the file's directory if nothing else is in it.
    pub(super) fn delete_directory(&self) {
        if let Some(directory) = self.path.parent() {
            // Something of the user's may be in it, which then stays.
            drop(fs::remove_dir(directory));
        }
    }
}
