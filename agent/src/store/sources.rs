//! What each source outside last said of each field, so that a message is compared with its own predecessor and never
//! with what a person wrote since.

use rusqlite::{OptionalExtension, params};
use sync_protocol::cbor::Raw;
use sync_protocol::{ChangeId, FieldId, RecordId};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE source_values (
    source TEXT NOT NULL,
    record BLOB NOT NULL,
    field INTEGER NOT NULL,
    change BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (source, record, field)
) WITHOUT ROWID;";

/// The value that a source's last message gave a field, and the change that wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceValue {
    pub change: ChangeId,
    pub value: Raw,
}

impl ReadTx<'_> {
    pub fn source_value(&self, source: &str, record: RecordId, field: FieldId) -> Result<Option<SourceValue>, TxError> {
        let sql = "SELECT change, value FROM source_values WHERE source = ?1 AND record = ?2 AND field = ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = statement.query_row(params![source, record.0, field.0], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((change, value)) = row.optional()? else {
            return Ok(None);
        };
        let value = Raw::from_bytes(value).map_err(TxError::unreadable("a source's value"))?;
        Ok(Some(SourceValue {
            change: ChangeId(change),
            value,
        }))
    }
}

impl WriteTx<'_> {
    pub fn set_source_value(
        &mut self,
        source: &str,
        record: RecordId,
        field: FieldId,
        said: &SourceValue,
    ) -> Result<(), TxError> {
        let sql = "INSERT INTO source_values VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (source, record, field)
                   DO UPDATE SET change = excluded.change, value = excluded.value";
        let values = params![source, record.0, field.0, said.change.0, said.value.as_bytes()];
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Forgets what every source said of a record. Sources are few and are gone through one by one, each by its key: an
    /// index by record would cost every message a third more.
    pub(super) fn forget_said(&mut self, record: RecordId) -> Result<(), TxError> {
        let sql = "WITH RECURSIVE sources (source) AS (
                       SELECT min(source) FROM source_values
                       UNION ALL
                       SELECT (SELECT min(v.source) FROM source_values v WHERE v.source > sources.source)
                       FROM sources WHERE sources.source IS NOT NULL)
                   DELETE FROM source_values
                   WHERE source IN (SELECT source FROM sources WHERE source IS NOT NULL) AND record = ?1";
        self.connection.prepare_cached(sql)?.execute([record.0])?;
        Ok(())
    }
}
