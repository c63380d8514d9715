//! Requests whose number their agent had used before. That is how a request that somebody caught and sent again shows, and a
//! key that is in use at two places. A store that was put back or copied shows the same way, and then takes a new identity.

use super::sql::{Row, values};
use super::*;

/// An identity that is taken so soon before or after explains a number that came twice.
const EXPLAINS_WITHIN_MS: u64 = 10 * 60 * 1_000;

/// What is known of an agent's numbers that came twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reused {
    pub agent: [u8; 16],
    pub scope: ScopeId,
    pub times: u64,
    pub first_ms: u64,
    pub last_ms: u64,
    /// When the agent took the identity that explains it.
    pub explained_ms: Option<u64>,
}

impl Txn<'_> {
    pub fn note_reused_number(&mut self, agent: [u8; 16], times: u64) -> Result<(), DbError> {
        self.sql.run(
            "INSERT INTO reused_numbers (org, agent, times, first_ms, last_ms) VALUES (?1, ?2, ?3, ?4, ?4) \
             ON CONFLICT (org, agent) DO UPDATE SET times = reused_numbers.times + excluded.times, \
             last_ms = excluded.last_ms",
            values![self.org, agent, times, self.now_ms],
        )?;
        Ok(())
    }

    pub fn note_incarnation(&mut self, agent: [u8; 16]) -> Result<(), DbError> {
        self.sql.run(
            "UPDATE enrolments SET incarnated_ms = ?3 WHERE org = ?1 AND agent = ?2",
            values![self.org, agent, self.now_ms],
        )?;
        Ok(())
    }

    /// Those of agents that are still enrolled, the newest first.
    pub fn reused_numbers(&mut self) -> Result<Vec<Reused>, DbError> {
        let rows = self.sql.rows(
            "SELECT reused_numbers.agent, scope, times, first_ms, last_ms, incarnated_ms FROM reused_numbers \
             JOIN enrolments ON enrolments.org = reused_numbers.org AND enrolments.agent = reused_numbers.agent \
             WHERE reused_numbers.org = ?1 AND revoked_ms IS NULL ORDER BY last_ms DESC, reused_numbers.agent",
            values![self.org],
        )?;
        let reused = |row: &Row| {
            let (last_ms, incarnated_ms): (u64, Option<u64>) = (row.get(4)?, row.get(5)?);
            Ok(Reused {
                agent: row.get(0)?,
                scope: ScopeId(row.get(1)?),
                times: row.get(2)?,
                first_ms: row.get(3)?,
                last_ms,
                explained_ms: incarnated_ms.filter(|at| at.abs_diff(last_ms) < EXPLAINS_WITHIN_MS),
            })
        };
        rows.iter().map(reused).collect()
    }
}
