//! A new identity: each change that the hub has not acknowledged gets a new dot and keeps its id.

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
    let unaccepted = ledger.own_after(old.accepted, usize::MAX)?;
    let mut head = ReplicaHead::born(to, old.epoch);
    ledger.set_head(&head)?;
    let mut records = std::collections::BTreeSet::new();
    for own in unaccepted {
        let mut header = own.header;
        header.dot = Dot {
            replica: to,
            counter: head.counter + 1,
        };
        translate_shown(&mut header, &old, to);
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
    Ok(Reborn {
        from: old.replica,
        to,
        changes: head.counter,
    })
}

/// The version shown named dots that the hub never accepted under the old incarnation; under the new one they follow
/// in the same order, starting at 1.
fn translate_shown(header: &mut Header, old: &ReplicaHead, to: ReplicaId) {
    let Some(entry) = header.saw.entries.get_mut(&old.replica) else {
        return;
    };
    if entry.upto <= old.accepted {
        return;
    }
    let renamed = entry.upto - old.accepted;
    entry.upto = old.accepted;
    entry.except.retain(|counter| *counter <= old.accepted);
    if entry.upto == 0 {
        header.saw.entries.remove(&old.replica);
    }
    header.saw.add(Dot {
        replica: to,
        counter: renamed,
    });
}
