//! Lists that an upstream has told: kept as they are, within a bound of their own, of which the
//! ones that were confirmed longest ago make room for new ones.
//!
//! A row carries a checksum: nothing else would notice a list that the disk has changed. One that
//! does not check is as if it were not there, and costs the rest of the index nothing. An index of
//! before there were lists has no such tables until the first one is written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redb::{ReadableTable as _, Table, TableDefinition, TableError, WriteTransaction};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::tables::Totals;
use super::writer::Job;
use super::{Change, Index, IndexError, Unsettled};
use crate::oci::Repository;

/// Registry, repository, question to a row.
const LISTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("lists");
/// When it was confirmed, in milliseconds since 1970, and its key in [`LISTS`].
const CONFIRMED: TableDefinition<'_, &[u8], ()> = TableDefinition::new("lists_confirmed");

/// What a row takes beside its key, which stands in both tables, and its value.
const OVERHEAD: u64 = 64;
/// Bytes of the checksum.
const CHECK: usize = 8;

/// A list as its upstream told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRecord {
    /// When the upstream last told it, by the wall clock, to the millisecond.
    pub confirmed_at: SystemTime,
    /// The filters that were applied to it, in the upstream's words.
    pub filters_applied: Option<String>,
    /// The list itself; what it looks like is the caller's.
    pub bytes: Bytes,
}

type Result<T> = std::result::Result<T, IndexError>;

/// The key of the answer to a question about a repository.
pub(crate) fn list_key(repository: &Repository, question: &str) -> Vec<u8> {
    // Neither a registry nor a name can hold a NUL.
    [
        repository.registry.as_str(),
        repository.name.as_str(),
        question,
    ]
    .join("\0")
    .into_bytes()
}

impl ListRecord {
    /// Checksum, time, length of the filters, filters, bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let filters = self.filters_applied.as_deref().unwrap_or_default();
        let mut row = vec![0; CHECK];
        row.extend_from_slice(&millis(self.confirmed_at).to_be_bytes());
        row.extend_from_slice(&(filters.len() as u64).to_be_bytes());
        row.extend_from_slice(filters.as_bytes());
        row.extend_from_slice(&self.bytes);
        let check = check(&row[CHECK..]);
        row[..CHECK].copy_from_slice(&check);
        row
    }

    /// `None` for a row that is not as it was written.
    fn decode(row: &[u8]) -> Option<Self> {
        let (stated, rest) = row.split_first_chunk::<CHECK>()?;
        if check(rest) != *stated {
            return None;
        }
        let (millis, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (filters, bytes) = rest.split_at_checked(length)?;
        let filters = std::str::from_utf8(filters).ok()?;
        Some(Self {
            confirmed_at: UNIX_EPOCH
                .checked_add(Duration::from_millis(u64::from_be_bytes(*millis)))?,
            filters_applied: (!filters.is_empty()).then(|| filters.to_owned()),
            bytes: Bytes::copy_from_slice(bytes),
        })
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check.copy_from_slice(&Sha256::digest(bytes)[..CHECK]);
    check
}

/// What a list counts toward the bound.
fn charge(key: &[u8], row: &[u8]) -> u64 {
    2 * key.len() as u64 + row.len() as u64 + OVERHEAD
}

fn place(millis: u64, key: &[u8]) -> Vec<u8> {
    [&millis.to_be_bytes(), key].concat()
}

/// The lists' tables, open for one transaction.
pub(super) struct Lists<'txn> {
    rows: Table<'txn, &'static [u8], &'static [u8]>,
    confirmed: Table<'txn, &'static [u8], ()>,
    /// Bytes that all lists may take.
    most: u64,
}

impl<'txn> Lists<'txn> {
    /// Opens the tables, making those that are missing.
    pub(super) fn open(txn: &'txn WriteTransaction, most: u64) -> Result<Self> {
        Ok(Self {
            rows: txn.open_table(LISTS)?,
            confirmed: txn.open_table(CONFIRMED)?,
            most,
        })
    }

