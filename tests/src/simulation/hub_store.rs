//! The hub's ledger in memory, transactional like the agent's. Beside what the engine asks for it keeps, for the checks,
//! which changes each state is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sync_protocol::hub::{Cause, ChainHead, Epoch, HubLedger, KeptChange, RowStanding, Standing};
use sync_protocol::ids::BootId;
use sync_protocol::proof::{ProofKey, Sum, bucket_of};
use sync_protocol::signed::state_said;
use sync_protocol::wire::{Row, Told};
use sync_protocol::{
    ChangeId, Dot, EpochId, Hash, Lane, RecordId, RecordState, ReplicaId, ScopeId, Signature, VersionVector,
};

use super::leaf;
use super::records;
use super::replica_store::{Fuse, StoreError, broken};
use super::trace::Invariant;
use super::variant::Variant;
use super::world::SEAL;

/// What a state of one record is made of.
#[derive(Clone, Default)]
pub(crate) struct Origins {
    /// Changes that took effect, in that order.
    pub(crate) applied: Arc<Vec<ChangeId>>,
    /// Changes that took effect in lives of the store that ended, in states that were returned and joined to this one.
    pub(crate) returned: Arc<BTreeSet<ChangeId>>,
    /// Those of all these that the hub has not applied by their headers: what they did away with only states tell.
    pub(crate) nameless: BTreeSet<ChangeId>,
}

impl Origins {
    /// Every change that had its effect in this state, or in one that it was joined with.
    pub(crate) fn all(&self) -> BTreeSet<ChangeId> {
        self.applied.iter().chain(self.returned.iter()).copied().collect()
    }

    /// Two lives of the store came to the same state, by other ways.
    fn or(mut self, other: &Origins) -> Origins {
        if self.applied != other.applied || self.returned != other.returned {
            Arc::make_mut(&mut self.returned).extend(other.all());
        }
        self.nameless.extend(&other.nameless);
        self
    }
}

/// What each signed state is made of.
pub(crate) type MadeOf = BTreeMap<[u8; 64], Origins>;

#[derive(Clone, Default)]
pub(crate) struct Feed {
    pub(crate) head: u64,
    pub(crate) rows: BTreeMap<u64, RecordId>,
    pub(crate) place: BTreeMap<RecordId, (u64, RowStanding)>,
    sums: BTreeMap<u8, Sum>,
}

impl Feed {
    /// The records that the scope has in this lane, be they offered.
    pub(crate) fn held(&self) -> impl Iterator<Item = RecordId> {
        let held = self.place.iter().filter(|(_, (_, standing))| standing.is_in_scope());
        held.map(|(record, _)| *record)
    }
}

#[derive(Clone)]
pub(crate) struct HubStore {
    epochs: Vec<Epoch>,
    present: Epoch,
    chains: BTreeMap<ReplicaId, ChainHead>,
    boots: BTreeMap<BootId, u64>,
    /// Up to here a backup was confirmed, of each chain.
    stable: BTreeMap<ReplicaId, u64>,
    /// Known from returned states alone: where, and under which dot.
    pub(crate) adopted: BTreeMap<ChangeId, (Dot, RecordId)>,
    pub(crate) kept: BTreeMap<Dot, Arc<KeptChange>>,
    first: BTreeMap<ChangeId, Dot>,
    pub(crate) states: BTreeMap<RecordId, Arc<RecordState>>,
    signatures: BTreeMap<RecordId, Signature>,
    pub(crate) made_of: MadeOf,
    pub(crate) feeds: BTreeMap<(ScopeId, Lane), Feed>,
    /// Applied changes of each record, in the order of their effect.
    pub(crate) applied: BTreeMap<RecordId, Arc<Vec<ChangeId>>>,
    /// Of each record what took effect in the states that were returned of it.
    returned: BTreeMap<RecordId, Arc<BTreeSet<ChangeId>>>,
    /// The order in which dots were kept.
    pub(crate) arrivals: Arc<Vec<Dot>>,
    pub(crate) fuse: Fuse,
    key: Arc<ProofKey>,
    /// Changes on visits that this transaction heard of, with their dots, be it anew.
    pub(crate) heard: Vec<(ChangeId, Dot)>,
    pub(crate) variant: Option<Variant>,
    lie: Option<Lie>,
    /// The lie of `alias-changes-nothing`: the record whose state and row stay as they are.
    muted: Option<RecordId>,
    /// The lie of `alias-applied-again`: changes of the push at hand that it knows and does not look for.
    pub(crate) blind_to: BTreeSet<ChangeId>,
    /// The lie of `sequence-without-lock`: sequences that were drawn before the transaction that uses them.
    pub(crate) drawn: BTreeMap<(ScopeId, Lane), Vec<u64>>,
}

