//! The version of the store's tables: forward only. Each migration is a file that never changes again; the tables as
//! they stand now are written beside the queries of their noun, and a test holds the two equal. A store of a newer
//! version is refused untouched.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::fault::StoreError;

const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("migrations/01_first.sql")),
    M::up(include_str!("migrations/03_scopes.sql")),
    M::up(include_str!("migrations/04_reference.sql")),
    M::up(include_str!("migrations/10_identity.sql")),
    M::up(include_str!("migrations/30_lanes.sql")),
    M::up(include_str!("migrations/40_walks.sql")),
];

pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found = version(connection)?;
    if found > VERSION {
        return Err(StoreError::Newer { found, known: VERSION });
    }
    Migrations::from_slice(MIGRATIONS)
        .to_latest(connection)
        .map_err(|source| StoreError::Migration {
            folder: folder_of(connection),
            source,
        })
}

/// The folder of the file that is open; empty for one in memory.
fn folder_of(connection: &Connection) -> PathBuf {
    let file = connection.path().map(Path::new);
    file.and_then(Path::parent).unwrap_or(Path::new("")).to_owned()
}

fn version(connection: &Connection) -> Result<u32, StoreError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    version.map_err(|error| StoreError::Tx(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        acks, blobs, changes, codes, contents, feed, identity, lanes, messages, meta, records, requests, sign_ins,
        sources,
    };

    const TABLES: [&str; 14] = [
        acks::TABLES,
        identity::TABLES,
        meta::TABLES,
        changes::TABLES,
        records::TABLES,
        feed::TABLES,
        lanes::TABLES,
        blobs::TABLES,
        contents::TABLES,
        codes::TABLES,
        messages::TABLES,
        sources::TABLES,
        requests::TABLES,
        sign_ins::TABLES,
    ];

    fn shape(connection: &Connection) -> Vec<(String, String)> {
        let sql = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
            .unwrap();
        rows.map(|row| row.unwrap())
            .map(|(name, sql)| (name, sql.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect()
    }

    #[test]
    fn all_migrations_make_the_tables_that_a_fresh_store_would_have() {
        let mut migrated = Connection::open_in_memory().unwrap();
        migrate(&mut migrated).unwrap();
        let fresh = Connection::open_in_memory().unwrap();

        fresh.execute_batch(&TABLES.concat()).unwrap();

        assert_eq!(shape(&migrated), shape(&fresh));
    }

    #[test]
    fn a_store_of_a_newer_version_is_refused_by_both_numbers() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();

        let refused = migrate(&mut connection).unwrap_err();

        assert!(matches!(refused, StoreError::Newer { found, known } if found == VERSION + 1 && known == VERSION));
    }
}
