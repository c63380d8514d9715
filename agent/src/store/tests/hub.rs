//! A hub in memory: the engine's own hub end, over maps.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use sync_protocol::hub::{
    self, Cause, ChainHead, Epoch, HubLeaves, HubLedger, KeptChange, Packed, RowStanding, Rulebook, SnapshotOf,
    Standing,
};
use sync_protocol::ids::BootId;
use sync_protocol::proof::{ProofKey, Sum};
use sync_protocol::repair::Leaf;
use sync_protocol::state::RecordState;
use sync_protocol::wire::{Cursor, Manifest, SignedManifest, SnapshotReply, SnapshotRequest};
use sync_protocol::wire::{Page, PullRequest, PushReply, PushRequest, RepairReply, RepairRequest, Row, Told};
use sync_protocol::{
    ChangeId, Dot, Draft, EpochId, Hash, HybridTime, Lane, RecordId, ReplicaId, ScopeId, Seal, Signature, Stamp,
};

pub(super) const EPOCH: EpochId = EpochId([0xee; 16]);
pub(super) const SCOPE: ScopeId = ScopeId([0x51; 16]);
pub(super) const REFUSED: u16 = 900;

/// A hub with one site; it refuses changes on the records it is told to.
pub(super) struct Hub {
    shelves: Shelves,
    pub(super) refuses: Vec<RecordId>,
    stamped: u8,
}

#[derive(Default)]
struct Shelves {
    chains: BTreeMap<ReplicaId, ChainHead>,
    /// Up to here every chain is held for good.
    stable: u64,
    kept: BTreeMap<Dot, KeptChange>,
    states: BTreeMap<RecordId, Arc<RecordState>>,
    rows: BTreeMap<Lane, BTreeMap<u64, (RecordId, RowStanding)>>,
    heads: BTreeMap<Lane, u64>,
    buckets: BTreeMap<(Lane, u8), Sum>,
    rebuilds: u64,
}

pub(super) fn proof_key() -> ProofKey {
    ProofKey::new(&[7; 32])
}

impl Hub {
    pub(super) fn new() -> Hub {
        Hub {
            shelves: Shelves::default(),
            refuses: Vec::new(),
            stamped: 0,
        }
    }

    pub(super) fn push(&mut self, request: &PushRequest) -> PushReply {
        let refuses = self.refuses.clone();
        let admit = move |header: &sync_protocol::Header, _: &sync_protocol::Payload| {
            if refuses.contains(&header.record) {
                Err(REFUSED)
            } else {
                Ok(())
            }
        };
        let key = proof_key();
        let rulebook = Rulebook {
            admit: &admit,
            lane: &clinic::catalogue::lane,
            enters_site: &|_| true,
            key: &key,
            seal: SEAL,
        };
        hub::handle_push(&mut self.shelves, &rulebook, SCOPE, request)
            .unwrap()
            .reply
    }

    pub(super) fn pull(&mut self, request: &PullRequest) -> Vec<Page> {
        self.with_rules(|shelves, rules| hub::handle_willing(shelves, rules, SCOPE, request))
            .unwrap();
        hub::handle_pull(&mut self.shelves, &SEAL, SCOPE, &[], request).unwrap()
    }

    /// Everything up to this number of every chain is in a backup that was confirmed.
    pub(super) fn confirm_backup(&mut self, upto: u64) {
        self.shelves.stable = upto;
    }

    pub(super) fn offer(&mut self, record: RecordId) {
        self.with_rules(|shelves, rules| hub::offer(shelves, rules, SCOPE, record))
            .unwrap();
    }

    pub(super) fn enter(&mut self, record: RecordId) {
        self.with_rules(|shelves, rules| hub::enter(shelves, rules, SCOPE, record))
            .unwrap();
    }

