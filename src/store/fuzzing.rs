//! What has to hold of digests, since paths are made of them, and of the index's rows, which a disk may have damaged.

use std::path::Path;

pub(crate) use super::index::fuzzing::index_row;
use super::layout::{Layout, PartialName, parse_blob_name, parse_partial_name};
use crate::oci::{Algorithm, Digest};

/// A digest, as clients, upstreams and the names of files have it.
pub(crate) fn digest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let layout = Layout::new("/cache".into());
    match text.parse::<Digest>() {
        Ok(digest) => {
            assert_eq!(digest.to_string(), text, "a digest has one spelling");
            stands_where_it_should(&layout, &digest);
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 1_500 && !message.contains(char::is_control));
        }
    }
    // The same text as a name that is found in the cache's directories.
    if let Some(name) = parse_partial_name(text) {
        let path = match name {
            PartialName::Data(digest) => layout.partial(&digest),
            PartialName::State(digest) => layout.state(&digest),
        };
        assert_eq!(path, Path::new("/cache/partial").join(text));
    }
    let first = input.first().copied().unwrap_or_default();
    for algorithm in Algorithm::ALL {
        if let Some(digest) = parse_blob_name(algorithm, first, text) {
            assert_eq!(digest.bytes()[0], first);
            stands_where_it_should(&layout, &digest);
        }
    }
}

/// Its file is where its bytes say, four levels below the root, under a name of hex digits alone.
fn stands_where_it_should(layout: &Layout, digest: &Digest) {
    let path = layout.blob(digest);
    let below = path
        .strip_prefix("/cache/blobs")
        .expect("it stays below the root");
    let parts: Vec<_> = below
        .iter()
        .map(|part| part.to_str().expect("it is ASCII"))
        .collect();
    let [algorithm, shard, name] = parts[..] else {
        panic!("{}", path.display());
    };
    assert_eq!(algorithm, digest.algorithm().as_str());
    assert_eq!(name.len(), 2 * digest.algorithm().digest_len());
    assert!(name.starts_with(shard) && shard.len() == 2);
    assert!(
        name.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    );
}
