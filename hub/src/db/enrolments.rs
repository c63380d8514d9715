//! One-time tokens and the agents that were enrolled with them. Of a token only the digest of its secret is kept.

use super::sql::{Row, values};
use super::*;

/// A token as the hub keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRow {
    pub token: [u8; 16],
    pub secret_hash: [u8; 32],
    pub scope: ScopeId,
    pub expires_ms: u64,
    /// The agent enrolled with it and the digest of its public key; a token with one is used.
    pub used_by: Option<([u8; 16], [u8; 32])>,
}

/// An enrolled agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolment {
    pub agent: [u8; 16],
    pub scope: ScopeId,
    /// The fingerprint of its newest certificate.
    pub certificate: [u8; 32],
    /// That of the one before, which still counts.
    pub certificate_before: Option<[u8; 32]>,
    /// What its requests are signed with; `None` for an agent that has no such key yet.
    pub request_key: Option<[u8; 32]>,
    pub revoked: bool,
}

/// An agent as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agent {
    pub agent: [u8; 16],
    pub enrolled_ms: u64,
    pub revoked_ms: Option<u64>,
    /// When its newest certificate was made.
    pub certified_ms: u64,
}

impl Txn<'_> {
    pub fn add_token(&mut self, token: &TokenRow) -> Result<(), DbError> {
        self.sql.run(
            "INSERT INTO tokens (org, token, secret_hash, scope, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            values![
                self.org,
                token.token,
                token.secret_hash,
                token.scope.0,
                token.expires_ms
            ],
        )?;
        Ok(())
    }

    pub fn token(&mut self, token: [u8; 16]) -> Result<Option<TokenRow>, DbError> {
        let row = self.sql.row(
            "SELECT secret_hash, scope, expires_ms, agent, agent_key FROM tokens WHERE org = ?1 AND token = ?2",
            values![self.org, token],
        )?;
        let Some(row) = row else { return Ok(None) };
        let (agent, key): (Option<[u8; 16]>, Option<[u8; 32]>) = (row.get(3)?, row.get(4)?);
        Ok(Some(TokenRow {
            token,
            secret_hash: row.get(0)?,
            scope: ScopeId(row.get(1)?),
            expires_ms: row.get(2)?,
            used_by: agent.zip(key),
        }))
    }

    /// Notes who used a token. False when somebody was quicker.
    pub fn use_token(&mut self, token: [u8; 16], agent: [u8; 16], agent_key: [u8; 32]) -> Result<bool, DbError> {
        let used = self.sql.run(
            "UPDATE tokens SET agent = ?3, agent_key = ?4, used_ms = ?5 \
             WHERE org = ?1 AND token = ?2 AND (agent IS NULL OR agent = ?3)",
            values![self.org, token, agent, agent_key, self.now_ms],
        )?;
        Ok(used == 1)
    }

    /// Enrols an agent, or notes the newer certificate of one that is.
    pub fn put_enrolment(&mut self, agent: [u8; 16], scope: ScopeId, certificate: [u8; 32]) -> Result<(), DbError> {
        self.sql.run(
            "INSERT INTO enrolments (org, agent, scope, certificate, enrolled_ms, certified_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (org, agent) \
             DO UPDATE SET certificate = excluded.certificate, certified_ms = excluded.certified_ms",
            values![self.org, agent, scope.0, certificate, self.now_ms],
        )?;
        Ok(())
    }

    pub fn enrolment(&mut self, agent: [u8; 16]) -> Result<Option<Enrolment>, DbError> {
        let row = self.sql.row(
            "SELECT scope, certificate, revoked_ms, certificate_before, request_key FROM enrolments WHERE org = ?1 AND agent = ?2",
            values![self.org, agent],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Enrolment {
            agent,
            scope: ScopeId(row.get(0)?),
            certificate: row.get(1)?,
            revoked: row.get::<Option<i64>>(2)?.is_some(),
            certificate_before: row.get(3)?,
            request_key: row.get(4)?,
        }))
    }

    /// Takes an agent's enrolment back, for good. False when there is no such agent.
    pub fn revoke(&mut self, agent: [u8; 16]) -> Result<bool, DbError> {
        let revoked = self.sql.run(
            "UPDATE enrolments SET revoked_ms = COALESCE(revoked_ms, ?3) WHERE org = ?1 AND agent = ?2",
            values![self.org, agent, self.now_ms],
        )?;
        Ok(revoked > 0)
    }

    /// The agents that were ever enrolled for a site, in the order of their enrolment.
    pub fn agents_of(&mut self, scope: ScopeId) -> Result<Vec<Agent>, DbError> {
        let rows = self.sql.rows(
            "SELECT agent, enrolled_ms, revoked_ms, COALESCE(certified_ms, enrolled_ms) FROM enrolments WHERE org = ?1 AND scope = ?2 \
             ORDER BY enrolled_ms, agent",
            values![self.org, scope.0],
        )?;
        let agent = |row: &Row| {
            Ok(Agent {
                agent: row.get(0)?,
                enrolled_ms: row.get(1)?,
                revoked_ms: row.get(2)?,
                certified_ms: row.get(3)?,
            })
        };
        rows.iter().map(agent).collect()
    }

    /// How many tokens of a site can still be used.
    pub fn open_tokens(&mut self, scope: ScopeId) -> Result<u64, DbError> {
        let open = self.sql.one(
            "SELECT count(*) FROM tokens WHERE org = ?1 AND scope = ?2 AND agent IS NULL AND expires_ms > ?3",
            values![self.org, scope.0, self.now_ms],
        )?;
        open.get(0)
    }
}
