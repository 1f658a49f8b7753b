//! What has to hold of rows and keys, whatever a disk made of them.

use super::tables::{BlobRow, TagRecord, digest_key, read_link_name, read_lru_key, split_digest};

/// A row or a key of any of the tables: it is an error, or reads back as what it was read as.
pub(crate) fn index_row(input: &[u8]) {
    if let Ok(row) = BlobRow::decode(input) {
        assert_eq!(BlobRow::decode(&row.encode()).ok(), Some(row));
    }
    if let Ok(record) = TagRecord::decode(input) {
        assert_eq!(TagRecord::decode(&record.encode()).ok(), Some(record));
    }
    if let Ok((digest, rest)) = split_digest(input) {
        assert_eq!([&digest_key(&digest), rest].concat(), input);
    }
    if let Ok((last_use, digest)) = read_lru_key(input) {
        assert_eq!(super::tables::lru_key(last_use, &digest), input);
    }
    if let Ok(name) = read_link_name(input) {
        assert_eq!(name.as_str().as_bytes(), input);
    }
}
