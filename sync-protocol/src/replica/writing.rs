//! Writing: a draft becomes the replica's next change; what is shown is the base with what is pending on top.

use super::{OwnChange, ReplicaError, ReplicaLedger};
use crate::CHANGE_MAX_BYTES;
use crate::author::{self, Draft, Stamp};
use crate::change::{Change, Header, Payload};
use crate::ids::{ChangeId, Dot, RecordId};
use crate::state::{RecordState, STATE_MAX_BYTES};

/// A change that was written, or found to say nothing new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    pub change: ChangeId,
    pub dot: Dot,
}

/// Writes a draft as this replica's next change. `None`: it says nothing that the version it names did not say.
pub fn author<L: ReplicaLedger>(
    ledger: &mut L,
    draft: &Draft,
    stamp: &Stamp,
) -> Result<Option<Written>, ReplicaError<L::Error>> {
    let mut head = ledger.head()?;
    let shown = ledger.shown(draft.record)?;
    let base = ledger.base(draft.record)?;
    let dot = Dot {
        replica: head.replica,
        counter: head.counter + 1,
    };
    let Some((header, payload)) = author::compose(draft, stamp, dot, shown.as_ref(), base.as_ref()) else {
        return Ok(None);
    };

    let change = Change::new(&header, stamp.salt, &payload);
    if change.bytes() > CHANGE_MAX_BYTES {
        return Err(ReplicaError::TooLarge { bytes: change.bytes() });
    }
    let hash = change.link(head.hash);
    let mut state = shown
        .clone()
        .unwrap_or_else(|| RecordState::new(draft.kind, draft.record));
    apply_own(&mut state, &header, &payload);
    if !state.may_follow(shown.as_ref(), STATE_MAX_BYTES) {
        return Err(ReplicaError::RecordFull);
    }

    ledger.append(&OwnChange { header, change, hash })?;
    ledger.put_shown(&state)?;
    head.counter = dot.counter;
    head.hash = hash;
    ledger.set_head(&head)?;
    Ok(Some(Written {
        change: stamp.change,
        dot,
    }))
}

/// Whatever an own change names was in a base or in an own change before it, so it has arrived.
fn apply_own(state: &mut RecordState, header: &Header, payload: &Payload) {
    state.apply(header, payload, |_| true);
}

/// Recomputes what is shown of a record.
pub fn show<L: ReplicaLedger>(ledger: &mut L, record: RecordId) -> Result<(), ReplicaError<L::Error>> {
    if let Some(state) = to_show(ledger, record)? {
        ledger.put_shown(&state)?;
    }
    Ok(())
}

/// What is to be shown of a record: its base, with what is pending on top. `None` where there is neither.
pub fn to_show<L: ReplicaLedger>(
    ledger: &mut L,
    record: RecordId,
) -> Result<Option<RecordState>, ReplicaError<L::Error>> {
    let base = ledger.base(record)?;
    let pending = ledger.pending(record)?;
    with_on_top(base, &pending, record)
}

/// A base with own changes on top.
pub(super) fn with_on_top<E>(
    base: Option<RecordState>,
    own: &[OwnChange],
    record: RecordId,
) -> Result<Option<RecordState>, ReplicaError<E>> {
    if own.is_empty() {
        return Ok(base);
    }
    let mut state = base.clone();
    for own in own {
        let payload = own.change.parse_payload().map_err(ReplicaError::Damaged)?;
        let state = state.get_or_insert_with(|| RecordState::new(own.header.kind, record));
        apply_own(state, &own.header, &payload);
    }
    // More than a reader takes is not shown. What is pending is kept and pushed all the same.
    let fits = state.as_ref().is_none_or(RecordState::lists_fit);
    Ok(if fits { state } else { base })
}
