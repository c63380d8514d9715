//! Rot: something at rest changes behind the engine's back, at an agent or at the hub; the next proof fails, and the repair
//! has to find it and set it right.

use std::sync::Arc;

use sync_protocol::cbor::Raw;
use sync_protocol::hub::{self, HubLeaves, HubLedger as _};
use sync_protocol::proof::{self, ProofKey, Sum};
use sync_protocol::repair::Leaf;
use sync_protocol::replica::{self, Applied, RepairOutcome, ReplicaLeaves, ReplicaLedger as _};
use sync_protocol::wire::{RepairReply, RepairRequest};
use sync_protocol::{Lane, RecordId, RecordState, ScopeId};

use super::agent_store::AgentStore;
use super::hub_store::HubStore;
use super::network::Line;
use super::replica_store::{ReplicaStore, StoreError};
use super::rng::Rng;
use super::trace::{Checked, Failure, Invariant, hold};
use super::world::{Crash, SEAL, World};

/// Questions after which a repair must have come to its end.
const ROUNDS_MAX: usize = 64;

impl HubLeaves for HubStore {
    fn leaves(&mut self, scope: ScopeId, lane: Lane, bucket: u8, key: &ProofKey) -> Result<Vec<Leaf>, StoreError> {
        self.fuse.burn()?;
        let Some(feed) = self.feeds.get(&(scope, lane)) else {
            return Ok(Vec::new());
        };
        let in_scope = feed
            .place
            .iter()
            .filter(|(record, (_, standing))| standing.is_in_scope() && proof::bucket_of(**record) == bucket);
        let leaf = |(record, (sequence, _)): (&RecordId, &(u64, hub::RowStanding))| {
            let state = self.states.get(record)?;
            Some(Leaf {
                record: *record,
                sequence: *sequence,
                sum: key.leaf(state),
            })
        };
        Ok(in_scope.filter_map(leaf).collect())
    }
}

impl ReplicaLeaves for ReplicaStore {
    fn leaves(&mut self, scope: ScopeId, lane: Lane, bucket: u8, key: &ProofKey) -> Result<Vec<Leaf>, StoreError> {
        self.fuse.burn()?;
        let counted = self.bases.iter().filter(|(record, (place, _))| {
            (place.scope, place.lane) == (scope, lane)
                && !self.let_go.contains(record)
                && proof::bucket_of(**record) == bucket
        });
        let leaf = counted.map(|(record, (place, state))| Leaf {
            record: *record,
            sequence: place.sequence,
            sum: key.leaf(state),
        });
        Ok(leaf.collect())
    }

    fn readable_base(&mut self, record: RecordId) -> Result<Option<RecordState>, StoreError> {
        self.base(record)
    }
}

impl ReplicaLeaves for AgentStore {
    fn leaves(&mut self, scope: ScopeId, lane: Lane, bucket: u8, key: &ProofKey) -> Result<Vec<Leaf>, StoreError> {
        ReplicaLeaves::leaves(&mut **self, scope, lane, bucket, key)
    }

    fn readable_base(&mut self, record: RecordId) -> Result<Option<RecordState>, StoreError> {
        self.base(record)
    }
}

impl World {
    /// Something rots, is found by the next proof, and is set right.
    pub(crate) fn rot(&mut self, rng: &mut Rng, agent: usize) -> Checked<()> {
        // A wrong protocol is to be caught by what it does wrong; a line that is cut repairs nothing.
        if self.variant.is_some() || self.agents[agent].line != Line::Whole {
            return Ok(());
        }
        self.exchange(agent)?;
        if !self.is_at_head(agent)? {
            return Ok(());
        }
        let held: Vec<RecordId> = self.agents[agent].disk.store.bases.keys().copied().collect();
        let Some(record) = held.get(rng.index(held.len().max(1))).copied() else {
            return Ok(());
        };
        let Some((place, base)) = self.agents[agent].disk.store.bases.get(&record).cloned() else {
            return Ok(());
        };
        let (bucket, noise) = (proof::bucket_of(record), self.key.leaf_of_bytes(&rng.id()));
        match rng.index(4) {
            0 => {
                self.tally.fault("rot: an agent's sum");
                let store = &mut self.agents[agent].disk.store;
                store
                    .add_to_bucket(place.scope, place.lane, bucket, noise, Sum::default())
                    .ok();
            }
            1 => {
                self.tally.fault("rot: a base is gone");
                self.agents[agent].disk.store.bases.remove(&record);
            }
            2 => {
                self.tally.fault("rot: a base is another");
                let altered = altered(&base);
                self.agents[agent]
                    .disk
                    .store
                    .bases
                    .insert(record, (place, Arc::new(altered)));
            }
            _ => {
                self.tally.fault("rot: the hub's sum");
                let store = &mut self.hub.store;
                store
                    .add_to_bucket(place.scope, place.lane, bucket, noise, Sum::default())
                    .ok();
            }
        }
        self.trace
            .line(format!("something of {record:?} rots at agent {agent} or at the hub"));
        self.mend(agent, place.scope, place.lane)?;

        self.tally.checked(Invariant::RotRepaired);
        let root_at_hub = proof::root(place.scope, place.lane, self.hub_sums(place.scope, place.lane)?);
        let root_here = self.agent_root(agent, place.scope, place.lane)?;
        hold(Invariant::RotRepaired, root_here == root_at_hub, || {
            format!("agent {agent} was repaired in {:?} and has another root", place.lane)
        })?;
        self.check_page(
            agent,
            &Applied {
                records: vec![record],
                ..Applied::default()
            },
        )
    }

