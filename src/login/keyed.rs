//! A keyed hash (HMAC-SHA-256, RFC 2104), its key drawn when the process starts: what it gives is worth nothing without that
//! key, so that no list of passwords can be tried against it elsewhere.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The block of SHA-256, and the longest key that is used as it is.
const BLOCK: usize = 64;

/// The key. Clones have the same one.
#[derive(Clone)]
pub struct Keyed(Hmac<Sha256>);

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
        Self::with(rand::random())
    }

    fn with(key: [u8; BLOCK]) -> Self {
        Self(Hmac::new(&key.into()))
    }

    /// The hash of these texts, which is another where they are parted elsewhere.
    pub fn hash(&self, parts: &[&str]) -> [u8; 32] {
        let mut hmac = self.0.clone();
        for part in parts {
            hmac.update(&(part.len() as u64).to_be_bytes());
            hmac.update(part.as_bytes());
        }
        hmac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_hmac_of_the_parts_and_their_lengths() {
        let mut key = [0; BLOCK];
        key[..4].copy_from_slice(b"Jefe");
        let keyed = Keyed::with(key);
        // RFC 4231, test case 2, without the lengths. A key is filled up with zeros.
        let mut hmac = keyed.0.clone();
        hmac.update(b"what do ya want for nothing?");
        assert_eq!(
            hex::encode(hmac.finalize().into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_ne!(keyed.hash(&["ab", "c"]), keyed.hash(&["a", "bc"]));
        assert_ne!(keyed.hash(&["a"]), Keyed::new().hash(&["a"]));
    }
}
