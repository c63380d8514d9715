//! The hub's end of the engine: verifying and keeping what replicas push, quarantining what cannot be used, and feeding
//! record states back in commit order. It alone verifies chains. It never removes a value that no change names.

use std::collections::BTreeSet;

use crate::CHANGE_MAX_BYTES;
use crate::author::{self, Draft, Stamp};
use crate::cbor::CborError;
use crate::change::{Change, Header, Payload, genesis};
use crate::ids::{ChangeId, Dot, EpochId, Hash, KindId, Lane, RecordId, ReplicaId, ScopeId};
use crate::proof::{self, ProofKey, Sum};
use crate::replica::Written;
use crate::state::RecordState;
use crate::wire::{Cursor, Page, PullRequest, PushReply, PushRequest, Row, Willing};

/// The end of one replica's chain as the hub holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainHead {
    pub counter: u64,
    pub hash: Hash,
    /// The site whose replica it is; a change of it enters the record into that site's scope.
    pub scope: ScopeId,
}

/// How a kept change stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    Applied,
    Quarantined(u16),
    /// Known already under another dot.
    Alias,
}

#[derive(Clone, Debug)]
pub struct KeptChange {
    pub dot: Dot,
    /// Absent when not even the header could be read.
    pub header: Option<Header>,
    pub change: Change,
    pub hash: Hash,
    pub standing: Standing,
}

/// How a record stands in a scope's feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowStanding {
    Live,
    /// The scope no longer needs it; it goes when a replica of the scope is willing.
    Offered,
    /// It has left the scope. The row stays, so that every replica hears of it.
    Gone,
}

impl RowStanding {
    pub fn is_in_scope(self) -> bool {
        match self {
            RowStanding::Live | RowStanding::Offered => true,
            RowStanding::Gone => false,
        }
    }
}

/// The hub's storage, inside one transaction that the caller commits or rolls back as a whole.
pub trait HubLedger {
    type Error;

