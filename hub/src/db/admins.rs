//! Administrators of the console, their sign-ins and their wrong tries. Of a browser's token only the digest is kept.

use super::sql::{Row, values};
use super::*;

/// An administrator's account.
#[derive(Clone)]
pub struct Account {
    pub admin: RecordId,
    pub login: String,
    pub name: String,
    /// The word of the role.
    pub role: String,
    pub credential: String,
    pub factor: Vec<u8>,
    /// The last time step whose code was taken.
    pub step_taken: u64,
    pub added_ms: u64,
    pub signed_in_ms: Option<u64>,
    /// Since when the account is closed for good.
    pub ended_ms: Option<u64>,
}

/// A browser in which somebody is signed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdminSignIn {
    pub token_hash: [u8; 32],
    pub admin: RecordId,
    pub begun_ms: u64,
    pub seen_ms: u64,
}

/// What a second factor is sealed for.
const TABLE: &str = "admins";

const COLUMNS: &str = "SELECT admin, login, name, role, credential, factor, step_taken, added_ms, signed_in_ms, \
                       ended_ms FROM admins WHERE org = ?1";

fn account(txn: &Txn<'_>, row: &Row) -> Result<Account, DbError> {
    let admin = RecordId(row.get(0)?);
    Ok(Account {
        admin,
        login: row.get(1)?,
        name: row.get(2)?,
        role: row.get(3)?,
        credential: row.get(4)?,
        factor: txn.unseal(TABLE, &[&admin.0], &row.get::<Vec<u8>>(5)?)?,
        step_taken: row.get(6)?,
        added_ms: row.get(7)?,
        signed_in_ms: row.get(8)?,
        ended_ms: row.get(9)?,
    })
}

