//! What is remembered of each lane beside its cursor: whether it was filled once, and whether its rows are held back.

use rusqlite::{OptionalExtension, params};
use sync_protocol::replica::{LaneWatch, LaneWatches, Weighing};
use sync_protocol::{EpochId, Lane, ScopeId};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE lane_watches (
    scope BLOB NOT NULL,
    lane INTEGER NOT NULL,
    epoch BLOB NOT NULL,
    filled INTEGER NOT NULL,
    passed INTEGER NOT NULL,
    scanned INTEGER,
    altered INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    held INTEGER NOT NULL,
    frozen INTEGER NOT NULL,
    PRIMARY KEY (scope, lane)
) WITHOUT ROWID;";

impl ReadTx<'_> {
    pub fn lane_watch(&self, scope: ScopeId, lane: Lane) -> Result<Option<LaneWatch>, TxError> {
        let sql = "SELECT epoch, filled, passed, scanned, altered, removed, held, frozen FROM lane_watches
                   WHERE scope = ?1 AND lane = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let watch = statement.query_row(params![scope.0, lane as u8], |row| {
            let number = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let scanned: Option<i64> = row.get(3)?;
            let weighing = match scanned {
                Some(scanned) => Some(Weighing {
                    scanned: scanned.cast_unsigned(),
                    altered: number(4)?,
                    removed: number(5)?,
                    held: number(6)?,
                    is_frozen: row.get(7)?,
                }),
                None => None,
            };
            Ok(LaneWatch {
                epoch: EpochId(row.get(0)?),
                is_filled: row.get(1)?,
                passed: number(2)?,
                weighing,
            })
        });
        Ok(watch.optional()?)
    }
}

impl LaneWatches for WriteTx<'_> {
    fn lane_watch(&mut self, scope: ScopeId, lane: Lane) -> Result<Option<LaneWatch>, TxError> {
        ReadTx::lane_watch(self, scope, lane)
    }

    fn set_lane_watch(&mut self, scope: ScopeId, lane: Lane, watch: &LaneWatch) -> Result<(), TxError> {
        let before = ReadTx::lane_watch(self, scope, lane)?;
        if before.as_ref() == Some(watch) {
            return Ok(());
        }
        let sql = "INSERT INTO lane_watches VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (scope, lane)
                   DO UPDATE SET epoch = excluded.epoch, filled = excluded.filled, passed = excluded.passed,
                   scanned = excluded.scanned, altered = excluded.altered, removed = excluded.removed,
                   held = excluded.held, frozen = excluded.frozen";
        let weighing = watch.weighing.unwrap_or_default();
        self.connection.prepare_cached(sql)?.execute(params![
            scope.0,
            lane as u8,
            watch.epoch.0,
            watch.is_filled,
            watch.passed.cast_signed(),
            watch.weighing.map(|weighing| weighing.scanned.cast_signed()),
            weighing.altered.cast_signed(),
            weighing.removed.cast_signed(),
            weighing.held.cast_signed(),
            weighing.is_frozen
        ])?;
        self.changed.lanes |= before.is_some_and(|before| before.is_frozen()) != watch.is_frozen();
        Ok(())
    }

    fn held(&mut self, scope: ScopeId, lane: Lane) -> Result<u64, TxError> {
        let sql = "SELECT count(*) FROM records WHERE scope = ?1 AND lane = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let held: i64 = statement.query_row(params![scope.0, lane as u8], |row| row.get(0))?;
        Ok(held.cast_unsigned())
    }
}
