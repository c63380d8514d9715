//! What each source outside last said of each field, so that it is compared with its own last word and never with what a
//! person wrote since.

use clinic::following::{LastSaid, LastWords};
use sync_protocol::FieldId;
use sync_protocol::cbor::Raw;

use super::sql::values;
use super::*;

impl Txn<'_> {
    /// The source's last words of a record's fields.
    pub fn last_words(&mut self, source: &str, record: RecordId) -> Result<LastWords, DbError> {
        let rows = self.sql.rows(
            "SELECT field, change_id, value FROM source_values WHERE org = ?1 AND source = ?2 AND record = ?3",
            values![self.org, source, record.0],
        )?;
        let mut words = LastWords::new();
        for row in &rows {
            let field = FieldId(row.get(0)?);
            let value = self.unseal(
                "source_values",
                &[source.as_bytes(), &record.0, &field.0.to_be_bytes()],
                &row.get::<Vec<u8>>(2)?,
            )?;
            let value = Raw::from_bytes(value).map_err(|_| DbError::Damaged {
                what: "a source's value",
            })?;
            let said = LastSaid {
                change: ChangeId(row.get(1)?),
                value,
            };
            words.insert(field, said);
        }
        Ok(words)
    }

    pub fn set_last_word(
        &mut self,
        source: &str,
        record: RecordId,
        field: FieldId,
        said: &LastSaid,
    ) -> Result<(), DbError> {
        let key: [&[u8]; 3] = [source.as_bytes(), &record.0, &field.0.to_be_bytes()];
        let value = self.seal("source_values", &key, said.value.as_bytes())?;
        self.sql.run(
            "INSERT INTO source_values (org, source, record, field, change_id, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (org, source, record, field) \
             DO UPDATE SET change_id = excluded.change_id, value = excluded.value",
            values![self.org, source, record.0, field.0, said.change.0, value],
        )?;
        Ok(())
    }
}
