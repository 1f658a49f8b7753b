//! Lists that an upstream has told, kept in the index beside the tag records.
//!
//! They have a bound of their own there; the lists that were confirmed longest ago make room for new
//! ones, and one that is too long is not kept at all. What is asked of a repository and what the list
//! looks like is the caller's business.

use super::error::StoreError;
use super::index::{Change, ListRecord, list_key};
use super::{IndexError, Store};
use crate::oci::Repository;

impl Store {
    /// The list that a repository's upstream last told in answer to a question.
    pub async fn list(
        &self,
        repository: &Repository,
        question: &str,
    ) -> Result<Option<ListRecord>, StoreError> {
        let key = list_key(repository, question);
        self.0
            .blocking(move |inner| Ok(inner.index.list(&key)?))
            .await
    }

    /// Keeps a list, or with `None` forgets it. The future ends when that is durable, and need not be waited
    /// for: of two changes to one list the one that was made last counts.
    ///
    /// Fails with [`IndexError::Behind`] where too much waits to be written.
    pub fn set_list(
        &self,
        repository: &Repository,
        question: &str,
        record: Option<ListRecord>,
    ) -> Result<impl Future<Output = Result<(), IndexError>> + Send + use<>, IndexError> {
        let key = list_key(repository, question);
        self.0.index.hand_over(Change::SetList { key, record })
    }
}
