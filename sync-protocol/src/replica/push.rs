//! Pushing: the next run of changes that the hub has not accepted, and its acknowledgement. After a new epoch, what the hub
//! acknowledged in an older one and no longer holds goes first, under the incarnation it was written as.

use super::rebirth::move_on;
use super::{
    Comparison, HeldAck, OwnChange, ReplicaError, ReplicaHead, ReplicaLedger, chain_at, compare, hash_at, keep_ack,
};
use crate::ids::{Dot, EpochId, Hash, ReplicaId};
use crate::signed::{ACKS_MAX, Ack};
use crate::wire::{CHANGES_MAX, PushReply, PushRequest};

/// The next run of changes that the hub has not accepted, or nothing.
pub fn next_push<L: ReplicaLedger>(
    ledger: &mut L,
    bytes_max: usize,
) -> Result<Option<PushRequest>, ReplicaError<L::Error>> {
    while let Some(held) = acknowledged_before(ledger)? {
        if let Some(request) = again(ledger, &held, bytes_max)? {
            return Ok(Some(request));
        }
        // The chain cannot be gone on with, since content of it is forgotten: the rest goes under this incarnation.
        let to = ledger.head()?;
        move_on(ledger, to, &[(held.ack.replica, held.at_hub)])?;
        ledger.drop_ack(held.ack.replica)?;
    }
    let head = ledger.head()?;
    if head.accepted >= head.counter {
        return Ok(None);
    }
    let previous = chain_at(ledger, &head, head.accepted)?;
    push_of(ledger, &head, head.accepted, previous, bytes_max).map(Some)
}

/// How far a push goes: the counter of its last change, and the hash there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushedUpTo {
    pub epoch: EpochId,
    pub dot: Dot,
    pub hash: Hash,
}

impl PushedUpTo {
    pub fn of(request: &PushRequest) -> PushedUpTo {
        PushedUpTo {
            epoch: request.epoch,
            dot: Dot {
                replica: request.replica,
                counter: request.after + request.changes.len() as u64,
            },
            hash: request.last,
        }
    }

    /// Whether the hub says that it holds all of it.
    pub fn is_held(&self, reply: &PushReply) -> bool {
        let dot = Dot {
            replica: reply.replica,
            counter: reply.accepted,
        };
        (reply.epoch, dot, reply.hash) == (self.epoch, self.dot, self.hash)
    }
}

/// What goes up after a push if the hub takes all of it, so that it can be made ready while the hub is at work: to be sent
/// only once it [is held](PushedUpTo::is_held). Nothing after a push of an incarnation of before.
pub fn push_after<L: ReplicaLedger>(
    ledger: &mut L,
    sent: &PushedUpTo,
    bytes_max: usize,
) -> Result<Option<PushRequest>, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    if (head.epoch, head.replica) != (sent.epoch, sent.dot.replica) || head.counter <= sent.dot.counter {
        return Ok(None);
    }
    push_of(ledger, &head, sent.dot.counter, sent.hash, bytes_max).map(Some)
}

/// The run of the present incarnation after a counter, where its chain has this hash.
fn push_of<L: ReplicaLedger>(
    ledger: &mut L,
    head: &ReplicaHead,
    after: u64,
    previous: Hash,
    bytes_max: usize,
) -> Result<PushRequest, ReplicaError<L::Error>> {
    let dot = Dot {
        replica: head.replica,
        counter: after,
    };
    let run = run_of(ledger, dot, bytes_max)?;
    if run.first().map(|own| own.header.dot.counter) != Some(after + 1) {
        return Err(ReplicaError::Gap { counter: after + 1 });
    }
    Ok(PushRequest {
        epoch: head.epoch,
        replica: head.replica,
        after,
        previous,
        last: run.last().map_or(previous, |own| own.hash),
        changes: run.into_iter().map(|own| own.change).collect(),
        acks: others(ledger, head)?,
        clock: None,
    })
}

/// Changes of an incarnation after a counter, as many as a message holds.
fn run_of<L: ReplicaLedger>(
    ledger: &mut L,
    after: Dot,
    bytes_max: usize,
) -> Result<Vec<OwnChange>, ReplicaError<L::Error>> {
    let mut run = ledger.own_after(after, bytes_max)?;
    run.truncate(CHANGES_MAX);
    Ok(run)
}

/// An incarnation of before, of which the hub of this epoch holds less than one of an older epoch acknowledged.
fn acknowledged_before<L: ReplicaLedger>(ledger: &mut L) -> Result<Option<HeldAck>, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    let mut acks = ledger.acks()?.into_iter();
    Ok(acks.find(|held| held.ack.replica != head.replica && held.at_hub < held.ack.counter))
}

