//! Agents, the hub, and the network between them: what each has on disk, and how a transaction of theirs commits or
//! crashes.

use std::collections::{BTreeMap, BTreeSet};

use sync_protocol::cbor::Raw;
use sync_protocol::hub::{self, HubError, HubLedger as _, Rulebook};
use sync_protocol::proof::ProofKey;
use sync_protocol::replica::{PushedUpTo, ReplicaError};
use sync_protocol::wire::{PullRequest, PushRequest};
use sync_protocol::{
    ChangeId, EpochId, FieldId, HybridClock, KindId, Lane, RecordId, ReplicaId, ScopeId, Seal, Signature,
};

use super::agent_store::AgentStore;
use super::delivery::{self, Partner, Standing, Task, Tasks};
use super::hub_store::HubStore;
use super::network::{Envelope, Line, SlowPush};
use super::oracle::Log;
use super::plan::{Backing, Setup, Topology};
use super::records;
use super::replica_store::{Fuse, ReplicaStore, StoreError};
use super::rng::Rng;
use super::storage::{Copy, OnDisk, Stored};
use super::trace::{Checked, Failure, Invariant, Tally, Trace};
use super::variant::Variant;
use super::writers::Form;

/// The last message of an outside source on one field: what its next message names.
pub(crate) type Sources = BTreeMap<(u8, RecordId, FieldId), (ChangeId, Raw)>;

/// All that an agent has on disk: what a copy copies and a restore brings back.
#[derive(Clone)]
pub(crate) struct AgentDisk {
    pub(crate) store: AgentStore,
    pub(crate) clock: HybridClock,
    pub(crate) sources: Sources,
    pub(crate) written: BTreeSet<ChangeId>,
}

pub(crate) struct Agent {
    pub(crate) disk: AgentDisk,
    pub(crate) site: ScopeId,
    pub(crate) skew_ms: i64,
    pub(crate) copy: Option<Copy>,
    pub(crate) line: Line,
    /// The run that was made ready while a push is on its way, and what the hub has to hold first.
    pub(crate) ready: Option<(PushedUpTo, PushRequest)>,
    /// The last question for pages.
    pub(crate) asked: Option<PullRequest>,
    /// The hub said in one that nothing is new, and has something else: the next question is for pages.
    pub(crate) wants_pages: bool,
    /// The store on a disk that must hold what the one in memory does.
    pub(crate) sql: Option<OnDisk>,
}

impl Agent {
    pub(crate) fn new(disk: AgentDisk, site: ScopeId, skew_ms: i64, sql: Option<OnDisk>) -> Agent {
        Agent {
            disk,
            site,
            skew_ms,
            copy: None,
            line: Line::Whole,
            ready: None,
            asked: None,
            wants_pages: false,
            sql,
        }
    }
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
    pub(crate) tasks: Tasks,
}

impl HubDisk {
    /// Every change on a visit that has taken effect is a task for a partner.
    fn make_tasks(&mut self) {
        for (change, dot) in std::mem::take(&mut self.store.heard) {
            let standing = Standing::Waiting { looked_up: true };
            let key = delivery::key_of(change, dot, self.store.variant);
            self.tasks.entry(key).or_insert(Task { change, standing });
        }
    }
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
    pub(crate) backing: Backing,
    pub(crate) now_ms: u64,
    pub(crate) agents: Vec<Agent>,
    pub(crate) hub: HubDisk,
    pub(crate) hub_copy: Option<HubDisk>,
    pub(crate) network: Vec<Envelope>,
    /// Pushes that other hub processes have taken up and not committed.
    pub(crate) slow: Vec<SlowPush>,
    /// Pushes that were delivered, as somebody on the line may have recorded them.
    pub(crate) recorded: Vec<Envelope>,
    pub(crate) partner: Partner,
    /// The lie of `one-sided-checkpoint`.
    pub(crate) checkpoints: BTreeMap<(ReplicaId, ScopeId, Lane), u64>,
    pub(crate) forms: Vec<Form>,
    pub(crate) records: Vec<KnownRecord>,
    pub(crate) sites: Vec<ScopeId>,
    pub(crate) log: Log,
    pub(crate) key: ProofKey,
    /// Why this machine could not make a store, if it could not.
    pub(crate) broken_machine: Option<String>,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
    pub(crate) rng: Rng,
}

impl World {
    pub(crate) fn new(topology: Topology, seed: u64, setup: Setup, keep_lines: bool) -> World {
        World::with_sites(topology.sites(), 2, seed, setup, keep_lines)
    }

