//! The hub's word, under its signature, for what it holds of this replica's changes; kept until it holds them for good.

use rusqlite::params;
use sync_protocol::replica::HeldAck;
use sync_protocol::{Ack, Dot, EpochId, Hash, ReplicaId, Signature};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE acks (
    id INTEGER PRIMARY KEY,
    replica BLOB NOT NULL UNIQUE,
    epoch BLOB NOT NULL,
    counter INTEGER NOT NULL,
    hash BLOB NOT NULL,
    stable INTEGER NOT NULL,
    signature BLOB NOT NULL,
    at_hub INTEGER NOT NULL
);";

impl ReadTx<'_> {
    /// The hub's word for incarnations, the oldest first.
    pub fn held_acks(&self) -> Result<Vec<HeldAck>, TxError> {
        let sql = "SELECT epoch, replica, counter, hash, stable, signature, at_hub FROM acks ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            let ack = Ack {
                epoch: EpochId(row.get(0)?),
                replica: ReplicaId(row.get(1)?),
                counter: row.get::<_, i64>(2)?.cast_unsigned(),
                hash: Hash(row.get(3)?),
                stable: row.get::<_, i64>(4)?.cast_unsigned(),
                signature: Signature(row.get(5)?),
            };
            Ok(HeldAck {
                ack,
                at_hub: row.get::<_, i64>(6)?.cast_unsigned(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How far an incarnation's changes are held for good, where the hub gives its word and has not said so of all.
    pub(super) fn stable_of(&self, replica: ReplicaId) -> Result<Option<u64>, TxError> {
        let acks = self.held_acks()?;
        let held = acks.iter().find(|held| held.ack.replica == replica);
        Ok(held.map(|held| held.ack.stable))
    }
}

impl WriteTx<'_> {
    pub(super) fn write_ack(&mut self, held: &HeldAck) -> Result<(), TxError> {
        let sql = "INSERT INTO acks (replica, epoch, counter, hash, stable, signature, at_hub)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (replica) DO UPDATE SET epoch = excluded.epoch,
                   counter = excluded.counter, hash = excluded.hash, stable = excluded.stable,
                   signature = excluded.signature, at_hub = excluded.at_hub";
        self.connection.prepare_cached(sql)?.execute(params![
            held.ack.replica.0,
            held.ack.epoch.0,
            held.ack.counter.cast_signed(),
            held.ack.hash.0,
            held.ack.stable.cast_signed(),
            held.ack.signature.0,
            held.at_hub.cast_signed()
        ])?;
        Ok(())
    }

    pub(super) fn delete_ack(&mut self, replica: ReplicaId) -> Result<(), TxError> {
        let sql = "DELETE FROM acks WHERE replica = ?1";
        self.connection.prepare_cached(sql)?.execute([replica.0])?;
        Ok(())
    }

    /// Forgets what was to be forgotten as soon as the hub holds it for good.
    pub(super) fn forget_upto(&mut self, upto: Dot) -> Result<(), TxError> {
        let sql = "SELECT change FROM own_changes INDEXED BY own_changes_waiting
                   WHERE pending = 3 AND replica = ?1 AND counter <= ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![upto.replica.0, upto.counter.cast_signed()], |row| row.get(0))?;
        let changes = rows.collect::<Result<Vec<[u8; 16]>, _>>()?;
        if !changes.is_empty() {
            self.changed.purged = true;
        }
        changes.into_iter().try_for_each(|change| self.forget_change(change))
    }
}