    fn with_rules<T>(&mut self, steps: impl FnOnce(&mut Shelves, &Rulebook<'_>) -> T) -> T {
        let key = proof_key();
        let rulebook = Rulebook {
            admit: &|_, _| Ok(()),
            lane: &clinic::catalogue::lane,
            enters_site: &|_| true,
            key: &key,
            seal: SEAL,
        };
        steps(&mut self.shelves, &rulebook)
    }

    pub(super) fn write(&mut self, draft: &Draft) {
        self.stamped += 1;
        let stamp = Stamp {
            change: ChangeId([0x80 + self.stamped; 16]),
            salt: [self.stamped; 16],
            at: HybridTime {
                wall_ms: u64::from(self.stamped),
                logical: 0,
            },
            boot: BootId([1; 16]),
            monotonic_ms: 0,
        };
        let key = proof_key();
        let rulebook = Rulebook {
            admit: &|_, _| Ok(()),
            lane: &clinic::catalogue::lane,
            enters_site: &|_| true,
            key: &key,
            seal: SEAL,
        };
        hub::author_at_hub(&mut self.shelves, &rulebook, draft, &stamp, Some(SCOPE))
            .unwrap()
            .unwrap();
    }

    pub(super) fn state(&self, record: RecordId) -> &RecordState {
        &self.shelves.states[&record]
    }
}

impl Hub {
    pub(super) fn compare(&mut self, request: &RepairRequest) -> RepairReply {
        hub::handle_repair(&mut self.shelves, &proof_key(), &SEAL, SCOPE, &[], request)
            .unwrap()
            .reply
    }

    pub(super) fn head(&mut self, lane: Lane) -> u64 {
        self.shelves.feed_head(SCOPE, lane).unwrap().0
    }

    pub(super) fn next_chunk(&mut self, of: &SnapshotOf, after: u64, bytes_max: u64) -> Option<Packed> {
        hub::next_chunk(&mut self.shelves, of, after, bytes_max).unwrap()
    }

    pub(super) fn answer_snapshot(&mut self, replica: ReplicaId, manifest: &Manifest) -> SnapshotReply {
        let request = SnapshotRequest {
            epoch: EPOCH,
            replica,
            cursor: Cursor {
                scope: SCOPE,
                lane: manifest.lane,
                generation: 1,
                sequence: manifest.from,
            },
        };
        let head = hub::admit_snapshot(&mut self.shelves, SCOPE, &[], &request).unwrap();
        let mut signed = SignedManifest {
            bytes: manifest.encode(),
            signature: Signature([0; 64]),
        };
        signed.signature = (SEAL.sign)(&signed.said());
        hub::answer_snapshot(&request, &head, Some(signed))
    }

    /// The record leaves the scope, and no row tells of it.
    pub(super) fn lose_row(&mut self, record: RecordId) {
        let leaf = proof_key().leaf(&self.shelves.states[&record]);
        for (lane, rows) in &mut self.shelves.rows {
            let before = rows.len();
            rows.retain(|_, (row, _)| *row != record);
            if rows.len() < before {
                let bucket = (*lane, sync_protocol::proof::bucket_of(record));
                let sum = self.shelves.buckets.entry(bucket).or_default();
                *sum = sum.minus(leaf);
            }
        }
    }

    /// The scope's feed is made anew, in another order and under another generation.
    pub(super) fn rebuild(&mut self) {
        self.shelves.rebuilds += 1;
        for rows in self.shelves.rows.values_mut() {
            let sequences: Vec<u64> = rows.keys().copied().collect();
            let turned: Vec<_> = rows.values().rev().copied().collect();
            *rows = sequences.into_iter().zip(turned).collect();
        }
    }

