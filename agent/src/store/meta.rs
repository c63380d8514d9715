//! Small single values that belong to the store as a whole, by name: which site this is, what its hub last said.

use rusqlite::{OptionalExtension, params};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;";

impl ReadTx<'_> {
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?)
    }
}

impl WriteTx<'_> {
    pub fn set_meta(&mut self, name: &str, value: &[u8]) -> Result<(), TxError> {
        let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.connection.prepare_cached(sql)?.execute(params![name, value])?;
        Ok(())
    }

    pub fn remove_meta(&mut self, name: &str) -> Result<(), TxError> {
        self.connection
            .prepare_cached("DELETE FROM meta WHERE name = ?1")?
            .execute([name])?;
        Ok(())
    }
}
