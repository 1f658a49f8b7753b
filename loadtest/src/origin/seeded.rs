//! Content made from a seed: the same seed gives the same bytes on every
//! machine and in every version, so digests can be compared between runs.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::digest::{Algorithm, Digest};

/// `SplitMix64`: small, good enough to be incompressible, and it never changes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// `size` bytes that do not compress.
///
/// # Panics
///
/// If `size` is more than this machine can address.
pub fn random_bytes(seed: u64, size: u64) -> Bytes {
    let size = usize::try_from(size).expect("the size fits in memory");
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// A layer: the compressed bytes, and the digest of what is inside them.
pub(crate) struct Layer {
    pub(crate) bytes: Bytes,
    pub(crate) diff_id: Digest,
}

/// A layer as a build makes it: a gzip tar of about `size` bytes whose files
/// differ with the seed. Unpacks with any client.
pub(crate) fn tar_layer(seed: u64, size: u64, algorithm: Algorithm) -> Layer {
    let tar = tar_of_files(seed, size).expect("a vector takes every write");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&tar).expect("a vector takes every write");
    Layer {
        bytes: gzip.finish().expect("a vector takes every write").into(),
        diff_id: Digest::of(algorithm, &tar),
    }
}

/// A layer that is only bytes: cheap to make in any size, fit for counting and
/// load, not for unpacking.
pub(crate) fn opaque_layer(seed: u64, size: u64, algorithm: Algorithm) -> Layer {
    let bytes = random_bytes(seed, size);
    let diff_id = Digest::of(algorithm, &bytes);
    Layer { bytes, diff_id }
}

/// Sizes of the larger files: a layer is a few big files and some small ones.
const FILE_LIMIT: u64 = 4 << 20;

fn tar_of_files(seed: u64, size: u64) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for folder in [
        "etc/",
        "usr/",
        "usr/bin/",
        "usr/lib/",
        "usr/share/",
        "usr/share/doc/",
    ] {
        tar.append(
            &header(folder, EntryType::Directory, 0o755, 0)?,
            io::empty(),
        )?;
    }
    file(
        &mut tar,
        &format!("etc/release-{seed:016x}"),
        0o644,
        format!("NAME=\"Origin\"\nSEED={seed}\n").as_bytes(),
    )?;
    let copyright = "Made from a seed; nothing here is anyone's.\n".repeat(24);
    file(
        &mut tar,
        &format!("usr/share/doc/{seed:016x}.txt"),
        0o644,
        copyright.as_bytes(),
    )?;
    let mut left = size;
    let mut number = 0;
    while left > 0 {
        let length = left.min(FILE_LIMIT);
        let name = format!("usr/lib/lib{seed:016x}-{number}.so");
        file(
            &mut tar,
            &name,
            0o755,
            &random_bytes(seed ^ (number << 48), length),
        )?;
        left -= length;
        number += 1;
    }
    let mut link = header(
        &format!("usr/bin/tool-{seed:016x}"),
        EntryType::Symlink,
        0o777,
        0,
    )?;
    link.set_link_name(format!("../lib/lib{seed:016x}-0.so"))?;
    link.set_cksum();
    tar.append(&link, io::empty())?;
    tar.into_inner()
}

fn file(tar: &mut Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    tar.append(
        &header(path, EntryType::Regular, mode, content.len() as u64)?,
        content,
    )
}

fn header(path: &str, kind: EntryType, mode: u32, size: u64) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    header.set_path(path)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn random_bytes_depend_on_the_seed_alone() {
        assert_eq!(random_bytes(7, 1001), random_bytes(7, 1001));
        assert_ne!(random_bytes(7, 1001), random_bytes(8, 1001));
        assert_eq!(random_bytes(7, 1001).len(), 1001);
        assert_eq!(
            Digest::sha256(&random_bytes(0, 8)),
            Digest::sha256(&0xe220_a839_7b1d_cdaf_u64.to_le_bytes())
        );
    }

    #[test]
    fn tar_layer_unpacks_to_its_diff_id_and_is_about_as_large_as_asked() {
        let layer = tar_layer(3, 100_000, Algorithm::Sha256);
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&layer.bytes[..])
            .read_to_end(&mut tar)
            .unwrap();
        assert_eq!(Digest::sha256(&tar), layer.diff_id);
        assert!((100_000..105_000).contains(&layer.bytes.len()));
        let mut archive = tar::Archive::new(&tar[..]);
        assert!(archive.entries().unwrap().all(|entry| entry.is_ok()));
    }

    #[test]
    fn tar_layer_is_the_same_each_time() {
        assert_eq!(
            tar_layer(3, 5_000, Algorithm::Sha256).bytes,
            tar_layer(3, 5_000, Algorithm::Sha256).bytes
        );
    }
}