    pub(crate) fn with_sites(sites: usize, agents: usize, seed: u64, setup: Setup, keep_lines: bool) -> World {
        let variant = setup.variant;
        let mut rng = Rng::seeded(seed);
        let (epoch, hub_replica) = (EpochId(rng.id()), ReplicaId(rng.id()));
        let key = ProofKey::new(&[7; 32]);
        let sites: Vec<_> = (0..sites).map(|_| ScopeId(rng.id())).collect();
        let store = HubStore::new(epoch, hub_replica, key.clone(), variant);
        let mut world = World {
            variant,
            backing: setup.store,
            now_ms: 1_800_000_000_000,
            agents: Vec::new(),
            hub: HubDisk {
                store,
                clock: HybridClock::default(),
                sources: BTreeMap::new(),
                written: BTreeSet::new(),
                schema: 0,
                left: BTreeSet::new(),
                tasks: Tasks::new(),
            },
            hub_copy: None,
            network: Vec::new(),
            slow: Vec::new(),
            recorded: Vec::new(),
            partner: Partner::default(),
            checkpoints: BTreeMap::new(),
            forms: Vec::new(),
            records: Vec::new(),
            sites: sites.clone(),
            log: Log::default(),
            key,
            broken_machine: None,
            tally: Tally::default(),
            trace: Trace::new(keep_lines),
            rng,
        };
        for index in 0..agents {
            let site = sites[index % sites.len()];
            let agent = world.enrolled(site, epoch);
            world.agents.push(agent);
        }
        world
    }

    /// A new agent of a site, with nothing in its store.
    pub(crate) fn enrolled(&mut self, site: ScopeId, epoch: EpochId) -> Agent {
        let memory = ReplicaStore::new(ReplicaId(self.rng.id()), epoch, site);
        let disk = AgentDisk {
            store: AgentStore::new(memory, self.variant),
            clock: HybridClock::default(),
            sources: BTreeMap::new(),
            written: BTreeSet::new(),
        };
        let sql = self.store_of(&disk);
        Agent::new(disk, site, 0, sql)
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
        let is_on_disk = self.agents[agent].sql.is_some();
        disk.store.fuse = if is_on_disk { Fuse::default() } else { crash.fuse() };
        disk.store.calls = is_on_disk.then(Vec::new);
        match work(&mut disk) {
            Ok(done) => {
                disk.store.fuse = Fuse::default();
                match self.stores(agent, disk, crash)? {
                    Stored::Kept => Ok(Some(done)),
                    Stored::Lost => Ok(None),
                }
            }
            Err(ReplicaError::Ledger(StoreError::Crashed)) => {
                if self.variant == Some(Variant::CounterReused) {
                    self.keep_all_but_the_counter(agent, disk);
                }
                self.tally.fault("agent crashed inside a transaction");
                self.trace.line(format!("agent {agent} crashes before the commit"));
                Ok(None)
            }
            Err(ReplicaError::Ledger(StoreError::Broken(failure))) => Err(failure),
            Err(error) => Err(Failure::new(Invariant::EngineSound, format!("agent {agent}: {error}"))),
        }
    }

    /// The lie of `counter-reused-after-crash`: the change is on the disk, and the counter is not.
    fn keep_all_but_the_counter(&mut self, agent: usize, crashed: AgentDisk) {
        let before = self.agents[agent].disk.store.head;
        if crashed.store.head.replica == before.replica
            && crashed.store.length() > self.agents[agent].disk.store.length()
        {
            self.agents[agent].disk = crashed;
            self.agents[agent].disk.store.fuse = Fuse::default();
            self.agents[agent].disk.store.head = before;
        }
    }

    pub(crate) fn hub_commits<T>(
        &mut self,
        crash: Crash,
        work: impl FnOnce(&mut HubDisk, &Rulebook<'_>) -> Result<T, HubError<StoreError>>,
    ) -> Checked<Option<T>> {
        let mut disk = self.hub.clone();
        disk.store.fuse = crash.fuse();
        let admit = records::admission(disk.schema, self.now_ms, self.variant);
        let rulebook = Rulebook {
            admit: &admit,
            lane: &records::lane,
            enters_site: &|_| true,
            key: &self.key,
            seal: SEAL,
        };
        match work(&mut disk, &rulebook) {
            Ok(done) => {
                disk.store.fuse = Fuse::default();
                disk.make_tasks();
                self.hub = disk;
                Ok(Some(done))
            }
            Err(HubError::Ledger(StoreError::Crashed)) => {
                self.tally.fault("hub crashed inside a transaction");
                self.trace.line("the hub crashes before the commit".to_owned());
                Ok(None)
            }
            Err(HubError::Ledger(StoreError::Broken(failure))) => Err(failure),
            Err(error @ (HubError::OtherEpoch | HubError::GoneBack)) => {
                Err(Failure::new(Invariant::OldEpochRefused, error.to_string()))
            }
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

/// How the hub signs here: as long as an Ed25519 signature, and as deterministic.
pub(crate) const SEAL: Seal<'static> = Seal {
    sign: &sign,
    verify: &|said, signature| sign(said) == *signature,
};

fn sign(said: &[u8]) -> Signature {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA512, b"the hub's signing key");
    let mut signature = [0; 64];
    signature.copy_from_slice(ring::hmac::sign(&key, said).as_ref());
    Signature(signature)
}
