//! What is known of upstreams' quotas, as rows that mean something to their writer only.
//!
//! An index of before there were quotas has no such table until the first one is written.

use redb::{
    ReadableTable as _, ReadableTableMetadata as _, Table, TableDefinition, TableError,
    WriteTransaction,
};

use super::{Index, IndexError};

/// The writer's key to its row.
const QUOTAS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("quotas");

/// Rows that are kept. A configuration has some dozens of upstreams.
const MOST: u64 = 1_000;

type Result<T> = std::result::Result<T, IndexError>;

/// [`QUOTAS`], open for one transaction.
pub(super) struct Quotas<'txn>(Table<'txn, &'static str, &'static [u8]>);

impl<'txn> Quotas<'txn> {
    /// Opens the table, making it where it is missing.
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self(txn.open_table(QUOTAS)?))
    }

    /// Writes rows over those with their keys; says whether anything changed. Where there are too many, the others go.
    pub(super) fn put(&mut self, rows: &[(String, Vec<u8>)]) -> Result<bool> {
        let mut changed = false;
        if self.0.len()? > MOST {
            self.0.retain(|_, _| false)?;
            changed = true;
        }
        for (key, row) in rows {
            let old = self.0.get(key.as_str())?;
            if old.is_some_and(|old| old.value() == row.as_slice()) {
                continue;
            }
            self.0.insert(key.as_str(), row.as_slice())?;
            changed = true;
        }
        Ok(changed)
    }
}

impl Index {
    pub(crate) fn quotas(&self) -> Result<Vec<(String, Vec<u8>)>> {
        self.read(|txn| {
            let table = match txn.open_table(QUOTAS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut rows = Vec::new();
            for entry in table.iter()? {
                let (key, row) = entry?;
                rows.push((key.value().to_owned(), row.value().to_vec()));
            }
            Ok(rows)
        })
    }
}
