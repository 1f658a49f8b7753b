//! Locks without the noise.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose critical sections leave its value sound at every step, so that a panic
/// elsewhere in one is no reason to stop serving.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
