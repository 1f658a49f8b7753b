//! One file on the disk: found, kept, replaced in one step, deleted.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What is put after the name of a file to keep it as it was.
const BACKUP: &str = ".forebay-backup";
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

    fn io(path: &Path, what: &str, error: &io::Error) -> Self {
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
    bytes: Option<Vec<u8>>,
    original: Option<Vec<u8>>,
    /// The directories above it that are not there, the innermost first.
    missing: Vec<PathBuf>,
}

/// Looks at what is at `path`, which has to be below `root`.
pub(super) fn find(root: &Path, path: &Path) -> Result<Found, InstallError> {
    let path = follow(root, path)?;
    let bytes = read(&path)?;
    let original = read(&backup_of(&path))?;
    let above = path.ancestors().skip(1);
    let missing = above.take_while(|directory| !directory.exists());
    let missing = missing.map(Path::to_owned).collect();
    Ok(Found {
        path,
        bytes,
        original,
        missing,
    })
}

/// The names of the directories in a directory, which may not be there.
pub(super) fn directories(path: &Path) -> Result<Vec<String>, InstallError> {
    let failed = |error: io::Error| InstallError::io(path, "cannot be read", &error);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string());
        }
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

fn read(path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
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

fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(BACKUP);
    path.with_file_name(name)
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

    /// What its backup says.
    pub(super) fn original(&self) -> Result<Option<String>, InstallError> {
        utf8(&self.backup(), self.original.as_ref())
    }

    /// Where its backup is, or would be.
    pub(super) fn backup(&self) -> PathBuf {
        backup_of(&self.path)
    }

    pub(super) fn has_backup(&self) -> bool {
        self.original.is_some()
    }

    /// Makes the backup.
    pub(super) fn keep(&self) -> Result<(), InstallError> {
        let bytes = self.bytes.as_deref().unwrap_or_default();
        self.put(&self.backup(), bytes)
    }

    /// Gives the file its new text in one step.
    pub(super) fn replace(&self, text: &str) -> Result<(), InstallError> {
        self.put(&self.path, text.as_bytes())
    }

    pub(super) fn forget_backup(&self) -> Result<(), InstallError> {
        let backup = self.backup();
        fs::remove_file(&backup)
            .map_err(|error| InstallError::io(&backup, "cannot be removed", &error))
    }

    pub(super) fn delete(&self) -> Result<(), InstallError> {
        fs::remove_file(&self.path)
            .map_err(|error| InstallError::io(&self.path, "cannot be removed", &error))
    }

    /// Leaves the file, its backup and their directory as they were found. What can't be put back stays: the error
    /// that led here is the one to tell.
    pub(super) fn put_back(&self) {
        for (path, before) in [(&self.path, &self.bytes), (&self.backup(), &self.original)] {
            let now = fs::read(path).ok();
            match before {
                _ if now == *before => {}
                Some(bytes) => drop(self.put(path, bytes)),
                None => drop(fs::remove_file(path)),
            }
        }
        for directory in &self.missing {
            drop(fs::remove_dir(directory));
        }
    }

    /// Removes the file's directory if nothing else is in it.
    pub(super) fn delete_directory(&self) {
        if let Some(directory) = self.path.parent() {
            // Something of the user's may be in it, which then stays.
            drop(fs::remove_dir(directory));
        }
    }

    /// Writes a file beside `path` and renames it there, so that a client never reads half of it.
    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
        let failed = |error: io::Error| InstallError::io(path, "cannot be written", &error);
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).map_err(failed)?;
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        let temporary = directory.join(name);
        // One that a killed process of the same number left.
        drop(fs::remove_file(&temporary));
        let written = self
            .write_new(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| fs::File::open(directory)?.sync_all());
        written.map_err(|error| {
            drop(fs::remove_file(&temporary));
            failed(error)
        })
    }

    /// A new file with the owner and the mode of the one that it is made for.
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let before = fs::metadata(&self.path).ok();
        if let Some(before) = &before {
            let ours = file.metadata()?;
            if (before.uid(), before.gid()) != (ours.uid(), ours.gid()) {
                std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
            }
        }
        let mode = before.map_or(MODE, |before| before.mode() & 0o7777);
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}