    fn epoch(&mut self) -> Result<EpochId, Self::Error>;
    /// The replica that the hub itself writes as in this epoch.
    fn hub_replica(&mut self) -> Result<ReplicaId, Self::Error>;
    fn chain(&mut self, replica: ReplicaId) -> Result<Option<ChainHead>, Self::Error>;
    fn set_chain(&mut self, replica: ReplicaId, head: &ChainHead) -> Result<(), Self::Error>;
    /// The hash of a replica's chain at a counter of at least 1.
    fn hash_at(&mut self, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, Self::Error>;

    fn keep(&mut self, kept: &KeptChange) -> Result<(), Self::Error>;
    /// The change under the dot it was first kept under, never an alias.
    fn find(&mut self, change: ChangeId) -> Result<Option<KeptChange>, Self::Error>;
    fn set_standing(&mut self, dot: Dot, standing: Standing) -> Result<(), Self::Error>;

    fn state(&mut self, record: RecordId) -> Result<Option<RecordState>, Self::Error>;
    fn put_state(&mut self, state: &RecordState) -> Result<(), Self::Error>;

    /// The scopes whose feeds have a row of the record, and how it stands there.
    fn rows_of(&mut self, record: RecordId) -> Result<Vec<(ScopeId, RowStanding)>, Self::Error>;
    /// The sequence and standing of the record's row.
    fn row(&mut self, scope: ScopeId, lane: Lane, record: RecordId) -> Result<Option<(u64, RowStanding)>, Self::Error>;
    /// Puts the record's row, as it is to stand, at the tail of the feed; makes it if it is new.
    fn move_to_tail(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        record: RecordId,
        standing: RowStanding,
    ) -> Result<(), Self::Error>;
    /// Whether a change on the record by a replica of this site is set apart.
    fn has_quarantined(&mut self, site: ScopeId, record: RecordId) -> Result<bool, Self::Error>;
    /// The feed's last sequence and its generation.
    fn feed_head(&mut self, scope: ScopeId, lane: Lane) -> Result<(u64, u64), Self::Error>;
    /// Rows after a sequence, in order, as many as fit, at least one if there is one.
    fn rows_after(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        sequence: u64,
        bytes_max: u64,
    ) -> Result<Vec<Row>, Self::Error>;

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
pub enum HubError<E> {
    #[error(transparent)]
    Ledger(E),
    #[error("the replica belongs to another site")]
    ForeignReplica,
    #[error("the request is of another epoch")]
    OtherEpoch,
    #[error("the scope is not this site's")]
    ForeignScope,
    #[error("the change is refused: reason {0}")]
    Refused(u16),
    #[error("the change is {bytes} bytes, more than {CHANGE_MAX_BYTES}")]
    TooLarge { bytes: usize },
    #[error("a stored change cannot be read: {0}")]
    Damaged(CborError),
}

impl<E> From<E> for HubError<E> {
    fn from(error: E) -> HubError<E> {
        HubError::Ledger(error)
    }
}

/// Reasons for quarantine that the engine itself gives; the catalogue's own start at 100.
pub mod reason {
    pub const UNREADABLE: u16 = 1;
    pub const ID_REUSED: u16 = 2;
    pub const TOO_LARGE: u16 = 3;
    pub const WRONG_DOT: u16 = 4;
    pub const OTHER_KIND: u16 = 5;
}

/// What the catalogue decides, as plain functions.
pub struct Rulebook<'a> {
    /// Whether a change can be used, or the reason why not.
    pub admit: &'a dyn Fn(&Header, &Payload) -> Result<(), u16>,
    /// The lane of a kind; unknown kinds travel last.
    pub lane: &'a dyn Fn(KindId) -> Lane,
    /// Whether a record of the kind enters the scope of a site that writes on it; others are in a scope that every site has.
    pub enters_site: &'a dyn Fn(KindId) -> bool,
    pub key: &'a ProofKey,
}

/// A push's answer, and the records it touched.
#[derive(Debug)]
pub struct Pushed {
    pub reply: PushReply,
    pub touched: Vec<RecordId>,
}

/// Takes a run of changes from a replica of the site whose scope is `site`. A run that does not continue the chain the
/// hub holds, or whose hashes do not add up, counts for nothing: the reply tells the chain's end, and the replica sees
/// from it whether to send again or to be reborn.
pub fn handle_push<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    site: ScopeId,
    request: &PushRequest,
) -> Result<Pushed, HubError<L::Error>> {
    let epoch = ledger.epoch()?;
    if request.epoch != epoch {
        return Err(HubError::OtherEpoch);
    }
    let mut head = chain_of(ledger, request.replica, site)?;
    let mut pushed = Pushed {
        reply: PushReply {
            epoch,
            replica: request.replica,
            accepted: head.counter,
            hash: head.hash,
            quarantined: Vec::new(),
        },
        touched: Vec::new(),
    };
    if request.after > head.counter || !chain_adds_up(request) {
        return Ok(pushed);
    }
    if hash_at(ledger, request.replica, request.after)? != Some(request.previous) {
        return Ok(pushed);
    }

    let mut hash = request.previous;
    for (counter, change) in (request.after + 1..).zip(&request.changes) {
        hash = change.link(hash);
        if counter <= head.counter {
            if hash_at(ledger, request.replica, counter)? != Some(hash) {
                return Ok(pushed);
            }
            // The reply that told of it may have been lost.
            let reason = set_apart(ledger, change)?;
            pushed.reply.quarantined.extend(reason.map(|reason| (counter, reason)));
            continue;
        }
        let dot = Dot {
            replica: request.replica,
            counter,
        };
        let standing = accept(ledger, rulebook, site, dot, change, hash, &mut pushed.touched)?;
        let reason = match standing {
            Standing::Quarantined(reason) => Some(reason),
            Standing::Alias => set_apart(ledger, change)?,
            Standing::Applied => None,
        };
        pushed.reply.quarantined.extend(reason.map(|reason| (counter, reason)));
        head.counter = counter;
        head.hash = hash;
    }
    ledger.set_chain(request.replica, &head)?;
    pushed.reply.accepted = head.counter;
    pushed.reply.hash = head.hash;
    pushed.touched.sort();
    pushed.touched.dedup();
    Ok(pushed)
}

fn chain_of<L: HubLedger>(ledger: &mut L, replica: ReplicaId, site: ScopeId) -> Result<ChainHead, HubError<L::Error>> {
    match ledger.chain(replica)? {
        Some(head) if head.scope != site => Err(HubError::ForeignReplica),
        Some(head) => Ok(head),
        None => Ok(ChainHead {
            counter: 0,
            hash: genesis(replica),
            scope: site,
        }),
    }
}

