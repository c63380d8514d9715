use rusqlite::Connection;
use vault::DataKey;

use super::*;

fn root() -> RowRoot {
    RowRoot::of(&DataKey::generate().unwrap())
}

#[test]
fn every_step_applies_to_an_empty_store() {
    let connection = Connection::open_in_memory().unwrap();

    bring_forward(&mut Sql::Embedded(&connection), &root()).unwrap();
    bring_forward(&mut Sql::Embedded(&connection), &root()).unwrap();
}

#[test]
fn a_store_of_a_newer_version_is_refused_untouched() {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .pragma_update(None, "user_version", STEPS.len() as i64 + 1)
        .unwrap();

    let refused = bring_forward(&mut Sql::Embedded(&connection), &root());

    assert!(matches!(refused, Err(DbError::Newer { .. })));
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 0);
}

#[test]
fn every_key_and_unique_index_starts_with_the_organisation() {
    let connection = Connection::open_in_memory().unwrap();
    bring_forward(&mut Sql::Embedded(&connection), &root()).unwrap();
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
