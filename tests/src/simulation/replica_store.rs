//! An agent's ledger in memory. A transaction is a copy: what is not swapped in was rolled back. A fuse burns down with
//! every operation and, at its end, crashes the agent in the middle of whatever it was doing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sync_protocol::change::genesis;
use sync_protocol::proof::Sum;
use sync_protocol::replica::{HeldAck, OwnChange, Place, ReplicaHead, ReplicaLedger};
use sync_protocol::wire::{Cursor, Returned};
use sync_protocol::{ChangeId, Dot, EpochId, Hash, Lane, RecordId, RecordState, ReplicaId, ScopeId, Signature};

use super::trace::{Failure, Invariant};

/// Why an operation of a ledger did not happen.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum StoreError {
    #[error("crashed")]
    Crashed,
    #[error(transparent)]
    Broken(#[from] Failure),
}

pub(crate) fn broken<T>(invariant: Invariant, detail: String) -> Result<T, StoreError> {
    Err(StoreError::Broken(Failure::new(invariant, detail)))
}

/// How many more operations until the crash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fuse(pub(crate) Option<u64>);

impl Fuse {
    pub(crate) fn burn(&mut self) -> Result<(), StoreError> {
        match &mut self.0 {
            Some(0) => Err(StoreError::Crashed),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) own: OwnChange,
    pub(crate) settled: bool,
}

#[derive(Clone)]
pub(crate) struct ReplicaStore {
    pub(crate) head: ReplicaHead,
    /// Of every incarnation: counter to hash and to place in `own`.
    chains: BTreeMap<ReplicaId, BTreeMap<u64, (Hash, u64)>>,
    acks: Vec<HeldAck>,
    pub(crate) signatures: BTreeMap<RecordId, Signature>,
    own: BTreeMap<u64, Arc<Own>>,
    pub(crate) quarantined: BTreeMap<ChangeId, u16>,
    pub(crate) bases: BTreeMap<RecordId, (Place, Arc<RecordState>)>,
    /// Bases that their scope has let go of, kept for an own change that is still to be pushed.
    pub(crate) let_go: BTreeSet<RecordId>,
    /// Own changes on records that were purged: no longer shown here.
    pub(crate) forgotten: BTreeSet<ChangeId>,
    /// Those of them that the hub holds for good: their content is gone.
    pub(crate) erased: BTreeSet<ChangeId>,
    pub(crate) views: BTreeMap<RecordId, Arc<RecordState>>,
    cursors: Vec<Cursor>,
    sums: BTreeMap<(ScopeId, Lane, u8), Sum>,
    pub(crate) fuse: Fuse,
}

impl ReplicaStore {
    /// The hub's words as they stand in another.
    pub(crate) fn take_words_of(&mut self, other: &ReplicaStore) {
        self.acks.clone_from(&other.acks);
    }

    pub(crate) fn new(replica: ReplicaId, epoch: EpochId, scope: ScopeId) -> ReplicaStore {
        let lanes = [Lane::Safety, Lane::Flow, Lane::Schedule];
        let cursors = lanes.map(|lane| Cursor {
            scope,
            lane,
            generation: 1,
            sequence: 0,
        });
        ReplicaStore::with_cursors(replica, epoch, cursors.to_vec())
    }

    pub(crate) fn with_cursors(replica: ReplicaId, epoch: EpochId, cursors: Vec<Cursor>) -> ReplicaStore {
        ReplicaStore {
            head: ReplicaHead::born(replica, epoch),
            chains: BTreeMap::new(),
            acks: Vec::new(),
            signatures: BTreeMap::new(),
            own: BTreeMap::new(),
            quarantined: BTreeMap::new(),
            bases: BTreeMap::new(),
            let_go: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            erased: BTreeSet::new(),
            views: BTreeMap::new(),
            cursors,
            sums: BTreeMap::new(),
            fuse: Fuse::default(),
        }
    }

    /// Knows nothing of the feed any more; its own chain stays.
    pub(crate) fn forget_feed(&mut self) {
        self.bases.clear();
        self.signatures.clear();
        self.let_go.clear();
        self.views.clear();
        self.sums.clear();
        for cursor in &mut self.cursors {
            cursor.sequence = 0;
        }
    }

