//! HL7 messages that came in, and what was answered: one that comes again gets the stored answer and causes nothing new.

use clinic::hl7::Outcome;

use super::sealing::unseal;
use super::sql::{Row, values};
use super::*;

/// SHA-256 of sender, control id and content.
pub type MessageKey = [u8; 32];

#[derive(Clone)]
pub struct Message {
    pub key: MessageKey,
    pub received_ms: u64,
    pub peer: String,
    /// MSH-9.1 and MSH-9.2.
    pub kind: String,
    pub event: String,
    pub outcome: Outcome,
    /// Which segment or field was at fault and why, or what somebody should know; never what the message held.
    pub note: Option<String>,
    /// The record that it made or altered first.
    pub record: Option<RecordId>,
    pub ack: Vec<u8>,
    pub original: Vec<u8>,
}

/// Which part of a message a sealed content is.
const ACK: &str = "ack";
const ORIGINAL: &str = "original";

const COLUMNS: &str = "message, received_ms, peer, kind, event, outcome, note, record, ack, original";

fn message(keys: &RowKeys, row: &Row) -> Result<Message, DbError> {
    let key: MessageKey = row.get(0)?;
    let open = |part: &str, sealed: Vec<u8>| unseal(keys, "messages", &[&key, part.as_bytes()], &sealed);
    let number: u16 = row.get(5)?;
    let outcome = Outcome::ALL.into_iter().find(|outcome| *outcome as u16 == number);
    Ok(Message {
        key,
        received_ms: row.get(1)?,
        peer: row.get(2)?,
        kind: row.get(3)?,
        event: row.get(4)?,
        outcome: outcome.ok_or(DbError::Damaged {
            what: "a message's outcome",
        })?,
        note: row.get(6)?,
        record: row.get::<Option<[u8; 16]>>(7)?.map(RecordId),
        ack: open(ACK, row.get(8)?)?,
        original: open(ORIGINAL, row.get(9)?)?,
    })
}

impl Txn<'_> {
    /// Keeps a message with its answer. One with the same key must not be there.
    pub fn insert_message(&mut self, message: &Message) -> Result<(), DbError> {
        let seal = |part: &str, plain: &[u8]| self.seal("messages", &[&message.key, part.as_bytes()], plain);
        let (ack, original) = (seal(ACK, &message.ack)?, seal(ORIGINAL, &message.original)?);
        self.sql.run(
            "INSERT INTO messages (org, message, received_ms, peer, kind, event, outcome, note, record, ack, original) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            values![
                self.org,
                message.key,
                message.received_ms,
                &message.peer,
                &message.kind,
                &message.event,
                message.outcome as u8,
                message.note.clone(),
                message.record.map(|record| record.0),
                ack,
                original,
            ],
        )?;
        Ok(())
    }

    pub fn message(&mut self, key: &MessageKey) -> Result<Option<Message>, DbError> {
        let row = self.sql.row(
            &format!("SELECT {COLUMNS} FROM messages WHERE org = ?1 AND message = ?2"),
            values![self.org, key],
        )?;
        row.as_ref().map(|row| message(self.keys, row)).transpose()
    }

    /// Messages, newest first; of one outcome, or of all.
    pub fn messages(&mut self, outcome: Option<Outcome>, at_most: usize) -> Result<Vec<Message>, DbError> {
        let newest = "ORDER BY received_ms DESC, message DESC LIMIT ?2";
        let rows = match outcome {
            None => self.sql.rows(
                &format!("SELECT {COLUMNS} FROM messages WHERE org = ?1 {newest}"),
                values![self.org, at_most],
            )?,
            Some(outcome) => self.sql.rows(
                &format!("SELECT {COLUMNS} FROM messages WHERE org = ?1 AND outcome = ?3 {newest}"),
                values![self.org, at_most, outcome as u8],
            )?,
        };
        rows.iter().map(|row| message(self.keys, row)).collect()
    }

    pub fn count_messages(&mut self, outcome: Outcome) -> Result<u64, DbError> {
        let row = self.sql.one(
            "SELECT count(*) FROM messages WHERE org = ?1 AND outcome = ?2",
            values![self.org, outcome as u8],
        )?;
        row.get(0)
    }
}
