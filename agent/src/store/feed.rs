//! How far this store has followed the feed, and the sums that prove its bases equal to the hub's.

use rusqlite::{OptionalExtension, Row, params};
use sync_protocol::proof::{self, Sum};
use sync_protocol::wire::Cursor;
use sync_protocol::{Hash, Lane, ScopeId};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE cursors (
    scope BLOB NOT NULL,
    lane INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (scope, lane)
) WITHOUT ROWID;
CREATE TABLE buckets (
    scope BLOB NOT NULL,
    lane INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    sum BLOB NOT NULL,
    PRIMARY KEY (scope, lane, bucket)
) WITHOUT ROWID;";

fn read_lane(row: &Row<'_>, index: usize) -> Result<Lane, TxError> {
    Lane::from_number(row.get(index)?).ok_or(TxError::Damaged { what: "a lane" })
}

impl ReadTx<'_> {
    pub fn cursors(&self) -> Result<Vec<Cursor>, TxError> {
        let sql = "SELECT scope, lane, generation, sequence FROM cursors ORDER BY lane, scope";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut cursors = Vec::new();
        while let Some(row) = rows.next()? {
            cursors.push(Cursor {
                scope: ScopeId(row.get(0)?),
                lane: read_lane(row, 1)?,
                generation: row.get::<_, i64>(2)?.cast_unsigned(),
                sequence: row.get::<_, i64>(3)?.cast_unsigned(),
            });
        }
        Ok(cursors)
    }

    pub fn bucket_sums(&self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, TxError> {
        let sql = "SELECT bucket, sum FROM buckets WHERE scope = ?1 AND lane = ?2 ORDER BY bucket";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![scope.0, lane as u8], |row| {
            Ok((row.get(0)?, Sum::from_bytes(&row.get(1)?)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn root(&self, scope: ScopeId, lane: Lane) -> Result<Hash, TxError> {
        Ok(proof::root(scope, lane, self.bucket_sums(scope, lane)?))
    }
}

impl WriteTx<'_> {
    pub(super) fn write_cursor(&mut self, cursor: &Cursor) -> Result<(), TxError> {
        let sql = "INSERT INTO cursors VALUES (?1, ?2, ?3, ?4) ON CONFLICT (scope, lane)
                   DO UPDATE SET generation = excluded.generation, sequence = excluded.sequence";
        self.connection.prepare_cached(sql)?.execute(params![
            cursor.scope.0,
            cursor.lane as u8,
            cursor.generation.cast_signed(),
            cursor.sequence.cast_signed()
        ])?;
        Ok(())
    }

    pub(super) fn rewind_cursors(&mut self) -> Result<(), TxError> {
        self.connection
            .prepare_cached("UPDATE cursors SET generation = 0, sequence = 0")?
            .execute([])?;
        Ok(())
    }

    pub(super) fn change_bucket(
        &mut self,
        (scope, lane, bucket): (ScopeId, Lane, u8),
        plus: Sum,
        minus: Sum,
    ) -> Result<(), TxError> {
        let sql = "SELECT sum FROM buckets WHERE scope = ?1 AND lane = ?2 AND bucket = ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let sum = statement
            .query_row(params![scope.0, lane as u8, bucket], |row| row.get(0))
            .optional()?;
        let sum = sum
            .map_or(Sum::default(), |bytes| Sum::from_bytes(&bytes))
            .plus(plus)
            .minus(minus);
        let sql = "INSERT INTO buckets VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET sum = excluded.sum";
        self.connection
            .prepare_cached(sql)?
            .execute(params![scope.0, lane as u8, bucket, sum.to_bytes()])?;
        Ok(())
    }
}
