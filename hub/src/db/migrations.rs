//! Bringing a store forward to this version's tables, the same steps on either engine. It never goes back: a store of a
//! newer version is refused and left as it is.

use super::DbError;
use super::sql::{Sql, values};
use vault::RowRoot;

mod keeping_terms;
mod sealing_rows;

/// One part of a step.
enum Part {
    Tables(&'static str),
    /// What no statement can do: rows are read, changed and written.
    Rows(fn(&mut Sql<'_>, &RowRoot) -> Result<(), DbError>),
}

/// Each step is one transaction. Steps that were released are never changed.
const STEPS: &[&[Part]] = &[
    &[Part::Tables(include_str!("schema_1.sql"))],
    &[
        Part::Tables(include_str!("schema_2.sql")),
        Part::Rows(sealing_rows::seal_everything),
        Part::Tables("DROP TABLE changes_in_clear; DROP TABLE terms_in_clear;"),
    ],
    &[Part::Tables(include_str!("schema_3.sql"))],
    &[Part::Tables(include_str!("schema_4.sql"))],
    &[Part::Tables(include_str!("schema_5.sql"))],
    &[Part::Tables(include_str!("schema_6.sql"))],
    &[Part::Tables(include_str!("schema_7.sql"))],
    &[Part::Tables(include_str!("schema_8.sql"))],
    &[Part::Tables(include_str!("schema_9.sql"))],
    &[Part::Tables(include_str!("schema_10.sql"))],
    &[Part::Tables(include_str!("schema_11.sql"))],
    &[Part::Tables(include_str!("schema_12.sql"))],
    &[Part::Tables(include_str!("schema_13.sql"))],
    &[Part::Tables(include_str!("schema_14.sql"))],
    &[Part::Tables(include_str!("schema_15.sql"))],
    &[Part::Tables(include_str!("schema_16.sql"))],
    &[
        Part::Tables("ALTER TABLE states ADD COLUMN terms BYTEA;"),
        Part::Rows(keeping_terms::keep_with_the_state),
        Part::Tables(include_str!("schema_17.sql")),
    ],
];

pub(super) fn bring_forward(sql: &mut Sql<'_>, root: &RowRoot) -> Result<(), DbError> {
    let stored = version(sql)?;
    if stored > STEPS.len() as i64 {
        return Err(DbError::Newer {
            stored,
            known: STEPS.len(),
        });
    }
    for (step, number) in STEPS.iter().zip(1i64..).skip(stored as usize) {
        sql.plain("BEGIN")?;
        let taken = take(sql, root, step, number);
        let ended = sql.plain(if taken.is_ok() { "COMMIT" } else { "ROLLBACK" });
        taken.and(ended).map_err(|error| {
            if matches!(
                error,
                DbError::NoSpace | DbError::Away { .. } | DbError::Conflict { .. }
            ) {
                error
            } else {
                DbError::Migration(format!("step {number}: {error}"))
            }
        })?;
    }
    Ok(())
}

fn take(sql: &mut Sql<'_>, root: &RowRoot, step: &[Part], number: i64) -> Result<(), DbError> {
    for part in step {
        match (part, &*sql) {
            // What is one tree in SQLite is a table and its index in PostgreSQL in any case.
            (Part::Tables(text), Sql::Postgres(_)) => sql.plain(&text.replace(" WITHOUT ROWID", ""))?,
            (Part::Tables(text), Sql::Embedded(_)) => sql.plain(text)?,
            (Part::Rows(change), _) => change(sql, root)?,
        }
    }
    match sql {
        Sql::Embedded(connection) => Ok(connection.pragma_update(None, "user_version", number)?),
        Sql::Postgres(_) => {
            sql.run("DELETE FROM store_version", &[])?;
            sql.run("INSERT INTO store_version (version) VALUES (?1)", values![number])?;
            Ok(())
        }
    }
}

fn version(sql: &mut Sql<'_>) -> Result<i64, DbError> {
    match sql {
        Sql::Embedded(_) => sql.one("PRAGMA user_version", &[])?.get(0),
        Sql::Postgres(_) => {
            sql.plain("CREATE TABLE IF NOT EXISTS store_version (version BIGINT NOT NULL)")?;
            let row = sql.row("SELECT version FROM store_version", &[])?;
            row.map_or(Ok(0), |row| row.get(0))
        }
    }
}

#[cfg(test)]
mod tests;
