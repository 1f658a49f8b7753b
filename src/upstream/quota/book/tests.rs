//! Slots that are asked for again by another configuration.

use std::sync::Arc;
use std::time::Duration;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// Whoever still went by the old configuration kept its quota for all who came after.
#[test]
fn a_quota_that_is_configured_anew_counts_at_once_with_what_was_pulled() {
    let book: Arc<Book> = Arc::default();
    let label = UpstreamName::configured("a.io");
    let slot = |quota: Option<(u64, Duration)>| {
        let quota = quota.map(|(pulls, window)| config::Quota { pulls, window });
        book.slot("a.io".to_owned(), "a.io".to_owned(), &label, quota)
    };
    let old = slot(Some((2, HOUR)));
    let pulled = old.gate().change(|state| {
        let now = Instant::now().into_std();
        state.ledger.admit(1, now, Priority::Client)
    });
    pulled.unwrap();
    let stands = |slot: &Slot| {
        let standing = slot.standing();
        (standing.limit, standing.left)
    };
    assert_eq!(stands(&old), (Some(2), Some(1)));
    let new = slot(Some((5, 2 * HOUR)));
    assert!(Arc::ptr_eq(&old, &new), "one account is one quota");
    assert_eq!(stands(&old), (Some(5), Some(4)));
    assert_eq!(stands(&slot(Some((5, 2 * HOUR)))), (Some(5), Some(4)));
    assert_eq!(stands(&slot(None)), (None, None));
    assert_eq!(stands(&slot(Some((3, HOUR)))).0, Some(3));
}