/// The next run of an incarnation of before, within what was acknowledged; none when the chain breaks off.
fn again<L: ReplicaLedger>(
    ledger: &mut L,
    held: &HeldAck,
    bytes_max: usize,
) -> Result<Option<PushRequest>, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    let after = Dot {
        replica: held.ack.replica,
        counter: held.at_hub,
    };
    let unbroken = run_of(ledger, after, bytes_max)?.into_iter().zip(after.counter + 1..);
    let run: Vec<OwnChange> = unbroken
        .take_while(|(own, counter)| own.header.dot.counter == *counter && *counter <= held.ack.counter)
        .map(|(own, _)| own)
        .collect();
    let (Some(last), Some(previous)) = (run.last(), hash_at(ledger, after)?) else {
        return Ok(None);
    };
    let mut acks = others(ledger, &head)?;
    acks.retain(|ack| ack.replica != after.replica);
    acks.truncate(ACKS_MAX - 1);
    acks.push(held.ack);
    Ok(Some(PushRequest {
        epoch: head.epoch,
        replica: after.replica,
        after: after.counter,
        previous,
        last: last.hash,
        changes: run.into_iter().map(|own| own.change).collect(),
        acks,
        clock: None,
    }))
}

/// The hub's word for the incarnations of before whose changes are not yet stable, at most as many as a message holds.
fn others<L: ReplicaLedger>(ledger: &mut L, head: &ReplicaHead) -> Result<Vec<Ack>, ReplicaError<L::Error>> {
    let acks = ledger.acks()?.into_iter().map(|held| held.ack);
    let mut acks: Vec<Ack> = acks.filter(|ack| ack.replica != head.replica).collect();
    acks.drain(..acks.len().saturating_sub(ACKS_MAX));
    Ok(acks)
}

/// Takes the hub's acknowledgement. Anything but [`Comparison::Same`] leaves the ledger untouched.
pub fn handle_push_reply<L: ReplicaLedger>(
    ledger: &mut L,
    reply: &PushReply,
) -> Result<Comparison, ReplicaError<L::Error>> {
    let mut head = ledger.head()?;
    if reply.epoch == head.epoch && reply.replica != head.replica {
        return take_again(ledger, reply);
    }
    let comparison = compare(ledger, &head, reply.epoch, reply.replica, reply.accepted, reply.hash)?;
    if comparison == Comparison::Same {
        head.accepted = reply.accepted;
        ledger.set_head(&head)?;
        take_words(ledger, reply)?;
    }
    Ok(comparison)
}

fn take_words<L: ReplicaLedger>(ledger: &mut L, reply: &PushReply) -> Result<(), ReplicaError<L::Error>> {
    for (counter, reason) in &reply.quarantined {
        let dot = Dot {
            replica: reply.replica,
            counter: *counter,
        };
        ledger.note_quarantined(dot, *reason)?;
    }
    for ack in reply.ack().iter().chain(&reply.acks) {
        keep_ack(ledger, ack)?;
    }
    Ok(())
}

/// The answer to a run of an incarnation of before. Where the hub holds another chain under it, the rest goes under this one.
fn take_again<L: ReplicaLedger>(ledger: &mut L, reply: &PushReply) -> Result<Comparison, ReplicaError<L::Error>> {
    let found = ledger
        .acks()?
        .into_iter()
        .find(|held| held.ack.replica == reply.replica);
    let Some(held) = found else {
        return Ok(Comparison::Stale);
    };
    let dot = Dot {
        replica: reply.replica,
        counter: reply.accepted,
    };
    if reply.accepted > held.ack.counter || reply.accepted < held.at_hub {
        return Ok(Comparison::Stale);
    }
    if hash_at(ledger, dot)? != Some(reply.hash) {
        abandon(ledger, &held)?;
        return Ok(Comparison::Same);
    }
    ledger.put_ack(&HeldAck {
        at_hub: reply.accepted,
        ..held
    })?;
    take_words(ledger, reply)?;
    Ok(Comparison::Same)
}

/// Everything of an incarnation that the hub may not hold goes on under the present one.
pub(super) fn abandon<L: ReplicaLedger>(ledger: &mut L, held: &HeldAck) -> Result<(), ReplicaError<L::Error>> {
    let to = ledger.head()?;
    move_on(ledger, to, &[(held.ack.replica, held.ack.stable)])?;
    Ok(ledger.drop_ack(held.ack.replica)?)
}

/// Whether something that was acknowledged in an older epoch is still to be pushed again.
pub(super) fn is_pushing_again<L: ReplicaLedger>(ledger: &mut L) -> Result<bool, ReplicaError<L::Error>> {
    Ok(acknowledged_before(ledger)?.is_some())
}

/// The hub's word for an incarnation, if there is one.
pub(super) fn word_for<L: ReplicaLedger>(
    ledger: &mut L,
    replica: ReplicaId,
) -> Result<Option<HeldAck>, ReplicaError<L::Error>> {
    Ok(ledger.acks()?.into_iter().find(|held| held.ack.replica == replica))
}