    pub(crate) fn view(&self, record: RecordId) -> Option<&RecordState> {
        self.views.get(&record).map(AsRef::as_ref)
    }

    pub(crate) fn unsettled(&self) -> impl Iterator<Item = &OwnChange> {
        self.own.values().filter(|own| !own.settled).map(|own| &own.own)
    }

    /// The hash of the current incarnation's chain.
    pub(crate) fn hash_at(&self, counter: u64) -> Option<Hash> {
        let chain = self.chains.get(&self.head.replica)?;
        chain.get(&counter).map(|(hash, _)| *hash)
    }

    /// How many changes the current incarnation's chain has.
    pub(crate) fn length(&self) -> usize {
        self.chains.get(&self.head.replica).map_or(0, BTreeMap::len)
    }

    /// Whether this store has the change, be it pushed or not.
    pub(crate) fn has_own(&self, change: ChangeId) -> bool {
        self.own.values().any(|own| own.own.header.change == change)
    }

    pub(crate) fn cursor_list(&self) -> &[Cursor] {
        &self.cursors
    }

    /// The lie of `no-rebirth`: before anything is compared the store takes the hub's word for its chain at `counter`,
    /// and hangs what it has after that on it.
    pub(crate) fn adopt(&mut self, replica: ReplicaId, counter: u64, hash: Hash) {
        if replica != self.head.replica || counter == 0 {
            return;
        }
        let chain = self.chains.entry(replica).or_default();
        let mut last = hash;
        if let Some(place) = chain.get(&counter).map(|(_, place)| *place) {
            chain.insert(counter, (hash, place));
        }
        let later: Vec<(u64, u64)> = chain.range(counter + 1..).map(|(n, (_, place))| (*n, *place)).collect();
        for (n, place) in later {
            if let Some(own) = self.own.get(&place) {
                last = own.own.change.link(last);
                chain.insert(n, (last, place));
            }
        }
        self.head.counter = self.head.counter.max(counter);
        self.head.accepted = self.head.accepted.min(counter);
        self.head.hash = last;
        chain.entry(counter).or_insert((hash, u64::MAX));
    }

    fn stable_of(&self, replica: ReplicaId) -> u64 {
        let held = self.acks.iter().find(|held| held.ack.replica == replica);
        held.map_or(0, |held| held.ack.stable)
    }
}

impl ReplicaLedger for ReplicaStore {
    type Error = StoreError;

    fn head(&mut self) -> Result<ReplicaHead, StoreError> {
        self.fuse.burn()?;
        Ok(self.head)
    }

    fn set_head(&mut self, head: &ReplicaHead) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.head = *head;
        Ok(())
    }

    fn own_hash(&mut self, dot: Dot) -> Result<Option<Hash>, StoreError> {
        self.fuse.burn()?;
        let chain = self.chains.get(&dot.replica);
        Ok(chain.and_then(|chain| chain.get(&dot.counter)).map(|(hash, _)| *hash))
    }

    fn append(&mut self, own: &OwnChange) -> Result<(), StoreError> {
        self.fuse.burn()?;
        let place = self.own.last_key_value().map_or(0, |(place, _)| place + 1);
        self.hang(own, place)?;
        self.own.insert(
            place,
            Arc::new(Own {
                own: own.clone(),
                settled: false,
            }),
        );
        Ok(())
    }

    fn own_after(&mut self, after: Dot, bytes_max: usize) -> Result<Vec<OwnChange>, StoreError> {
        self.fuse.burn()?;
        let (mut run, mut bytes) = (Vec::new(), 0);
        let chain = self.chains.get(&after.replica).into_iter();
        for (hash, place) in chain
            .flat_map(|chain| chain.range(after.counter + 1..))
            .map(|(_, entry)| *entry)
        {
            let Some(own) = self.own.get(&place) else { continue };
            if self.erased.contains(&own.own.header.change) {
                continue;
            }
            bytes += own.own.change.bytes();
            if !run.is_empty() && bytes > bytes_max {
                break;
            }
            run.push(OwnChange {
                hash,
                ..own.own.clone()
            });
        }
        Ok(run)
    }

