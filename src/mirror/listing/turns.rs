//! How many lists are asked for at once. Each may hold some 16 MiB of answers and a hundred requests; one of what is cached may
//! have to look at all of the index, to find the few that its client may see.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::Subject;
use crate::mirror::MirrorError;

/// Questions for lists at once, at most.
const LISTS: usize = 16;
/// Of them those for referrers of one type, of which clients can think up any number.
const OF_ONE_TYPE: usize = 4;
/// Lists of what is cached that are read from the index at once, at most.
const CATALOGS: usize = 2;
/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The places for questions under way.
#[derive(Debug)]
pub(super) struct Turns {
    all: Semaphore,
    of_one_type: Semaphore,
    catalogs: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Semaphore::new(LISTS),
            of_one_type: Semaphore::new(OF_ONE_TYPE),
            catalogs: Semaphore::new(CATALOGS),
        }
    }
}

/// The right to ask, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _places: (Option<SemaphorePermit<'a>>, SemaphorePermit<'a>),
}

impl Turns {
    /// A turn for a question, in the order in which they come.
    pub(super) async fn of(&self, subject: &Subject) -> Result<Turn<'_>, MirrorError> {
        let is_of_one_type = subject.is_of_one_type();
        let places = async {
            let narrow = if is_of_one_type {
                Some(self.of_one_type.acquire().await.ok()?)
            } else {
                None
            };
            Some((narrow, self.all.acquire().await.ok()?))
        };
        match timeout(PATIENCE, places).await {
            Ok(Some(places)) => Ok(Turn { _places: places }),
            Ok(None) => Err(MirrorError::Internal),
            Err(_) => Err(busy(is_of_one_type)),
        }
    }

    /// A turn for a list of what is cached. Whoever goes away gives it up between two pages of the index.
    pub(super) async fn of_catalog(&self) -> Result<Turn<'_>, MirrorError> {
        match timeout(PATIENCE, self.catalogs.acquire()).await {
            Ok(Ok(place)) => Ok(Turn {
                _places: (None, place),
            }),
            Ok(Err(_)) => Err(MirrorError::Internal),
            Err(_) => Err(MirrorError::Busy(format!(
                "{CATALOGS} lists of what is cached are being read, and no more at once"
            ))),
        }
    }
}

fn busy(is_of_one_type: bool) -> MirrorError {
    MirrorError::Busy(if is_of_one_type {
        format!(
            "{OF_ONE_TYPE} lists of referrers of one type are being asked for, and no more at once"
        )
    } else {
        format!("{LISTS} lists are being asked for, and no more at once")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each could read all of the index, as many at once as were asked for.
    #[tokio::test(start_paused = true)]
    async fn so_many_catalogs_are_read_at_once_and_lists_of_upstreams_wait_for_none() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..CATALOGS {
            held.push(turns.of_catalog().await.unwrap());
        }
        let refused = turns.of_catalog().await.unwrap_err();
        assert!(matches!(refused, MirrorError::Busy(_)), "{refused:?}");
        assert_eq!(turns.all.available_permits(), LISTS);
        held.pop();
        turns.of_catalog().await.unwrap();
    }
}
