//! The agent's end of the engine: writing, pushing, pulling, and taking a new identity when its own turns out to be
//! shared or gone back. It never applies a page before it has compared the hub's view of its chain with its own.

use crate::author::{self, Draft, Stamp};
use crate::cbor::CborError;
use crate::change::{Change, Header, Payload, genesis};
use crate::ids::{ChangeId, Dot, EpochId, Hash, Lane, RecordId, ReplicaId, ScopeId};
use crate::proof::{self, ProofKey, Sum};
use crate::state::RecordState;
use crate::vector::VersionVector;
use crate::wire::{Cursor, Page, PullRequest, PushReply, PushRequest, Row, Told, WILLING_MAX, Willing};
use crate::{CHANGE_MAX_BYTES, HybridTime};

/// What the replica knows of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaHead {
    pub replica: ReplicaId,
    pub counter: u64,
    pub hash: Hash,
    /// The hub holds this incarnation's changes up to here.
    pub accepted: u64,
    pub epoch: EpochId,
}

impl ReplicaHead {
    pub fn born(replica: ReplicaId, epoch: EpochId) -> ReplicaHead {
        ReplicaHead {
            replica,
            counter: 0,
            hash: genesis(replica),
            accepted: 0,
            epoch,
        }
    }
}

/// One of the replica's own changes, kept until it is stable at the hub and in a base.
#[derive(Clone, Debug)]
pub struct OwnChange {
    pub header: Header,
    pub change: Change,
    pub hash: Hash,
}

/// Where a base stands in the feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub scope: ScopeId,
    pub lane: Lane,
    pub sequence: u64,
    /// The hub asks whether the record may go.
    pub offered: bool,
}

/// The agent's storage, inside one transaction that the caller commits or rolls back as a whole.
pub trait ReplicaLedger {
    type Error;

    fn head(&mut self) -> Result<ReplicaHead, Self::Error>;
    fn set_head(&mut self, head: &ReplicaHead) -> Result<(), Self::Error>;

    /// The hash of the current incarnation's chain at a counter of at least 1.
    fn own_hash(&mut self, counter: u64) -> Result<Option<Hash>, Self::Error>;
    /// Stores a change of the current incarnation, as pending.
    fn append(&mut self, own: &OwnChange) -> Result<(), Self::Error>;
    /// Changes of the current incarnation after a counter, in order, as many as fit, at least one if there is one.
    fn own_after(&mut self, counter: u64, bytes_max: usize) -> Result<Vec<OwnChange>, Self::Error>;
    /// Puts a change that was stored under another incarnation under this one; it keeps its id and its place in time.
    fn restamp(&mut self, own: &OwnChange) -> Result<(), Self::Error>;
    /// Own changes on a record that no base contains, in the order of writing, of any incarnation.
    fn pending(&mut self, record: RecordId) -> Result<Vec<OwnChange>, Self::Error>;
    /// Notes that a base contains the change.
    fn settle(&mut self, change: ChangeId) -> Result<(), Self::Error>;
    /// Notes that the hub could not use the change of the current incarnation, and why.
    fn note_quarantined(&mut self, counter: u64, reason: u16) -> Result<(), Self::Error>;

    fn base(&mut self, record: RecordId) -> Result<Option<RecordState>, Self::Error>;
    /// Where the base is counted; none when its scope has let go of it and it is kept for an own change that is still to be
    /// pushed.
    fn place(&mut self, record: RecordId) -> Result<Option<Place>, Self::Error>;
    fn put_base(&mut self, place: Place, state: &RecordState) -> Result<(), Self::Error>;
    /// Keeps the base and no longer counts it.
    fn let_go(&mut self, record: RecordId) -> Result<(), Self::Error>;
    /// Removes the base, what is shown, and the content of own changes on the record, so that nothing of it can be read
    /// here any more. The chain still verifies.
    fn purge(&mut self, record: RecordId) -> Result<(), Self::Error>;
    /// Records that the hub offers to forget, with their places, at most so many.
    fn offers(&mut self, at_most: usize) -> Result<Vec<(RecordId, Place)>, Self::Error>;
    /// Base and pending, merged.
    fn shown(&mut self, record: RecordId) -> Result<Option<RecordState>, Self::Error>;
    fn put_shown(&mut self, state: &RecordState) -> Result<(), Self::Error>;

    fn cursors(&mut self) -> Result<Vec<Cursor>, Self::Error>;
    fn set_cursor(&mut self, cursor: &Cursor) -> Result<(), Self::Error>;
    fn add_to_bucket(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        bucket: u8,
        plus: Sum,
        minus: Sum,
    ) -> Result<(), Self::Error>;
    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, Self::Error>;
}

#[derive(Debug, thiserror::Error)]
pub enum ReplicaError<E> {
    #[error(transparent)]
    Ledger(E),
    #[error("the change is {bytes} bytes, more than {CHANGE_MAX_BYTES}; put large content in a blob")]
    TooLarge { bytes: usize },
    #[error("a stored change cannot be read: {0}")]
    Damaged(CborError),
    #[error("this store's chain has no change {counter}, though its head says so")]
    Gap { counter: u64 },
}

impl<E> From<E> for ReplicaError<E> {
    fn from(error: E) -> ReplicaError<E> {
        ReplicaError::Ledger(error)
    }
}

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
    let mut state = shown.unwrap_or_else(|| RecordState::new(draft.kind, draft.record));
    apply_own(&mut state, &header, &payload);

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

