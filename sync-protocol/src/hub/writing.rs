//! The hub's own changes, and the second try of what was set apart.

use super::clock;
use super::feed::publish;
use super::push::apply;
use super::{HubError, HubLedger, KeptChange, Rulebook, Standing, chain_of, reason};
use crate::CHANGE_MAX_BYTES;
use crate::author::{self, Draft, Stamp};
use crate::change::Change;
use crate::ids::{ChangeId, Dot, ScopeId};
use crate::replica::Written;
use crate::state::{RecordState, STATE_MAX_BYTES};

/// Writes a change of the hub's own, and enters the record into a scope if one is given.
pub fn author_at_hub<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    draft: &Draft,
    stamp: &Stamp,
    scope: Option<ScopeId>,
) -> Result<Option<Written>, HubError<L::Error>> {
    let replica = ledger.hub_replica()?;
    let mut head = chain_of(ledger, replica, ScopeId::NIL)?;
    let before = ledger.state(draft.record)?;
    let dot = Dot {
        replica,
        counter: head.counter + 1,
    };
    let Some((header, payload)) = author::compose(draft, stamp, dot, before.as_deref(), before.as_deref()) else {
        return Ok(None);
    };
    (rulebook.admit)(&header, &payload).map_err(HubError::Refused)?;
    let change = Change::new(&header, stamp.salt, &payload);
    if change.bytes() > CHANGE_MAX_BYTES {
        return Err(HubError::TooLarge { bytes: change.bytes() });
    }

    let mut state = before
        .as_deref()
        .cloned()
        .unwrap_or_else(|| RecordState::new(draft.kind, draft.record));
    apply(ledger, &mut state, &header, &payload)?;
    let canonical = state
        .bytes_after(before.as_deref(), STATE_MAX_BYTES)
        .ok_or(HubError::Refused(reason::RECORD_FULL))?;
    head.counter = dot.counter;
    head.hash = change.link(head.hash);
    ledger.keep(KeptChange {
        dot,
        header: Some(header),
        change,
        hash: head.hash,
        standing: Standing::Applied,
    })?;
    ledger.set_chain(replica, &head)?;
    publish(ledger, rulebook, before.as_deref(), (state, canonical), scope)?;
    Ok(Some(Written {
        change: stamp.change,
        dot,
    }))
}

/// Tries a quarantined change again, after the schema or a policy has changed. True when it was applied in full.
pub fn release<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    change: ChangeId,
) -> Result<bool, HubError<L::Error>> {
    let Some(kept) = ledger.find(change)? else {
        return Ok(false);
    };
    let (Standing::Quarantined(_), Some(header)) = (kept.standing, kept.header) else {
        return Ok(false);
    };
    let Ok(payload) = kept.change.parse_payload() else {
        return Ok(false);
    };
    let Some(before) = ledger.state(header.record)? else {
        return Ok(false);
    };
    if header.dot != kept.dot || before.kind != header.kind || (rulebook.admit)(&header, &payload).is_err() {
        return Ok(false);
    }
    let mut state = RecordState::clone(&before);
    apply(ledger, &mut state, &header, &payload)?;
    clock::correct(ledger, &mut state, &header, None)?;
    let Some(canonical) = state.bytes_after(Some(&before), STATE_MAX_BYTES) else {
        return Ok(false);
    };
    ledger.set_standing(kept.dot, Standing::Applied)?;
    publish(ledger, rulebook, Some(&before), (state, canonical), None)?;
    Ok(true)
}
