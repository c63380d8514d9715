//! Answers to requests that write, by the id that the form carried: a form that is sent again gets the same answer and
//! writes nothing more. The answer is kept by the same commit as the write.

use rusqlite::{OptionalExtension, params};

use super::fault::TxError;
use super::identity::wall_ms;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE requests (
    request BLOB PRIMARY KEY,
    answered_ms INTEGER NOT NULL,
    outcome BLOB NOT NULL
);
CREATE INDEX requests_by_age ON requests (answered_ms);";

impl ReadTx<'_> {
    pub fn answered(&self, request: [u8; 16]) -> Result<Option<Vec<u8>>, TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT outcome FROM requests WHERE request = ?1")?;
        Ok(statement.query_row([request], |row| row.get(0)).optional()?)
    }
}

impl WriteTx<'_> {
    pub fn keep_answer(&mut self, request: [u8; 16], outcome: &[u8]) -> Result<(), TxError> {
        let sql = "INSERT INTO requests VALUES (?1, ?2, ?3)";
        self.connection
            .prepare_cached(sql)?
            .execute(params![request, wall_ms().cast_signed(), outcome])?;
        Ok(())
    }

    /// Forgets answers given before a time; how many.
    pub fn prune_answers(&mut self, before_ms: u64) -> Result<usize, TxError> {
        let sql = "DELETE FROM requests WHERE answered_ms < ?1";
        Ok(self
            .connection
            .prepare_cached(sql)?
            .execute([before_ms.cast_signed()])?)
    }
}
