//! Freeze from above: a lane whose waiting rows would remove or alter too many of the records that are held here is not applied
//! until a person accepts it. What is added comes in all the same, an allergy above all; the first filling is exempt.
//!
//! Rows are looked at page by page from the cursor to the head, and the cursor stays where it is meanwhile: thawed, the lane is
//! pulled again from there and applied in order.

use super::pull::{Applied, PageOutcome, apply_row, handle_page};
use super::{Comparison, ReplicaError, ReplicaLedger, compare, keep_ack};
use crate::change::Act;
use crate::ids::{EpochId, Lane, RecordId, ScopeId};
use crate::proof::ProofKey;
use crate::state::RecordState;
use crate::vector;
use crate::wire::{Cursor, Page, PullRequest, Row, Told};

/// From when on a lane is held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreezeLimits {
    /// Of the records that the lane holds here.
    pub share_percent: u64,
    /// Fewer records than this never freeze a lane, whatever their share.
    pub records_min: u64,
}

impl FreezeLimits {
    pub fn are_exceeded(&self, records: u64, held: u64) -> bool {
        records >= self.records_min.max(1) && records.saturating_mul(100) > held.saturating_mul(self.share_percent)
    }
}

/// What is remembered of a lane beside its cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneWatch {
    /// Sequences are of this epoch of the hub; in another one only `is_filled` still holds.
    pub epoch: EpochId,
    /// The head was reached once: the first filling is over.
    pub is_filled: bool,
    /// Rows up to this sequence were weighed and found few enough, or accepted by a person.
    pub passed: u64,
    pub weighing: Option<Weighing>,
}

impl LaneWatch {
    pub fn new(epoch: EpochId) -> LaneWatch {
        LaneWatch {
            epoch,
            is_filled: false,
            passed: 0,
            weighing: None,
        }
    }

    /// A person has to accept what waits.
    pub fn is_frozen(&self) -> bool {
        self.weighing.is_some_and(|weighing| weighing.is_frozen)
    }
}

/// Rows between the cursor and the head that are looked at before they are applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Weighing {
    /// Looked at up to this sequence.
    pub scanned: u64,
    pub altered: u64,
    pub removed: u64,
    /// Records that the lane held when it began.
    pub held: u64,
    /// Too many: a person has to accept it.
    pub is_frozen: bool,
}

/// What is kept of lanes beside their cursors.
pub trait LaneWatches: ReplicaLedger {
    fn lane_watch(&mut self, scope: ScopeId, lane: Lane) -> Result<Option<LaneWatch>, Self::Error>;
    fn set_lane_watch(&mut self, scope: ScopeId, lane: Lane, watch: &LaneWatch) -> Result<(), Self::Error>;
    /// How many bases are counted in the lane.
    fn held(&mut self, scope: ScopeId, lane: Lane) -> Result<u64, Self::Error>;
}

/// What became of a page of a lane that is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    Page(PageOutcome),
    /// Looked at, not applied but for what it adds.
    Weighed {
        added: Applied,
        weighing: Weighing,
    },
}

/// Asks on from where each lane that is weighed was looked at.
pub fn ask_on<L: LaneWatches>(ledger: &mut L, request: &mut PullRequest) -> Result<(), ReplicaError<L::Error>> {
    for cursor in &mut request.cursors {
        if let Some(weighing) = watch_of(ledger, cursor.scope, cursor.lane)?.weighing {
            cursor.sequence = weighing.scanned;
        }
    }
    Ok(())
}

