//! The series of one metric, each found once: finding one by its labels takes longer than counting does.

use std::sync::OnceLock;

/// The series of a metric whose labels have `N` values in all. Those that never count anything are never looked up, so that
/// they are not exported.
///
/// A series belongs to the recorder that is there when it is found, which is the process's.
pub(super) struct Series<T, const N: usize>([OnceLock<T>; N]);

impl<T, const N: usize> Series<T, N> {
    pub(super) const fn new() -> Self {
        Self([const { OnceLock::new() }; N])
    }

    /// The series at a place, found by `look_up` if it was not yet.
    pub(super) fn get(&self, place: usize, look_up: impl FnOnce() -> T) -> &T {
        self.0[place].get_or_init(look_up)
    }
}
