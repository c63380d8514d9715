//! What SQLite is told of the tables instead of counting them. Every index begins with the organisation, which says nothing
//! in a store of one; not knowing that, SQLite walked through everything an organisation has to answer a question about one
//! record. Measured: taking 2,000 visits in was fourteen times slower than replicating as many documents elsewhere.
//!
//! The numbers are the same for every store, so that a plan does not depend on the day it was made on.

use rusqlite::Connection;

use super::DbError;

const ROWS: u64 = 1_000_000;
/// Rows that a value of an id's column leaves, of those that the columns before left.
const OF_AN_ID: u64 = 100_000;

/// How many different values a column has, roughly.
fn values_of(column: &str) -> u64 {
    match column {
        "org" => 1,
        "kind" | "standing" | "outcome" | "lane" | "first_dot" => 3,
        "field" | "rule" | "facet" => 16,
        "bucket" => 256,
        "scope" | "replica" => 1_000,
        _ => OF_AN_ID,
    }
}

/// Writes the numbers, if they are not there already.
pub(super) fn tell(connection: &Connection) -> Result<(), DbError> {
    let mut wanted = Vec::new();
    let mut tables = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for table in tables.iter().filter(|name| !name.starts_with("sqlite_")) {
        for (index, is_unique) in indexes_of(connection, table)? {
            let columns = columns_of(connection, &index)?;
            wanted.push((table.clone(), index, figures(&columns, is_unique)));
        }
    }
    wanted.sort();
    if stored(connection)? == wanted {
        return Ok(());
    }
    // The first makes the table, looking at next to nothing; the last makes this connection read it again.
    connection.execute_batch("PRAGMA analysis_limit = 1; ANALYZE; BEGIN; DELETE FROM sqlite_stat1;")?;
    if is_there(connection, "sqlite_stat4")? {
        connection.execute_batch("DELETE FROM sqlite_stat4")?;
    }
    for (table, index, figures) in &wanted {
        connection.execute(
            "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?1, ?2, ?3)",
            [table, index, figures],
        )?;
    }
    connection.execute_batch("COMMIT; ANALYZE sqlite_schema;")?;
    Ok(())
}

fn indexes_of(connection: &Connection, table: &str) -> Result<Vec<(String, bool)>, DbError> {
    let mut indexes = connection.prepare("SELECT name, \"unique\" FROM pragma_index_list(?1)")?;
    let indexes = indexes.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(indexes.collect::<Result<_, _>>()?)
}

fn columns_of(connection: &Connection, index: &str) -> Result<Vec<String>, DbError> {
    let mut columns = connection.prepare("SELECT name FROM pragma_index_info(?1) ORDER BY seqno")?;
    let columns = columns.query_map([index], |row| row.get(0))?;
    Ok(columns.collect::<Result<_, _>>()?)
}

/// As SQLite keeps them: all rows, then how many a value of the first column leaves, of the first two, and so on.
fn figures(columns: &[String], is_unique: bool) -> String {
    let mut figures = vec![ROWS.to_string()];
    let mut left = ROWS;
    for (place, column) in columns.iter().enumerate() {
        let is_whole_key = is_unique && place + 1 == columns.len();
        left = if is_whole_key {
            1
        } else {
            (left / values_of(column)).max(2)
        };
        figures.push(left.to_string());
    }
    figures.join(" ")
}

fn is_there(connection: &Connection, table: &str) -> Result<bool, DbError> {
    let count = "SELECT count(*) FROM sqlite_master WHERE name = ?1";
    Ok(connection.query_row(count, [table], |row| row.get::<_, i64>(0))? > 0)
}

fn stored(connection: &Connection) -> Result<Vec<(String, String, String)>, DbError> {
    if !is_there(connection, "sqlite_stat1")? {
        return Ok(Vec::new());
    }
    let mut rows = connection.prepare("SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY tbl, idx, stat")?;
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::migrations::bring_forward;
    use crate::db::sql::Sql;

    fn told() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let root = vault::RowRoot::of(&vault::DataKey::generate().unwrap());
        bring_forward(&mut Sql::Embedded(&connection), &root).unwrap();
        tell(&connection).unwrap();
        connection
    }

    fn plan(connection: &Connection, question: &str) -> String {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
        // What is compared with has no part in it.
        let steps = plan.raw_query().mapped(|row| row.get::<_, String>(3));
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_is_asked_for_one_record_or_term_is_not_looked_for_among_all_of_an_organisation() {
        let connection = told();

        for (question, by) in [
            (crate::db::index::text_of(&[1, 2], 4, 9).as_str(), "term=?"),
            (
                "DELETE FROM terms WHERE org = x'00' AND ((term = x'01' AND kind = 1 AND record = x'02') \
                 OR (term = x'03' AND kind = 1 AND record = x'04'))",
                "record=?",
            ),
            (
                "SELECT record, kind, terms FROM states WHERE org = x'00' AND terms IS NOT NULL AND record IN (x'01', x'02')",
                "record=?",
            ),
            (
                "SELECT record, facet FROM facets WHERE org = x'00' AND record IN (x'01', x'02')",
                "record=?",
            ),
            (
                "SELECT target FROM links WHERE org = x'00' AND record IN (x'01', x'02')",
                "record=?",
            ),
            (
                "SELECT hash FROM changes WHERE org = x'00' AND first_dot = 1 AND change_id IN (x'01', x'02')",
                "change_id=?",
            ),
            (
                "SELECT state FROM states WHERE org = x'00' AND record IN (x'01', x'02')",
                "record=?",
            ),
            (
                "SELECT record FROM states WHERE org = x'00' AND kind = 1 AND record > x'01' ORDER BY record LIMIT 9",
                "record>?",
            ),
            ("SELECT record FROM states WHERE org = x'00' AND kind = 1", "kind=?"),
            (
                "SELECT 1 FROM changes WHERE org = x'00' AND record = x'01' AND standing = 1",
                "record=?",
            ),
            (
                "SELECT scope FROM members WHERE org = x'00' AND patient IN (x'01', x'02')",
                "patient=?",
            ),
            (
                "SELECT record FROM feed WHERE org = x'00' AND scope = x'01' AND lane = 1 AND sequence > 5 ORDER BY sequence",
                "sequence>?",
            ),
        ] {
            let plan = plan(&connection, question);
            let walks = plan.contains("SCAN terms") || plan.contains("(org=?)");
            assert!(plan.contains(by) && !walks, "{question}: {plan}");
        }
    }

    #[test]
    fn telling_again_changes_nothing() {
        let connection = told();
        let before = connection.total_changes();

        tell(&connection).unwrap();

        assert_eq!(connection.total_changes(), before);
    }
}
