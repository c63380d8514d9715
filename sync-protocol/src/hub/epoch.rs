//! The lives of the hub's store. A new one begins when the store is found to have gone back to an older copy; what belongs to
//! an older one is not honoured any more, and every agent returns what it was told in it.

use super::push::shows_gone_back;
use super::{HubError, HubLedger, Rulebook, chain_of, hash_at};
use crate::ids::{EpochId, ReplicaId, ScopeId};
use crate::wire::{EpochReply, EpochRequest, Held};

/// Why an epoch began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The store was founded.
    Founded,
    /// Before anything was written the store was behind the mark that is kept outside it.
    Mark,
    /// The store was behind the mark of one of several processes; another may have written before it was noticed.
    MarkOfOne,
    /// An agent showed the hub's own signature, or a cursor, for more than the store holds. Since when is not known, and the
    /// hub may have written meanwhile.
    Shown,
    /// It began and ended in a life that this store lost; an agent told of it.
    Heard,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epoch {
    pub epoch: EpochId,
    /// What the hub writes as, or wrote as.
    pub hub_replica: ReplicaId,
    pub cause: Cause,
}

/// What came of an agent's question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    pub reply: EpochReply,
    /// The question showed that the store has gone back, and a new epoch has begun.
    pub begun: bool,
}

/// Begins a new epoch, for a store that was found to be behind its mark before it wrote anything.
pub fn begin_epoch<L: HubLedger>(
    ledger: &mut L,
    epoch: EpochId,
    hub_replica: ReplicaId,
    cause: Cause,
) -> Result<(), HubError<L::Error>> {
    Ok(ledger.set_epoch(epoch, hub_replica, cause)?)
}

/// Answers which epoch it is, and how far the incarnations that were shown are held. If what was shown proves that the store
/// has gone back, a new epoch begins under the ids given.
pub fn handle_epoch<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    site: ScopeId,
    request: &EpochRequest,
    next: (EpochId, ReplicaId),
) -> Result<Found, HubError<L::Error>> {
    let begun = proves_gone_back(ledger, rulebook, request)?;
    if begun {
        hear_of(ledger, rulebook, request)?;
        begin_epoch(ledger, next.0, next.1, Cause::Shown)?;
    }
    let mut held = Vec::new();
    for ack in request.acks.iter().filter(|ack| ack.is_signed_by(&rulebook.seal)) {
        let counter = chain_of(ledger, ack.replica, site)?.counter.min(ack.counter);
        if let Some(hash) = hash_at(ledger, ack.replica, counter)? {
            held.push(Held {
                replica: ack.replica,
                counter,
                hash,
            });
        }
    }
    let epoch = ledger.epoch()?;
    Ok(Found {
        reply: EpochReply { epoch, held },
        begun,
    })
}

/// Takes note of the epochs that this store has lost, so that each proves only once that it has gone back.
fn hear_of<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    request: &EpochRequest,
) -> Result<(), HubError<L::Error>> {
    let signed = request.acks.iter().filter(|ack| ack.is_signed_by(&rulebook.seal));
    for epoch in signed.map(|ack| ack.epoch).chain([request.epoch]) {
        let known = ledger.epochs()?.iter().any(|known| known.epoch == epoch);
        if !known && epoch != EpochId::NIL {
            ledger.hear_of_epoch(epoch)?;
        }
    }
    Ok(())
}

fn proves_gone_back<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    request: &EpochRequest,
) -> Result<bool, HubError<L::Error>> {
    for ack in request.acks.iter().filter(|ack| ack.is_signed_by(&rulebook.seal)) {
        if shows_gone_back(ledger, ack)? {
            return Ok(true);
        }
    }
    let epochs = ledger.epochs()?;
    if request.epoch != ledger.epoch()? {
        // Of an epoch that this store never heard of; one that was never anywhere has none.
        let known = epochs.iter().any(|epoch| epoch.epoch == request.epoch);
        return Ok(!known && request.epoch != EpochId::NIL);
    }
    for cursor in &request.cursors {
        let (last, generation) = ledger.feed_head(cursor.scope, cursor.lane)?;
        if (generation == cursor.generation || generation == 0) && cursor.sequence > last {
            return Ok(true);
        }
    }
    Ok(false)
}