    fn is_at_head(&mut self, agent: usize) -> Checked<bool> {
        let cursors = self.agents[agent].disk.store.cursor_list().to_vec();
        for cursor in cursors {
            let head = self.hub_commits(Crash::Never, |disk, _| {
                Ok(disk.store.feed_head(cursor.scope, cursor.lane)?)
            })?;
            if head.is_none_or(|(head, _)| cursor.sequence < head) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A repair to its end, undisturbed; what is said is really encoded and decoded.
    pub(crate) fn mend(&mut self, agent: usize, scope: ScopeId, lane: Lane) -> Checked<()> {
        let key = self.key.clone();
        for bucket in 0..=u8::MAX {
            self.agent_commits(agent, Crash::Never, |disk| {
                replica::recount(&mut disk.store, &key, scope, lane, bucket)
            })?;
        }
        for _ in 0..ROUNDS_MAX {
            let asked = self.agent_commits(agent, Crash::Never, |disk| {
                replica::next_repair(&mut disk.store, scope, lane, 1_000)
            })?;
            let Some(asked) = asked.flatten() else { return Ok(()) };
            let reply = self.compare_at_hub(agent, &asked)?;
            let narrowed = self.agent_commits(agent, Crash::Never, |disk| {
                replica::narrow(&mut disk.store, &key, &reply, 1_000)
            })?;
            let Some(narrowed) = narrowed.flatten() else {
                return Ok(());
            };
            let page = self.compare_at_hub(agent, &narrowed)?.page;
            let outcome = self.agent_commits(agent, Crash::Never, |disk| {
                replica::handle_repair(&mut disk.store, &key, &page)
            })?;
            let Some(RepairOutcome::Mended(mended)) = outcome else {
                return Ok(());
            };
            hold(Invariant::RotRepaired, mended.ahead.is_empty(), || {
                format!("agent {agent} holds more than the hub of {:?}", mended.ahead)
            })?;
            self.tally.event("records repaired");
            self.trace.line(format!(
                "agent {agent} sets {} records right",
                mended.applied.records.len()
            ));
            if mended.applied.verified == Some(true) {
                return Ok(());
            }
        }
        Err(Failure::new(
            Invariant::RotRepaired,
            format!("agent {agent}: a repair of {lane:?} does not end"),
        ))
    }

    fn compare_at_hub(&mut self, agent: usize, asked: &RepairRequest) -> Checked<RepairReply> {
        let broken = |error| Failure::new(Invariant::EngineSound, format!("a repair cannot be read: {error}"));
        let body = asked.encode();
        self.trace.bytes(&body);
        let request = RepairRequest::decode(&body).map_err(broken)?;
        let (site, key) = (self.agents[agent].site, self.key.clone());
        let compared = self.hub_commits(Crash::Never, |disk, _| {
            let compared = hub::handle_repair(&mut disk.store, &key, &SEAL, site, &[], &request)?;
            for bucket in &compared.miscounted {
                hub::recount(
                    &mut disk.store,
                    &key,
                    request.cursor.scope,
                    request.cursor.lane,
                    *bucket,
                )?;
            }
            Ok(compared)
        })?;
        let reply = compared.ok_or_else(|| Failure::new(Invariant::EngineSound, "the hub did not answer"))?;
        let body = reply.reply.encode();
        self.trace.bytes(&body);
        let reply = RepairReply::decode(&body).map_err(broken)?;
        let is_signed = reply.page.ack().is_some_and(|ack| ack.is_signed_by(&SEAL));
        hold(Invariant::EngineSound, is_signed, || {
            "an answer to a repair lacks the hub's signature".to_owned()
        })?;
        Ok(reply)
    }

    fn hub_sums(&mut self, scope: ScopeId, lane: Lane) -> Checked<Vec<(u8, Sum)>> {
        let sums = self.hub_commits(Crash::Never, |disk, _| Ok(disk.store.bucket_sums(scope, lane)?))?;
        Ok(sums.unwrap_or_default())
    }

    fn agent_root(&mut self, agent: usize, scope: ScopeId, lane: Lane) -> Checked<sync_protocol::Hash> {
        let sums = self.agent_commits(agent, Crash::Never, |disk| Ok(disk.store.bucket_sums(scope, lane)?))?;
        Ok(proof::root(scope, lane, sums.unwrap_or_default()))
    }
}

/// The same version with another content.
fn altered(base: &RecordState) -> RecordState {
    let mut altered = base.clone();
    altered.unknown.0.insert(99, Raw::int(1));
    altered
}