fn hash_at<L: HubLedger>(ledger: &mut L, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, HubError<L::Error>> {
    if counter == 0 {
        return Ok(Some(genesis(replica)));
    }
    Ok(ledger.hash_at(replica, counter)?)
}

/// Why a change that the hub holds could not be used, if it could not.
fn set_apart<L: HubLedger>(ledger: &mut L, change: &Change) -> Result<Option<u16>, HubError<L::Error>> {
    let header = match change.parse_header() {
        Ok(header) => header,
        Err(error) => return Ok(Some(unreadable(&error))),
    };
    Ok(ledger.find(header.change)?.and_then(|kept| match kept.standing {
        Standing::Quarantined(reason) => Some(reason),
        Standing::Applied | Standing::Alias => None,
    }))
}

fn unreadable(error: &CborError) -> u16 {
    match error {
        CborError::TooLarge { .. } => reason::TOO_LARGE,
        CborError::Malformed(_) | CborError::Missing { .. } | CborError::Form { .. } | CborError::Trailing => {
            reason::UNREADABLE
        }
    }
}

fn chain_adds_up(request: &PushRequest) -> bool {
    request
        .changes
        .iter()
        .fold(request.previous, |hash, change| change.link(hash))
        == request.last
}

/// Keeps one new change of a verified chain, whatever it holds: applied, under another name, or set apart.
fn accept<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    site: ScopeId,
    dot: Dot,
    change: &Change,
    hash: Hash,
    touched: &mut Vec<RecordId>,
) -> Result<Standing, HubError<L::Error>> {
    let kept = |header: Option<Header>, standing| KeptChange {
        dot,
        header,
        change: change.clone(),
        hash,
        standing,
    };
    let header = match change.parse_header() {
        Ok(header) => header,
        Err(error) => {
            let standing = Standing::Quarantined(unreadable(&error));
            ledger.keep(&kept(None, standing))?;
            return Ok(standing);
        }
    };
    let known = ledger.find(header.change)?;
    let before = ledger.state(header.record)?;
    let mut state = before
        .clone()
        .unwrap_or_else(|| RecordState::new(header.kind, header.record));
    let standing = match &known {
        _ if header.dot != dot => Standing::Quarantined(reason::WRONG_DOT),
        Some(first) if !same_content(first, &header, change) => Standing::Quarantined(reason::ID_REUSED),
        Some(first) => {
            state
                .vector
                .add_alias(dot, header.change, matches!(first.standing, Standing::Quarantined(_)));
            Standing::Alias
        }
        None if state.kind != header.kind => Standing::Quarantined(reason::OTHER_KIND),
        None => match change.parse_payload() {
            Err(_) => Standing::Quarantined(reason::UNREADABLE),
            Ok(payload) => match (rulebook.admit)(&header, &payload) {
                Err(reason) => Standing::Quarantined(reason),
                Ok(()) => {
                    apply(ledger, &mut state, &header, &payload)?;
                    Standing::Applied
                }
            },
        },
    };
    if let Standing::Quarantined(_) = standing {
        state.vector.add_exception(dot);
    }
    touched.push(header.record);
    ledger.keep(&kept(Some(header), standing))?;
    publish(ledger, rulebook, before.as_ref(), &state, Some(site))?;
    Ok(standing)
}

/// A change keeps its id through a rebirth; only its dot, and the dots it was shown, are others.
fn same_content(first: &KeptChange, header: &Header, change: &Change) -> bool {
    first.change.payload_digest() == change.payload_digest()
        && first.header.as_ref().is_some_and(|known| {
            let renamed = Header {
                dot: header.dot,
                saw: header.saw.clone(),
                ..known.clone()
            };
            renamed == *header
        })
}

/// Named ids that are not live in the state have either been applied and gone, or have yet to come. Where one is a change of
/// the writer's own that could not be used, the writer saw it in place of what it named: that is named as well.
fn apply<L: HubLedger>(
    ledger: &mut L,
    state: &mut RecordState,
    header: &Header,
    payload: &Payload,
) -> Result<(), HubError<L::Error>> {
    let mut header = header.clone();
    let mut applied = BTreeSet::new();
    for names in &mut header.names {
        let is_register = payload.fields.iter().any(|write| write.field == names.field);
        let mut next = 0;
        while let Some(id) = names.ids.get(next).copied() {
            next += 1;
            let Some(kept) = ledger.find(id)? else { continue };
            match (kept.standing, kept.header) {
                (Standing::Applied, _) => {
                    applied.insert(id);
                }
                (Standing::Quarantined(_), Some(unused)) if is_register => {
                    let more = unused.named(names.field).iter().filter(|id| !names.ids.contains(id));
                    let more: Vec<ChangeId> = more.copied().collect();
                    names.ids.extend(more);
                }
                (Standing::Quarantined(_) | Standing::Alias, _) => {}
            }
        }
    }
    state.apply(&header, payload, |id| applied.contains(id));
    Ok(())
}