impl Txn<'_> {
    pub fn add_account(&mut self, account: &Account) -> Result<(), DbError> {
        let factor = self.seal(TABLE, &[&account.admin.0], &account.factor)?;
        self.sql.run(
            "INSERT INTO admins (org, admin, login, name, role, credential, factor, step_taken, added_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            values![
                self.org,
                account.admin.0,
                &account.login,
                &account.name,
                &account.role,
                &account.credential,
                factor,
                account.step_taken,
                account.added_ms,
            ],
        )?;
        Ok(())
    }

    /// Every account that ever was, by login.
    pub fn accounts(&mut self) -> Result<Vec<Account>, DbError> {
        let rows = self.sql.rows(&format!("{COLUMNS} ORDER BY login"), values![self.org])?;
        rows.iter().map(|row| account(self, row)).collect()
    }

    pub fn account_of_login(&mut self, login: &str) -> Result<Option<Account>, DbError> {
        let row = self
            .sql
            .row(&format!("{COLUMNS} AND login = ?2"), values![self.org, login])?;
        row.as_ref().map(|row| account(self, row)).transpose()
    }

    pub fn account(&mut self, admin: RecordId) -> Result<Option<Account>, DbError> {
        let row = self
            .sql
            .row(&format!("{COLUMNS} AND admin = ?2"), values![self.org, admin.0])?;
        row.as_ref().map(|row| account(self, row)).transpose()
    }

    /// Closes an account for good and ends its sign-ins.
    pub fn end_account(&mut self, admin: RecordId) -> Result<(), DbError> {
        self.sql.run(
            "UPDATE admins SET ended_ms = COALESCE(ended_ms, ?3) WHERE org = ?1 AND admin = ?2",
            values![self.org, admin.0, self.now_ms],
        )?;
        self.end_sign_ins_of(admin)
    }

    /// Gives an account another second factor and passphrase, and ends its sign-ins.
    pub fn reset_account(&mut self, admin: RecordId, credential: &str, factor: &[u8]) -> Result<(), DbError> {
        let factor = self.seal(TABLE, &[&admin.0], factor)?;
        self.sql.run(
            "UPDATE admins SET credential = ?3, factor = ?4, step_taken = 0 WHERE org = ?1 AND admin = ?2",
            values![self.org, admin.0, credential, factor],
        )?;
        self.end_sign_ins_of(admin)
    }

    fn end_sign_ins_of(&mut self, admin: RecordId) -> Result<(), DbError> {
        self.sql.run(
            "DELETE FROM admin_sign_ins WHERE org = ?1 AND admin = ?2",
            values![self.org, admin.0],
        )?;
        Ok(())
    }

    /// Takes the code of a time step. False when that one, or a later one, was taken already.
    pub fn take_step(&mut self, admin: RecordId, step: u64) -> Result<bool, DbError> {
        let taken = self.sql.run(
            "UPDATE admins SET step_taken = ?3, signed_in_ms = ?4 WHERE org = ?1 AND admin = ?2 AND step_taken < ?3",
            values![self.org, admin.0, step, self.now_ms],
        )?;
        Ok(taken == 1)
    }

    /// Begins a sign-in; those that began or were last used before the given times are forgotten.
    pub fn begin_sign_in(
        &mut self,
        token_hash: [u8; 32],
        admin: RecordId,
        begun_after_ms: u64,
        seen_after_ms: u64,
    ) -> Result<(), DbError> {
        self.sql.run(
            "DELETE FROM admin_sign_ins WHERE org = ?1 AND (begun_ms < ?2 OR seen_ms < ?3)",
            values![self.org, begun_after_ms, seen_after_ms],
        )?;
        self.sql.run(
            "INSERT INTO admin_sign_ins (org, token_hash, admin, begun_ms, seen_ms) VALUES (?1, ?2, ?3, ?4, ?4)",
            values![self.org, token_hash, admin.0, self.now_ms],
        )?;
        Ok(())
    }

    pub fn sign_in(&mut self, token_hash: [u8; 32]) -> Result<Option<AdminSignIn>, DbError> {
        let row = self.sql.row(
            "SELECT admin, begun_ms, seen_ms FROM admin_sign_ins WHERE org = ?1 AND token_hash = ?2",
            values![self.org, token_hash],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(AdminSignIn {
            token_hash,
            admin: RecordId(row.get(0)?),
            begun_ms: row.get(1)?,
            seen_ms: row.get(2)?,
        }))
    }

    /// Notes that a sign-in is used.
    pub fn use_sign_in(&mut self, token_hash: [u8; 32]) -> Result<(), DbError> {
        self.sql.run(
            "UPDATE admin_sign_ins SET seen_ms = ?3 WHERE org = ?1 AND token_hash = ?2",
            values![self.org, token_hash, self.now_ms],
        )?;
        Ok(())
    }

    pub fn end_sign_in(&mut self, token_hash: [u8; 32]) -> Result<(), DbError> {
        self.sql.run(
            "DELETE FROM admin_sign_ins WHERE org = ?1 AND token_hash = ?2",
            values![self.org, token_hash],
        )?;
        Ok(())
    }

    /// Wrong tries in a row since a time, and when the last one was.
    pub fn tries(&mut self, who: [u8; 32], since_ms: u64) -> Result<(u64, u64), DbError> {
        let row = self.sql.row(
            "SELECT wrong, last_ms FROM admin_tries WHERE org = ?1 AND who = ?2 AND last_ms > ?3",
            values![self.org, who, since_ms],
        )?;
        match row {
            Some(row) => Ok((row.get(0)?, row.get(1)?)),
            None => Ok((0, 0)),
        }
    }

    /// Counts a try as wrong; those before the given time are forgotten, of anybody.
    pub fn count_try(&mut self, who: [u8; 32], since_ms: u64) -> Result<(), DbError> {
        self.sql.run(
            "DELETE FROM admin_tries WHERE org = ?1 AND last_ms <= ?2",
            values![self.org, since_ms],
        )?;
        self.sql.run(
            "INSERT INTO admin_tries (org, who, wrong, last_ms) VALUES (?1, ?2, 1, ?3) \
             ON CONFLICT (org, who) DO UPDATE SET wrong = admin_tries.wrong + 1, last_ms = excluded.last_ms",
            values![self.org, who, self.now_ms],
        )?;
        Ok(())
    }

    /// Forgets the wrong tries. False when there were none.
    pub fn forget_tries(&mut self, who: [u8; 32]) -> Result<bool, DbError> {
        let forgotten = self.sql.run(
            "DELETE FROM admin_tries WHERE org = ?1 AND who = ?2",
            values![self.org, who],
        )?;
        Ok(forgotten > 0)
    }
}