    fn restamp(&mut self, own: &OwnChange) -> Result<(), StoreError> {
        self.fuse.burn()?;
        let found = self
            .own
            .iter()
            .find(|(_, kept)| kept.own.header.change == own.header.change);
        let Some((place, before)) = found.map(|(place, kept)| (*place, kept.own.header.dot)) else {
            return broken(
                Invariant::EngineSound,
                "a change was restamped that this store never wrote".to_owned(),
            );
        };
        if let Some(chain) = self.chains.get_mut(&before.replica) {
            chain.remove(&before.counter);
        }
        self.hang(own, place)?;
        self.own.insert(
            place,
            Arc::new(Own {
                own: own.clone(),
                settled: false,
            }),
        );
        self.forgotten.remove(&own.header.change);
        Ok(())
    }

    fn pending(&mut self, record: RecordId) -> Result<Vec<OwnChange>, StoreError> {
        self.fuse.burn()?;
        Ok(self
            .unsettled()
            .filter(|own| own.header.record == record)
            .cloned()
            .collect())
    }

    fn settle(&mut self, change: ChangeId) -> Result<(), StoreError> {
        self.fuse.burn()?;
        for own in self.own.values_mut().filter(|own| own.own.header.change == change) {
            *own = Arc::new(Own {
                settled: true,
                ..(**own).clone()
            });
        }
        self.quarantined.remove(&change);
        Ok(())
    }

    fn note_quarantined(&mut self, dot: Dot, reason: u16) -> Result<(), StoreError> {
        self.fuse.burn()?;
        let entry = self.chains.get(&dot.replica).and_then(|chain| chain.get(&dot.counter));
        let own = entry.and_then(|(_, place)| self.own.get(place));
        if let Some(own) = own.filter(|own| !own.settled) {
            self.quarantined.insert(own.own.header.change, reason);
        }
        Ok(())
    }

    fn acks(&mut self) -> Result<Vec<HeldAck>, StoreError> {
        self.fuse.burn()?;
        Ok(self.acks.clone())
    }

    fn put_ack(&mut self, held: &HeldAck) -> Result<(), StoreError> {
        self.fuse.burn()?;
        match self.acks.iter_mut().find(|other| other.ack.replica == held.ack.replica) {
            Some(other) => *other = *held,
            None => self.acks.push(*held),
        }
        Ok(())
    }

