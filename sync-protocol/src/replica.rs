//! The agent's end of the engine: writing, pushing, pulling, and taking a new identity when its own turns out to be
//! shared or gone back. It never applies a page before it has compared the hub's view of its chain with its own.

mod at_rest;
mod epoch;
mod freeze;
mod pull;
mod push;
mod rebirth;
mod repair;
mod snapshot;
mod writing;

use crate::CHANGE_MAX_BYTES;
use crate::cbor::CborError;
use crate::change::{Change, Header, genesis};
use crate::ids::{ChangeId, Dot, EpochId, Hash, Lane, RecordId, ReplicaId, ScopeId};
use crate::proof::Sum;
use crate::signed::{Ack, Signature};
use crate::state::{RecordState, STATE_MAX_BYTES};
use crate::wire::{Cursor, Returned};

pub use at_rest::{ProvenLane, ask_for_digest, compare_digest};
pub use epoch::{Entered, epoch_request, handle_epoch_reply, handle_return_reply, next_return};
pub use freeze::{FreezeLimits, LaneWatch, LaneWatches, Taken, Weighing, ask_on, take_page, thaw};
pub use pull::{Applied, PageOutcome, follow, handle_page, next_pull, pull_after};
pub use push::{PushedUpTo, handle_push_reply, next_push, push_after};
pub use rebirth::{Reborn, rebirth};
pub use repair::{Mended, RepairOutcome, ReplicaLeaves, handle_repair, narrow, next_repair, recount};
pub use snapshot::{ChunkOutcome, take_chunk};
pub use writing::{Written, author, show, to_show};

/// What the replica knows of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaHead {
    pub replica: ReplicaId,
    pub counter: u64,
    pub hash: Hash,
    /// The hub holds this incarnation's changes up to here.
    pub accepted: u64,
    pub epoch: EpochId,
    /// A new epoch has begun, and the bases of records above this one are still to be returned. Nothing is pulled before.
    pub returning: Option<RecordId>,
}

impl ReplicaHead {
    pub fn born(replica: ReplicaId, epoch: EpochId) -> ReplicaHead {
        ReplicaHead {
            replica,
            counter: 0,
            hash: genesis(replica),
            accepted: 0,
            epoch,
            returning: None,
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

/// The hub's word for one of this replica's incarnations, and how much of it the hub of the present epoch is known to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldAck {
    pub ack: Ack,
    pub at_hub: u64,
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

    /// The hash of the chain of one of this replica's incarnations at a counter of at least 1.
    fn own_hash(&mut self, dot: Dot) -> Result<Option<Hash>, Self::Error>;
    /// Stores a change of the current incarnation, as pending.
    fn append(&mut self, own: &OwnChange) -> Result<(), Self::Error>;
    /// Changes of an incarnation after a dot of it, in order, as many as fit, at least one if there is one. Those whose
    /// content is forgotten are left out.
    fn own_after(&mut self, after: Dot, bytes_max: usize) -> Result<Vec<OwnChange>, Self::Error>;
    /// Puts a change that was stored under another incarnation under this one, as pending; it keeps its id and its place in
    /// time.
    fn restamp(&mut self, own: &OwnChange) -> Result<(), Self::Error>;
    /// Own changes on a record that no base contains, in the order of writing, of any incarnation.
    fn pending(&mut self, record: RecordId) -> Result<Vec<OwnChange>, Self::Error>;
    /// Notes that a base contains the change.
    fn settle(&mut self, change: ChangeId) -> Result<(), Self::Error>;
    /// Notes that the hub could not use a change of this replica's, and why.
    fn note_quarantined(&mut self, dot: Dot, reason: u16) -> Result<(), Self::Error>;

    /// The hub's word for incarnations, the oldest first.
    fn acks(&mut self) -> Result<Vec<HeldAck>, Self::Error>;
    /// Keeps the hub's word for an incarnation in the place of an earlier one.
    fn put_ack(&mut self, held: &HeldAck) -> Result<(), Self::Error>;
    fn drop_ack(&mut self, replica: ReplicaId) -> Result<(), Self::Error>;
    /// The hub holds an incarnation's changes up to here for good: what was to be forgotten of them may be.
    fn forget_stable(&mut self, upto: Dot) -> Result<(), Self::Error>;

    fn base(&mut self, record: RecordId) -> Result<Option<RecordState>, Self::Error>;
    /// Where the base is counted; none when its scope has let go of it and it is kept for an own change that is still to be
    /// pushed.
    fn place(&mut self, record: RecordId) -> Result<Option<Place>, Self::Error>;
    fn put_base(&mut self, place: Place, state: &RecordState, signature: Option<&Signature>)
    -> Result<(), Self::Error>;
    /// Keeps the base and no longer counts it.
    fn let_go(&mut self, record: RecordId) -> Result<(), Self::Error>;
    /// Signed bases of the records above this one, in their order, as many as fit, at least one if there is one.
    fn bases_after(&mut self, record: RecordId, bytes_max: usize) -> Result<Vec<Returned>, Self::Error>;
    /// Puts every cursor back to the beginning of its lane.
    fn rewind(&mut self) -> Result<(), Self::Error>;
    /// Removes the base, what is shown, and the content of own changes on the record, so that nothing of it can be read
    /// here any more; what the hub does not hold for good yet goes with [`ReplicaLedger::forget_stable`]. The chain still
    /// verifies.
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
    #[error(
        "the record would be larger than the {STATE_MAX_BYTES} bytes that one may hold; change what stands there instead of \
         adding to it, or put large content in a blob"
    )]
    RecordFull,
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

fn chain_at<L: ReplicaLedger>(
    ledger: &mut L,
    head: &ReplicaHead,
    counter: u64,
) -> Result<Hash, ReplicaError<L::Error>> {
    if counter == 0 {
        return Ok(genesis(head.replica));
    }
    let replica = head.replica;
    ledger
        .own_hash(Dot { replica, counter })?
        .ok_or(ReplicaError::Gap { counter })
}

/// The hash of any own incarnation's chain.
fn hash_at<L: ReplicaLedger>(ledger: &mut L, dot: Dot) -> Result<Option<Hash>, ReplicaError<L::Error>> {
    if dot.counter == 0 {
        return Ok(Some(genesis(dot.replica)));
    }
    Ok(ledger.own_hash(dot)?)
}

/// Keeps the hub's word for one of this replica's incarnations, if it is for its chain and says no less than before; lets it
/// go when it says that everything is stable.
fn keep_ack<L: ReplicaLedger>(ledger: &mut L, ack: &Ack) -> Result<(), ReplicaError<L::Error>> {
    let (head, replica) = (ledger.head()?, ack.replica);
    let before = ledger.acks()?.into_iter().find(|held| held.ack.replica == replica);
    let is_current = replica == head.replica;
    let is_ours = is_current || before.is_some();
    let dot = Dot {
        replica,
        counter: ack.counter,
    };
    if !is_ours || ack.epoch != head.epoch || hash_at(ledger, dot)? != Some(ack.hash) {
        return Ok(());
    }
    if before.is_some_and(|held| held.ack.counter > ack.counter) {
        // It is being pushed again to a hub that has gone back; the older word says more.
        return Ok(());
    }
    ledger.put_ack(&HeldAck {
        ack: *ack,
        at_hub: ack.counter,
    })?;
    if before.is_none_or(|held| held.ack.stable < ack.stable) {
        ledger.forget_stable(Dot {
            replica,
            counter: ack.stable,
        })?;
    }
    if !is_current && ack.stable >= ack.counter {
        ledger.drop_ack(replica)?;
    }
    Ok(())
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