fn chain_at<L: ReplicaLedger>(
    ledger: &mut L,
    head: &ReplicaHead,
    counter: u64,
) -> Result<Hash, ReplicaError<L::Error>> {
    if counter == 0 {
        return Ok(genesis(head.replica));
    }
    ledger.own_hash(counter)?.ok_or(ReplicaError::Gap { counter })
}

/// Why a replica must take a new identity before it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// The hub holds another content under one of our dots: somebody else is us, or we were copied.
    Fork { counter: u64 },
    /// The hub holds changes of ours that we do not have: we were restored from a copy.
    Regression { counter: u64, hub: u64 },
}

/// What the comparison of the hub's view of our chain with our own says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    Same,
    /// Of another incarnation or epoch than ours now: the answer to an older question.
    Stale,
    Lost(Lost),
    /// The hub has less of our chain than it acknowledged before: it was restored. Nothing of it is applied.
    HubWentBack {
        accepted: u64,
        hub: u64,
    },
}

fn compare<L: ReplicaLedger>(
    ledger: &mut L,
    head: &ReplicaHead,
    epoch: EpochId,
    replica: ReplicaId,
    counter: u64,
    hash: Hash,
) -> Result<Comparison, ReplicaError<L::Error>> {
    if epoch != head.epoch || replica != head.replica {
        return Ok(Comparison::Stale);
    }
    if counter > head.counter {
        return Ok(Comparison::Lost(Lost::Regression {
            counter: head.counter,
            hub: counter,
        }));
    }
    if chain_at(ledger, head, counter)? != hash {
        return Ok(Comparison::Lost(Lost::Fork { counter }));
    }
    if counter < head.accepted {
        return Ok(Comparison::HubWentBack {
            accepted: head.accepted,
            hub: counter,
        });
    }
    Ok(Comparison::Same)
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
    if (cursor.generation, cursor.sequence) != (page.generation, page.from) {
        return Ok(PageOutcome::OtherCursor);
    }
    head.accepted = page.accepted;
    ledger.set_head(&head)?;

    let mut applied = Applied::default();
    for row in &page.rows {
        apply_row(ledger, key, page, row, &mut applied)?;
    }
    cursor.sequence = page.to;
    ledger.set_cursor(&cursor)?;
    if let Some(root) = page.root {
        let ours = proof::root(page.scope, page.lane, ledger.bucket_sums(page.scope, page.lane)?);
        applied.verified = Some(ours == root);
    }
    Ok(PageOutcome::Applied(applied))
}

fn apply_row<L: ReplicaLedger>(
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
            applied.settled += take_base(ledger, key, place, state)?;
            applied.latest = applied.latest.max(latest_time(state));
        }
        Told::Gone { record, vector } => {
            applied.settled += let_go(ledger, key, (page.scope, page.lane), *record, vector)?;
        }
    }
    applied.records.push(row.record());
    Ok(())
}

fn take_base<L: ReplicaLedger>(
    ledger: &mut L,
    key: &ProofKey,
    place: Place,
    base: &RecordState,
) -> Result<usize, ReplicaError<L::Error>> {
    uncount(ledger, key, base.record)?;
    let bucket = proof::bucket_of(base.record);
    ledger.add_to_bucket(place.scope, place.lane, bucket, key.leaf(base), Sum::default())?;
    ledger.put_base(place, base)?;
    let settled = settle_contained(ledger, base.record, &base.vector)?;
    show(ledger, base.record)?;
    Ok(settled)
}

/// Takes the leaf of a base that is held out of the sum that it is counted in.
fn uncount<L: ReplicaLedger>(
    ledger: &mut L,
    key: &ProofKey,
    record: RecordId,
) -> Result<Option<Place>, ReplicaError<L::Error>> {
    let Some(place) = ledger.place(record)? else {
        return Ok(None);
    };
    let leaf = ledger.base(record)?.map_or(Sum::default(), |base| key.leaf(&base));
    ledger.add_to_bucket(place.scope, place.lane, proof::bucket_of(record), Sum::default(), leaf)?;
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
    // Also where no base came in between: an own change may have been pushed, and the record gone again.
    let settled = settle_contained(ledger, record, vector)?;
    if ledger.pending(record)?.is_empty() {
        ledger.purge(record)?;
    }
    Ok(settled)
}

fn settle_contained<L: ReplicaLedger>(
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

/// Recomputes what is shown of a record: its base, with what is pending on top.
pub fn show<L: ReplicaLedger>(ledger: &mut L, record: RecordId) -> Result<(), ReplicaError<L::Error>> {
    let mut state = ledger.base(record)?;
    for own in ledger.pending(record)? {
        let payload = own.change.parse_payload().map_err(ReplicaError::Damaged)?;
        let state = state.get_or_insert_with(|| RecordState::new(own.header.kind, record));
        apply_own(state, &own.header, &payload);
    }
    if let Some(state) = state {
        ledger.put_shown(&state)?;
    }
    Ok(())
}

fn latest_time(state: &RecordState) -> HybridTime {
    let values = state
        .registers
        .values()
        .flat_map(|r| r.values.values())
        .map(|live| live.origin.at);
    let elements = state.elements.values().flatten().map(|(_, element)| element.origin.at);
    values.chain(elements).max().unwrap_or_default()
}

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