    /// Keeps a list, or with `None` forgets it; says whether anything changed.
    pub(super) fn set(
        &mut self,
        key: &[u8],
        record: Option<&ListRecord>,
        totals: &mut Totals,
    ) -> Result<bool> {
        let removed = self.remove(key, totals)?;
        let Some(record) = record else {
            return Ok(removed);
        };
        let row = record.encode();
        let charge = charge(key, &row);
        if charge > largest(self.most) {
            return Ok(removed);
        }
        while totals.lists + charge > self.most && self.remove_oldest(totals)? {}
        self.rows.insert(key, row.as_slice())?;
        let place = place(millis(record.confirmed_at), key);
        self.confirmed.insert(place.as_slice(), ())?;
        totals.lists += charge;
        Ok(true)
    }

    /// A row that can't be read leaves its place behind; [`Lists::remove_oldest`] comes across it.
    fn remove(&mut self, key: &[u8], totals: &mut Totals) -> Result<bool> {
        let Some(row) = self.rows.remove(key)? else {
            return Ok(false);
        };
        let row = row.value();
        totals.lists = totals.lists.saturating_sub(charge(key, row));
        if let Some(old) = ListRecord::decode(row) {
            let place = place(millis(old.confirmed_at), key);
            self.confirmed.remove(place.as_slice())?;
        }
        Ok(true)
    }

    /// Makes room; `false` when there is nothing left to remove.
    fn remove_oldest(&mut self, totals: &mut Totals) -> Result<bool> {
        let oldest = self.confirmed.pop_first()?;
        let oldest = oldest.map(|(place, _)| place.value().to_vec());
        let Some(oldest) = oldest else {
            totals.lists = 0;
            return Ok(false);
        };
        let Some((at, key)) = oldest.split_first_chunk() else {
            return Ok(true);
        };
        let row = self.rows.get(key)?;
        let row = row.and_then(|row| ListRecord::decode(row.value()));
        let is_renewed = row.is_some_and(|row| millis(row.confirmed_at) != u64::from_be_bytes(*at));
        if !is_renewed {
            self.remove(key, totals)?;
        }
        Ok(true)
    }
}

/// What one list may count, of what all together may.
fn largest(most: u64) -> u64 {
    most / 8
}

impl Index {
    pub(crate) fn list(&self, key: &[u8]) -> Result<Option<ListRecord>> {
        self.read(|txn| {
            let table = match txn.open_table(LISTS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            let row = table.get(key)?;
            let record = row.as_ref().and_then(|row| ListRecord::decode(row.value()));
            if row.is_some() && record.is_none() {
                tracing::warn!(
                    "a list in the cache's index does not match its checksum; it is asked for again"
                );
            }
            Ok(record)
        })
    }

    /// Hands a change over at once, to be waited for or not. Changes that are handed over one after the
    /// other are applied in that order.
    pub(crate) fn hand_over(
        &self,
        change: Change,
    ) -> Result<impl Future<Output = Result<()>> + Send + use<>> {
        let (done, answer) = oneshot::channel();
        let job = Job::Change {
            change,
            charge: None,
            done,
        };
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => IndexError::Behind,
            mpsc::error::TrySendError::Closed(_) => IndexError::OutOfService,
        })?;
        Ok(async move {
            let done: std::result::Result<_, Unsettled> =
                answer.await.map_err(|_| IndexError::OutOfService)?;
            done.map_err(|unsettled| unsettled.error)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_reads_back_and_a_changed_one_does_not(
            millis in 0..1_u64 << 45,
            filters in prop::option::of("[a-zA-Z,]{1,20}"),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at: prop::sample::Index,
            flip in 1..=u8::MAX,
        ) {
            let record = ListRecord {
                confirmed_at: UNIX_EPOCH + Duration::from_millis(millis),
                filters_applied: filters,
                bytes: bytes.into(),
            };
            let mut row = record.encode();
            prop_assert_eq!(ListRecord::decode(&row), Some(record));
            let at = at.index(row.len());
            row[at] ^= flip;
            prop_assert_eq!(ListRecord::decode(&row), None);
            prop_assert_eq!(ListRecord::decode(&row[..at]), None);
        }
    }
}