    fn drop_ack(&mut self, replica: ReplicaId) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.acks.retain(|held| held.ack.replica != replica);
        Ok(())
    }

    fn forget_stable(&mut self, upto: Dot) -> Result<(), StoreError> {
        self.fuse.burn()?;
        let stable = self.own.values().filter(|own| {
            let dot = own.own.header.dot;
            own.settled && dot.replica == upto.replica && dot.counter <= upto.counter
        });
        let forgotten = stable
            .map(|own| own.own.header.change)
            .filter(|id| self.forgotten.contains(id));
        let erased: Vec<ChangeId> = forgotten.collect();
        self.erased.extend(erased);
        Ok(())
    }

    fn base(&mut self, record: RecordId) -> Result<Option<RecordState>, StoreError> {
        self.fuse.burn()?;
        Ok(self.bases.get(&record).map(|(_, state)| (**state).clone()))
    }

    fn place(&mut self, record: RecordId) -> Result<Option<Place>, StoreError> {
        self.fuse.burn()?;
        let counted = self.bases.get(&record).filter(|_| !self.let_go.contains(&record));
        Ok(counted.map(|(place, _)| *place))
    }

    fn put_base(&mut self, place: Place, state: &RecordState, signature: Option<&Signature>) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.signatures.remove(&state.record);
        self.signatures
            .extend(signature.map(|signature| (state.record, *signature)));
        self.bases.insert(state.record, (place, Arc::new(state.clone())));
        self.let_go.remove(&state.record);
        Ok(())
    }

    fn let_go(&mut self, record: RecordId) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.let_go.insert(record);
        Ok(())
    }

    fn bases_after(&mut self, record: RecordId, bytes_max: usize) -> Result<Vec<Returned>, StoreError> {
        self.fuse.burn()?;
        let (mut states, mut bytes) = (Vec::new(), 0);
        let above = self.bases.iter().filter(|(id, _)| **id > record);
        for (record, (place, state)) in above {
            let Some(signature) = self.signatures.get(record) else {
                continue;
            };
            let state = state.to_bytes();
            bytes += state.len();
            if !states.is_empty() && bytes > bytes_max {
                break;
            }
            let counted = !self.let_go.contains(record);
            states.push(Returned {
                record: *record,
                scope: counted.then_some(place.scope),
                state,
                signature: *signature,
            });
        }
        Ok(states)
    }

    fn rewind(&mut self) -> Result<(), StoreError> {
        self.fuse.burn()?;
        for cursor in &mut self.cursors {
            (cursor.generation, cursor.sequence) = (0, 0);
        }
        Ok(())
    }

    fn purge(&mut self, record: RecordId) -> Result<(), StoreError> {
        self.fuse.burn()?;
        if self.unsettled().any(|own| own.header.record == record) {
            return broken(
                Invariant::NothingUnpushedPurged,
                format!("{record:?} is purged with an own change pending"),
            );
        }
        self.bases.remove(&record);
        self.signatures.remove(&record);
        self.let_go.remove(&record);
        self.views.remove(&record);
        let own = self.own.values().filter(|own| own.own.header.record == record);
        for header in own.map(|own| &own.own.header) {
            self.forgotten.insert(header.change);
            if header.dot.counter <= self.stable_of(header.dot.replica) {
                self.erased.insert(header.change);
            }
        }
        Ok(())
    }

    fn offers(&mut self, at_most: usize) -> Result<Vec<(RecordId, Place)>, StoreError> {
        self.fuse.burn()?;
        let offered = self
            .bases
            .iter()
            .filter(|(record, (place, _))| place.offered && !self.let_go.contains(record));
        Ok(offered
            .map(|(record, (place, _))| (*record, *place))
            .take(at_most)
            .collect())
    }

    fn shown(&mut self, record: RecordId) -> Result<Option<RecordState>, StoreError> {
        self.fuse.burn()?;
        Ok(self.view(record).cloned())
    }

    fn put_shown(&mut self, state: &RecordState) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.views.insert(state.record, Arc::new(state.clone()));
        Ok(())
    }

    fn cursors(&mut self) -> Result<Vec<Cursor>, StoreError> {
        self.fuse.burn()?;
        Ok(self.cursors.clone())
    }

    fn set_cursor(&mut self, cursor: &Cursor) -> Result<(), StoreError> {
        self.fuse.burn()?;
        let own = self
            .cursors
            .iter_mut()
            .find(|own| own.scope == cursor.scope && own.lane == cursor.lane);
        match own {
            Some(own) => *own = *cursor,
            None => self.cursors.push(*cursor),
        }
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
        self.fuse.burn()?;
        let sum = self.sums.entry((scope, lane, bucket)).or_default();
        *sum = sum.plus(plus).minus(minus);
        Ok(())
    }

    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, StoreError> {
        self.fuse.burn()?;
        Ok(self
            .sums
            .range((scope, lane, 0)..=(scope, lane, u8::MAX))
            .map(|((.., bucket), sum)| (*bucket, *sum))
            .collect())
    }
}

impl ReplicaStore {
    /// Hangs a change on the end of the chain, or says which invariant that would break.
    fn hang(&mut self, own: &OwnChange, place: u64) -> Result<(), StoreError> {
        let dot = own.header.dot;
        let chain = self.chains.entry(dot.replica).or_default();
        let last = chain.last_key_value();
        let (counter, previous) = last.map_or((0, genesis(dot.replica)), |(n, (hash, _))| (*n, *hash));
        if dot.replica != self.head.replica || dot.counter != counter + 1 {
            return broken(
                Invariant::CountersNeverReused,
                format!("{dot:?} was given after {counter}"),
            );
        }
        if own.change.link(previous) != own.hash {
            return broken(
                Invariant::EngineSound,
                format!("{dot:?} does not hang on the change before it"),
            );
        }
        chain.insert(dot.counter, (own.hash, place));
        Ok(())
    }
}
