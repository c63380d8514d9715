//! Messages that came in, and what was answered: a repeated message gets the stored answer and causes nothing new. The
//! original is a blob under the same digest; nothing of its content stands here.

pub use clinic::hl7::Outcome;
use rusqlite::{Row, params};
use sync_protocol::{Hash, RecordId};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    peer TEXT NOT NULL,
    application TEXT NOT NULL,
    facility TEXT NOT NULL,
    control TEXT NOT NULL,
    digest BLOB NOT NULL,
    type TEXT NOT NULL,
    trigger TEXT NOT NULL,
    outcome INTEGER NOT NULL,
    ack BLOB NOT NULL,
    error TEXT,
    record BLOB,
    UNIQUE (application, facility, control, digest)
);
CREATE INDEX messages_by_outcome ON messages (outcome, id);
CREATE INDEX messages_of_record ON messages (record) WHERE record IS NOT NULL;";

/// What makes two messages the same one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageKey {
    /// MSH-3.
    pub application: String,
    /// MSH-4.
    pub facility: String,
    /// MSH-10.
    pub control: String,
    /// SHA-256 of the content as it came.
    pub digest: Hash,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMessage {
    pub key: MessageKey,
    pub received_ms: u64,
    pub peer: String,
    /// MSH-9.1 and MSH-9.2.
    pub kind: String,
    pub trigger: String,
    pub outcome: Outcome,
    pub ack: Vec<u8>,
    /// Which segment or field was at fault and why; never what it held.
    pub error: Option<String>,
    pub record: Option<RecordId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub id: u64,
    pub message: NewMessage,
}

const MESSAGE: &str =
    "SELECT id, received_ms, peer, application, facility, control, digest, type, trigger, outcome, ack, error, record
     FROM messages";

fn read_message(row: &Row<'_>) -> Result<Message, TxError> {
    let number: u8 = row.get(9)?;
    let outcome = Outcome::ALL.into_iter().find(|outcome| *outcome as u8 == number);
    Ok(Message {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        message: NewMessage {
            key: MessageKey {
                application: row.get(3)?,
                facility: row.get(4)?,
                control: row.get(5)?,
                digest: Hash(row.get(6)?),
            },
            received_ms: row.get::<_, i64>(1)?.cast_unsigned(),
            peer: row.get(2)?,
            kind: row.get(7)?,
            trigger: row.get(8)?,
            outcome: outcome.ok_or(TxError::Damaged {
                what: "a message's outcome",
            })?,
            ack: row.get(10)?,
            error: row.get(11)?,
            record: row.get::<_, Option<[u8; 16]>>(12)?.map(RecordId),
        },
    })
}

impl ReadTx<'_> {
    pub fn message(&self, id: u64) -> Result<Option<Message>, TxError> {
        let mut found = self.read_messages("WHERE id = ?1", params![id.cast_signed()])?;
        Ok(found.pop())
    }

    /// The message that came before with the same key, whose answer is given again.
    pub fn find_message(&self, key: &MessageKey) -> Result<Option<Message>, TxError> {
        let tail = "WHERE application = ?1 AND facility = ?2 AND control = ?3 AND digest = ?4";
        let mut found = self.read_messages(tail, params![key.application, key.facility, key.control, key.digest.0])?;
        Ok(found.pop())
    }

    /// Messages before an id, newest first; of one outcome, or of all.
    pub fn messages(&self, outcome: Option<Outcome>, before: Option<u64>, limit: u32) -> Result<Vec<Message>, TxError> {
        let before = before.map_or(i64::MAX, u64::cast_signed);
        match outcome {
            Some(outcome) => {
                let tail = "WHERE outcome = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
                self.read_messages(tail, params![outcome as u8, before, limit])
            }
            None => self.read_messages("WHERE id < ?1 ORDER BY id DESC LIMIT ?2", params![before, limit]),
        }
    }

    /// Unmatched messages other than results, which are counted as records.
    pub fn count_messages_without_effect(&self) -> Result<u64, TxError> {
        let sql = "SELECT count(*) FROM messages WHERE outcome = ?1 AND type <> 'ORU'";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement
            .query_row([Outcome::Unmatched as u8], |row| row.get::<_, i64>(0))?
            .cast_unsigned())
    }

    pub fn count_messages(&self, outcome: Outcome) -> Result<u64, TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT count(*) FROM messages WHERE outcome = ?1")?;
        Ok(statement
            .query_row([outcome as u8], |row| row.get::<_, i64>(0))?
            .cast_unsigned())
    }

    fn read_messages(&self, tail: &str, values: impl rusqlite::Params) -> Result<Vec<Message>, TxError> {
        let mut statement = self.connection.prepare_cached(&format!("{MESSAGE} {tail}"))?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read_message(row)?);
        }
        Ok(found)
    }
}

impl WriteTx<'_> {
    /// Keeps a message with its answer. One with the same key must not be there.
    pub fn insert_message(&mut self, message: &NewMessage) -> Result<u64, TxError> {
        let sql = "INSERT INTO messages (received_ms, peer, application, facility, control, digest, type, trigger,
                   outcome, ack, error, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let id = self.connection.prepare_cached(sql)?.insert(params![
            message.received_ms.cast_signed(),
            message.peer,
            message.key.application,
            message.key.facility,
            message.key.control,
            message.key.digest.0,
            message.kind,
            message.trigger,
            message.outcome as u8,
            message.ack,
            message.error,
            message.record.map(|record| record.0)
        ])?;
        self.changed.messages = true;
        Ok(id.cast_unsigned())
    }
}