/// The lie of `removal-by-version-vector`: what each change's writer had in its vector, and the change being applied.
#[derive(Clone, Default)]
struct Lie {
    vectors: Arc<BTreeMap<ChangeId, VersionVector>>,
    applying: Option<ChangeId>,
}

impl HubStore {
    pub(crate) fn new(epoch: EpochId, replica: ReplicaId, key: ProofKey, variant: Option<Variant>) -> HubStore {
        let founded = Epoch {
            epoch,
            hub_replica: replica,
            cause: Cause::Founded,
        };
        HubStore {
            epochs: vec![founded],
            present: founded,
            chains: BTreeMap::new(),
            boots: BTreeMap::new(),
            stable: BTreeMap::new(),
            adopted: BTreeMap::new(),
            kept: BTreeMap::new(),
            first: BTreeMap::new(),
            states: BTreeMap::new(),
            signatures: BTreeMap::new(),
            made_of: MadeOf::default(),
            feeds: BTreeMap::new(),
            applied: BTreeMap::new(),
            returned: BTreeMap::new(),
            arrivals: Arc::default(),
            fuse: Fuse::default(),
            key: Arc::new(key),
            heard: Vec::new(),
            variant,
            lie: (variant == Some(Variant::RemovalByVersionVector)).then(Lie::default),
            muted: None,
            blind_to: BTreeSet::new(),
            drawn: BTreeMap::new(),
        }
    }

    pub(crate) fn current_epoch(&self) -> EpochId {
        self.present.epoch
    }

    /// Draws sequences of every feed of these scopes, for a transaction that will commit later.
    pub(crate) fn draw(&mut self, scopes: &[ScopeId], changes: usize) -> BTreeMap<(ScopeId, Lane), Vec<u64>> {
        let mut drawn = BTreeMap::new();
        for (scope, lane) in scopes.iter().flat_map(|scope| Lane::ALL.map(|lane| (*scope, lane))) {
            let feed = self.feeds.entry((scope, lane)).or_default();
            let taken = feed.head + 1..=feed.head + changes as u64;
            feed.head += changes as u64;
            drawn.insert((scope, lane), taken.rev().collect());
        }
        drawn
    }

    /// Tells the lying hub what the writer's vector was; an honest one does not care.
    pub(crate) fn note_vector(&mut self, change: ChangeId, vector: &VersionVector) {
        if let Some(lie) = &mut self.lie {
            Arc::make_mut(&mut lie.vectors).insert(change, vector.clone());
        }
    }

    /// What a signed state is made of, whichever life of this store it is from.
    pub(crate) fn made_of(&self, signature: &Signature) -> Option<&Origins> {
        self.made_of.get(&signature.0)
    }

    /// What the state of a record is made of now.
    pub(crate) fn origins(&self, record: RecordId) -> Origins {
        let mut origins = Origins {
            applied: self.applied.get(&record).cloned().unwrap_or_default(),
            returned: self.returned.get(&record).cloned().unwrap_or_default(),
            nameless: BTreeSet::new(),
        };
        if self.restored() {
            origins.nameless = origins.all();
            origins.nameless.retain(|change| {
                let kept = self.first_of(*change);
                kept.is_none_or(|kept| kept.standing != Standing::Applied)
            });
        }
        origins
    }

    /// A state of an earlier life of this store comes back.
    pub(crate) fn note_return(&mut self, record: RecordId, signature: &Signature) {
        if let Some(origins) = self.made_of.get(&signature.0) {
            let returned = Arc::make_mut(self.returned.entry(record).or_default());
            returned.extend(origins.all());
        }
    }

    pub(crate) fn epoch_now(&self) -> EpochId {
        self.present.epoch
    }

    /// The epochs that this store went through after it was founded.
    pub(crate) fn restored(&self) -> bool {
        self.epochs.len() > 1
    }

    /// What a copy of this store holds is safe.
    pub(crate) fn confirm(&mut self, copy: &HubStore) {
        for (replica, head) in &copy.chains {
            let stable = self.stable.entry(*replica).or_insert(0);
            *stable = head.counter.max(*stable);
        }
    }

    pub(crate) fn applied_to(&self, record: RecordId) -> &[ChangeId] {
        self.applied.get(&record).map_or(&[], |applied| applied.as_slice())
    }