    /// The hub's state of the record is as if nothing had been applied to it.
    pub(super) fn lose_change_of(&mut self, record: RecordId) {
        let kind = self.shelves.states[&record].kind;
        let (lane, bucket) = (clinic::catalogue::lane(kind), sync_protocol::proof::bucket_of(record));
        let before = proof_key().leaf(&self.shelves.states[&record]);
        let empty = RecordState::new(kind, record);
        let sum = self.shelves.buckets.entry((lane, bucket)).or_default();
        *sum = sum.minus(before).plus(proof_key().leaf(&empty));
        self.shelves.states.insert(record, Arc::new(empty));
    }
}

impl HubLeaves for Shelves {
    fn leaves(&mut self, _: ScopeId, lane: Lane, bucket: u8, key: &ProofKey) -> Result<Vec<Leaf>, Infallible> {
        let rows = self.rows.entry(lane).or_default().iter();
        let in_bucket = rows.filter(|(_, (record, standing))| {
            standing.is_in_scope() && sync_protocol::proof::bucket_of(*record) == bucket
        });
        let leaf = in_bucket.map(|(sequence, (record, _))| Leaf {
            record: *record,
            sequence: *sequence,
            sum: key.leaf(&self.states[record]),
        });
        Ok(leaf.collect())
    }
}
/// A stand-in for the hub's key: what is signed is not what is tested here.
const SEAL: Seal<'static> = Seal {
    sign: &|_| Signature([7; 64]),
    verify: &|_, signature| signature.0 == [7; 64],
};

impl HubLedger for Shelves {
    type Error = Infallible;

    fn epoch(&mut self) -> Result<EpochId, Infallible> {
        Ok(EPOCH)
    }

    fn hub_replica(&mut self) -> Result<ReplicaId, Infallible> {
        Ok(ReplicaId([0xff; 16]))
    }

    fn epochs(&mut self) -> Result<Vec<Epoch>, Infallible> {
        Ok(vec![Epoch {
            epoch: EPOCH,
            hub_replica: ReplicaId([0xff; 16]),
            cause: Cause::Founded,
        }])
    }

    fn boot_zero(&mut self, _: BootId) -> Result<Option<u64>, Infallible> {
        Ok(None)
    }

