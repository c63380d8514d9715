//! Agents, the hub, and the network between them: what each has on disk, and how a transaction of theirs commits or
//! crashes.

use std::collections::{BTreeMap, BTreeSet};

use sync_protocol::cbor::Raw;
use sync_protocol::hub::{self, HubError, HubLedger as _, Rulebook};
use sync_protocol::proof::ProofKey;
use sync_protocol::replica::ReplicaError;
use sync_protocol::{ChangeId, EpochId, FieldId, HybridClock, KindId, RecordId, ReplicaId, ScopeId};

use super::hub_store::HubStore;
use super::network::Envelope;
use super::oracle::Log;
use super::plan::Topology;
use super::records;
use super::replica_store::{Fuse, ReplicaStore, StoreError};
use super::rng::Rng;
use super::trace::{Checked, Failure, Invariant, Tally, Trace};
use super::variant::Variant;
use super::writers::Form;

/// The last message of an outside source on one field: what its next message names.
pub(crate) type Sources = BTreeMap<(u8, RecordId, FieldId), (ChangeId, Raw)>;

/// All that an agent has on disk: what a copy copies and a restore brings back.
#[derive(Clone)]
pub(crate) struct AgentDisk {
    pub(crate) store: ReplicaStore,
    pub(crate) clock: HybridClock,
    pub(crate) sources: Sources,
    pub(crate) written: BTreeSet<ChangeId>,
}

pub(crate) struct Agent {
    pub(crate) disk: AgentDisk,
    pub(crate) site: ScopeId,
    pub(crate) skew_ms: i64,
    pub(crate) copy: Option<AgentDisk>,
}

#[derive(Clone)]
pub(crate) struct HubDisk {
    pub(crate) store: HubStore,
    pub(crate) clock: HybridClock,
    pub(crate) sources: Sources,
    pub(crate) written: BTreeSet<ChangeId>,
    /// Forms up to this level are understood.
    pub(crate) schema: u8,
    /// The shared records that a site no longer needs.
    pub(crate) left: BTreeSet<(ScopeId, RecordId)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownRecord {
    pub(crate) record: RecordId,
    pub(crate) kind: KindId,
    /// The site that a record of an unshared kind belongs to.
    pub(crate) site: ScopeId,
}

/// When a crash strikes: at one storage operation, or after the commit and before anybody hears of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crash {
    Never,
    During(u64),
    After,
}

impl Crash {
    fn fuse(self) -> Fuse {
        match self {
            Crash::During(operations) => Fuse(Some(operations)),
            Crash::Never | Crash::After => Fuse(None),
        }
    }
}

pub(crate) struct World {
    pub(crate) variant: Option<Variant>,
    pub(crate) now_ms: u64,
    pub(crate) agents: Vec<Agent>,
    pub(crate) hub: HubDisk,
    pub(crate) network: Vec<Envelope>,
    pub(crate) forms: Vec<Form>,
    pub(crate) records: Vec<KnownRecord>,
    pub(crate) sites: Vec<ScopeId>,
    pub(crate) log: Log,
    pub(crate) key: ProofKey,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
    pub(crate) rng: Rng,
}

impl World {
    pub(crate) fn new(topology: Topology, seed: u64, variant: Option<Variant>, keep_lines: bool) -> World {
        let mut rng = Rng::seeded(seed);
        let (epoch, hub_replica) = (EpochId(rng.id()), ReplicaId(rng.id()));
        let key = ProofKey::new(&[7; 32]);
        let sites: Vec<_> = (0..topology.sites()).map(|_| ScopeId(rng.id())).collect();
        let mut store = HubStore::new(epoch, hub_replica, key.clone());
        if variant == Some(Variant::RemovalByVersionVector) {
            store.remove_by_vector();
        }
        let mut world = World {
            variant,
            now_ms: 1_800_000_000_000,
            agents: Vec::new(),
            hub: HubDisk {
                store,
                clock: HybridClock::default(),
                sources: BTreeMap::new(),
                written: BTreeSet::new(),
                schema: 0,
                left: BTreeSet::new(),
            },
            network: Vec::new(),
            forms: Vec::new(),
            records: Vec::new(),
            sites: sites.clone(),
            log: Log::default(),
            key,
            tally: Tally::default(),
            trace: Trace::new(keep_lines),
            rng,
        };
        for index in 0..2 {
            let site = sites[index % sites.len()];
            let disk = AgentDisk {
                store: ReplicaStore::new(ReplicaId(world.rng.id()), epoch, site),
                clock: HybridClock::default(),
                sources: BTreeMap::new(),
                written: BTreeSet::new(),
            };
            world.agents.push(Agent {
                disk,
                site,
                skew_ms: 0,
                copy: None,
            });
        }
        world
    }

