//! A keyed hash (HMAC-SHA-256, RFC 2104), its key drawn when the process starts: what it gives is worth nothing without that
//! key, so that no list of passwords can be tried against it elsewhere.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// The block of SHA-256.
const BLOCK: usize = 64;

/// The key. Clones have the same one.
#[derive(Clone)]
pub struct Keyed(Arc<[u8; BLOCK]>);

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed")
    }
}

impl Default for Keyed {
    fn default() -> Self {
        Self::new()
    }
}

impl Keyed {
    /// With a key of its own.
    pub fn new() -> Self {
        let mut key = [0; BLOCK];
        key[..32].copy_from_slice(&rand::random::<[u8; 32]>());
        Self(Arc::new(key))
    }

    /// The hash of these texts, which is another where they are parted elsewhere.
    pub fn hash(&self, parts: &[&str]) -> [u8; 32] {
        let mut inner = Sha256::new();
        inner.update(self.pad(0x36));
        for part in parts {
            inner.update((part.len() as u64).to_be_bytes());
            inner.update(part.as_bytes());
        }
        let mut outer = Sha256::new();
        outer.update(self.pad(0x5c));
        outer.update(inner.finalize());
        outer.finalize().into()
    }

    fn pad(&self, with: u8) -> [u8; BLOCK] {
        self.0.map(|byte| byte ^ with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_hmac_of_the_parts_and_their_lengths() {
        let mut key = [0; BLOCK];
        key[..4].copy_from_slice(b"Jefe");
        let keyed = Keyed(Arc::new(key));
        // RFC 4231, test case 2, without the lengths.
        let mut inner = Sha256::new();
        inner.update(keyed.pad(0x36));
        inner.update(b"what do ya want for nothing?");
        let mut outer = Sha256::new();
        outer.update(keyed.pad(0x5c));
        outer.update(inner.finalize());
        assert_eq!(
            hex::encode(outer.finalize()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_ne!(keyed.hash(&["ab", "c"]), keyed.hash(&["a", "bc"]));
        assert_ne!(keyed.hash(&["a"]), Keyed::new().hash(&["a"]));
    }
}
