//! What the store's tests share.

mod audit;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use crate::oci::{Algorithm, Digest, MediaType, Registry, Repository, RepositoryName, Tag};
use crate::store::{BlobFile, BlobWriter, Faults, References, Settings, Store, StoreError};

pub(super) use audit::{audit, on_disk, settle, stop_upkeep, stored_files, surely_on_disk};

pub(super) const MIB: u64 = 1 << 20;

/// A cache directory that goes when the test ends.
pub(super) struct Dir(TempDir);

impl Dir {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// In memory where the machine has a place for that: for tests that sync thousands of times.
    pub(super) fn in_memory() -> Self {
        match tempfile::tempdir_in("/dev/shm") {
            Ok(dir) => Self(dir),
            Err(_) => Self::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn settings(&self, limit: u64) -> Settings {
        Settings::new(self.path(), limit)
    }

    pub(super) async fn open(&self, limit: u64) -> Store {
        Store::open(self.settings(limit)).await.unwrap()
    }

    pub(super) async fn open_with(&self, limit: u64, faults: Faults) -> Store {
        let mut settings = self.settings(limit);
        settings.faults = faults;
        settings.lock_wait = Duration::from_secs(5);
        Store::open(settings).await.unwrap()
    }

    /// Where a blob is, or would be.
    pub(super) fn blob(&self, digest: &Digest) -> std::path::PathBuf {
        let hex = digest.hex();
        self.path()
            .join("blobs")
            .join(digest.algorithm().as_str())
            .join(&hex[..2])
            .join(hex)
    }

    pub(super) fn partial(&self, digest: &Digest) -> std::path::PathBuf {
        self.path()
            .join("partial")
            .join(format!("{}-{}", digest.algorithm(), digest.hex()))
    }

    /// Names in `partial/`.
    pub(super) fn partials(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path().join("partial"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A body of its own for each seed; made once for each length.
pub(super) fn body(seed: u64, length: u64) -> Bytes {
    static MADE: Mutex<BTreeMap<(u64, u64), Bytes>> = Mutex::new(BTreeMap::new());
    if length > 4 * MIB {
        return make_body(seed, length);
    }
    let mut made = MADE.lock().unwrap();
    let body = made.entry((seed, length));
    body.or_insert_with(|| make_body(seed, length)).clone()
}

fn make_body(seed: u64, length: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap() + 8);
    while (bytes.len() as u64) < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(usize::try_from(length).unwrap());
    Bytes::from(bytes)
}

pub(super) fn digest(body: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, body)
}

/// A piece of a body, as a writer takes it.
pub(super) fn piece(body: &Bytes, range: std::ops::Range<u64>) -> (u64, Bytes) {
    let index = |at: u64| usize::try_from(at).unwrap();
    (
        range.start,
        body.slice(index(range.start)..index(range.end)),
    )
}

/// Writes pieces, and goes on until all of them that can be hashed are.
pub(super) async fn write(
    writer: BlobWriter,
    pieces: Vec<(u64, Bytes)>,
) -> (BlobWriter, Result<(), StoreError>) {
    let (mut writer, mut result) = writer.write(pieces).await;
    while let Ok(written) = &result
        && written.behind > 0
    {
        (writer, result) = writer.write(Vec::new()).await;
    }
    (writer, result.map(drop))
}

/// Stores a body as a fill does: from where an earlier one got to, in pieces.
pub(super) async fn fill(store: &Store, body: &Bytes) -> Result<(), StoreError> {
    let length = body.len() as u64;
    let mut writer = match store.begin(digest(body), Some(length)).await {
        Err(StoreError::AlreadyStored) => return Ok(()),
        other => other?,
    };
    while writer.hashed() < length {
        let from = usize::try_from(writer.hashed()).unwrap();
        let to = body.len().min(from + (256 << 10));
        let piece = (from as u64, body.slice(from..to));
        let (next, result) = write(writer, vec![piece]).await;
        writer = next;
        result?;
    }
    let (verified, complete) = writer.finish().map_err(|_| StoreError::WrongBytes)?;
    complete.commit(verified).await
}

/// Reads a whole blob and checks it.
pub(super) async fn read(file: &BlobFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let chunk = file.read_at(bytes.len() as u64, 1 << 20).await.unwrap();
        if chunk.is_empty() {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes.len() as u64, file.size());
    bytes
}

/// Whether a body is stored; what is stored is checked.
pub(super) async fn has(store: &Store, body: &Bytes) -> bool {
    match store.blob(&digest(body)).await.unwrap() {
        Some(file) => {
            assert!(read(&file).await == body[..], "wrong bytes were served");
            true
        }
        None => false,
    }
}

/// Waits for background work to bring something about.
pub(super) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"));
}

pub(super) fn registry() -> Registry {
    "ghcr.io".parse().unwrap()
}

pub(super) fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub(super) fn repository(text: &str) -> Repository {
    Repository::new(registry(), name(text))
}

pub(super) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// A manifest of its own for each seed.
pub(super) fn manifest(seed: u64) -> (Bytes, MediaType) {
    let media_type = crate::oci::media_type::OCI_MANIFEST;
    let config = digest(&body(seed, 10));
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":10}},"layers":[]}}"#,
        media_type.as_str(),
    );
    (Bytes::from(text), media_type)
}

/// Stores a manifest.
pub(super) async fn put_manifest(store: &Store, seed: u64) -> Digest {
    let (bytes, media_type) = manifest(seed);
    let digest = digest(&bytes);
    let verified = digest.verify(&bytes).unwrap();
    store.put(verified, bytes, Some(media_type)).await.unwrap();
    digest
}

/// An image whose layers are given.
pub(super) struct Image {
    pub(super) manifest: Digest,
    pub(super) bytes: Bytes,
    pub(super) layers: Vec<Bytes>,
}

impl Image {
    pub(super) fn new(layers: &[Bytes]) -> Self {
        let described = |body: &Bytes| {
            let (digest, size) = (digest(body), body.len());
            format!(
                r#"{{"mediaType":"application/octet-stream","digest":"{digest}","size":{size}}}"#
            )
        };
        let described: Vec<String> = layers.iter().map(described).collect();
        let media_type = crate::oci::media_type::OCI_MANIFEST;
        // The first layer is the config as well: manifests may say things twice.
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
            media_type.as_str(),
            described[0],
            described.join(","),
        );
        Self {
            manifest: digest(text.as_bytes()),
            bytes: Bytes::from(text),
            layers: layers.to_vec(),
        }
    }

