//! The smallest hub's ledger: maps, and nothing that is not asked for. A transaction is a copy.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use sync_protocol::hub::{Cause, ChainHead, Epoch, HubLedger, KeptChange, RowStanding, Standing};
use sync_protocol::ids::BootId;
use sync_protocol::proof::{ProofKey, Sum};
use sync_protocol::signed::state_said;
use sync_protocol::wire::{Row, Told};
use sync_protocol::{ChangeId, Dot, EpochId, Hash, Lane, RecordId, RecordState, ReplicaId, ScopeId, Signature};

/// A signature that costs little, of whoever has the key.
pub(crate) fn mix(key: &ProofKey, said: &[u8]) -> Signature {
    let half = key.leaf_of_bytes(said).to_bytes();
    let mut whole = [0; 64];
    whole[..32].copy_from_slice(&half);
    whole[32..].copy_from_slice(&half);
    Signature(whole)
}

#[derive(Clone, Default)]
pub(crate) struct Feed {
    head: u64,
    pub(crate) places: BTreeMap<RecordId, (u64, RowStanding)>,
    pub(crate) sums: BTreeMap<u8, Sum>,
}

#[derive(Clone)]
pub(crate) struct Hub {
    /// With which it signs.
    key: ProofKey,
    epochs: Vec<Epoch>,
    present: Epoch,
    pub(crate) chains: BTreeMap<ReplicaId, ChainHead>,
    boots: BTreeMap<BootId, u64>,
    pub(crate) kept: BTreeMap<Dot, KeptChange>,
    first: BTreeMap<ChangeId, Dot>,
    adopted: BTreeMap<ChangeId, (Dot, RecordId)>,
    pub(crate) states: BTreeMap<RecordId, (Arc<RecordState>, Signature)>,
    pub(crate) feeds: BTreeMap<(ScopeId, Lane), Feed>,
}

impl Hub {
    pub(crate) fn new(epoch: EpochId, hub_replica: ReplicaId, key: ProofKey) -> Hub {
        let present = Epoch {
            epoch,
            hub_replica,
            cause: Cause::Founded,
        };
        Hub {
            key,
            epochs: vec![present],
            present,
            chains: BTreeMap::new(),
            boots: BTreeMap::new(),
            kept: BTreeMap::new(),
            first: BTreeMap::new(),
            adopted: BTreeMap::new(),
            states: BTreeMap::new(),
            feeds: BTreeMap::new(),
        }
    }

    pub(crate) fn quarantined(&self) -> Vec<ChangeId> {
        let apart = self
            .kept
            .values()
            .filter(|kept| matches!(kept.standing, Standing::Quarantined(_)));
        apart
            .filter_map(|kept| kept.header.as_ref())
            .map(|header| header.change)
            .collect()
    }
}

impl HubLedger for Hub {
    type Error = Infallible;

    fn epoch(&mut self) -> Result<EpochId, Infallible> {
        Ok(self.present.epoch)
    }

    fn hub_replica(&mut self) -> Result<ReplicaId, Infallible> {
        Ok(self.present.hub_replica)
    }

    fn chain(&mut self, replica: ReplicaId) -> Result<Option<ChainHead>, Infallible> {
        Ok(self.chains.get(&replica).copied())
    }

    fn set_chain(&mut self, replica: ReplicaId, head: &ChainHead) -> Result<(), Infallible> {
        self.chains.insert(replica, *head);
        Ok(())
    }

    fn epochs(&mut self) -> Result<Vec<Epoch>, Infallible> {
        Ok(self.epochs.clone())
    }

    fn boot_zero(&mut self, boot: BootId) -> Result<Option<u64>, Infallible> {
        Ok(self.boots.get(&boot).copied())
    }

    fn set_boot_zero(&mut self, boot: BootId, zero_ms: u64) -> Result<(), Infallible> {
        self.boots.insert(boot, zero_ms);
        Ok(())
    }

