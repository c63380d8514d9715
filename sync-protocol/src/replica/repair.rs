//! The agent's end of a repair: it counts its own rows anew, asks where they differ from the hub's, and takes the hub's rows
//! of what does. A base that holds what the hub lacks stays as it is and is named: nothing is removed on a guess.

use std::collections::BTreeSet;

use super::pull::{latest_time, settle_contained, settle_gone, take_base};
use super::{Applied, Comparison, Place, ReplicaError, ReplicaLedger, compare, show};
use crate::ids::{Lane, RecordId, ScopeId};
use crate::proof::{self, ProofKey};
use crate::repair::{LISTED_MAX, Leaf, PARTS, Part, total, words_of_buckets, words_of_parts};
use crate::state::RecordState;
use crate::vector::{self, VersionVector};
use crate::wire::{Cursor, Listed, Page, RepairAsk, RepairReply, RepairRequest, Row, Told};

/// What this store's rows say of a bucket, beside what its sum says.
pub trait ReplicaLeaves: ReplicaLedger {
    /// The bases that are counted in the lane and whose ids begin with the byte, each with the leaf of its bytes, be they
    /// readable or not.
    fn leaves(&mut self, scope: ScopeId, lane: Lane, bucket: u8, key: &ProofKey) -> Result<Vec<Leaf>, Self::Error>;
    /// The base, unless its bytes cannot be read any more.
    fn readable_base(&mut self, record: RecordId) -> Result<Option<RecordState>, Self::Error>;
}

/// Sets a bucket's sum to that of its rows. True when it was another one: one of the two had rotted.
pub fn recount<L: ReplicaLeaves>(
    ledger: &mut L,
    key: &ProofKey,
    scope: ScopeId,
    lane: Lane,
    bucket: u8,
) -> Result<bool, ReplicaError<L::Error>> {
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

/// The first question: which buckets differ.
pub fn next_repair<L: ReplicaLedger>(
    ledger: &mut L,
    scope: ScopeId,
    lane: Lane,
    bytes_max: u64,
) -> Result<Option<RepairRequest>, ReplicaError<L::Error>> {
    let Some(cursor) = cursor_of(ledger, scope, lane)? else {
        return Ok(None);
    };
    let words = words_of_buckets(ledger.bucket_sums(scope, lane)?);
    ask(ledger, cursor, bytes_max, RepairAsk::Buckets(words)).map(Some)
}

/// The second question: what is held of the parts that differ, as many as one question lists. `None`: the rows of both ends
/// are the same, so a sum that was kept is wrong.
pub fn narrow<L: ReplicaLeaves>(
    ledger: &mut L,
    key: &ProofKey,
    reply: &RepairReply,
    bytes_max: u64,
) -> Result<Option<RepairRequest>, ReplicaError<L::Error>> {
    let (scope, lane) = (reply.page.scope, reply.page.lane);
    let Some(cursor) = cursor_of(ledger, scope, lane)? else {
        return Ok(None);
    };
    let (mut parts, mut listed) = (Vec::new(), 0);
    for (bucket, theirs) in &reply.parts {
        let leaves = ledger.leaves(scope, lane, *bucket, key)?;
        let ours = words_of_parts(&leaves);
        for within in (0..PARTS).filter(|within| ours[*within] != theirs[*within]) {
            let part = Part::numbered(*bucket, within);
            let of_part = leaves.iter().filter(|leaf| Part::of(leaf.record) == part);
            let held: Listed = of_part.map(|leaf| (leaf.record, leaf.sum.word())).collect();
            listed += held.len();
            if listed > LISTED_MAX && !parts.is_empty() {
                return ask(ledger, cursor, bytes_max, RepairAsk::Parts(parts)).map(Some);
            }
            parts.push((part, held));
        }
    }
    if parts.is_empty() {
        return Ok(None);
    }
    ask(ledger, cursor, bytes_max, RepairAsk::Parts(parts)).map(Some)
}

fn ask<L: ReplicaLedger>(
    ledger: &mut L,
    cursor: Cursor,
    bytes_max: u64,
    ask: RepairAsk,
) -> Result<RepairRequest, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    Ok(RepairRequest {
        epoch: head.epoch,
        replica: head.replica,
        cursor,
        bytes_max,
        ask,
    })
}

fn cursor_of<L: ReplicaLedger>(
    ledger: &mut L,
    scope: ScopeId,
    lane: Lane,
) -> Result<Option<Cursor>, ReplicaError<L::Error>> {
    let cursors = ledger.cursors()?;
    Ok(cursors.into_iter().find(|c| c.scope == scope && c.lane == lane))
}

