//! Who this replica is and when it is: the head of its chain, how far the hub has it, and its hybrid clock. All of it
//! is read and written inside the savepoint of the write that needs it, so that a write undone takes no number.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};
use sync_protocol::replica::{self, Entered, Reborn, ReplicaError, ReplicaHead, Written};
use sync_protocol::wire::EpochReply;
use sync_protocol::{BootClock, ChangeId, Draft, EpochId, Hash, HybridClock, HybridTime, RecordId, ReplicaId, Stamp};

use super::fault::{StoreError, TxError};
use super::tx::{Life, ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    replica BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    epoch BLOB NOT NULL,
    counter INTEGER NOT NULL,
    hash BLOB NOT NULL,
    accepted INTEGER NOT NULL,
    clock_wall_ms INTEGER NOT NULL,
    clock_logical INTEGER NOT NULL
    , returning_after BLOB);";

/// Why a change could not be written.
pub type AuthorError = ReplicaError<TxError>;

/// Mints the first identity of a store that has never been written to; one that lost its identity is damaged.
pub(super) fn ensure(connection: &Connection, life: &Life) -> Result<(), StoreError> {
    let known = "SELECT EXISTS (SELECT 1 FROM identity), EXISTS (SELECT 1 FROM own_changes)";
    let known = connection.query_row(known, [], |row| Ok((row.get(0)?, row.get(1)?)));
    match known.map_err(TxError::from)? {
        (true, _) => Ok(()),
        (false, false) => {
            let head = ReplicaHead::born(ReplicaId(life.draw()?), EpochId::NIL);
            let sql = "INSERT INTO identity VALUES (1, ?1, 1, ?2, 0, ?3, 0, 0, 0, NULL)";
            connection
                .execute(sql, params![head.replica.0, head.epoch.0, head.hash.0])
                .map_err(TxError::from)?;
            Ok(())
        }
        (false, true) => Err(StoreError::NoIdentity),
    }
}

impl ReadTx<'_> {
    pub fn head(&self) -> Result<ReplicaHead, TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT replica, counter, hash, accepted, epoch, returning_after FROM identity")?;
        let head = statement.query_row([], |row| {
            Ok(ReplicaHead {
                replica: ReplicaId(row.get(0)?),
                counter: row.get::<_, i64>(1)?.cast_unsigned(),
                hash: Hash(row.get(2)?),
                accepted: row.get::<_, i64>(3)?.cast_unsigned(),
                epoch: EpochId(row.get(4)?),
                returning: row.get::<_, Option<[u8; 16]>>(5)?.map(RecordId),
            })
        });
        head.optional()?.ok_or(TxError::Damaged {
            what: "the replica's identity",
        })
    }

    /// How many identities this store has had, this one counted.
    pub fn incarnation(&self) -> Result<u64, TxError> {
        let mut statement = self.connection.prepare_cached("SELECT incarnation FROM identity")?;
        Ok(statement.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    fn clock(&self) -> Result<HybridClock, TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT clock_wall_ms, clock_logical FROM identity")?;
        let last = statement.query_row([], |row| {
            Ok(HybridTime {
                wall_ms: row.get::<_, i64>(0)?.cast_unsigned(),
                logical: row.get(1)?,
            })
        })?;
        Ok(HybridClock { last })
    }
}

impl WriteTx<'_> {
    /// Writes a change of this replica: what `draft` says, under the next number. `None`: it says nothing that the
    /// version it names did not say.
    pub fn author(&mut self, draft: &Draft) -> Result<Option<Written>, AuthorError> {
        let stamp = self.stamp()?;
        replica::author(self, draft, &stamp)
    }

    /// Goes on as another replica, with every change that the hub has not acknowledged.
    pub fn take_new_incarnation(&mut self) -> Result<Reborn, AuthorError> {
        let to = ReplicaId(self.life.draw()?);
        replica::rebirth(self, to)
    }

    /// Enters the hub's epoch, if it is another than this replica's.
    pub fn enter_epoch(&mut self, reply: &EpochReply) -> Result<Entered, AuthorError> {
        let to = ReplicaId(self.life.draw()?);
        replica::handle_epoch_reply(self, reply, to)
    }

    /// Takes note of a time seen from elsewhere, within what the hybrid clock allows.
    pub fn observe(&mut self, remote: HybridTime) -> Result<(), TxError> {
        let mut clock = self.clock()?;
        clock.observe(remote, wall_ms());
        self.set_clock(clock)
    }

    fn stamp(&mut self) -> Result<Stamp, TxError> {
        let mut clock = self.clock()?;
        let at = clock.tick(wall_ms());
        self.set_clock(clock)?;
        Ok(Stamp {
            change: ChangeId(self.life.draw()?),
            salt: self.life.draw()?,
            at,
            boot: self.life.boot,
            monotonic_ms: self.life.monotonic_ms(),
        })
    }

    /// How this program's clocks stand beside the hub's, which showed `hub_ms` when the machine's monotonic time was 0.
    pub fn boot_clock(&self, hub_ms: i64) -> Option<BootClock> {
        self.life.clock(hub_ms)
    }

    fn set_clock(&self, clock: HybridClock) -> Result<(), TxError> {
        let sql = "UPDATE identity SET clock_wall_ms = ?1, clock_logical = ?2";
        self.connection
            .prepare_cached(sql)?
            .execute(params![clock.last.wall_ms.cast_signed(), clock.last.logical])?;
        Ok(())
    }

    pub(super) fn read_head(&mut self) -> Result<ReplicaHead, TxError> {
        if let Some(head) = self.head {
            return Ok(head);
        }
        let head = ReadTx::head(self)?;
        self.head = Some(head);
        Ok(head)
    }

    pub(super) fn write_head(&mut self, head: &ReplicaHead) -> Result<(), TxError> {
        let before = self.read_head()?;
        if before == *head {
            return Ok(());
        }
        let sql =
            "UPDATE identity SET incarnation = incarnation + (replica <> ?1), replica = ?1, counter = ?2, hash = ?3,
                   accepted = ?4, epoch = ?5, returning_after = ?6";
        self.connection.prepare_cached(sql)?.execute(params![
            head.replica.0,
            head.counter.cast_signed(),
            head.hash.0,
            head.accepted.cast_signed(),
            head.epoch.0,
            head.returning.map(|record| record.0)
        ])?;
        self.changed.acknowledged |= before.accepted != head.accepted;
        self.changed.own |= before.replica != head.replica;
        self.head = Some(*head);
        Ok(())
    }
}

/// Milliseconds since 1970 as this machine's clock has it; nothing but ties depends on it being right.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
