//! An agent's ledger as a run uses it: the one in memory, with the lies of wrong protocols told in front of it, and, where
//! a store on a disk stands behind it, a list of everything that was asked of it, to be asked of that one too.

use std::ops::{Deref, DerefMut};

use sync_protocol::proof::Sum;
use sync_protocol::replica::{HeldAck, OwnChange, Place, ReplicaHead, ReplicaLedger};
use sync_protocol::wire::{Cursor, Returned};
use sync_protocol::{ChangeId, Dot, Hash, Lane, RecordId, RecordState, ReplicaId, ScopeId, Signature};

use super::leaf;
use super::replica_store::{ReplicaStore, StoreError};
use super::variant::Variant;

/// One thing that the engine asked of the ledger, with the answer where it was a question.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Head(ReplicaHead),
    SetHead(ReplicaHead),
    OwnHash(Dot, Option<Hash>),
    Append(Box<OwnChange>),
    OwnAfter(Dot, usize, Vec<OwnChange>),
    Restamp(Box<OwnChange>),
    Pending(RecordId, Vec<ChangeId>),
    Settle(ChangeId),
    NoteQuarantined(Dot, u16),
    Acks(Vec<HeldAck>),
    PutAck(HeldAck),
    DropAck(ReplicaId),
    ForgetStable(Dot),
    BasesAfter(RecordId, usize, Vec<Returned>),
    Rewind,
    Base(RecordId, Option<Box<RecordState>>),
    Place(RecordId, Option<Place>),
    PutBase(Place, Box<RecordState>, Option<Signature>),
    LetGo(RecordId),
    Purge(RecordId),
    Offers(usize, Vec<(RecordId, Place)>),
    Shown(RecordId, Option<Box<RecordState>>),
    PutShown(Box<RecordState>),
    Cursors(Vec<Cursor>),
    SetCursor(Cursor),
    AddToBucket(ScopeId, Lane, u8, Sum, Sum),
    BucketSums(ScopeId, Lane, Vec<(u8, Sum)>),
}

#[derive(Clone)]
pub(crate) struct AgentStore {
    memory: ReplicaStore,
    pub(crate) variant: Option<Variant>,
    /// What was asked since the transaction began, if somebody wants to know.
    pub(crate) calls: Option<Vec<Call>>,
    /// The record that the page at hand takes out of the scope.
    letting_go: Option<RecordId>,
}

impl AgentStore {
    pub(crate) fn new(memory: ReplicaStore, variant: Option<Variant>) -> AgentStore {
        AgentStore {
            memory,
            variant,
            calls: None,
            letting_go: None,
        }
    }

    fn note(&mut self, call: impl FnOnce() -> Call) {
        if let Some(calls) = &mut self.calls {
            calls.push(call());
        }
    }
}

impl Deref for AgentStore {
    type Target = ReplicaStore;

    fn deref(&self) -> &ReplicaStore {
        &self.memory
    }
}

impl DerefMut for AgentStore {
    fn deref_mut(&mut self) -> &mut ReplicaStore {
        &mut self.memory
    }
}

impl ReplicaLedger for AgentStore {
    type Error = StoreError;

    fn head(&mut self) -> Result<ReplicaHead, StoreError> {
        let head = self.memory.head()?;
        self.note(|| Call::Head(head));
        Ok(head)
    }

    fn set_head(&mut self, head: &ReplicaHead) -> Result<(), StoreError> {
        self.memory.set_head(head)?;
        self.note(|| Call::SetHead(*head));
        Ok(())
    }

    fn own_hash(&mut self, dot: Dot) -> Result<Option<Hash>, StoreError> {
        let hash = self.memory.own_hash(dot)?;
        self.note(|| Call::OwnHash(dot, hash));
        Ok(hash)
    }

    fn append(&mut self, own: &OwnChange) -> Result<(), StoreError> {
        self.memory.append(own)?;
        self.note(|| Call::Append(Box::new(own.clone())));
        Ok(())
    }

    fn own_after(&mut self, after: Dot, bytes_max: usize) -> Result<Vec<OwnChange>, StoreError> {
        let run = self.memory.own_after(after, bytes_max)?;
        self.note(|| Call::OwnAfter(after, bytes_max, run.clone()));
        Ok(run)
    }

    fn restamp(&mut self, own: &OwnChange) -> Result<(), StoreError> {
        self.memory.restamp(own)?;
        self.note(|| Call::Restamp(Box::new(own.clone())));
        Ok(())
    }

    fn pending(&mut self, record: RecordId) -> Result<Vec<OwnChange>, StoreError> {
        let mut pending = self.memory.pending(record)?;
        if self.variant == Some(Variant::PurgeBeforePush) && self.letting_go == Some(record) {
            pending.clear();
        }
        self.note(|| Call::Pending(record, pending.iter().map(|own| own.header.change).collect()));
        Ok(pending)
    }

    fn settle(&mut self, change: ChangeId) -> Result<(), StoreError> {
        self.memory.settle(change)?;
        self.note(|| Call::Settle(change));
        Ok(())
    }

