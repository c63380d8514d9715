//! The hub's end of a repair: it tells which parts of buckets differ, and then the rows of the records that do, from one
//! snapshot with its view of the puller's chain. What it finds wrong in its own sums it names; it guesses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{HubError, HubLedger, RowStanding, acknowledge, chain_of};
use crate::ids::{Lane, RecordId, ScopeId};
use crate::proof::{self, ProofKey, Sum};
use crate::repair::{Leaf, Part, total, words_of_buckets, words_of_parts};
use crate::signed::Seal;
use crate::vector::VersionVector;
use crate::wire::{Cursor, Listed, Page, RepairAsk, RepairReply, RepairRequest, Row, Told};

/// What the hub's rows say of a bucket, beside what its sum says.
pub trait HubLeaves: HubLedger {
    /// The records that the scope has in this lane whose ids begin with the byte, each with its leaf.
    fn leaves(&mut self, scope: ScopeId, lane: Lane, bucket: u8, key: &ProofKey) -> Result<Vec<Leaf>, Self::Error>;
}

/// An answer to a repair, and what was found wrong here on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    pub reply: RepairReply,
    /// Buckets whose kept sum is not that of their rows; [`recount`] sets it right.
    pub miscounted: Vec<u8>,
}

/// Answers either question of a repair, under the hub's word for how far it holds the puller's chain.
pub fn handle_repair<L: HubLeaves>(
    ledger: &mut L,
    key: &ProofKey,
    seal: &Seal<'_>,
    site: ScopeId,
    shared: &[ScopeId],
    request: &RepairRequest,
) -> Result<Compared, HubError<L::Error>> {
    let epoch = ledger.epoch()?;
    if request.epoch != epoch {
        return Err(HubError::OtherEpoch);
    }
    let head = chain_of(ledger, request.replica, site)?;
    let ack = acknowledge(ledger, seal, request.replica, &head)?;
    let cursor = request.cursor;
    if cursor.scope != site && !shared.contains(&cursor.scope) {
        return Err(HubError::ForeignScope);
    }
    let (last, generation) = ledger.feed_head(cursor.scope, cursor.lane)?;
    let kept = ledger.bucket_sums(cursor.scope, cursor.lane)?;
    let at_head = (last <= cursor.sequence).then(|| proof::root(cursor.scope, cursor.lane, kept.iter().copied()));
    let mut compared = Compared {
        reply: RepairReply {
            page: Page {
                epoch,
                replica: request.replica,
                accepted: ack.counter,
                hash: ack.hash,
                scope: cursor.scope,
                lane: cursor.lane,
                generation,
                from: cursor.sequence,
                to: cursor.sequence,
                head: last,
                rows: Vec::new(),
                root: at_head,
                sealed: Some(ack.sealed()),
            },
            parts: Vec::new(),
            more: false,
        },
        miscounted: Vec::new(),
    };
    if generation == cursor.generation {
        match &request.ask {
            RepairAsk::Buckets(words) => compare_buckets(ledger, key, &cursor, words, &kept, &mut compared)?,
            RepairAsk::Parts(parts) => {
                compare_parts(ledger, key, &cursor, parts, request.bytes_max, &mut compared.reply)?;
            }
        }
    }
    Ok(compared)
}

fn compare_buckets<L: HubLeaves>(
    ledger: &mut L,
    key: &ProofKey,
    cursor: &Cursor,
    words: &[u64],
    kept: &[(u8, Sum)],
    compared: &mut Compared,
) -> Result<(), HubError<L::Error>> {
    let ours = words_of_buckets(kept.iter().copied());
    for (bucket, (ours, theirs)) in (0..=u8::MAX).zip(ours.iter().zip(words)) {
        if ours == theirs {
            continue;
        }
        let leaves = ledger.leaves(cursor.scope, cursor.lane, bucket, key)?;
        let sum = kept.iter().find(|(kept, _)| *kept == bucket).map(|(_, sum)| *sum);
        if total(&leaves) != sum.unwrap_or_default() {
            compared.miscounted.push(bucket);
        }
        compared.reply.parts.push((bucket, words_of_parts(&leaves)));
    }
    Ok(())
}

fn compare_parts<L: HubLeaves>(
    ledger: &mut L,
    key: &ProofKey,
    cursor: &Cursor,
    parts: &[(Part, Listed)],
    bytes_max: u64,
    reply: &mut RepairReply,
) -> Result<(), HubError<L::Error>> {
    let mut bytes = 0;
    let mut bucket = None;
    for (part, held) in parts {
        let leaves = match bucket.take() {
            Some((number, leaves)) if number == part.bucket() => leaves,
            Some(_) | None => ledger.leaves(cursor.scope, cursor.lane, part.bucket(), key)?,
        };
        let mut held: BTreeMap<RecordId, u64> = held.iter().copied().collect();
        let mut differing = Vec::new();
        for leaf in leaves.iter().filter(|leaf| Part::of(leaf.record) == *part) {
            if held.remove(&leaf.record) != Some(leaf.sum.word()) {
                differing.push(leaf.record);
            }
        }
        // What is left is held there and not in the scope here.
        differing.extend(held.into_keys());
        for record in differing {
            let Some(row) = row_for(ledger, cursor, record)? else {
                continue;
            };
            bytes += row.bytes;
            if bytes > bytes_max && !reply.page.rows.is_empty() {
                reply.more = true;
                return Ok(());
            }
            reply.page.rows.push(row);
        }
        bucket = Some((part.bucket(), leaves));
    }
    Ok(())
}

/// The record as the scope has it; nothing when the feed will tell it, since its row stands behind the cursor.
fn row_for<L: HubLedger>(ledger: &mut L, cursor: &Cursor, record: RecordId) -> Result<Option<Row>, HubError<L::Error>> {
    let row = ledger.row(cursor.scope, cursor.lane, record)?;
    if row.is_some_and(|(sequence, _)| sequence > cursor.sequence) {
        return Ok(None);
    }
    let state = ledger.state(record)?;
    let signature = ledger.signature(record)?;
    let gone = |vector: VersionVector, sequence: u64| Row {
        sequence,
        told: Told::Gone { record, vector },
        bytes: 0,
        signature: None,
    };
    Ok(Some(match (row, state) {
        (Some((sequence, standing @ (RowStanding::Live | RowStanding::Offered))), Some(state)) => Row {
            sequence,
            bytes: state.to_bytes().len() as u64,
            signature,
            told: Told::State {
                offered: standing == RowStanding::Offered,
                state: Arc::unwrap_or_clone(state),
            },
        },
        (row, state) => gone(
            state.map(|state| state.vector.clone()).unwrap_or_default(),
            row.map_or(cursor.sequence, |(sequence, _)| sequence),
        ),
    }))
}

/// Sets a bucket's sum to that of its rows. True when it was another one. The caller keeps the lane from moving meanwhile.
pub fn recount<L: HubLeaves>(
    ledger: &mut L,
    key: &ProofKey,
    scope: ScopeId,
    lane: Lane,
    bucket: u8,
) -> Result<bool, HubError<L::Error>> {
    let rows = total(&ledger.leaves(scope, lane, bucket, key)?);
    let kept = ledger.bucket_sums(scope, lane)?;
    let kept = kept.into_iter().find(|(number, _)| *number == bucket);
    let kept = kept.map(|(_, sum)| sum).unwrap_or_default();
    if kept == rows {
        return Ok(false);
    }
    ledger.add_to_bucket(scope, lane, bucket, rows, kept)?;
    Ok(true)
}
