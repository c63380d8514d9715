//! Bringing a store forward to this version's tables. It never goes back: a store of a newer version is refused and
//! left as it is.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::DbError;

const STEPS: &[M<'static>] = &[
    M::up(include_str!("schema_1.sql")),
    M::up(include_str!("schema_2.sql")),
    M::up(include_str!("schema_3.sql")),
];

pub(super) fn bring_forward(connection: &mut Connection) -> Result<(), DbError> {
    let stored: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if stored > STEPS.len() as i64 {
        return Err(DbError::Newer {
            stored,
            known: STEPS.len(),
        });
    }
    Migrations::from_slice(STEPS).to_latest(connection).map_err(|error| {
        if let rusqlite_migration::Error::RusqliteError { err, .. } = error {
            DbError::from(err)
        } else {
            DbError::Migration(error.to_string())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_applies_to_an_empty_store() {
        let mut connection = Connection::open_in_memory().unwrap();

        bring_forward(&mut connection).unwrap();
        bring_forward(&mut connection).unwrap();
    }

    #[test]
    fn a_store_of_a_newer_version_is_refused_untouched() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .pragma_update(None, "user_version", STEPS.len() as i64 + 1)
            .unwrap();

        let refused = bring_forward(&mut connection);

        assert!(matches!(refused, Err(DbError::Newer { .. })));
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 0);
    }

    #[test]
    fn every_key_and_unique_index_starts_with_the_organisation() {
        let mut connection = Connection::open_in_memory().unwrap();
        bring_forward(&mut connection).unwrap();
        let mut indexes = connection
            .prepare("SELECT name FROM sqlite_master WHERE type = 'index'")
            .unwrap();
        let names: Vec<String> = indexes
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();

        assert!(names.len() > 20);
        for name in names {
            let first: String = connection
                .query_row(
                    "SELECT name FROM pragma_index_info(?1) WHERE seqno = 0",
                    [&name],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(first, "org", "{name}");
        }
    }
}
