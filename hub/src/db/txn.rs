//! What one transaction works with: the store as one organisation sees it. Nothing of another organisation can be reached
//! from here, whatever ids are asked for: every statement and every key is the organisation's own.

use std::collections::{BTreeMap, BTreeSet};

use sync_protocol::ids::BootId;
use sync_protocol::{ChangeId, EpochId, HybridClock, HybridTime, RecordId, ReplicaId, ScopeId, Stamp};
use vault::RowKeys;

use super::lives::{Mark, Noted};
use super::pending::Pending;
use super::sql::{Sql, values};
use super::{Boot, DbError, Organisation, Policy, random};

/// A store in a transaction, as one organisation sees it.
pub struct Txn<'c> {
    pub(super) sql: Sql<'c>,
    pub(super) org: [u8; 16],
    pub(super) organisation: &'c Organisation,
    pub(super) keys: &'c RowKeys,
    pub(super) policy: Policy,
    pub(super) clock: HybridClock,
    pub(super) boot: Boot,
    pub(super) now_ms: u64,
    pub(super) touched: BTreeSet<ScopeId>,
    /// Patients of each scope as this transaction found them, and how many it entered.
    pub(super) held: BTreeMap<ScopeId, u64>,
    pub(super) entered: BTreeMap<ScopeId, u64>,
    /// The region of every site, once a patient was settled for whom it counts.
    pub(super) regions: Option<Vec<(RecordId, Option<String>)>>,
    pub(super) pending: Pending,
    pub(super) locks: Locks,
    pub(super) writes: bool,
    pub(super) present: Option<(EpochId, ReplicaId)>,
    /// Whether anything is known from returned states alone.
    pub(super) any_adopted: Option<bool>,
    /// What was asked of boots, since nearly all changes of a push are of one.
    pub(super) boots: BTreeMap<BootId, Option<u64>>,
    /// Clinical content was written.
    pub(super) wrote: bool,
    pub(super) mark: Option<&'c Mark>,
    /// The store turned out to be behind the mark.
    pub(super) has_gone_back: bool,
    /// The newest series of TEMP numbers that is known to have been given; 0 where none is.
    pub(super) series_given: u32,
    /// How far this commit brings the store, if it is counted.
    pub(super) committed: Option<Noted>,
}

/// What a transaction holds against others.
#[derive(Default)]
pub(super) struct Locks {
    held: BTreeSet<[u8; 16]>,
    /// The hub's own replica, which comes after everything that is sorted.
    hub: bool,
    pub(super) asked: Asked,
}

/// What a transaction came to ask for. When it is run again it takes all of this first, in order.
#[derive(Clone, Default)]
pub(super) struct Asked {
    names: BTreeSet<[u8; 16]>,
    hub: bool,
}

impl Txn<'_> {
    /// When the transaction began, milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub fn organisation(&self) -> &Organisation {
        self.organisation
    }

    /// Takes note of a time that a change from elsewhere carries.
    pub fn observe(&mut self, at: HybridTime) {
        self.clock.observe(at, self.now_ms);
    }

    /// Random bytes and time for a change of the hub's own.
    pub fn stamp(&mut self) -> Result<Stamp, DbError> {
        Ok(Stamp {
            change: ChangeId(random()?),
            salt: random()?,
            at: self.clock.tick(self.now_ms),
            boot: self.boot.id,
            monotonic_ms: self.boot.started.elapsed().as_millis() as u64,
        })
    }

    /// Keeps other processes from changing these records, or whatever else the ids name, until the commit. What decides a
    /// write is read after this, in the same transaction. One thread alone writes the embedded store, so there it does
    /// nothing.
    pub fn lock(&mut self, ids: &[[u8; 16]]) -> Result<(), DbError> {
        let new: BTreeSet<[u8; 16]> = ids
            .iter()
            .filter(|id| !self.locks.held.contains(*id))
            .copied()
            .collect();
        let (true, Sql::Postgres(session), Some(first)) = (self.writes, &mut self.sql, new.first()) else {
            return Ok(());
        };
        self.locks.asked.names.extend(&new);
        let is_next = !self.locks.hub && self.locks.held.last().is_none_or(|last| last < first);
        if is_next {
            session.lock(self.org, &new)?;
        } else {
            session.lock_out_of_order(self.org, &new)?;
        }
        self.locks.held.extend(&new);
        self.look_again(&new)
    }

    /// Takes what a change of the hub's own on a record needs: the record, then the hub's own replica.
    pub(super) fn lock_to_author(&mut self, record: RecordId) -> Result<(), DbError> {
        self.lock(&[record.0])?;
        self.lock_hub()
    }

    fn lock_hub(&mut self) -> Result<(), DbError> {
        if !self.writes || self.locks.hub {
            return Ok(());
        }
        let (_, hub_replica) = self.present()?;
        if let Sql::Postgres(session) = &mut self.sql {
            let replica = BTreeSet::from([hub_replica.0]);
            self.locks.asked.hub = true;
            session.lock(self.org, &replica)?;
            self.pending.forget_read(&replica);
        }
        self.locks.hub = true;
        // Another process, or an earlier start of this one, may have written last.
        self.clock.last = self.clock.last.max(self.last_time()?);
        Ok(())
    }

    /// The time of the hub's own last change, after which its next one comes.
    fn last_time(&mut self) -> Result<HybridTime, DbError> {
        let (_, hub_replica) = self.present()?;
        let row = self.sql.row(
            "SELECT at_ms, at_logical FROM chains WHERE org = ?1 AND replica = ?2",
            values![self.org, hub_replica.0],
        )?;
        let Some(row) = row else {
            return Ok(HybridTime::default());
        };
        Ok(HybridTime {
            wall_ms: row.get(0)?,
            logical: row.get(1)?,
        })
    }

    /// Takes first what an earlier run of this transaction came to need.
    pub(super) fn lock_first(&mut self, asked: &Asked) -> Result<(), DbError> {
        self.lock(&asked.names.iter().copied().collect::<Vec<_>>())?;
        if asked.hub { self.lock_hub() } else { Ok(()) }
    }

    /// A record that was read before it was locked may have changed between: then what was decided upon it is void.
    fn look_again(&mut self, locked: &BTreeSet<[u8; 16]>) -> Result<(), DbError> {
        self.pending.forget_read(locked);
        let read: Vec<RecordId> = locked
            .iter()
            .map(|id| RecordId(*id))
            .filter(|record| self.pending.states.contains_key(record))
            .collect();
        let now = self.stored_states(&read)?;
        let has_changed = |record: &RecordId| {
            let kept = self.pending.states.get(record).and_then(|kept| kept.state.as_deref());
            kept != now.get(record)
        };
        if !read.iter().any(has_changed) {
            return Ok(());
        }
        match &mut self.sql {
            Sql::Embedded(_) => Ok(()),
            Sql::Postgres(session) => Err(session.conflict("a record changed between being read and being written")),
        }
    }
}
