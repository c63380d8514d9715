//! A new life of the hub's store: this replica shows what it was told, takes a new incarnation for what the hub never
//! acknowledged, pushes again what it did, and returns its bases as received. Before all that it pulls nothing.

use super::push::{abandon, is_pushing_again, word_for};
use super::rebirth::move_on;
use super::{HeldAck, Reborn, ReplicaError, ReplicaHead, ReplicaLedger, hash_at};
use crate::ids::{Dot, RecordId, ReplicaId};
use crate::signed::{ACKS_MAX, Ack};
use crate::wire::{EpochReply, EpochRequest, RETURNS_MAX, ReturnReply, ReturnRequest};

/// What the hub's answer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entered {
    /// It is the epoch that this replica is of.
    Same,
    /// Another, under a new incarnation.
    New(Reborn),
}

/// Asks which epoch the hub is of, and shows what it said in the one that this replica knows.
pub fn epoch_request<L: ReplicaLedger>(ledger: &mut L) -> Result<EpochRequest, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    Ok(EpochRequest {
        epoch: head.epoch,
        replica: head.replica,
        acks: words(ledger)?,
        cursors: ledger.cursors()?,
    })
}

fn words<L: ReplicaLedger>(ledger: &mut L) -> Result<Vec<Ack>, ReplicaError<L::Error>> {
    let mut acks: Vec<Ack> = ledger.acks()?.iter().map(|held| held.ack).collect();
    acks.drain(..acks.len().saturating_sub(ACKS_MAX));
    Ok(acks)
}

/// Enters the hub's epoch, as `to`, if it is another. Old cursors mean nothing in it; what the hub acknowledged under its
/// signature is pushed again under its old numbers where the hub lacks it, and everything else goes under the new ones.
pub fn handle_epoch_reply<L: ReplicaLedger>(
    ledger: &mut L,
    reply: &EpochReply,
    to: ReplicaId,
) -> Result<Entered, ReplicaError<L::Error>> {
    let old = ledger.head()?;
    if reply.epoch == old.epoch {
        return Ok(Entered::Same);
    }
    let acknowledged = word_for(ledger, old.replica)?.map_or(0, |held| held.ack.counter);
    let born = ReplicaHead {
        returning: Some(RecordId::NIL),
        ..ReplicaHead::born(to, reply.epoch)
    };
    let mut changes = move_on(ledger, born, &[(old.replica, acknowledged)])?;
    ledger.rewind()?;
    for held in ledger.acks()? {
        let there = reply.held.iter().find(|there| there.replica == held.ack.replica);
        let at_hub = there.map_or(0, |there| there.counter);
        let dot = Dot {
            replica: held.ack.replica,
            counter: at_hub,
        };
        if held.ack.counter == 0 {
            ledger.drop_ack(held.ack.replica)?;
        } else if at_hub == 0 || hash_at(ledger, dot)? == there.map(|there| there.hash) {
            ledger.put_ack(&HeldAck { at_hub, ..held })?;
        } else {
            let before = ledger.head()?.counter;
            abandon(ledger, &held)?;
            changes += ledger.head()?.counter - before;
        }
    }
    Ok(Entered::New(Reborn {
        from: old.replica,
        to,
        changes,
    }))
}

/// The next bases to be returned; none when there are no more, or when something is still to be pushed again before.
pub fn next_return<L: ReplicaLedger>(
    ledger: &mut L,
    bytes_max: usize,
) -> Result<Option<ReturnRequest>, ReplicaError<L::Error>> {
    let mut head = ledger.head()?;
    let Some(after) = head.returning else {
        return Ok(None);
    };
    if is_pushing_again(ledger)? {
        return Ok(None);
    }
    let mut states = ledger.bases_after(after, bytes_max)?;
    states.truncate(RETURNS_MAX);
    if states.is_empty() {
        head.returning = None;
        ledger.set_head(&head)?;
        return Ok(None);
    }
    Ok(Some(ReturnRequest {
        epoch: head.epoch,
        replica: head.replica,
        acks: words(ledger)?,
        states,
    }))
}

/// The hub has looked at a part of the bases.
pub fn handle_return_reply<L: ReplicaLedger>(
    ledger: &mut L,
    reply: &ReturnReply,
) -> Result<(), ReplicaError<L::Error>> {
    let mut head = ledger.head()?;
    let is_next = head.returning.is_some_and(|after| after < reply.upto);
    if reply.epoch == head.epoch && reply.replica == head.replica && is_next {
        head.returning = Some(reply.upto);
        ledger.set_head(&head)?;
    }
    Ok(())
}