/// As [`handle_page`], for a lane that freezes when the page belongs to too many rows that remove or alter what is held.
pub fn take_page<L: LaneWatches>(
    ledger: &mut L,
    key: &ProofKey,
    limits: &FreezeLimits,
    page: &Page,
) -> Result<Taken, ReplicaError<L::Error>> {
    let (scope, lane) = (page.scope, page.lane);
    let mut watch = watch_of(ledger, scope, lane)?;
    if watch.is_filled && begin_rebuilt(ledger, page, &watch)? {
        return Ok(Taken::Page(PageOutcome::OtherCursor));
    }
    if watch.weighing.is_none() && watch.is_filled {
        let waiting = page.head.saturating_sub(page.from.max(watch.passed));
        if waiting >= limits.records_min.max(1) {
            let held = ledger.held(scope, lane)?;
            if limits.are_exceeded(waiting, held) {
                watch.weighing = Some(Weighing {
                    scanned: page.from,
                    held,
                    ..Weighing::default()
                });
            }
        }
    }
    if let Some(weighing) = watch.weighing {
        return weigh(ledger, key, limits, page, watch, weighing);
    }
    let outcome = handle_page(ledger, key, page)?;
    if matches!(outcome, PageOutcome::Applied(_)) && page.behind() == 0 && !watch.is_filled {
        watch.is_filled = true;
        ledger.set_lane_watch(scope, lane, &watch)?;
    }
    Ok(Taken::Page(outcome))
}

fn watch_of<L: LaneWatches>(ledger: &mut L, scope: ScopeId, lane: Lane) -> Result<LaneWatch, ReplicaError<L::Error>> {
    let epoch = ledger.head()?.epoch;
    let kept = ledger.lane_watch(scope, lane)?.unwrap_or(LaneWatch::new(epoch));
    if kept.epoch == epoch {
        return Ok(kept);
    }
    Ok(LaneWatch {
        is_filled: kept.is_filled,
        ..LaneWatch::new(epoch)
    })
}

/// Goes over to the new beginning of a scope that was rebuilt. What was passed and looked at before means nothing any more, so
/// the lane is watched from there, and the page is asked for again.
fn begin_rebuilt<L: LaneWatches>(
    ledger: &mut L,
    page: &Page,
    watch: &LaneWatch,
) -> Result<bool, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    if page.epoch != head.epoch || head.returning.is_some() {
        return Ok(false);
    }
    let Some(older) = cursor_of(ledger, page)?.filter(|cursor| cursor.generation < page.generation) else {
        return Ok(false);
    };
    ledger.set_cursor(&Cursor {
        generation: page.generation,
        sequence: 0,
        ..older
    })?;
    let began = LaneWatch {
        is_filled: watch.is_filled,
        ..LaneWatch::new(watch.epoch)
    };
    ledger.set_lane_watch(page.scope, page.lane, &began)?;
    Ok(true)
}

fn cursor_of<L: LaneWatches>(ledger: &mut L, page: &Page) -> Result<Option<Cursor>, ReplicaError<L::Error>> {
    let cursors = ledger.cursors()?;
    Ok(cursors
        .into_iter()
        .find(|cursor| cursor.scope == page.scope && cursor.lane == page.lane))
}

fn weigh<L: LaneWatches>(
    ledger: &mut L,
    key: &ProofKey,
    limits: &FreezeLimits,
    page: &Page,
    mut watch: LaneWatch,
    mut weighing: Weighing,
) -> Result<Taken, ReplicaError<L::Error>> {
    let mut head = ledger.head()?;
    if head.returning.is_some() {
        return Ok(Taken::Page(PageOutcome::NotApplied(Comparison::Stale)));
    }
    match compare(ledger, &head, page.epoch, page.replica, page.accepted, page.hash)? {
        Comparison::Same => {}
        other @ (Comparison::Stale | Comparison::Lost(_) | Comparison::HubWentBack { .. }) => {
            return Ok(Taken::Page(PageOutcome::NotApplied(other)));
        }
    }
    let cursor = cursor_of(ledger, page)?;
    if cursor.is_none_or(|cursor| cursor.generation != page.generation) || weighing.scanned != page.from {
        return Ok(Taken::Page(PageOutcome::OtherCursor));
    }
    head.accepted = page.accepted;
    ledger.set_head(&head)?;
    if let Some(ack) = page.ack() {
        keep_ack(ledger, &ack)?;
    }

    let mut added = Applied::default();
    for row in &page.rows {
        match weight(ledger, page, row)? {
            Weight::Adds => apply_row(ledger, key, page, row, &mut added)?,
            Weight::Alters => weighing.altered += 1,
            Weight::Removes => weighing.removed += 1,
            Weight::Nothing => {}
        }
    }
    weighing.scanned = page.to;
    if page.behind() == 0 {
        let too_many = limits.are_exceeded(weighing.altered + weighing.removed, weighing.held);
        weighing.is_frozen |= too_many;
        if !weighing.is_frozen {
            watch.passed = weighing.scanned;
        }
    }
    let is_decided = page.behind() == 0 && !weighing.is_frozen;
    watch.weighing = (!is_decided).then_some(weighing);
    ledger.set_lane_watch(page.scope, page.lane, &watch)?;
    Ok(Taken::Weighed { added, weighing })
}

