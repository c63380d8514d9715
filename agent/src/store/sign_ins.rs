//! Who is signed in, so that a restart signs nobody out. Only the hash of a token is kept.

use rusqlite::{OptionalExtension, params};
use sync_protocol::{Hash, RecordId};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE sign_ins (
    token_hash BLOB PRIMARY KEY,
    staff BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
);
CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_ms);";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignIn {
    pub token_hash: Hash,
    pub staff: RecordId,
    pub created_ms: u64,
    pub seen_ms: u64,
    pub expires_ms: u64,
}

impl ReadTx<'_> {
    /// The sign-in of a token, expired or not: that is the caller's to judge.
    pub fn sign_in(&self, token_hash: Hash) -> Result<Option<SignIn>, TxError> {
        let sql = "SELECT staff, created_ms, seen_ms, expires_ms FROM sign_ins WHERE token_hash = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let sign_in = statement.query_row([token_hash.0], |row| {
            Ok(SignIn {
                token_hash,
                staff: RecordId(row.get(0)?),
                created_ms: row.get::<_, i64>(1)?.cast_unsigned(),
                seen_ms: row.get::<_, i64>(2)?.cast_unsigned(),
                expires_ms: row.get::<_, i64>(3)?.cast_unsigned(),
            })
        });
        Ok(sign_in.optional()?)
    }
}

impl WriteTx<'_> {
    /// Keeps a new sign-in, or a later look at one that is kept.
    pub fn put_sign_in(&mut self, sign_in: &SignIn) -> Result<(), TxError> {
        let sql = "INSERT INTO sign_ins VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (token_hash)
                   DO UPDATE SET seen_ms = excluded.seen_ms, expires_ms = excluded.expires_ms";
        self.connection.prepare_cached(sql)?.execute(params![
            sign_in.token_hash.0,
            sign_in.staff.0,
            sign_in.created_ms.cast_signed(),
            sign_in.seen_ms.cast_signed(),
            sign_in.expires_ms.cast_signed()
        ])?;
        Ok(())
    }

    /// Ends one sign-in; whether there was one.
    pub fn end_sign_in(&mut self, token_hash: Hash) -> Result<bool, TxError> {
        let sql = "DELETE FROM sign_ins WHERE token_hash = ?1";
        Ok(self.connection.prepare_cached(sql)?.execute([token_hash.0])? > 0)
    }

    /// Forgets the expired ones; how many.
    pub fn prune_sign_ins(&mut self, now_ms: u64) -> Result<usize, TxError> {
        let sql = "DELETE FROM sign_ins WHERE expires_ms <= ?1";
        Ok(self.connection.prepare_cached(sql)?.execute([now_ms.cast_signed()])?)
    }
}
