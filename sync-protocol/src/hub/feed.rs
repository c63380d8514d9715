//! Which records a scope has: entering, the offer to forget, leaving; and a record's row moved when its state changes.

use super::{HubError, HubLedger, RowStanding, Rulebook, chain_of};
use crate::ids::{RecordId, ScopeId};
use crate::proof::{self, Sum};
use crate::state::RecordState;
use crate::wire::{PullRequest, Willing};

/// Stores a record's new state, given with its canonical bytes, enters it into the writer's scope, and moves its row in every
/// scope that has it.
pub(super) fn publish<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    before: Option<&RecordState>,
    (state, canonical): (RecordState, Vec<u8>),
    enter: Option<ScopeId>,
) -> Result<(), HubError<L::Error>> {
    let (record, kind) = (state.record, state.kind);
    let lane = (rulebook.lane)(kind);
    let bucket = proof::bucket_of(record);
    let plus = rulebook.key.leaf_of_bytes(&canonical);
    let minus = before.map_or(Sum::default(), |before| rulebook.key.leaf(before));
    ledger.put_state(state, canonical)?;
    let mut rows = ledger.rows_of(record)?;
    rows.retain(|(_, standing)| standing.is_in_scope());
    for (scope, _) in &rows {
        ledger.add_to_bucket(*scope, lane, bucket, plus, minus)?;
    }
    if let Some(scope) = enter.filter(|_| (rulebook.enters_site)(kind)) {
        match rows.iter_mut().find(|(held, _)| *held == scope) {
            // Whoever writes on it needs it.
            Some((_, standing)) => *standing = RowStanding::Live,
            None => {
                ledger.add_to_bucket(scope, lane, bucket, plus, Sum::default())?;
                rows.push((scope, RowStanding::Live));
            }
        }
    }
    rows.sort_by_key(|(scope, _)| *scope);
    for (scope, standing) in rows {
        ledger.move_to_tail(scope, lane, record, standing)?;
    }
    Ok(())
}

/// Enters a record as it stands into a scope; an offer to forget it is taken back. Nothing happens when it is in it already.
pub fn enter<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    scope: ScopeId,
    record: RecordId,
) -> Result<(), HubError<L::Error>> {
    let Some(state) = ledger.state(record)? else {
        return Ok(());
    };
    let lane = (rulebook.lane)(state.kind);
    match ledger.row(scope, lane, record)? {
        Some((_, RowStanding::Live)) => return Ok(()),
        Some((_, RowStanding::Offered)) => {}
        Some((_, RowStanding::Gone)) | None => {
            let leaf = rulebook.key.leaf(&state);
            ledger.add_to_bucket(scope, lane, proof::bucket_of(record), leaf, Sum::default())?;
        }
    }
    ledger.move_to_tail(scope, lane, record, RowStanding::Live)?;
    Ok(())
}

/// Offers a scope to forget a record. It stays in the scope, and is counted, until a replica of the scope is willing.
pub fn offer<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    scope: ScopeId,
    record: RecordId,
) -> Result<(), HubError<L::Error>> {
    let Some(state) = ledger.state(record)? else {
        return Ok(());
    };
    let lane = (rulebook.lane)(state.kind);
    if let Some((_, RowStanding::Live)) = ledger.row(scope, lane, record)? {
        ledger.move_to_tail(scope, lane, record, RowStanding::Offered)?;
    }
    Ok(())
}

/// Takes what a replica of the site is willing to forget: where the row still is the offer that it agrees to, and nothing
/// of the site's on the record is set apart, the record leaves the scope. Answers how many did.
pub fn handle_willing<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    site: ScopeId,
    request: &PullRequest,
) -> Result<usize, HubError<L::Error>> {
    if request.epoch != ledger.epoch()? {
        return Err(HubError::OtherEpoch);
    }
    chain_of(ledger, request.replica, site)?;
    let mut gone = 0;
    for willing in &request.willing {
        if willing.scope != site {
            return Err(HubError::ForeignScope);
        }
        gone += usize::from(forget(ledger, rulebook, willing)?);
    }
    Ok(gone)
}

fn forget<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    willing: &Willing,
) -> Result<bool, HubError<L::Error>> {
    let Willing {
        scope,
        lane,
        record,
        sequence,
    } = *willing;
    let Some(state) = ledger.state(record)? else {
        return Ok(false);
    };
    let offered = ledger.row(scope, lane, record)? == Some((sequence, RowStanding::Offered));
    if !offered || ledger.has_quarantined(scope, record)? {
        return Ok(false);
    }
    let leaf = rulebook.key.leaf(&state);
    ledger.add_to_bucket(scope, lane, proof::bucket_of(record), Sum::default(), leaf)?;
    ledger.move_to_tail(scope, lane, record, RowStanding::Gone)?;
    Ok(true)
}
