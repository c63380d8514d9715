//! Pulls that find nothing new: this replica says that a digest will do, and compares it with its own. Where they differ it
//! learns nothing from it and asks for pages.

use super::push::word_for;
use super::{ReplicaError, ReplicaLedger};
use crate::ids::{Hash, Lane, ScopeId};
use crate::proof;
use crate::signed::Ack;
use crate::wire::{LaneAtRest, PullRequest, digest_at_rest};

/// A lane and the root that both ends have of it.
pub type ProvenLane = (ScopeId, Lane, Hash);

/// Says in a question that a digest will do, where this replica could make one of its own.
pub fn ask_for_digest<L: ReplicaLedger>(
    ledger: &mut L,
    request: &mut PullRequest,
) -> Result<(), ReplicaError<L::Error>> {
    request.takes_digest = word_at_rest(ledger, request)?.is_some();
    Ok(())
}

/// Compares the hub's digest with our own: the lanes with their roots, all of which are the hub's. `None` where they differ, or
/// where this replica has gone on since it asked.
pub fn compare_digest<L: ReplicaLedger>(
    ledger: &mut L,
    request: &PullRequest,
    theirs: Hash,
) -> Result<Option<Vec<ProvenLane>>, ReplicaError<L::Error>> {
    let Some(ack) = word_at_rest(ledger, request)? else {
        return Ok(None);
    };
    let mut cursors = request.cursors.clone();
    cursors.sort_by_key(|cursor| (cursor.lane, cursor.scope));
    let mut lanes = Vec::new();
    for cursor in cursors {
        let sums = ledger.bucket_sums(cursor.scope, cursor.lane)?;
        lanes.push(LaneAtRest {
            scope: cursor.scope,
            lane: cursor.lane,
            generation: cursor.generation,
            sequence: cursor.sequence,
            root: proof::root(cursor.scope, cursor.lane, sums),
        });
    }
    let is_same = digest_at_rest(&ack, &lanes) == theirs;
    Ok(is_same.then(|| lanes.iter().map(|lane| (lane.scope, lane.lane, lane.root)).collect()))
}

/// The hub's word for all that it accepted of this incarnation, if the question is of now.
fn word_at_rest<L: ReplicaLedger>(
    ledger: &mut L,
    request: &PullRequest,
) -> Result<Option<Ack>, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    let is_of_now = (head.epoch, head.replica) == (request.epoch, request.replica)
        && head.returning.is_none()
        && request.willing.is_empty()
        && ledger.cursors()? == request.cursors;
    if !is_of_now {
        return Ok(None);
    }
    let held = word_for(ledger, head.replica)?.map(|held| held.ack);
    Ok(held.filter(|ack| ack.epoch == head.epoch && ack.counter == head.accepted))
}
