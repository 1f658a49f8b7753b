//! Buffers for what is read, which come back when they have been sent.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::sync::lock;

/// Idle buffers that are kept: 4 MiB of each kind.
const IDLE_BYTES: usize = 4 << 20;

/// Buffers of one size, reused.
pub(super) struct Pool {
    size: usize,
    idle: Mutex<Vec<Box<[u8]>>>,
}

impl Pool {
    pub(super) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            size,
            idle: Mutex::default(),
        })
    }

    pub(super) fn take(&self) -> Box<[u8]> {
        let idle = lock(&self.idle).pop();
        idle.unwrap_or_else(|| vec![0; self.size].into_boxed_slice())
    }

    pub(super) fn put(&self, buffer: Box<[u8]>) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_BYTES / self.size {
            idle.push(buffer);
        }
    }

    /// The first `length` bytes of a buffer, which comes back when the last handle is dropped.
    pub(super) fn freeze(self: &Arc<Self>, buffer: Box<[u8]>, length: usize) -> Bytes {
        Bytes::from_owner(Loan {
            buffer,
            length,
            pool: Arc::clone(self),
        })
    }
}

struct Loan {
    buffer: Box<[u8]>,
    length: usize,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_drops_it() {
        let pool = Pool::new(8);
        let mut buffer = pool.take();
        buffer[..3].copy_from_slice(b"abc");
        let bytes = pool.freeze(buffer, 3);
        let copy = bytes.slice(1..);
        drop(bytes);
        assert!(lock(&pool.idle).is_empty());
        assert_eq!(&copy[..], b"bc");
        drop(copy);
        assert_eq!(lock(&pool.idle).len(), 1);
        assert_eq!(pool.take().len(), 8);
    }
}