    pub(super) async fn put(&self, store: &Store) {
        let verified = self.manifest.verify(&self.bytes).unwrap();
        let media_type = Some(crate::oci::media_type::OCI_MANIFEST);
        store
            .put(verified, self.bytes.clone(), media_type)
            .await
            .unwrap();
    }

    /// Serves the manifest.
    pub(super) fn serve(&self, store: &Store) {
        let parsed = crate::oci::Manifest::parse(&self.bytes, None).unwrap();
        let references = References::new(self.manifest, &parsed);
        store.served(&Arc::new(references));
    }

    /// What a client does: the manifest, then the layers.
    pub(super) async fn pull(&self, store: &Store) {
        self.put(store).await;
        self.serve(store);
        for layer in &self.layers {
            fill(store, layer).await.unwrap();
        }
    }

    /// Whether all of it is stored; not a use.
    pub(super) async fn is_whole(&self, store: &Store) -> bool {
        self.missing(store).await.is_empty()
    }

    /// What of it is not stored.
    pub(super) async fn missing(&self, store: &Store) -> Vec<Digest> {
        let mut missing = Vec::new();
        for digest in self
            .layers
            .iter()
            .map(|layer| digest(layer))
            .chain([self.manifest])
        {
            if store.stat(&digest).await.unwrap().is_none() {
                missing.push(digest);
            }
        }
        missing
    }
}
