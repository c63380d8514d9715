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

#[test]
fn what_waited_before_it_was_found_by_what_it_names_is_read_of_the_ehr_again() {
    let connection = Connection::open_in_memory().unwrap();
    let (root, before) = (root(), 13);
    for (step, number) in STEPS.iter().zip(1i64..).take(before) {
        take(&mut Sql::Embedded(&connection), &root, step, number).unwrap();
    }
    connection
        .execute_batch(
            "INSERT INTO inbound_feeds VALUES (x'01', 'Appointment', 7, 1, 7, NULL, 0, 0, 0);
             INSERT INTO inbound_feeds VALUES (x'01', 'Appointment/_history', 7, 1, 7, NULL, 0, 0, 0);
             INSERT INTO inbound_feeds VALUES (x'02', 'Appointment', 7, 1, 7, NULL, 0, 0, 0);
             INSERT INTO inbound_seen VALUES (x'01', x'0a', x'00', NULL), (x'01', x'0b', x'00', NULL);
             INSERT INTO inbound_waiting VALUES (x'01', x'0a', 2, x'00', 1);",
        )
        .unwrap();

    bring_forward(&mut Sql::Embedded(&connection), &root).unwrap();

    let number = |question: &str| connection.query_row(question, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM inbound_feeds WHERE since_ms IS NULL"), 1);
    assert_eq!(
        number("SELECT count(*) FROM inbound_feeds WHERE since_ms IS NULL AND org = x'01' AND feed = 'Appointment'"),
        1
    );
    assert_eq!(number("SELECT count(*) FROM inbound_seen"), 1);
    assert_eq!(number("SELECT count(*) FROM inbound_waiting"), 0);
}

#[test]
fn what_is_indexed_stays_when_its_tables_are_made_anew() {
    let connection = Connection::open_in_memory().unwrap();
    let (root, before) = (root(), 15);
    for (step, number) in STEPS.iter().zip(1i64..).take(before) {
        take(&mut Sql::Embedded(&connection), &root, step, number).unwrap();
    }
    connection
        .execute_batch(
            "INSERT INTO facets VALUES (x'01', 3, x'0e', 1, 7), (x'01', 4, x'0e', 1, 7), (x'01', 3, x'0f', 1, 5);
             INSERT INTO members VALUES (x'01', x'05', x'0e', 2, 3, 4, 1), (x'01', x'06', x'0e', 2, 3, 4, 2);",
        )
        .unwrap();

    bring_forward(&mut Sql::Embedded(&connection), &root).unwrap();

    let text = |question: &str| {
        connection
            .query_row(question, [], |row| row.get::<_, String>(0))
            .unwrap()
    };
    assert_eq!(
        text("SELECT group_concat(facet || hex(record) || kind || order_ms, ' ') FROM facets"),
        "30E17 40E17 30F15"
    );
    assert_eq!(
        text(
            "SELECT group_concat(hex(scope) || hex(patient) || rule || from_ms || until_ms || standing, ' ') FROM members"
        ),
        "050E2341 060E2342"
    );
}

#[test]
fn the_terms_of_a_record_are_found_with_its_state_when_their_tree_has_gone() {
    let connection = Connection::open_in_memory().unwrap();
    let (root, before) = (root(), 16);
    for (step, number) in STEPS.iter().zip(1i64..).take(before) {
        take(&mut Sql::Embedded(&connection), &root, step, number).unwrap();
    }
    let [org, one, two, none] = [1u8, 2, 3, 4].map(|number| [number; 16]);
    connection
        .execute(
            "INSERT INTO organisations (org, epoch, hub_replica, proof_key, catalogue) VALUES (?1, x'', x'', x'', 1)",
            [org],
        )
        .unwrap();
    for record in [one, two, none] {
        connection
            .execute(
                "INSERT INTO states (org, record, kind, state) VALUES (?1, ?2, 1, x'')",
                [org, record],
            )
            .unwrap();
    }
    for (term, record) in [([9u8; 16], one), ([8; 16], one), ([9; 16], two)] {
        connection
            .execute(
                "INSERT INTO terms (org, term, kind, record) VALUES (?1, ?2, 1, ?3)",
                [org, term, record],
            )
            .unwrap();
    }
    connection
        .execute("INSERT INTO links VALUES (?1, ?2, 1, 5, ?3)", [org, one, two])
        .unwrap();

    bring_forward(&mut Sql::Embedded(&connection), &root).unwrap();

    let terms = |record: [u8; 16]| {
        connection
            .query_row("SELECT terms FROM states WHERE record = ?1", [record], |row| {
                row.get::<_, Option<Vec<u8>>>(0)
            })
            .unwrap()
    };
    assert_eq!(terms(one), Some([[8u8; 16], [9; 16]].concat()));
    assert_eq!((terms(two), terms(none)), (Some(vec![9; 16]), None));
    let count = |table: &str| {
        connection
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!((count("terms"), count("links")), (3, 1));
}