    fn note_quarantined(&mut self, dot: Dot, reason: u16) -> Result<(), StoreError> {
        self.memory.note_quarantined(dot, reason)?;
        self.note(|| Call::NoteQuarantined(dot, reason));
        Ok(())
    }

    fn acks(&mut self) -> Result<Vec<HeldAck>, StoreError> {
        let acks = self.memory.acks()?;
        self.note(|| Call::Acks(acks.clone()));
        Ok(acks)
    }

    fn put_ack(&mut self, held: &HeldAck) -> Result<(), StoreError> {
        let mut held = *held;
        if self.variant == Some(Variant::AcknowledgedNotPushedAgain) {
            held.at_hub = held.ack.counter;
        }
        self.memory.put_ack(&held)?;
        self.note(|| Call::PutAck(held));
        Ok(())
    }

    fn drop_ack(&mut self, replica: ReplicaId) -> Result<(), StoreError> {
        self.memory.drop_ack(replica)?;
        self.note(|| Call::DropAck(replica));
        Ok(())
    }

    fn forget_stable(&mut self, upto: Dot) -> Result<(), StoreError> {
        self.memory.forget_stable(upto)?;
        self.note(|| Call::ForgetStable(upto));
        Ok(())
    }

    fn bases_after(&mut self, record: RecordId, bytes_max: usize) -> Result<Vec<Returned>, StoreError> {
        if self.variant == Some(Variant::StatesNotReturned) {
            return Ok(Vec::new());
        }
        let bases = self.memory.bases_after(record, bytes_max)?;
        self.note(|| Call::BasesAfter(record, bytes_max, bases.clone()));
        Ok(bases)
    }

    fn rewind(&mut self) -> Result<(), StoreError> {
        if self.variant == Some(Variant::OldEpochCursor) {
            return Ok(());
        }
        self.memory.rewind()?;
        self.note(|| Call::Rewind);
        Ok(())
    }

    fn base(&mut self, record: RecordId) -> Result<Option<RecordState>, StoreError> {
        let base = self.memory.base(record)?;
        self.note(|| Call::Base(record, base.clone().map(Box::new)));
        Ok(base)
    }

    fn place(&mut self, record: RecordId) -> Result<Option<Place>, StoreError> {
        let place = self.memory.place(record)?;
        self.note(|| Call::Place(record, place));
        Ok(place)
    }

    fn put_base(&mut self, place: Place, state: &RecordState, signature: Option<&Signature>) -> Result<(), StoreError> {
        self.letting_go = None;
        self.memory.put_base(place, state, signature)?;
        self.note(|| Call::PutBase(place, Box::new(state.clone()), signature.copied()));
        Ok(())
    }

    fn let_go(&mut self, record: RecordId) -> Result<(), StoreError> {
        self.letting_go = Some(record);
        self.memory.let_go(record)?;
        self.note(|| Call::LetGo(record));
        Ok(())
    }

    fn purge(&mut self, record: RecordId) -> Result<(), StoreError> {
        self.letting_go = None;
        self.memory.purge(record)?;
        self.note(|| Call::Purge(record));
        Ok(())
    }

    fn offers(&mut self, at_most: usize) -> Result<Vec<(RecordId, Place)>, StoreError> {
        let offers = self.memory.offers(at_most)?;
        self.note(|| Call::Offers(at_most, offers.clone()));
        Ok(offers)
    }

    fn shown(&mut self, record: RecordId) -> Result<Option<RecordState>, StoreError> {
        let shown = self.memory.shown(record)?;
        self.note(|| Call::Shown(record, shown.clone().map(Box::new)));
        Ok(shown)
    }

    fn put_shown(&mut self, state: &RecordState) -> Result<(), StoreError> {
        self.memory.put_shown(state)?;
        self.note(|| Call::PutShown(Box::new(state.clone())));
        Ok(())
    }

    fn cursors(&mut self) -> Result<Vec<Cursor>, StoreError> {
        let cursors = self.memory.cursors()?;
        self.note(|| Call::Cursors(cursors.clone()));
        Ok(cursors)
    }

    fn set_cursor(&mut self, cursor: &Cursor) -> Result<(), StoreError> {
        self.memory.set_cursor(cursor)?;
        self.note(|| Call::SetCursor(*cursor));
        Ok(())
    }

    fn add_to_bucket(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        bucket: u8,
        plus: Sum,
        minus: Sum,
    ) -> Result<(), StoreError> {
        self.memory.add_to_bucket(scope, lane, bucket, plus, minus)?;
        self.note(|| Call::AddToBucket(scope, lane, bucket, plus, minus));
        Ok(())
    }

    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, StoreError> {
        if let Some(wrong) = leaf::of_variant(self.variant) {
            let counted = self
                .memory
                .bases
                .iter()
                .filter(|(record, _)| !self.memory.let_go.contains(record));
            let states = counted.map(|(_, (place, state))| (*place, state.as_ref()));
            let here = states.filter(|(place, _)| (place.scope, place.lane) == (scope, lane));
            return Ok(leaf::sums(wrong, here.map(|(_, state)| state)));
        }
        let sums = self.memory.bucket_sums(scope, lane)?;
        self.note(|| Call::BucketSums(scope, lane, sums.clone()));
        Ok(sums)
    }
}
