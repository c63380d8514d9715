//! Pushing: the next run of changes that the hub has not accepted, and its acknowledgement.

use super::{Comparison, ReplicaError, ReplicaLedger, chain_at, compare};
use crate::wire::{PushReply, PushRequest};

/// The next run of changes that the hub has not accepted, or nothing.
pub fn next_push<L: ReplicaLedger>(
    ledger: &mut L,
    bytes_max: usize,
) -> Result<Option<PushRequest>, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    if head.accepted >= head.counter {
        return Ok(None);
    }
    let run = ledger.own_after(head.accepted, bytes_max)?;
    let first = run.first().ok_or(ReplicaError::Gap {
        counter: head.accepted + 1,
    })?;
    if first.header.dot.counter != head.accepted + 1 {
        return Err(ReplicaError::Gap {
            counter: head.accepted + 1,
        });
    }
    let last = run.last().map_or(head.hash, |own| own.hash);
    Ok(Some(PushRequest {
        epoch: head.epoch,
        replica: head.replica,
        after: head.accepted,
        previous: chain_at(ledger, &head, head.accepted)?,
        changes: run.into_iter().map(|own| own.change).collect(),
        last,
    }))
}

/// Takes the hub's acknowledgement. Anything but [`Comparison::Same`] leaves the ledger untouched.
pub fn handle_push_reply<L: ReplicaLedger>(
    ledger: &mut L,
    reply: &PushReply,
) -> Result<Comparison, ReplicaError<L::Error>> {
    let mut head = ledger.head()?;
    let comparison = compare(ledger, &head, reply.epoch, reply.replica, reply.accepted, reply.hash)?;
    if comparison == Comparison::Same {
        head.accepted = reply.accepted;
        ledger.set_head(&head)?;
        for (counter, reason) in &reply.quarantined {
            ledger.note_quarantined(*counter, *reason)?;
        }
    }
    Ok(comparison)
}
