//! A new identity: each change that the hub has not acknowledged gets a new dot and keeps its id.

use std::collections::{BTreeMap, BTreeSet};

use super::push::word_for;
use super::{OwnChange, ReplicaError, ReplicaHead, ReplicaLedger, show};
use crate::change::{Change, Header};
use crate::ids::{Dot, ReplicaId};

/// How many changes went on under the new incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reborn {
    pub from: ReplicaId,
    pub to: ReplicaId,
    pub changes: u64,
}

/// Takes a new incarnation: each change that the hub has not acknowledged gets a new dot and keeps its id.
pub fn rebirth<L: ReplicaLedger>(ledger: &mut L, to: ReplicaId) -> Result<Reborn, ReplicaError<L::Error>> {
    let old = ledger.head()?;
    let born = ReplicaHead {
        returning: old.returning,
        ..ReplicaHead::born(to, old.epoch)
    };
    let changes = move_on(ledger, born, &[(old.replica, old.accepted)])?;
    if word_for(ledger, old.replica)?.is_some_and(|held| held.ack.stable >= held.ack.counter) {
        ledger.drop_ack(old.replica)?;
    }
    Ok(Reborn {
        from: old.replica,
        to,
        changes,
    })
}

/// Puts what these incarnations have after the given counters at the end of the chain that `head` is the end of, in the order
/// given. Answers how many changes that were.
pub(super) fn move_on<L: ReplicaLedger>(
    ledger: &mut L,
    mut head: ReplicaHead,
    from: &[(ReplicaId, u64)],
) -> Result<u64, ReplicaError<L::Error>> {
    let mut moving = Vec::new();
    for (replica, counter) in from {
        let after = Dot {
            replica: *replica,
            counter: *counter,
        };
        moving.extend(ledger.own_after(after, usize::MAX)?);
    }
    ledger.set_head(&head)?;
    let mut renamed = BTreeMap::new();
    let mut records = BTreeSet::new();
    let moved = moving.len() as u64;
    for own in moving {
        let mut header = own.header;
        let dot = Dot {
            replica: head.replica,
            counter: head.counter + 1,
        };
        renamed.insert(header.dot, dot);
        header.dot = dot;
        translate_shown(&mut header, from, &renamed);
        let change = Change {
            header: header.to_bytes(),
            ..own.change
        };
        head.counter += 1;
        head.hash = change.link(head.hash);
        records.insert(header.record);
        ledger.restamp(&OwnChange {
            header,
            change,
            hash: head.hash,
        })?;
    }
    ledger.set_head(&head)?;
    for record in records {
        show(ledger, record)?;
    }
    Ok(moved)
}

/// The version shown named dots that have others from now on; what came before them stays.
fn translate_shown(header: &mut Header, from: &[(ReplicaId, u64)], renamed: &BTreeMap<Dot, Dot>) {
    for (replica, kept) in from {
        let Some(entry) = header.saw.entries.get_mut(replica) else {
            continue;
        };
        if entry.upto <= *kept {
            continue;
        }
        let shown = Dot {
            replica: *replica,
            counter: entry.upto,
        };
        entry.upto = *kept;
        entry.except.retain(|counter| counter <= kept);
        if entry.upto == 0 {
            header.saw.entries.remove(replica);
        }
        if let Some(dot) = renamed.get(&shown) {
            header.saw.add(*dot);
        }
    }
}
