//! Pulling: pages become bases, and own changes that a base contains are no longer pending. Nothing of a page is applied
//! before the hub's view of this replica's chain was compared with its own.

use std::collections::BTreeMap;

use super::writing::with_on_top;
use super::{Comparison, Place, ReplicaError, ReplicaHead, ReplicaLedger, compare, keep_ack};
use crate::HybridTime;
use crate::ids::{Lane, RecordId, ScopeId};
use crate::proof::{self, ProofKey, Sum};
use crate::signed::Signature;
use crate::state::RecordState;
use crate::vector::VersionVector;
use crate::wire::{Cursor, Page, PullRequest, Row, Told, WILLING_MAX, Willing};

/// Asks for everything after the cursors that the ledger holds, and agrees to the offers to forget that nothing here
/// speaks against: no own change on the record is still to be pushed, and `needed` says that nobody works with it.
pub fn next_pull<L: ReplicaLedger>(
    ledger: &mut L,
    bytes_max: u64,
    wait_ms: u64,
    mut needed: impl FnMut(&mut L, RecordId) -> Result<bool, L::Error>,
) -> Result<PullRequest, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    let mut willing = Vec::new();
    for (record, place) in ledger.offers(WILLING_MAX)? {
        if has_unpushed(ledger, &head, record)? || needed(ledger, record)? {
            continue;
        }
        willing.push(Willing {
            scope: place.scope,
            lane: place.lane,
            record,
            sequence: place.sequence,
        });
    }
    Ok(PullRequest {
        epoch: head.epoch,
        replica: head.replica,
        cursors: ledger.cursors()?,
        bytes_max,
        wait_ms,
        willing,
        takes_digest: false,
        budgets: BTreeMap::new(),
    })
}

/// The question that follows an answer before that is applied: it goes on where the pages end, and agrees to no offer. `None`
/// where the pages leave nothing to come. What it is answered belongs onto the cursors that they lead to, and onto no other.
pub fn pull_after(request: &PullRequest, pages: &[Page]) -> Option<PullRequest> {
    if pages.iter().all(|page| page.behind() == 0) {
        return None;
    }
    let led_to = |cursor: &Cursor| {
        let page = pages
            .iter()
            .find(|page| (page.scope, page.lane) == (cursor.scope, cursor.lane));
        page.map_or(*cursor, |page| Cursor {
            generation: page.generation,
            sequence: page.to,
            ..*cursor
        })
    };
    Some(PullRequest {
        epoch: request.epoch,
        replica: request.replica,
        cursors: request.cursors.iter().map(led_to).collect(),
        bytes_max: request.bytes_max,
        wait_ms: 0,
        willing: Vec::new(),
        takes_digest: false,
        budgets: request.budgets.clone(),
    })
}

/// Follows the lanes that the hub names, from nothing where they are new. Answers whether any was.
pub fn follow<L: ReplicaLedger>(ledger: &mut L, lanes: &[(ScopeId, Lane)]) -> Result<bool, ReplicaError<L::Error>> {
    let known = ledger.cursors()?;
    let mut new = false;
    for (scope, lane) in lanes {
        if known.iter().any(|c| c.scope == *scope && c.lane == *lane) {
            continue;
        }
        ledger.set_cursor(&Cursor {
            scope: *scope,
            lane: *lane,
            generation: 0,
            sequence: 0,
        })?;
        new = true;
    }
    Ok(new)
}

fn has_unpushed<L: ReplicaLedger>(
    ledger: &mut L,
    head: &ReplicaHead,
    record: RecordId,
) -> Result<bool, ReplicaError<L::Error>> {
    let pending = ledger.pending(record)?;
    Ok(pending
        .iter()
        .any(|own| own.header.dot.replica == head.replica && own.header.dot.counter > head.accepted))
}

/// What became of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PageOutcome {
    Applied(Applied),
    /// Asked from a cursor that is no longer ours.
    OtherCursor,
    NotApplied(Comparison),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    pub records: Vec<RecordId>,
    /// Own changes that a base contains from now on.
    pub settled: usize,
    /// At the head of the lane: whether our root equals the hub's.
    pub verified: Option<bool>,
    /// The latest time seen in the page, for the hybrid clock.
    pub latest: HybridTime,
}

/// Applies one page of a pull: compares the chain first, then takes the states as bases, drops the pending changes that
/// they contain, and moves the cursor.
pub fn handle_page<L: ReplicaLedger>(
    ledger: &mut L,
    key: &ProofKey,
    page: &Page,
) -> Result<PageOutcome, ReplicaError<L::Error>> {
    let mut head = ledger.head()?;
    if head.returning.is_some() {
        return Ok(PageOutcome::NotApplied(Comparison::Stale));
    }
    match compare(ledger, &head, page.epoch, page.replica, page.accepted, page.hash)? {
        Comparison::Same => {}
        other @ (Comparison::Stale | Comparison::Lost(_) | Comparison::HubWentBack { .. }) => {
            return Ok(PageOutcome::NotApplied(other));
        }
    }
    let Some(mut cursor) = ledger
        .cursors()?
        .into_iter()
        .find(|c| c.scope == page.scope && c.lane == page.lane)
    else {
        return Ok(PageOutcome::OtherCursor);
    };
    // Of a scope that was rebuilt since, the page begins at nothing, and the cursor goes over to it. An older one is late.
    if cursor.sequence != page.from || cursor.generation > page.generation {
        return Ok(PageOutcome::OtherCursor);
    }
    head.accepted = page.accepted;
    ledger.set_head(&head)?;
    if let Some(ack) = page.ack() {
        keep_ack(ledger, &ack)?;
    }

    let mut applied = Applied::default();
    for row in &page.rows {
        apply_row(ledger, key, page, row, &mut applied)?;
    }
    cursor.sequence = page.to;
    cursor.generation = page.generation;
    ledger.set_cursor(&cursor)?;
    if let Some(root) = page.root {
        let ours = proof::root(page.scope, page.lane, ledger.bucket_sums(page.scope, page.lane)?);
        applied.verified = Some(ours == root);
    }
    Ok(PageOutcome::Applied(applied))
}

