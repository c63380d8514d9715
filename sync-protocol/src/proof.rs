//! Proof that two ends hold the same facts: a keyed leaf per record, 256 bucket sums per scope and lane, one root.
//!
//! Leaves are keyed hashes since sums over structured ids cancel (48 of 200 differences were missed without a key). The
//! proof covers bases only, never what is pending.

use ring::hmac;

use crate::change::sha256;
use crate::ids::{Hash, Lane, RecordId, ScopeId};
use crate::state::RecordState;

pub const BUCKETS: usize = 256;

/// A sum of leaves: four words, each modulo 2^64, so that order does not matter and a leaf can be taken out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum([u64; 4]);

/// The key of an organisation's leaves. Not a secret of anybody's: it keeps leaves from being chosen to cancel.
#[derive(Clone)]
pub struct ProofKey(hmac::Key);

impl ProofKey {
    pub fn new(bytes: &[u8; 32]) -> ProofKey {
        ProofKey(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The leaf of a record: over its canonical bytes, which hold every fact, the vector and the aliases.
    pub fn leaf(&self, state: &RecordState) -> Sum {
        self.leaf_of_bytes(&state.to_bytes())
    }

    pub fn leaf_of_bytes(&self, canonical: &[u8]) -> Sum {
        let tag = hmac::sign(&self.0, canonical);
        let mut words = [0u64; 4];
        for (word, bytes) in words.iter_mut().zip(tag.as_ref().chunks_exact(8)) {
            *word = bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        }
        Sum(words)
    }
}

impl Sum {
    pub fn plus(self, other: Sum) -> Sum {
        Sum(std::array::from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }

    pub fn minus(self, other: Sum) -> Sum {
        Sum(std::array::from_fn(|i| self.0[i].wrapping_sub(other.0[i])))
    }

    /// The first of the four words.
    pub fn word(self) -> u64 {
        self.0[0]
    }

    pub fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        for (chunk, word) in out.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        out
    }

    pub fn from_bytes(bytes: &[u8; 32]) -> Sum {
        Sum(std::array::from_fn(|i| {
            bytes[i * 8..i * 8 + 8]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        }))
    }
}

/// Ids are random, so their first byte spreads records evenly.
pub fn bucket_of(record: RecordId) -> u8 {
    record.0[0]
}

/// The root over all bucket sums; buckets that are absent count as zero.
pub fn root(scope: ScopeId, lane: Lane, sums: impl IntoIterator<Item = (u8, Sum)>) -> Hash {
    let mut all = [Sum::default(); BUCKETS];
    for (bucket, sum) in sums {
        all[usize::from(bucket)] = sum;
    }
    let bytes: Vec<u8> = all.iter().flat_map(|sum| sum.to_bytes()).collect();
    sha256(&[b"mainstay root 1", &scope.0, &[lane as u8], &bytes])
}
