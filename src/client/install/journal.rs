//! Changes to files, each in one step, and how they are taken back where a later one fails.
//!
//! Others may write the same files meanwhile: what is no longer as it was read is neither replaced nor put back.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::disk::{self, Found, InstallError, Owner};

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct Journal {
    steps: Vec<Step>,
    /// Directories that were made on the way, the innermost first.
    directories: Vec<PathBuf>,
}

#[derive(Debug)]
struct Step {
    path: PathBuf,
    owner: Owner,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

impl Journal {
    /// Gives `path`, which is `found` or stands beside it, what is to be in it, if it still says what it did.
    pub(super) fn set(
        &mut self,
        found: &Found,
        path: PathBuf,
        before: Option<&Vec<u8>>,
        after: Option<&[u8]>,
    ) -> Result<(), InstallError> {
        let step = Step {
            path,
            owner: found.owner,
            before: before.cloned(),
            after: after.map(<[u8]>::to_vec),
        };
        // A directory that was made counts even where the file can't be.
        self.directories.splice(0..0, found.missing.iter().cloned());
        exchange(
            &step.path,
            step.owner,
            step.before.as_deref(),
            step.after.as_deref(),
        )?;
        let path = step.path.clone();
        self.steps.push(step);
        sync_directory_of(&path)
    }

    /// Leaves all as it was found. What can't be put back stays: the error that led here is the one to tell.
    pub(super) fn put_back(self) {
        for step in self.steps.iter().rev() {
            drop(exchange(
                &step.path,
                step.owner,
                step.after.as_deref(),
                step.before.as_deref(),
            ));
        }
        for directory in &self.directories {
            drop(fs::remove_dir(directory));
        }
    }
}

/// Makes a file say `after`, if it says `before`; `None` where there is none.
fn exchange(
    path: &Path,
    owner: Owner,
    before: Option<&[u8]>,
    after: Option<&[u8]>,
) -> Result<(), InstallError> {
    let failed = |error: io::Error| InstallError::io(path, "cannot be written", &error);
    let Some(after) = after else {
        as_read(path, before)?;
        return match fs::remove_file(path) {
            Err(error) if before.is_some() => {
                Err(InstallError::io(path, "cannot be removed", &error))
            }
            _ => Ok(()),
        };
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(failed)?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let temporary = directory.join(name);
    // One that a killed process of the same number left.
    drop(fs::remove_file(&temporary));
    let put = write_new(&temporary, owner, after)
        .map_err(failed)
        .and_then(|()| as_read(path, before))
        .and_then(|()| place(&temporary, path, before.is_none()));
    if put.is_err() {
        drop(fs::remove_file(&temporary));
    }
    put
}

/// What was renamed stays renamed after a power cut.
fn sync_directory_of(path: &Path) -> Result<(), InstallError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| InstallError::io(path, "cannot be written", &error))
}

/// Whether a file still says what it did when all new texts were made from it.
fn as_read(path: &Path, before: Option<&[u8]>) -> Result<(), InstallError> {
    if disk::read(path)?.as_deref() == before {
        return Ok(());
    }
    Err(changed(path))
}

fn changed(path: &Path) -> InstallError {
    InstallError::new(
        path.into(),
        "somebody else is changing it at this moment; nothing was written, try again",
    )
}

/// Renames in one step, so that a client never reads half a file. One that has come meanwhile is not written over.
fn place(temporary: &Path, path: &Path, is_new: bool) -> Result<(), InstallError> {
    if is_new {
        match fs::hard_link(temporary, path) {
            Ok(()) => {
                drop(fs::remove_file(temporary));
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(changed(path)),
            // Not every file system has links.
            Err(_) => {}
        }
    }
    fs::rename(temporary, path).map_err(|error| InstallError::io(path, "cannot be written", &error))
}

/// A new file with the owner and the mode of the one that it is made for.
fn write_new(path: &Path, owner: Owner, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    if let Some((user, group)) = owner.ids {
        std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(owner.mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}
