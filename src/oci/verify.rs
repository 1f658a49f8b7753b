//! The streaming verifier. [`Verified`] is the proof that a body hashes to its name; nothing but
//! [`Verifier::finish`] can make one, so that the compiler keeps unverified bytes out of the cache.

use sha2::Digest as _;

use super::digest::{Algorithm, Digest};

/// Hashes a body as it arrives and compares it with the digest that was asked for. A clone carries
/// on from the same state.
#[derive(Clone, Debug)]
pub struct Verifier {
    expected: Digest,
    hasher: Hasher,
    hashed: u64,
}

#[derive(Clone, Debug)]
enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

/// Proof that a body of `size` bytes hashed to `digest`. Neither cloned nor copied: one proof, one
/// commit.
#[derive(Debug)]
pub struct Verified {
    digest: Digest,
    size: u64,
}

/// The body is not what its name says.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{size} bytes hash to {actual}, not to {expected}")]
pub struct Mismatch {
    /// What was asked for.
    pub expected: Digest,
    /// What came.
    pub actual: Digest,
    /// How many bytes came.
    pub size: u64,
}

impl Verifier {
    /// A verifier that has seen nothing yet.
    pub fn new(expected: Digest) -> Self {
        let hasher = match expected.algorithm() {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        };
        Self {
            expected,
            hasher,
            hashed: 0,
        }
    }

    /// The digest that the body is to have.
    pub fn digest(&self) -> Digest {
        self.expected
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
        self.hashed += bytes.len() as u64;
    }

    /// How many bytes were taken so far.
    pub fn hashed(&self) -> u64 {
        self.hashed
    }

    /// Ends the body.
    pub fn finish(self) -> Result<Verified, Mismatch> {
        let actual = match self.hasher {
            Hasher::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Hasher::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        };
        if actual == self.expected {
            Ok(Verified {
                digest: actual,
                size: self.hashed,
            })
        } else {
            Err(Mismatch {
                expected: self.expected,
                actual,
                size: self.hashed,
            })
        }
    }
}

impl Verified {
    /// The digest that was proven.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Length of the body in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wrong_body_is_a_mismatch_that_names_both_digests() {
        let expected = Digest::of(Algorithm::Sha256, b"good");
        let mismatch = expected.verify(b"evil!").unwrap_err();
        assert_eq!(mismatch.expected, expected);
        assert_eq!(mismatch.actual, Digest::of(Algorithm::Sha256, b"evil!"));
        assert_eq!(mismatch.size, 5);
    }

    proptest! {
        #[test]
        fn any_split_of_a_body_verifies(
            body in prop::collection::vec(any::<u8>(), 0..2000),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            algorithm in prop::sample::select(&Algorithm::ALL[..]),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let mut verifier = Verifier::new(Digest::of(algorithm, &body));
            for pair in cuts.windows(2) {
                verifier.update(&body[pair[0]..pair[1]]);
                prop_assert_eq!(verifier.hashed(), pair[1] as u64);
            }
            let verified = verifier.finish().unwrap();
            prop_assert_eq!(verified.size(), body.len() as u64);
            prop_assert_eq!(verified.digest(), Digest::of(algorithm, &body));
        }

        #[test]
        fn any_flipped_bit_is_seen(
            mut body in prop::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let expected = Digest::of(Algorithm::Sha256, &body);
            let at = at.index(body.len());
            body[at] ^= 1_u8 << bit;
            prop_assert!(expected.verify(&body).is_err());
        }

        #[test]
        fn a_clone_goes_on_alone(head in ".{0,50}", tail in ".{0,50}") {
            let whole = format!("{head}{tail}");
            let mut verifier = Verifier::new(Digest::of(Algorithm::Sha256, whole.as_bytes()));
            verifier.update(head.as_bytes());
            let mut clone = verifier.clone();
            verifier.update(b"something else");
            clone.update(tail.as_bytes());
            prop_assert!(clone.finish().is_ok());
            prop_assert!(verifier.finish().is_err());
        }
    }
}
