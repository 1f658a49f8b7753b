//! What can go wrong in the index.

use std::io;
use std::sync::Arc;

use crate::store::error::{StoreError, is_full};

/// The index could not be read or written. Cloned to every caller of a failed group.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IndexError {
    /// The disk refused.
    #[error("the index's file: {0}")]
    Io(#[source] Arc<io::Error>),
    /// Its contents make no sense.
    #[error("the index is damaged: {0}")]
    Damaged(Arc<str>),
    /// An earlier error took it out of service; it is being opened again.
    #[error("the index is out of service after an earlier error")]
    OutOfService,
    /// More changes wait to be written than may.
    #[error("the disk is behind with the index")]
    Behind,
}

impl IndexError {
    /// Whether the disk, or the cache, is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io(error) if is_full(error))
    }

    /// Whether the file itself is at fault, so that trying again cannot help.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Io(error) => {
                matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
            }
            Self::OutOfService | Self::Behind => false,
        }
    }
}

impl From<redb::Error> for IndexError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::Io(Arc::new(error)),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::OutOfService,
            other => Self::Damaged(other.to_string().into()),
        }
    }
}

impl From<redb::StorageError> for IndexError {
    fn from(error: redb::StorageError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::DatabaseError> for IndexError {
    fn from(error: redb::DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TransactionError> for IndexError {
    fn from(error: redb::TransactionError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TableError> for IndexError {
    fn from(error: redb::TableError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::CommitError> for IndexError {
    fn from(error: redb::CommitError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<StoreError> for IndexError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io { source, .. } => Self::Io(Arc::new(source)),
            StoreError::Index(error) => error,
            other => Self::Io(Arc::new(io::Error::other(other))),
        }
    }
}