    fn set_boot_zero(&mut self, _: BootId, _: u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_epoch(&mut self, _: EpochId, _: ReplicaId, _: Cause) -> Result<(), Infallible> {
        unreachable!("this hub is never put back to a copy")
    }

    fn hear_of_epoch(&mut self, _: EpochId) -> Result<(), Infallible> {
        unreachable!("this hub is never put back to a copy")
    }

    fn stable(&mut self, _: ReplicaId) -> Result<u64, Infallible> {
        Ok(self.stable)
    }

    fn id_at(&mut self, dot: Dot) -> Result<Option<ChangeId>, Infallible> {
        let kept = self.kept.get(&dot).and_then(|kept| kept.header.as_ref());
        Ok(kept.map(|header| header.change))
    }

    fn adopted(&mut self, _: ChangeId) -> Result<Option<(Dot, RecordId)>, Infallible> {
        Ok(None)
    }

    fn adopt(&mut self, _: ChangeId, _: Dot, _: RecordId) -> Result<(), Infallible> {
        unreachable!("this hub is never put back to a copy")
    }

    fn chain(&mut self, replica: ReplicaId) -> Result<Option<ChainHead>, Infallible> {
        Ok(self.chains.get(&replica).copied())
    }

    fn set_chain(&mut self, replica: ReplicaId, head: &ChainHead) -> Result<(), Infallible> {
        self.chains.insert(replica, *head);
        Ok(())
    }

    fn hash_at(&mut self, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, Infallible> {
        Ok(self.kept.get(&Dot { replica, counter }).map(|kept| kept.hash))
    }

    fn keep(&mut self, kept: KeptChange) -> Result<(), Infallible> {
        self.kept.insert(kept.dot, kept);
        Ok(())
    }

    fn find(&mut self, change: ChangeId) -> Result<Option<KeptChange>, Infallible> {
        let is_it = |kept: &&KeptChange| {
            kept.standing != Standing::Alias && kept.header.as_ref().is_some_and(|header| header.change == change)
        };
        Ok(self.kept.values().find(is_it).cloned())
    }

    fn set_standing(&mut self, dot: Dot, standing: Standing) -> Result<(), Infallible> {
        self.kept.get_mut(&dot).unwrap().standing = standing;
        Ok(())
    }

    fn state(&mut self, record: RecordId) -> Result<Option<Arc<RecordState>>, Infallible> {
        Ok(self.states.get(&record).cloned())
    }

    fn put_state(&mut self, state: RecordState, _: Vec<u8>) -> Result<(), Infallible> {
        self.states.insert(state.record, Arc::new(state));
        Ok(())
    }

    fn signature(&mut self, _: RecordId) -> Result<Option<Signature>, Infallible> {
        Ok(Some(Signature([7; 64])))
    }

    fn rows_of(&mut self, record: RecordId) -> Result<Vec<(ScopeId, RowStanding)>, Infallible> {
        let mut rows = self.rows.values().flat_map(|rows| rows.values());
        let found = rows.find(|(row, _)| *row == record);
        Ok(found.map(|(_, standing)| (SCOPE, *standing)).into_iter().collect())
    }

    fn row(&mut self, _: ScopeId, lane: Lane, record: RecordId) -> Result<Option<(u64, RowStanding)>, Infallible> {
        let rows = self.rows.entry(lane).or_default();
        let found = rows.iter().find(|(_, (row, _))| *row == record);
        Ok(found.map(|(sequence, (_, standing))| (*sequence, *standing)))
    }

    fn move_to_tail(
        &mut self,
        _: ScopeId,
        lane: Lane,
        record: RecordId,
        standing: RowStanding,
    ) -> Result<(), Infallible> {
        let head = self.heads.entry(lane).or_default();
        *head += 1;
        let rows = self.rows.entry(lane).or_default();
        rows.retain(|_, (row, _)| *row != record);
        rows.insert(*head, (record, standing));
        Ok(())
    }

    fn has_quarantined(&mut self, _: ScopeId, record: RecordId) -> Result<bool, Infallible> {
        Ok(self.kept.values().any(|kept| {
            matches!(kept.standing, Standing::Quarantined(_))
                && kept.header.as_ref().is_some_and(|header| header.record == record)
        }))
    }

    fn feed_head(&mut self, _: ScopeId, lane: Lane) -> Result<(u64, u64), Infallible> {
        Ok((self.heads.get(&lane).copied().unwrap_or(0), 1 + self.rebuilds))
    }

    fn rows_after(&mut self, _: ScopeId, lane: Lane, sequence: u64, bytes_max: u64) -> Result<Vec<Row>, Infallible> {
        // A row counts as one byte.
        let at_most = usize::try_from(bytes_max).unwrap().max(1);
        let rows = self.rows.entry(lane).or_default().range(sequence + 1..).take(at_most);
        Ok(rows
            .map(|(sequence, (record, standing))| {
                let state = RecordState::clone(&self.states[record]);
                let told = match standing {
                    RowStanding::Live | RowStanding::Offered => Told::State {
                        state,
                        offered: *standing == RowStanding::Offered,
                    },
                    RowStanding::Gone => Told::Gone {
                        record: *record,
                        vector: state.vector,
                    },
                };
                Row {
                    sequence: *sequence,
                    told,
                    bytes: 1,
                    signature: Some(Signature([7; 64])),
                }
            })
            .collect())
    }

    fn add_to_bucket(&mut self, _: ScopeId, lane: Lane, bucket: u8, plus: Sum, minus: Sum) -> Result<(), Infallible> {
        let sum = self.buckets.entry((lane, bucket)).or_default();
        *sum = sum.plus(plus).minus(minus);
        Ok(())
    }

    fn bucket_sums(&mut self, _: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, Infallible> {
        let of_lane = self.buckets.iter().filter(|((of, _), _)| *of == lane);
        Ok(of_lane.map(|((_, bucket), sum)| (*bucket, *sum)).collect())
    }
}