pub(super) fn apply_row<L: ReplicaLedger>(
    ledger: &mut L,
    key: &ProofKey,
    page: &Page,
    row: &Row,
    applied: &mut Applied,
) -> Result<(), ReplicaError<L::Error>> {
    match &row.told {
        Told::State { state, offered } => {
            let place = Place {
                scope: page.scope,
                lane: page.lane,
                sequence: row.sequence,
                offered: *offered,
            };
            applied.settled += take_base(ledger, key, place, state, row.signature.as_ref())?;
            applied.latest = applied.latest.max(latest_time(state));
        }
        Told::Gone { record, vector } => {
            applied.settled += let_go(ledger, key, (page.scope, page.lane), *record, vector)?;
        }
    }
    applied.records.push(row.record());
    Ok(())
}

pub(super) fn take_base<L: ReplicaLedger>(
    ledger: &mut L,
    key: &ProofKey,
    place: Place,
    base: &RecordState,
    signature: Option<&Signature>,
) -> Result<usize, ReplicaError<L::Error>> {
    let (scope, lane, bucket) = (place.scope, place.lane, proof::bucket_of(base.record));
    let held = counted(ledger, base.record)?;
    let minus = match held {
        Some((at, held)) if (at.scope, at.lane) == (scope, lane) => {
            // When the cursors begin anew, most of what comes is held. What it contains was settled when it came first, and it
            // is shown.
            if held == *base {
                ledger.put_base(place, base, signature)?;
                return Ok(0);
            }
            key.leaf(&held)
        }
        Some((at, held)) => {
            ledger.add_to_bucket(at.scope, at.lane, bucket, Sum::default(), key.leaf(&held))?;
            Sum::default()
        }
        None => Sum::default(),
    };
    ledger.add_to_bucket(scope, lane, bucket, key.leaf(base), minus)?;
    ledger.put_base(place, base, signature)?;
    let pending = ledger.pending(base.record)?;
    let (contained, on_top): (Vec<_>, Vec<_>) = pending
        .into_iter()
        .partition(|own| base.vector.contains(own.header.dot));
    for own in &contained {
        ledger.settle(own.header.change)?;
    }
    if let Some(state) = with_on_top(Some(base.clone()), &on_top, base.record)? {
        ledger.put_shown(&state)?;
    }
    Ok(contained.len())
}

/// The base that is held of a record, where a scope counts it.
fn counted<L: ReplicaLedger>(
    ledger: &mut L,
    record: RecordId,
) -> Result<Option<(Place, RecordState)>, ReplicaError<L::Error>> {
    let Some(place) = ledger.place(record)? else {
        return Ok(None);
    };
    Ok(ledger.base(record)?.map(|base| (place, base)))
}

/// Takes the leaf of a base that is held out of the sum that it is counted in.
fn uncount<L: ReplicaLedger>(
    ledger: &mut L,
    key: &ProofKey,
    record: RecordId,
) -> Result<Option<Place>, ReplicaError<L::Error>> {
    let Some((place, base)) = counted(ledger, record)? else {
        return Ok(None);
    };
    let bucket = proof::bucket_of(record);
    ledger.add_to_bucket(place.scope, place.lane, bucket, Sum::default(), key.leaf(&base))?;
    Ok(Some(place))
}

/// The record has left the scope. It is purged here, unless an own change on it is still to be pushed, which will enter it
/// anew.
fn let_go<L: ReplicaLedger>(
    ledger: &mut L,
    key: &ProofKey,
    from: (ScopeId, Lane),
    record: RecordId,
    vector: &VersionVector,
) -> Result<usize, ReplicaError<L::Error>> {
    // Another scope of this replica's may have the record.
    let elsewhere = |place: Place| (place.scope, place.lane) != from;
    if ledger.place(record)?.is_some_and(elsewhere) {
        return Ok(0);
    }
    if uncount(ledger, key, record)?.is_some() {
        ledger.let_go(record)?;
    }
    settle_gone(ledger, record, vector)
}

/// Settles and purges what a gone row contains, also where no base came in between: an own change may have been pushed, and the
/// record gone again. With one still to be pushed all stays: it enters the record anew, and until then is shown on top of the
/// others.
pub(super) fn settle_gone<L: ReplicaLedger>(
    ledger: &mut L,
    record: RecordId,
    vector: &VersionVector,
) -> Result<usize, ReplicaError<L::Error>> {
    let pending = ledger.pending(record)?;
    if pending.iter().any(|own| !vector.contains(own.header.dot)) {
        return Ok(0);
    }
    let settled = settle_contained(ledger, record, vector)?;
    ledger.purge(record)?;
    Ok(settled)
}

pub(super) fn settle_contained<L: ReplicaLedger>(
    ledger: &mut L,
    record: RecordId,
    vector: &VersionVector,
) -> Result<usize, ReplicaError<L::Error>> {
    let mut settled = 0;
    for own in ledger.pending(record)? {
        if vector.contains(own.header.dot) {
            ledger.settle(own.header.change)?;
            settled += 1;
        }
    }
    Ok(settled)
}

pub(super) fn latest_time(state: &RecordState) -> HybridTime {
    let values = state
        .registers
        .values()
        .flat_map(|r| r.values.values())
        .map(|live| live.origin.at);
    let elements = state.elements.values().flatten().map(|(_, element)| element.origin.at);
    values.chain(elements).max().unwrap_or_default()
}
