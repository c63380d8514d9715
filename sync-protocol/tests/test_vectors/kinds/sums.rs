//! Hashes and sums: an author's chain, the leaves, buckets and root of a scope.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use sync_protocol::change::{genesis, link};
use sync_protocol::proof::{ProofKey, Sum, bucket_of, root};
use sync_protocol::{Change, Lane, RecordState, ReplicaId, ScopeId};

use super::{give, take};
use crate::first::messages::Sent;
use crate::first::model::{Hash, Hex, Id};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    replica: Id,
    changes: Vec<Sent>,
}

pub(super) fn chain(given: &Value) -> Result<Value> {
    let given: Chain = take(given)?;
    let mut hash = genesis(ReplicaId(given.replica.0));
    let start = Hash(hash.0);
    let mut links = Vec::new();
    for sent in given.changes {
        let change = Change {
            header: sent.header.0,
            salt: sent.salt.0,
            payload: sent.payload.0,
        };
        let digest = change.payload_digest();
        let next = change.link(hash);
        ensure!(
            link(hash, &change.header, digest) == next,
            "the chain does not hold without the payload"
        );
        hash = next;
        links.push(json!({"payload_digest": Hash(digest.0), "hash": Hash(hash.0)}));
    }
    give(json!({"genesis": start, "links": links}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    key: Hash,
    scope: Id,
    lane: u8,
    /// Canonical bytes of the scope's records.
    states: Vec<Hex>,
}

pub(super) fn proof(given: &Value) -> Result<Value> {
    let given: Proof = take(given)?;
    let key = ProofKey::new(&given.key.0);
    let lane = Lane::from_number(given.lane).context("there is no such lane")?;
    let (mut leaves, mut buckets) = (Vec::new(), BTreeMap::<u8, Sum>::new());
    for Hex(bytes) in &given.states {
        let state = RecordState::parse(bytes)?;
        let (leaf, bucket) = (key.leaf(&state), bucket_of(state.record));
        ensure!(state.to_bytes() == *bytes, "the bytes of a record are not canonical");
        leaves.push(json!({"bucket": bucket, "leaf": Hash(leaf.to_bytes())}));
        let sum = buckets.entry(bucket).or_default();
        *sum = sum.plus(leaf);
    }
    let sums: BTreeMap<u8, Hash> = buckets
        .iter()
        .map(|(bucket, sum)| (*bucket, Hash(sum.to_bytes())))
        .collect();
    let root = root(ScopeId(given.scope.0), lane, buckets);
    give(json!({"leaves": leaves, "buckets": sums, "root": Hash(root.0)}))
}