    /// The change under its first dot.
    pub(crate) fn first_of(&self, change: ChangeId) -> Option<&KeptChange> {
        self.kept.get(self.first.get(&change)?).map(AsRef::as_ref)
    }

    pub(crate) fn is_quarantined(&self, change: ChangeId) -> bool {
        self.first_of(change)
            .is_some_and(|kept| matches!(kept.standing, Standing::Quarantined(_)))
    }

    pub(crate) fn quarantined(&self) -> Vec<(ChangeId, u16)> {
        let standing = |kept: &KeptChange| match (&kept.header, kept.standing) {
            (Some(header), Standing::Quarantined(reason)) => Some((header.change, reason)),
            (_, Standing::Quarantined(reason)) => Some((ChangeId::NIL, reason)),
            (_, Standing::Applied | Standing::Alias) => None,
        };
        self.arrivals
            .iter()
            .filter_map(|dot| self.kept.get(dot))
            .filter_map(|kept| standing(kept))
            .collect()
    }

    /// A task is to be made of it, unless there is one.
    fn hear(&mut self, kept: &KeptChange) {
        let header = kept.header.as_ref().filter(|header| header.kind == records::VISIT);
        let works = match kept.standing {
            Standing::Applied => true,
            Standing::Alias => header.is_some_and(|header| self.applied_to(header.record).contains(&header.change)),
            Standing::Quarantined(_) => false,
        };
        self.heard
            .extend(header.filter(|_| works).map(|header| (header.change, kept.dot)));
    }

    fn note_applied(&mut self, kept: &KeptChange) -> Result<(), StoreError> {
        let Some(header) = &kept.header else { return Ok(()) };
        let applied = Arc::make_mut(self.applied.entry(header.record).or_default());
        if self.adopted.contains_key(&header.change) {
            // It took effect with the state that it was found in.
            return Ok(());
        }
        if applied.contains(&header.change) {
            return broken(
                Invariant::EffectOnce,
                format!("{:?} was applied again as {:?}", header.change, kept.dot),
            );
        }
        applied.push(header.change);
        if let Some(lie) = &mut self.lie {
            lie.applying = Some(header.change);
        }
        Ok(())
    }

    fn without_covered(&mut self, mut state: RecordState) -> RecordState {
        let lie = self
            .lie
            .as_mut()
            .and_then(|lie| Some((lie.applying.take()?, lie.vectors.clone())));
        if let Some((change, vectors)) = lie
            && let Some(vector) = vectors.get(&change)
        {
            for register in state
                .registers
                .values_mut()
                .filter(|register| register.values.contains_key(&change))
            {
                register
                    .values
                    .retain(|id, live| *id == change || !vector.contains(live.origin.dot));
            }
        }
        state
    }
}

impl HubLedger for HubStore {
    type Error = StoreError;

    fn epoch(&mut self) -> Result<EpochId, StoreError> {
        self.fuse.burn()?;
        Ok(self.present.epoch)
    }

    fn hub_replica(&mut self) -> Result<ReplicaId, StoreError> {
        self.fuse.burn()?;
        Ok(self.present.hub_replica)
    }

    fn epochs(&mut self) -> Result<Vec<Epoch>, StoreError> {
        self.fuse.burn()?;
        Ok(self.epochs.clone())
    }

    fn boot_zero(&mut self, boot: BootId) -> Result<Option<u64>, StoreError> {
        self.fuse.burn()?;
        Ok(self.boots.get(&boot).copied())
    }

