//! The leaves of two wrong proofs. The engine's own leaf is a keyed hash over all of a record's canonical bytes; these leave
//! out what makes it one.

use std::collections::BTreeMap;

use sync_protocol::proof::{ProofKey, Sum, bucket_of};
use sync_protocol::{Dot, RecordState, VersionVector};

use super::variant::Variant;

pub(crate) type Leaf = fn(&RecordState) -> Sum;

/// How a variant makes its leaves; none where it makes them as the engine does.
pub(crate) fn of_variant(variant: Option<Variant>) -> Option<Leaf> {
    match variant {
        Some(Variant::RootOverIds) => Some(over_ids),
        Some(Variant::VectorNotInLeaf) => Some(without_vector),
        Some(_) | None => None,
    }
}

/// The bucket sums of these records, by the engine's leaves or by a variant's.
pub(crate) fn sums_of<'a>(
    variant: Option<Variant>,
    key: &ProofKey,
    states: impl Iterator<Item = &'a RecordState>,
) -> Vec<(u8, Sum)> {
    match of_variant(variant) {
        Some(wrong) => sums(wrong, states),
        None => sums(|state| key.leaf(state), states),
    }
}

pub(crate) fn sums<'a>(
    leaf: impl Fn(&RecordState) -> Sum,
    states: impl Iterator<Item = &'a RecordState>,
) -> Vec<(u8, Sum)> {
    let mut sums = BTreeMap::<u8, Sum>::new();
    for state in states {
        let sum = sums.entry(bucket_of(state.record)).or_default();
        *sum = sum.plus(leaf(state));
    }
    sums.into_iter().collect()
}

/// The dots of what the record says, added up as the numbers that they are.
fn over_ids(state: &RecordState) -> Sum {
    let values = state.registers.values().flat_map(|register| register.values.values());
    let elements = state.elements.values().flat_map(BTreeMap::values);
    let dots = values
        .map(|live| live.origin.dot)
        .chain(elements.map(|element| element.origin.dot));
    dots.map(word).fold(Sum::default(), Sum::plus)
}

fn word(dot: Dot) -> Sum {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&dot.replica.0);
    bytes[24..].copy_from_slice(&dot.counter.to_be_bytes());
    Sum::from_bytes(&bytes)
}

fn without_vector(state: &RecordState) -> Sum {
    let bare = RecordState {
        vector: VersionVector::default(),
        ..state.clone()
    };
    ProofKey::new(&[7; 32]).leaf(&bare)
}
