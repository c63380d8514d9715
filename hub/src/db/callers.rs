//! What is known of the agents that call: the key their requests are signed with, the numbers that were used, what they
//! said of themselves, and whether their line may be inspected.

use sync_protocol::handshake::About;
use sync_protocol::request_signature::Channel;

use super::sql::values;
use super::*;

/// An agent as it described itself at its last handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Greeted {
    pub program: String,
    pub protocol: u64,
    pub features: Vec<String>,
    pub at_ms: u64,
}

impl Txn<'_> {
    /// The key that an agent signs its requests with, if it has registered one.
    pub fn request_key(&mut self, agent: [u8; 16]) -> Result<Option<[u8; 32]>, DbError> {
        let row = self.sql.row(
            "SELECT request_key FROM enrolments WHERE org = ?1 AND agent = ?2",
            values![self.org, agent],
        )?;
        row.map_or(Ok(None), |row| row.get(0))
    }

    pub fn set_request_key(&mut self, agent: [u8; 16], key: [u8; 32]) -> Result<(), DbError> {
        self.sql.run(
            "UPDATE enrolments SET request_key = ?3 WHERE org = ?1 AND agent = ?2",
            values![self.org, agent, key],
        )?;
        Ok(())
    }

    /// The newest number on a channel that was committed; 0 before the first.
    pub fn newest_request(&mut self, agent: [u8; 16], channel: Channel) -> Result<u64, DbError> {
        let row = self.sql.row(
            "SELECT newest FROM request_numbers WHERE org = ?1 AND agent = ?2 AND channel = ?3",
            values![self.org, agent, channel as u8],
        )?;
        row.map_or(Ok(0), |row| row.get(0))
    }

    /// Uses up a number together with what else this transaction writes. False when it or a later one was used already: one
    /// statement, so that of two processes one alone succeeds.
    pub fn use_request(&mut self, agent: [u8; 16], channel: Channel, number: u64) -> Result<bool, DbError> {
        let used = self.sql.run(
            "INSERT INTO request_numbers (org, agent, channel, newest) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (org, agent, channel) DO UPDATE SET newest = excluded.newest \
             WHERE request_numbers.newest < excluded.newest",
            values![self.org, agent, channel as u8, number],
        )?;
        Ok(used == 1)
    }

    /// Notes the newer certificate of an enrolled agent; the one before still counts.
    pub fn renew_enrolment(&mut self, agent: [u8; 16], certificate: [u8; 32]) -> Result<(), DbError> {
        self.sql.run(
            "UPDATE enrolments SET certificate_before = certificate, certificate = ?3, certified_ms = ?4 \
             WHERE org = ?1 AND agent = ?2",
            values![self.org, agent, certificate, self.now_ms],
        )?;
        Ok(())
    }

    pub fn note_greeting(&mut self, agent: [u8; 16], about: &About, protocol: u64) -> Result<(), DbError> {
        let features: Vec<&str> = about.features.iter().map(String::as_str).collect();
        self.sql.run(
            "UPDATE enrolments SET program = ?3, protocol = ?4, features = ?5, greeted_ms = ?6 \
             WHERE org = ?1 AND agent = ?2",
            values![
                self.org,
                agent,
                &about.version,
                protocol,
                features.join(" "),
                self.now_ms
            ],
        )?;
        Ok(())
    }

    /// `None` for an agent that never greeted: of a version before there were greetings.
    pub fn greeted(&mut self, agent: [u8; 16]) -> Result<Option<Greeted>, DbError> {
        let row = self.sql.row(
            "SELECT program, protocol, features, greeted_ms FROM enrolments WHERE org = ?1 AND agent = ?2 \
             AND greeted_ms IS NOT NULL",
            values![self.org, agent],
        )?;
        let Some(row) = row else { return Ok(None) };
        let features: String = row.get(2)?;
        Ok(Some(Greeted {
            program: row.get(0)?,
            protocol: row.get(1)?,
            features: features.split_whitespace().map(str::to_owned).collect(),
            at_ms: row.get(3)?,
        }))
    }

    /// Agents that may come back, of all sites.
    pub fn enrolled_agents(&mut self) -> Result<u64, DbError> {
        let count = self.sql.one(
            "SELECT count(*) FROM enrolments WHERE org = ?1 AND revoked_ms IS NULL",
            values![self.org],
        )?;
        count.get(0)
    }

    pub fn allows_inspection(&mut self, scope: ScopeId) -> Result<bool, DbError> {
        let row = self.sql.row(
            "SELECT COALESCE(inspection, 0) FROM sites WHERE org = ?1 AND scope = ?2",
            values![self.org, scope.0],
        )?;
        row.map_or(Ok(false), |row| Ok(row.get::<u64>(0)? != 0))
    }

    pub fn set_allows_inspection(&mut self, scope: ScopeId, allows: bool) -> Result<(), DbError> {
        self.sql.run(
            "UPDATE sites SET inspection = ?3 WHERE org = ?1 AND scope = ?2",
            values![self.org, scope.0, allows],
        )?;
        Ok(())
    }
}
