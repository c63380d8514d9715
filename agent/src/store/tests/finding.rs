//! The index: records are found by what is shown of them now, and by nothing that was shown before.

use clinic::flow::VisitState;
use clinic::index::{self, Facet};
use clinic::visit;
use sync_protocol::ChangeId;

use super::*;

fn found(store: &Store, query: &str) -> Vec<RecordId> {
    let words = index::search(query);
    let patients = store
        .read_blocking(move |tx| tx.search(&words, patient::KIND, 10))
        .unwrap();
    patients.into_iter().map(|stored| stored.state.record).collect()
}

fn arrival(visit: RecordId, of: RecordId, event_ms: i64) -> Draft {
    Writing::new(visit::KIND, visit, Action::Arrive, Channel::Page.program(), event_ms)
        .set(visit::PATIENT, &of)
        .assert(visit::TRANSITION, &VisitState::Arrived)
        .done()
}

fn moved(visit: RecordId, to: VisitState) -> Draft {
    Writing::new(visit::KIND, visit, Action::Move, Channel::Page.program(), 9_000)
        .assert(visit::TRANSITION, &to)
        .done()
}

fn open_visits(store: &Store) -> Vec<RecordId> {
    let open = store.read_blocking(|tx| tx.with_facet(Facet::VISIT_OPEN, 10)).unwrap();
    open.into_iter().map(|stored| stored.state.record).collect()
}

#[test]
fn a_patient_is_found_by_every_word_and_no_longer_by_a_name_that_was_replaced() {
    let site = Site::new();
    let store = site.create();
    let first = save(&store, new_patient(record(1), "Lovelace"));
    save(&store, new_patient(record(2), "Byron"));
    assert_eq!(found(&store, "love"), [record(1)]);
    assert_eq!(found(&store, "ada by"), [record(2)]);
    assert!(found(&store, "ada turing").is_empty() && found(&store, "  ").is_empty());

    let renamed = Writing::new(patient::KIND, record(1), Action::Edit, Channel::Page.program(), 2_000)
        .replace(
            patient::NAME,
            &Phi::new(PersonName::new("King", "Ada")),
            &[first.change],
        )
        .done();
    save(&store, renamed);

    assert!(found(&store, "lovelace").is_empty());
    assert_eq!(
        (found(&store, "king"), found(&store, "ada").len()),
        (vec![record(1)], 2)
    );
}

#[test]
fn the_board_lists_open_visits_by_arrival_and_drops_those_that_end() {
    let site = Site::new();
    let store = site.create();
    save(&store, arrival(record(11), record(1), 5_000));
    save(&store, arrival(record(12), record(2), 4_000));
    assert_eq!(open_visits(&store), [record(12), record(11)]);

    save(&store, moved(record(12), VisitState::Discharged));

    assert_eq!(open_visits(&store), [record(11)]);
    assert_eq!(store.read_blocking(|tx| tx.count_facet(Facet::VISIT_OPEN)).unwrap(), 1);
}

#[test]
fn a_patients_visits_are_found_by_the_link_and_move_with_it() {
    let site = Site::new();
    let store = site.create();
    let first = save(&store, arrival(record(11), record(1), 5_000));
    save(&store, arrival(record(12), record(1), 6_000));

    let relinked = Writing::new(visit::KIND, record(11), Action::Edit, Channel::Page.program(), 7_000)
        .replace(visit::PATIENT, &record(2), &[first.change])
        .done();
    save(&store, relinked);

    let visits = |of: u8| {
        store
            .read_blocking(move |tx| tx.linked(record(of), visit::KIND))
            .unwrap()
    };
    assert_eq!(
        visits(1)
            .into_iter()
            .map(|stored| stored.state.record)
            .collect::<Vec<_>>(),
        [record(12)]
    );
    assert_eq!(
        visits(2)
            .into_iter()
            .map(|stored| stored.state.record)
            .collect::<Vec<_>>(),
        [record(11)]
    );
    assert_eq!(
        store
            .read_blocking(|tx| tx.count_linked(record(2), visit::KIND))
            .unwrap(),
        1
    );
}

#[test]
fn records_of_a_kind_come_in_order_and_only_as_many_as_asked() {
    let site = Site::new();
    let store = site.create();
    save(&store, arrival(record(11), record(1), 5_000));
    save(&store, arrival(record(12), record(1), 4_000));
    save(&store, new_patient(record(1), "Lovelace"));

    let visits = store.read_blocking(|tx| tx.records_of_kind(visit::KIND, 1)).unwrap();

    assert_eq!(
        visits.into_iter().map(|stored| stored.state.record).collect::<Vec<_>>(),
        [record(12)]
    );
}

#[test]
fn a_write_sees_what_it_wrote_itself() {
    let site = Site::new();
    let store = site.create();

    let seen = store.write_blocking(Priority::Desk, |tx| -> Result<Vec<ChangeId>, AuthorError> {
        tx.author(&arrival(record(11), record(1), 5_000))?;
        let visits = tx.linked(record(1), visit::KIND)?;
        Ok(visits[0].state.shown(visit::PATIENT.id))
    });

    assert_eq!(seen.unwrap().len(), 1);
}
