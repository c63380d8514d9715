//! Table `[store]`: where the store is, and how long anything about it may take.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use vault::sqlite::Tuning;

const PAGE_KIB: u32 = 4;

/// Table `[store]`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Connections that read, beside those that write.
    pub readers: usize,
    /// Page cache of the connection that writes the store in this folder; each of those that read has a quarter of it.
    pub cache_kib: u32,
    /// The write-ahead log of the store in this folder is written back once it is so long.
    pub log_kib: u32,
    /// The file that says how far the store has got, so that one that was put back to an older copy is noticed before it is
    /// written to. It must be outside the store and its backup: never put it back with the store. Without it, mark/store
    /// in the hub's folder.
    pub mark_file: Option<PathBuf>,
    /// The PostgreSQL database that is the store instead, as "postgres://user@host:port/database". No password stands here.
    pub postgres: Option<String>,
    /// A file of this user's alone whose first line is the database user's password.
    pub password_file: Option<PathBuf>,
    /// The authority of the database server's certificate, PEM. Without it only a server on this machine is spoken to.
    pub authority_file: Option<PathBuf>,
    /// Connections to PostgreSQL that write.
    pub connections: usize,
    /// How long connecting to PostgreSQL may take.
    pub connect_timeout_secs: u64,
    /// How long one statement may take.
    pub statement_timeout_secs: u64,
    /// How long a transaction waits for what another one holds.
    pub lock_timeout_secs: u64,
    /// How long a process that holds something in PostgreSQL may be silent before the server takes it away.
    pub idle_in_transaction_timeout_secs: u64,
    /// How long whoever asked waits for PostgreSQL in all before being told to come again.
    pub answer_timeout_secs: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            readers: 4,
            cache_kib: 64 * 1024,
            log_kib: 128 * 1024,
            mark_file: None,
            postgres: None,
            password_file: None,
            authority_file: None,
            connections: 8,
            connect_timeout_secs: 5,
            statement_timeout_secs: 30,
            lock_timeout_secs: 10,
            idle_in_transaction_timeout_secs: 10,
            answer_timeout_secs: 45,
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        let at_least_one = [
            ("readers", self.readers as u64),
            ("log_kib", u64::from(self.log_kib)),
            ("connections", self.connections as u64),
            ("connect_timeout_secs", self.connect_timeout_secs),
            ("statement_timeout_secs", self.statement_timeout_secs),
            ("lock_timeout_secs", self.lock_timeout_secs),
            (
                "idle_in_transaction_timeout_secs",
                self.idle_in_transaction_timeout_secs,
            ),
            ("answer_timeout_secs", self.answer_timeout_secs),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        let Some(address) = &self.postgres else {
            return match (&self.password_file, &self.authority_file) {
                (None, None) => Ok(()),
                (Some(_), _) => Err("password_file needs postgres".to_owned()),
                (None, Some(_)) => Err("authority_file needs postgres".to_owned()),
            };
        };
        super::postgres::refuse_unsound(address, self.authority_file.is_some())
    }

    /// Of the connection that writes. Ids are random, so a push touches a page for nearly every row: what is not in the cache is
    /// read and deciphered first, and what is written back into the file after every push is copied as often.
    pub(super) fn tuning(&self) -> Tuning {
        Tuning {
            cache_kib: self.cache_kib,
            checkpoint_pages: (self.log_kib / PAGE_KIB).max(1),
            ..Tuning::default()
        }
    }

    pub(super) fn reading(&self) -> Tuning {
        Tuning {
            cache_kib: self.cache_kib / 4,
            ..Tuning::default()
        }
    }

    pub(super) fn answer_timeout(&self) -> Duration {
        Duration::from_secs(self.answer_timeout_secs)
    }
}
