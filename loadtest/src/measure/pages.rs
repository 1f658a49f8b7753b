//! The machine's pages: files that are to be read from the disk are put out of them, and what is free is made ready to be used.

use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::path::Path;

use rustix::fs::{Advice, fadvise, statfs};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// How many places of a file are looked at.
const PROBES: u64 = 16;

/// What became of the files of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Bytes of all files.
    pub bytes: u64,
    /// Those of them that are in memory still, as far as a few places in each file tell.
    pub resident: u64,
}

/// Refuses a directory whose files are in memory and nowhere else.
///
/// # Errors
/// Where it is one, and where it can't be looked at.
pub fn on_a_disk(dir: &Path) -> io::Result<()> {
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of Linux.
    const MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
    let kind = statfs(dir)?.f_type;
    if MEMORY.contains(&kind) {
        let dir = dir.display();
        let message = format!("{dir} is memory: choose a directory on a disk with --dir");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

/// Writes all files below a directory to the disk, and has the kernel forget their pages.
///
/// # Errors
/// As reading directories and files has them, and where the file system can't tell what is in memory, as one that is nothing
/// but memory can't.
pub fn evict(dir: &Path) -> io::Result<Evicted> {
    let mut all = Evicted::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let below = evict(&entry.path())?;
            all.bytes += below.bytes;
            all.resident += below.resident;
        } else if kind.is_file() {
            let file = File::open(entry.path())?;
            // Pages that are yet to be written can't be forgotten.
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
            let length = file.metadata()?.len();
            all.bytes += length;
            all.resident += resident(&file, length)?;
            // What is looked at may be read ahead of.
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(all)
}

/// How many bytes of a file are in memory, by looking at places that are as far from each other.
fn resident(file: &File, length: u64) -> io::Result<u64> {
    let probes = PROBES.min(length.div_ceil(64 << 10));
    let mut found = 0;
    for number in 0..probes {
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        let at = length / probes * number;
        match preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT) {
            Ok(_) => found += 1,
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(length * found / probes.max(1))
}

/// Has so many bytes of free memory ready, or half of what is available.
///
/// The host of a virtual machine takes back what has been free for some seconds, and whoever touches it next waits while it is
/// given again: what is seen of the first to fill a page cache is mostly that, up to five times what filling it takes.
pub fn ready(bytes: u64) {
    let bytes = bytes.min(available().unwrap_or(u64::MAX) / 2);
    let Ok(bytes) = usize::try_from(bytes) else {
        return;
    };
    let touched = vec![1_u8; bytes];
    std::hint::black_box(&touched);
}

/// What the kernel says that there is for whoever wants it.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn directory_in_memory_is_refused_with_what_to_do() {
        let refused = on_a_disk(Path::new("/dev/shm")).unwrap_err().to_string();
        assert_eq!(
            refused,
            "/dev/shm is memory: choose a directory on a disk with --dir"
        );
        assert!(on_a_disk(Path::new(env!("CARGO_MANIFEST_DIR"))).is_ok());
    }

    #[test]
    fn memory_that_is_there_is_made_ready_and_no_more() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
        ready(1 << 20);
    }

    /// A file system that can't tell what is in memory says so.
    #[test]
    fn files_are_forgotten_however_deep_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let mut file = File::create(below.join("blob")).unwrap();
        file.write_all(&vec![7; 4 << 20]).unwrap();
        let Ok(evicted) = evict(dir.path()) else {
            return;
        };
        assert_eq!(evicted.bytes, 4 << 20);
        assert!(evicted.resident < evicted.bytes / 2, "{evicted:?}");
    }
}
