//! The hub's end of the engine: verifying and keeping what replicas push, quarantining what cannot be used, and feeding
//! record states back in commit order. It alone verifies chains. It never removes a value that no change names.

mod clock;
mod epoch;
mod feed;
mod pull;
mod push;
mod repair;
mod returns;
mod snapshot;
mod writing;

use std::sync::Arc;

use crate::CHANGE_MAX_BYTES;
use crate::cbor::CborError;
use crate::change::{Change, Header, Payload, genesis};
use crate::ids::{BootId, ChangeId, Dot, EpochId, Hash, KindId, Lane, RecordId, ReplicaId, ScopeId};
use crate::proof::{ProofKey, Sum};
use crate::signed::{Ack, Seal, Signature};
use crate::state::RecordState;
use crate::wire::Row;

pub use epoch::{Cause, Epoch, Found, begin_epoch, handle_epoch};
pub use feed::{enter, handle_willing, offer};
pub use pull::handle_pull;
pub use push::{Pushed, handle_push};
pub use repair::{Compared, HubLeaves, handle_repair, recount};
pub use returns::{TakenBack, handle_return};
pub use snapshot::{Packed, SnapshotOf, admit_snapshot, answer_snapshot, next_chunk};
pub use writing::{author_at_hub, release};

/// The end of one replica's chain as the hub holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainHead {
    pub counter: u64,
    pub hash: Hash,
    /// The site whose replica it is; a change of it enters the record into that site's scope.
    pub scope: ScopeId,
    /// The epoch in which the incarnation was first seen. In a later one it goes on only up to what was acknowledged.
    pub epoch: EpochId,
    /// How much of the chain the hub held when its epoch began, where nothing had been written since the copy that it was
    /// restored from; else nothing.
    pub common: u64,
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
    /// Every epoch that this store knows of, in the order in which it came to know of them.
    fn epochs(&mut self) -> Result<Vec<Epoch>, Self::Error>;
    /// Ends the present epoch and begins another; where `cause` is [`Cause::Mark`] every chain is common up to its end.
    fn set_epoch(&mut self, epoch: EpochId, hub_replica: ReplicaId, cause: Cause) -> Result<(), Self::Error>;
    /// Notes an epoch that this store has lost, with [`Cause::Heard`]; the present one stays.
    fn hear_of_epoch(&mut self, epoch: EpochId) -> Result<(), Self::Error>;
    /// Up to where a chain is held for good: a confirmed backup covers it, or it is old enough.
    fn stable(&mut self, replica: ReplicaId) -> Result<u64, Self::Error>;
    /// The hash of a replica's chain at a counter of at least 1.
    fn hash_at(&mut self, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, Self::Error>;

    fn keep(&mut self, kept: KeptChange) -> Result<(), Self::Error>;
    /// The change under the dot it was first kept under, never an alias.
    fn find(&mut self, change: ChangeId) -> Result<Option<KeptChange>, Self::Error>;
    /// The change that is known under a dot, be it kept or only found in a returned state.
    fn id_at(&mut self, dot: Dot) -> Result<Option<ChangeId>, Self::Error>;
    /// The dot of a change that is known from a returned state alone.
    fn adopted(&mut self, change: ChangeId) -> Result<Option<(Dot, RecordId)>, Self::Error>;
    /// Notes under which dot such a change goes, in place of what was noted of it.
    fn adopt(&mut self, change: ChangeId, dot: Dot, record: RecordId) -> Result<(), Self::Error>;
    fn set_standing(&mut self, dot: Dot, standing: Standing) -> Result<(), Self::Error>;

    /// The hub's clock at the beginning of a boot's monotonic time, if that was ever estimated.
    fn boot_zero(&mut self, boot: BootId) -> Result<Option<u64>, Self::Error>;
    fn set_boot_zero(&mut self, boot: BootId, zero_ms: u64) -> Result<(), Self::Error>;

    fn state(&mut self, record: RecordId) -> Result<Option<Arc<RecordState>>, Self::Error>;
    /// Stores a state, with its canonical bytes. From the commit on, the hub's signature of what
    /// [`state_said`](crate::signed::state_said) makes of these is kept beside it and goes with its rows.
    fn put_state(&mut self, state: RecordState, canonical: Vec<u8>) -> Result<(), Self::Error>;

    /// The signature beside the record's state.
    fn signature(&mut self, record: RecordId) -> Result<Option<Signature>, Self::Error>;

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
    #[error("the replica shows that this store has gone back to an older copy")]
    GoneBack,
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
    pub const RECORD_FULL: u16 = 6;
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
    pub seal: Seal<'a>,
}

fn chain_of<L: HubLedger>(ledger: &mut L, replica: ReplicaId, site: ScopeId) -> Result<ChainHead, HubError<L::Error>> {
    match ledger.chain(replica)? {
        Some(head) if head.scope != site => Err(HubError::ForeignReplica),
        Some(head) => Ok(head),
        None => Ok(ChainHead {
            counter: 0,
            hash: genesis(replica),
            scope: site,
            epoch: ledger.epoch()?,
            common: 0,
        }),
    }
}

fn hash_at<L: HubLedger>(ledger: &mut L, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, HubError<L::Error>> {
    if counter == 0 {
        return Ok(Some(genesis(replica)));
    }
    Ok(ledger.hash_at(replica, counter)?)
}

/// The hub's word for how far it holds a chain.
fn acknowledge<L: HubLedger>(
    ledger: &mut L,
    seal: &Seal<'_>,
    replica: ReplicaId,
    head: &ChainHead,
) -> Result<Ack, HubError<L::Error>> {
    let (epoch, stable) = (ledger.epoch()?, ledger.stable(replica)?);
    Ok(Ack::sign(seal, epoch, replica, head.counter, head.hash, stable))
}
