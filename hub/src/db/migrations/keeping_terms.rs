//! The seventeenth step's rows: the terms of a record are written beside its state, before the tree that finds them by the
//! record goes.

use vault::RowRoot;

use crate::db::DbError;
use crate::db::sql::{Sql, values};

/// Records whose terms are held in memory at once.
const RECORDS_AT_ONCE: usize = 512;

pub(super) fn keep_with_the_state(sql: &mut Sql<'_>, _: &RowRoot) -> Result<(), DbError> {
    for row in sql.rows("SELECT org FROM organisations", &[])? {
        let org: [u8; 16] = row.get(0)?;
        let mut after = Vec::new();
        loop {
            let records = sql.rows(
                "SELECT record FROM states WHERE org = ?1 AND record > ?2 ORDER BY record LIMIT ?3",
                values![org, after, RECORDS_AT_ONCE],
            )?;
            for record in &records {
                keep(sql, org, record.get(0)?)?;
            }
            match records.last() {
                Some(last) => after = last.get(0)?,
                None => break,
            }
        }
    }
    Ok(())
}

fn keep(sql: &mut Sql<'_>, org: [u8; 16], record: [u8; 16]) -> Result<(), DbError> {
    let rows = sql.rows(
        "SELECT term FROM terms WHERE org = ?1 AND record = ?2 ORDER BY term",
        values![org, record],
    )?;
    if rows.is_empty() {
        return Ok(());
    }
    let terms: Vec<[u8; 16]> = rows.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
    sql.run(
        "UPDATE states SET terms = ?3 WHERE org = ?1 AND record = ?2",
        values![org, record, terms.concat()],
    )?;
    Ok(())
}