/// Stores a record's new state, enters it into the writer's scope, and moves its row in every scope that has it.
fn publish<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    before: Option<&RecordState>,
    state: &RecordState,
    enter: Option<ScopeId>,
) -> Result<(), HubError<L::Error>> {
    ledger.put_state(state)?;
    let lane = (rulebook.lane)(state.kind);
    let bucket = proof::bucket_of(state.record);
    let plus = rulebook.key.leaf(state);
    let minus = before.map_or(Sum::default(), |before| rulebook.key.leaf(before));
    let mut rows = ledger.rows_of(state.record)?;
    rows.retain(|(_, standing)| standing.is_in_scope());
    for (scope, _) in &rows {
        ledger.add_to_bucket(*scope, lane, bucket, plus, minus)?;
    }
    if let Some(scope) = enter.filter(|_| (rulebook.enters_site)(state.kind)) {
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
        ledger.move_to_tail(scope, lane, state.record, standing)?;
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
    let Some((header, payload)) = author::compose(draft, stamp, dot, before.as_ref(), before.as_ref()) else {
        return Ok(None);
    };
    (rulebook.admit)(&header, &payload).map_err(HubError::Refused)?;
    let change = Change::new(&header, stamp.salt, &payload);
    if change.bytes() > CHANGE_MAX_BYTES {
        return Err(HubError::TooLarge { bytes: change.bytes() });
    }

    let mut state = before
        .clone()
        .unwrap_or_else(|| RecordState::new(draft.kind, draft.record));
    apply(ledger, &mut state, &header, &payload)?;
    head.counter = dot.counter;
    head.hash = change.link(head.hash);
    ledger.keep(&KeptChange {
        dot,
        header: Some(header),
        change,
        hash: head.hash,
        standing: Standing::Applied,
    })?;
    ledger.set_chain(replica, &head)?;
    publish(ledger, rulebook, before.as_ref(), &state, scope)?;
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
    let mut state = before.clone();
    apply(ledger, &mut state, &header, &payload)?;
    ledger.set_standing(kept.dot, Standing::Applied)?;
    publish(ledger, rulebook, Some(&before), &state, None)?;
    Ok(true)
}

/// Answers a pull from one snapshot: a page for every lane that has something, higher lanes first, within the asked
/// budget. A lane at its head gets an empty page with its root, so that every completed pull is a proof. `shared` are the
/// scopes that a replica of the site may pull beside the site's own.
pub fn handle_pull<L: HubLedger>(
    ledger: &mut L,
    site: ScopeId,
    shared: &[ScopeId],
    request: &PullRequest,
) -> Result<Vec<Page>, HubError<L::Error>> {
    let epoch = ledger.epoch()?;
    if request.epoch != epoch {
        return Err(HubError::OtherEpoch);
    }
    let head = chain_of(ledger, request.replica, site)?;
    let mut cursors = request.cursors.clone();
    cursors.sort_by_key(|cursor| (cursor.lane, cursor.scope));
    let mut left = request.bytes_max;
    let mut pages = Vec::new();
    for cursor in cursors {
        if cursor.scope != site && !shared.contains(&cursor.scope) {
            return Err(HubError::ForeignScope);
        }
        if left == 0 {
            break;
        }
        let page = page_after(ledger, epoch, request.replica, &head, &cursor, left)?;
        left = left.saturating_sub(page.rows.iter().map(|row| row.bytes).sum());
        pages.push(page);
    }
    Ok(pages)
}

fn page_after<L: HubLedger>(
    ledger: &mut L,
    epoch: EpochId,
    replica: ReplicaId,
    head: &ChainHead,
    cursor: &Cursor,
    bytes_max: u64,
) -> Result<Page, HubError<L::Error>> {
    let (last, generation) = ledger.feed_head(cursor.scope, cursor.lane)?;
    let from = if generation == cursor.generation {
        cursor.sequence
    } else {
        0
    };
    let rows = ledger.rows_after(cursor.scope, cursor.lane, from, bytes_max)?;
    let to = rows.last().map_or(last.max(from), |row| row.sequence);
    let root = if to >= last {
        Some(proof::root(
            cursor.scope,
            cursor.lane,
            ledger.bucket_sums(cursor.scope, cursor.lane)?,
        ))
    } else {
        None
    };
    Ok(Page {
        epoch,
        replica,
        accepted: head.counter,
        hash: head.hash,
        scope: cursor.scope,
        lane: cursor.lane,
        generation,
        from: cursor.sequence,
        to,
        head: last,
        rows,
        root,
    })
}