enum Weight {
    /// Nothing that is held changes: it may come in at once.
    Adds,
    Alters,
    Removes,
    /// The feed will tell it in its turn.
    Nothing,
}

fn weight<L: ReplicaLedger>(ledger: &mut L, page: &Page, row: &Row) -> Result<Weight, ReplicaError<L::Error>> {
    let record = row.record();
    let is_held = ledger
        .place(record)?
        .is_some_and(|place| (place.scope, place.lane) == (page.scope, page.lane));
    match (&row.told, is_held) {
        (Told::Gone { .. }, true) => Ok(Weight::Removes),
        (Told::Gone { .. }, false) => Ok(Weight::Nothing),
        (Told::State { .. }, false) => Ok(Weight::Adds),
        (Told::State { state, .. }, true) => of_state(ledger, page.lane, record, state),
    }
}

fn of_state<L: ReplicaLedger>(
    ledger: &mut L,
    lane: Lane,
    record: RecordId,
    state: &RecordState,
) -> Result<Weight, ReplicaError<L::Error>> {
    // What was written here and comes back is no alteration from above.
    let shown = ledger.shown(record)?;
    let is_known = shown.is_some_and(|shown| match state.vector.compare(&shown.vector) {
        vector::Comparison::Same | vector::Comparison::Before => true,
        vector::Comparison::After | vector::Comparison::Concurrent => false,
    });
    if is_known {
        return Ok(Weight::Nothing);
    }
    let base = ledger.base(record)?;
    if lane == Lane::Safety && base.is_some_and(|base| adds_only(&base, state)) {
        return Ok(Weight::Adds);
    }
    Ok(Weight::Alters)
}

/// Whether a state says all that the base says, and beside it only what is asserted: an allergy that was noted, not one that
/// was refuted.
fn adds_only(base: &RecordState, state: &RecordState) -> bool {
    let values_stay = base.registers.iter().all(|(field, register)| {
        let now = state.registers.get(field);
        let stays = |id| now.is_some_and(|now| now.values.contains_key(id));
        register.values.keys().all(stays)
    });
    let elements_stay = base.elements.iter().all(|(field, elements)| {
        let now = state.elements.get(field);
        elements.keys().all(|id| now.is_some_and(|now| now.contains_key(id)))
    });
    let held = |field, id| {
        base.elements
            .get(field)
            .is_some_and(|elements| elements.contains_key(id))
    };
    let new_are_asserted = state.elements.iter().all(|(field, elements)| {
        elements
            .iter()
            .all(|(id, element)| held(field, id) || element.act == Act::Assert)
    });
    values_stay && elements_stay && new_are_asserted
}

/// A person accepts what was looked at so far: it is applied from the cursor on. False when the lane was not frozen.
pub fn thaw<L: LaneWatches>(ledger: &mut L, scope: ScopeId, lane: Lane) -> Result<bool, ReplicaError<L::Error>> {
    let mut watch = watch_of(ledger, scope, lane)?;
    let Some(weighing) = watch.weighing.take().filter(|weighing| weighing.is_frozen) else {
        return Ok(false);
    };
    watch.passed = weighing.scanned;
    ledger.set_lane_watch(scope, lane, &watch)?;
    Ok(true)
}