    fn set_boot_zero(&mut self, boot: BootId, zero_ms: u64) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.boots.insert(boot, zero_ms);
        Ok(())
    }

    fn set_epoch(&mut self, epoch: EpochId, hub_replica: ReplicaId, cause: Cause) -> Result<(), StoreError> {
        self.fuse.burn()?;
        for head in self.chains.values_mut() {
            head.common = if cause == Cause::Mark { head.counter } else { 0 };
        }
        self.present = Epoch {
            epoch,
            hub_replica,
            cause,
        };
        self.epochs.push(self.present);
        Ok(())
    }

    fn hear_of_epoch(&mut self, epoch: EpochId) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.epochs.push(Epoch {
            epoch,
            hub_replica: ReplicaId::NIL,
            cause: Cause::Heard,
        });
        Ok(())
    }

    fn stable(&mut self, replica: ReplicaId) -> Result<u64, StoreError> {
        self.fuse.burn()?;
        Ok(self.stable.get(&replica).copied().unwrap_or(0))
    }

    fn id_at(&mut self, dot: Dot) -> Result<Option<ChangeId>, StoreError> {
        self.fuse.burn()?;
        let kept = self.kept.get(&dot).and_then(|kept| kept.header.as_ref());
        let adopted = || self.adopted.iter().find(|(_, (at, _))| *at == dot).map(|(id, _)| *id);
        Ok(kept.map(|header| header.change).or_else(adopted))
    }

    fn adopted(&mut self, change: ChangeId) -> Result<Option<(Dot, RecordId)>, StoreError> {
        self.fuse.burn()?;
        Ok(self.adopted.get(&change).copied())
    }

    fn adopt(&mut self, change: ChangeId, dot: Dot, record: RecordId) -> Result<(), StoreError> {
        self.fuse.burn()?;
        if self.adopted.insert(change, (dot, record)).is_none() {
            let applied = Arc::make_mut(self.applied.entry(record).or_default());
            if !applied.contains(&change) {
                applied.push(change);
            }
        }
        Ok(())
    }

    fn chain(&mut self, replica: ReplicaId) -> Result<Option<ChainHead>, StoreError> {
        self.fuse.burn()?;
        Ok(self.chains.get(&replica).copied())
    }

    fn set_chain(&mut self, replica: ReplicaId, head: &ChainHead) -> Result<(), StoreError> {
        self.fuse.burn()?;
        self.chains.insert(replica, *head);
        Ok(())
    }

    fn hash_at(&mut self, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, StoreError> {
        self.fuse.burn()?;
        Ok(self.kept.get(&Dot { replica, counter }).map(|kept| kept.hash))
    }

    fn keep(&mut self, kept: KeptChange) -> Result<(), StoreError> {
        self.fuse.burn()?;
        let kept = Arc::new(kept);
        if self.kept.insert(kept.dot, kept.clone()).is_some() {
            return broken(Invariant::DotNamesOneContent, format!("{:?} was kept again", kept.dot));
        }
        Arc::make_mut(&mut self.arrivals).push(kept.dot);
        if let Some(header) = kept.header.as_ref().filter(|_| kept.standing != Standing::Alias) {
            self.first.entry(header.change).or_insert(kept.dot);
        }
        if kept.standing == Standing::Alias && self.variant == Some(Variant::AliasChangesNothing) {
            self.muted = kept.header.as_ref().map(|header| header.record);
        }
        if kept.standing == Standing::Applied {
            self.note_applied(&kept)?;
        }
        self.hear(&kept);
        Ok(())
    }

    fn find(&mut self, change: ChangeId) -> Result<Option<KeptChange>, StoreError> {
        self.fuse.burn()?;
        self.muted = None;
        Ok(self
            .first_of(change)
            .filter(|_| !self.blind_to.contains(&change))
            .cloned())
    }

    fn set_standing(&mut self, dot: Dot, standing: Standing) -> Result<(), StoreError> {
        self.fuse.burn()?;
        let Some(kept) = self.kept.get_mut(&dot) else {
            return broken(Invariant::EngineSound, format!("{dot:?} was never kept"));
        };
        let after = KeptChange {
            standing,
            ..(**kept).clone()
        };
        *kept = Arc::new(after.clone());
        if standing == Standing::Applied {
            self.note_applied(&after)?;
        }
        self.hear(&after);
        Ok(())
    }

    fn state(&mut self, record: RecordId) -> Result<Option<Arc<RecordState>>, StoreError> {
        self.fuse.burn()?;
        self.muted = None;
        Ok(self.states.get(&record).cloned())
    }

    fn put_state(&mut self, state: RecordState, canonical: Vec<u8>) -> Result<(), StoreError> {
        self.fuse.burn()?;
        if self.muted == Some(state.record) {
            return Ok(());
        }
        let signature = (SEAL.sign)(&state_said(&canonical));
        self.signatures.insert(state.record, signature);
        let record = state.record;
        let origins = self.origins(record);
        let origins = match self.made_of.get(&signature.0) {
            Some(before) => origins.or(before),
            None => origins,
        };
        self.made_of.insert(signature.0, origins);
        let stored = self.without_covered(state);
        self.states.insert(record, Arc::new(stored));
        Ok(())
    }

    fn signature(&mut self, record: RecordId) -> Result<Option<Signature>, StoreError> {
        self.fuse.burn()?;
        Ok(self.signatures.get(&record).copied())
    }

    fn rows_of(&mut self, record: RecordId) -> Result<Vec<(ScopeId, RowStanding)>, StoreError> {
        self.fuse.burn()?;
        let rows = self.feeds.iter().filter_map(|((scope, _), feed)| {
            let (_, standing) = feed.place.get(&record)?;
            Some((*scope, *standing))
        });
        Ok(rows.collect())
    }

    fn row(&mut self, scope: ScopeId, lane: Lane, record: RecordId) -> Result<Option<(u64, RowStanding)>, StoreError> {
        self.fuse.burn()?;
        let feed = self.feeds.get(&(scope, lane));
        Ok(feed.and_then(|feed| feed.place.get(&record)).copied())
    }

    fn move_to_tail(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        record: RecordId,
        standing: RowStanding,
    ) -> Result<(), StoreError> {
        self.fuse.burn()?;
        if self.muted == Some(record) {
            return Ok(());
        }
        let drawn = self.drawn.get_mut(&(scope, lane)).and_then(Vec::pop);
        let feed = self.feeds.entry((scope, lane)).or_default();
        feed.head += u64::from(drawn.is_none());
        let sequence = drawn.unwrap_or(feed.head);
        if let Some((before, _)) = feed.place.insert(record, (sequence, standing)) {
            feed.rows.remove(&before);
        }
        feed.rows.insert(sequence, record);
        Ok(())
    }

    fn has_quarantined(&mut self, site: ScopeId, record: RecordId) -> Result<bool, StoreError> {
        self.fuse.burn()?;
        Ok(self.kept.values().any(|kept| {
            matches!(kept.standing, Standing::Quarantined(_))
                && kept.header.as_ref().is_some_and(|header| header.record == record)
                && self
                    .chains
                    .get(&kept.dot.replica)
                    .is_some_and(|chain| chain.scope == site)
        }))
    }

    fn feed_head(&mut self, scope: ScopeId, lane: Lane) -> Result<(u64, u64), StoreError> {
        self.fuse.burn()?;
        Ok((self.feeds.get(&(scope, lane)).map_or(0, |feed| feed.head), 1))
    }

    fn rows_after(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        sequence: u64,
        bytes_max: u64,
    ) -> Result<Vec<Row>, StoreError> {
        self.fuse.burn()?;
        let (mut rows, mut total) = (Vec::new(), 0);
        let Some(feed) = self.feeds.get(&(scope, lane)) else {
            return Ok(rows);
        };
        for (sequence, record) in feed.rows.range(sequence + 1..) {
            let (Some(state), Some((_, standing))) = (self.states.get(record), feed.place.get(record)) else {
                continue;
            };
            let bytes = state.to_bytes().len() as u64;
            total += bytes;
            if !rows.is_empty() && total > bytes_max {
                break;
            }
            let told = match standing {
                RowStanding::Live | RowStanding::Offered => Told::State {
                    state: (**state).clone(),
                    offered: *standing == RowStanding::Offered,
                },
                RowStanding::Gone => Told::Gone {
                    record: *record,
                    vector: state.vector.clone(),
                },
            };
            rows.push(Row {
                sequence: *sequence,
                told,
                bytes,
                signature: self.signatures.get(record).copied(),
            });
        }
        Ok(rows)
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
        if self.muted.is_some() {
            return Ok(());
        }
        let sum = self
            .feeds
            .entry((scope, lane))
            .or_default()
            .sums
            .entry(bucket)
            .or_default();
        *sum = sum.plus(plus).minus(minus);
        Ok(())
    }

    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, StoreError> {
        self.fuse.burn()?;
        let Some(feed) = self.feeds.get(&(scope, lane)) else {
            return Ok(Vec::new());
        };
        let held = feed
            .held()
            .filter_map(|record| self.states.get(&record))
            .map(AsRef::as_ref);
        if let Some(wrong) = leaf::of_variant(self.variant) {
            return Ok(leaf::sums(wrong, held));
        }
        if self.lie.is_none() {
            return Ok(feed.sums.iter().map(|(bucket, sum)| (*bucket, *sum)).collect());
        }
        // A hub that lies consistently proves what it stores, so that the lie is caught by its effect.
        let mut sums: BTreeMap<u8, Sum> = BTreeMap::new();
        for state in held {
            let sum = sums.entry(bucket_of(state.record)).or_default();
            *sum = sum.plus(self.key.leaf(state));
        }
        Ok(sums.into_iter().collect())
    }
}