    fn set_epoch(&mut self, epoch: EpochId, hub_replica: ReplicaId, cause: Cause) -> Result<(), Infallible> {
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

    fn hear_of_epoch(&mut self, epoch: EpochId) -> Result<(), Infallible> {
        self.epochs.push(Epoch {
            epoch,
            hub_replica: ReplicaId::NIL,
            cause: Cause::Heard,
        });
        Ok(())
    }

    fn stable(&mut self, _replica: ReplicaId) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn hash_at(&mut self, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, Infallible> {
        Ok(self.kept.get(&Dot { replica, counter }).map(|kept| kept.hash))
    }

    fn keep(&mut self, kept: KeptChange) -> Result<(), Infallible> {
        if let Some(header) = kept.header.as_ref().filter(|_| kept.standing != Standing::Alias) {
            self.first.entry(header.change).or_insert(kept.dot);
        }
        assert!(self.kept.insert(kept.dot, kept).is_none(), "a dot was kept twice");
        Ok(())
    }

    fn find(&mut self, change: ChangeId) -> Result<Option<KeptChange>, Infallible> {
        Ok(self.first.get(&change).and_then(|dot| self.kept.get(dot)).cloned())
    }

    fn id_at(&mut self, dot: Dot) -> Result<Option<ChangeId>, Infallible> {
        let kept = self.kept.get(&dot).and_then(|kept| kept.header.as_ref());
        let adopted = || self.adopted.iter().find(|(_, (at, _))| *at == dot).map(|(id, _)| *id);
        Ok(kept.map(|header| header.change).or_else(adopted))
    }

    fn adopted(&mut self, change: ChangeId) -> Result<Option<(Dot, RecordId)>, Infallible> {
        Ok(self.adopted.get(&change).copied())
    }

    fn adopt(&mut self, change: ChangeId, dot: Dot, record: RecordId) -> Result<(), Infallible> {
        self.adopted.insert(change, (dot, record));
        Ok(())
    }

    fn set_standing(&mut self, dot: Dot, standing: Standing) -> Result<(), Infallible> {
        self.kept
            .get_mut(&dot)
            .expect("only what is kept can stand otherwise")
            .standing = standing;
        Ok(())
    }

    fn state(&mut self, record: RecordId) -> Result<Option<Arc<RecordState>>, Infallible> {
        Ok(self.states.get(&record).map(|(state, _)| Arc::clone(state)))
    }

    fn put_state(&mut self, state: RecordState, canonical: Vec<u8>) -> Result<(), Infallible> {
        let signature = mix(&self.key, &state_said(&canonical));
        self.states.insert(state.record, (Arc::new(state), signature));
        Ok(())
    }

    fn signature(&mut self, record: RecordId) -> Result<Option<Signature>, Infallible> {
        Ok(self.states.get(&record).map(|(_, signature)| *signature))
    }

    fn rows_of(&mut self, record: RecordId) -> Result<Vec<(ScopeId, RowStanding)>, Infallible> {
        let rows = self.feeds.iter().filter_map(|((scope, _), feed)| {
            let (_, standing) = feed.places.get(&record)?;
            Some((*scope, *standing))
        });
        Ok(rows.collect())
    }

    fn row(&mut self, scope: ScopeId, lane: Lane, record: RecordId) -> Result<Option<(u64, RowStanding)>, Infallible> {
        let feed = self.feeds.get(&(scope, lane));
        Ok(feed.and_then(|feed| feed.places.get(&record)).copied())
    }

    fn move_to_tail(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        record: RecordId,
        standing: RowStanding,
    ) -> Result<(), Infallible> {
        let feed = self.feeds.entry((scope, lane)).or_default();
        feed.head += 1;
        feed.places.insert(record, (feed.head, standing));
        Ok(())
    }

    fn has_quarantined(&mut self, site: ScopeId, record: RecordId) -> Result<bool, Infallible> {
        let of_site = |kept: &KeptChange| {
            self.chains
                .get(&kept.dot.replica)
                .is_some_and(|head| head.scope == site)
        };
        Ok(self.kept.values().any(|kept| {
            matches!(kept.standing, Standing::Quarantined(_))
                && kept.header.as_ref().is_some_and(|header| header.record == record)
                && of_site(kept)
        }))
    }

    fn feed_head(&mut self, scope: ScopeId, lane: Lane) -> Result<(u64, u64), Infallible> {
        Ok((self.feeds.get(&(scope, lane)).map_or(0, |feed| feed.head), 1))
    }

    fn rows_after(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        sequence: u64,
        bytes_max: u64,
    ) -> Result<Vec<Row>, Infallible> {
        let Some(feed) = self.feeds.get(&(scope, lane)) else {
            return Ok(Vec::new());
        };
        let mut places: Vec<_> = feed.places.iter().filter(|(_, (at, _))| *at > sequence).collect();
        places.sort_by_key(|(_, (at, _))| *at);
        let (mut rows, mut total) = (Vec::new(), 0);
        for (record, (sequence, standing)) in places {
            let (state, signature) = &self.states[record];
            let bytes = state.to_bytes().len() as u64;
            total += bytes;
            if !rows.is_empty() && total > bytes_max {
                break;
            }
            let told = match standing {
                RowStanding::Live | RowStanding::Offered => Told::State {
                    state: RecordState::clone(state),
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
                signature: Some(*signature),
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
    ) -> Result<(), Infallible> {
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

    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, Infallible> {
        let sums = self.feeds.get(&(scope, lane)).map(|feed| &feed.sums);
        Ok(sums
            .into_iter()
            .flatten()
            .map(|(bucket, sum)| (*bucket, *sum))
            .collect())
    }
}
