//! Leases: which process works on what, and until when at the latest. A lease that ran out is anybody's; whoever holds
//! one looks again, in the transaction that writes, whether it is still theirs.

use super::sql::values;
use super::*;

/// One start of one process.
pub type LeaseOwner = [u8; 16];

impl Txn<'_> {
    /// Takes or prolongs a lease until a time, milliseconds since 1970. False while somebody else has it.
    pub fn take_lease(&mut self, name: &[u8], owner: LeaseOwner, until_ms: u64) -> Result<bool, DbError> {
        let taken = self.sql.run(
            "INSERT INTO leases (org, name, owner, until_ms) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (org, name) DO UPDATE SET owner = excluded.owner, until_ms = excluded.until_ms \
             WHERE leases.owner = excluded.owner OR leases.until_ms <= ?5",
            values![self.org, name, owner, until_ms, self.now_ms],
        )?;
        Ok(taken == 1)
    }

    /// Whether the lease is still this owner's.
    pub fn holds_lease(&mut self, name: &[u8], owner: LeaseOwner) -> Result<bool, DbError> {
        let row = self.sql.row(
            "SELECT owner, until_ms FROM leases WHERE org = ?1 AND name = ?2",
            values![self.org, name],
        )?;
        let Some(row) = row else { return Ok(false) };
        Ok(row.get::<LeaseOwner>(0)? == owner && row.get::<u64>(1)? > self.now_ms)
    }

    /// Gives a lease back before its time.
    pub fn release_lease(&mut self, name: &[u8], owner: LeaseOwner) -> Result<(), DbError> {
        self.sql.run(
            "DELETE FROM leases WHERE org = ?1 AND name = ?2 AND owner = ?3",
            values![self.org, name, owner],
        )?;
        Ok(())
    }

    /// Gives back whatever an owner has.
    pub fn release_leases_of(&mut self, owner: LeaseOwner) -> Result<(), DbError> {
        self.sql.run(
            "DELETE FROM leases WHERE org = ?1 AND owner = ?2",
            values![self.org, owner],
        )?;
        Ok(())
    }
}