/// What became of the rows of a repair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RepairOutcome {
    Mended(Mended),
    /// Asked from a cursor that is no longer ours.
    OtherCursor,
    NotApplied(Comparison),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mended {
    /// As of a page: the records that were set right, and whether the roots are equal now, where the cursor is at the head.
    pub applied: Applied,
    /// Records whose base holds what the hub lacks: left as they are.
    pub ahead: Vec<RecordId>,
}

/// Takes the hub's rows of what differs. The chain is compared first, as for a page; no cursor moves.
pub fn handle_repair<L: ReplicaLeaves>(
    ledger: &mut L,
    key: &ProofKey,
    page: &Page,
) -> Result<RepairOutcome, ReplicaError<L::Error>> {
    let mut head = ledger.head()?;
    if head.returning.is_some() {
        return Ok(RepairOutcome::NotApplied(Comparison::Stale));
    }
    match compare(ledger, &head, page.epoch, page.replica, page.accepted, page.hash)? {
        Comparison::Same => {}
        other @ (Comparison::Stale | Comparison::Lost(_) | Comparison::HubWentBack { .. }) => {
            return Ok(RepairOutcome::NotApplied(other));
        }
    }
    let cursor = cursor_of(ledger, page.scope, page.lane)?;
    if cursor.is_none_or(|c| (c.generation, c.sequence) != (page.generation, page.from) || page.from != page.to) {
        return Ok(RepairOutcome::OtherCursor);
    }
    head.accepted = page.accepted;
    ledger.set_head(&head)?;

    let mut mended = Mended::default();
    for row in page.rows.iter().filter(|row| row.sequence <= page.from) {
        if holds_more(ledger, (page.scope, page.lane), row)? {
            mended.ahead.push(row.record());
        } else {
            set_right(ledger, key, page, row, &mut mended.applied)?;
        }
    }
    let buckets: BTreeSet<u8> = page.rows.iter().map(|row| proof::bucket_of(row.record())).collect();
    for bucket in buckets {
        recount(ledger, key, page.scope, page.lane, bucket)?;
    }
    if let Some(root) = page.root {
        let ours = proof::root(page.scope, page.lane, ledger.bucket_sums(page.scope, page.lane)?);
        mended.applied.verified = Some(ours == root);
    }
    Ok(RepairOutcome::Mended(mended))
}

/// Whether the base here contains a change that the hub's row does not.
fn holds_more<L: ReplicaLeaves>(
    ledger: &mut L,
    counted_in: (ScopeId, Lane),
    row: &Row,
) -> Result<bool, ReplicaError<L::Error>> {
    let theirs: &VersionVector = match &row.told {
        Told::State { state, .. } => &state.vector,
        Told::Gone { vector, .. } => vector,
    };
    let is_here = |place: Place| (place.scope, place.lane) == counted_in;
    if !ledger.place(row.record())?.is_some_and(is_here) {
        return Ok(false);
    }
    let base = ledger.readable_base(row.record())?;
    Ok(base.is_some_and(|base| match base.vector.compare(theirs) {
        vector::Comparison::Same | vector::Comparison::Before => false,
        vector::Comparison::After | vector::Comparison::Concurrent => true,
    }))
}

fn set_right<L: ReplicaLeaves>(
    ledger: &mut L,
    key: &ProofKey,
    page: &Page,
    row: &Row,
    applied: &mut Applied,
) -> Result<(), ReplicaError<L::Error>> {
    let record = row.record();
    let is_elsewhere = |place: Place| (place.scope, place.lane) != (page.scope, page.lane);
    let elsewhere = ledger.place(record)?.is_some_and(is_elsewhere);
    match &row.told {
        Told::State { state, offered } => {
            let place = Place {
                scope: page.scope,
                lane: page.lane,
                sequence: row.sequence,
                offered: *offered,
            };
            if elsewhere {
                applied.settled += take_base(ledger, key, place, state, row.signature.as_ref())?;
            } else {
                // What stood here may be unreadable, so it is not taken out of the sum: its bucket is counted anew.
                ledger.put_base(place, state, row.signature.as_ref())?;
                applied.settled += settle_contained(ledger, record, &state.vector)?;
                show(ledger, record)?;
            }
            applied.latest = applied.latest.max(latest_time(state));
        }
        Told::Gone { vector, .. } => {
            if elsewhere {
                return Ok(());
            }
            ledger.let_go(record)?;
            applied.settled += settle_gone(ledger, record, vector)?;
        }
    }
    applied.records.push(record);
    Ok(())
}