    pub(crate) fn new_record(&mut self, kind: KindId, site: ScopeId) -> RecordId {
        let record = RecordId(self.rng.id());
        self.records.push(KnownRecord { record, kind, site });
        record
    }

    /// What an agent's own wall clock says.
    pub(crate) fn wall_ms(&self, agent: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.agents[agent].skew_ms)
    }

    /// Runs a transaction of an agent: all of it or nothing. `None` when the agent crashed before the commit.
    pub(crate) fn agent_commits<T>(
        &mut self,
        agent: usize,
        crash: Crash,
        work: impl FnOnce(&mut AgentDisk) -> Result<T, ReplicaError<StoreError>>,
    ) -> Checked<Option<T>> {
        let mut disk = self.agents[agent].disk.clone();
        disk.store.fuse = crash.fuse();
        match work(&mut disk) {
            Ok(done) => {
                disk.store.fuse = Fuse::default();
                self.agents[agent].disk = disk;
                Ok(Some(done))
            }
            Err(ReplicaError::Ledger(StoreError::Crashed)) => {
                self.tally.fault("agent crashed inside a transaction");
                self.trace.line(format!("agent {agent} crashes before the commit"));
                Ok(None)
            }
            Err(ReplicaError::Ledger(StoreError::Broken(failure))) => Err(failure),
            Err(error) => Err(Failure::new(Invariant::EngineSound, format!("agent {agent}: {error}"))),
        }
    }

    pub(crate) fn hub_commits<T>(
        &mut self,
        crash: Crash,
        work: impl FnOnce(&mut HubDisk, &Rulebook<'_>) -> Result<T, HubError<StoreError>>,
    ) -> Checked<Option<T>> {
        let mut disk = self.hub.clone();
        disk.store.fuse = crash.fuse();
        let admit = records::admission(disk.schema);
        let rulebook = Rulebook {
            admit: &admit,
            lane: &records::lane,
            enters_site: &|_| true,
            key: &self.key,
        };
        match work(&mut disk, &rulebook) {
            Ok(done) => {
                disk.store.fuse = Fuse::default();
                self.hub = disk;
                Ok(Some(done))
            }
            Err(HubError::Ledger(StoreError::Crashed)) => {
                self.tally.fault("hub crashed inside a transaction");
                self.trace.line("the hub crashes before the commit".to_owned());
                Ok(None)
            }
            Err(HubError::Ledger(StoreError::Broken(failure))) => Err(failure),
            Err(error) => Err(Failure::new(Invariant::EngineSound, format!("hub: {error}"))),
        }
    }

    /// The harness's own rule: shared records are in the scope of every site that has not come to need them no longer.
    pub(crate) fn share(
        sites: &[ScopeId],
        disk: &mut HubDisk,
        rulebook: &Rulebook<'_>,
        record: RecordId,
    ) -> Result<(), HubError<StoreError>> {
        let kind = disk.store.state(record)?.map(|state| state.kind);
        if kind.is_some_and(records::shared) {
            let wanted: Vec<ScopeId> = sites
                .iter()
                .copied()
                .filter(|site| !disk.left.contains(&(*site, record)))
                .collect();
            for site in &wanted {
                hub::enter(&mut disk.store, rulebook, *site, record)?;
            }
        }
        Ok(())
    }
}
