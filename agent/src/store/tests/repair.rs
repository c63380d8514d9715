//! What differs from the hub is found and set right, and nothing is removed on a guess.

use sync_protocol::replica::{
    Mended, RepairOutcome, ReplicaLedger, handle_page, handle_repair, narrow, next_pull, next_repair, recount,
};
use sync_protocol::wire::Page;
use sync_protocol::{Lane, RecordId};

use super::hub::{Hub, SCOPE, proof_key};
use super::replica::{enrol, push};
use super::*;

const LANE: Lane = Lane::Flow;

/// A site with three patients that the hub has too.
fn filled(site: &Site, hub: &mut Hub) -> Store {
    let store = site.create();
    enrol(&store);
    for number in 1..=3 {
        save(&store, new_patient(record(number), "Lovelace"));
    }
    push(&store, hub);
    let request = store
        .write_blocking(Priority::Sync, |tx| next_pull(tx, 1 << 20, 0, |_, _| Ok(false)))
        .unwrap();
    hub.pull(&request).into_iter().for_each(|page| {
        store
            .write_blocking(Priority::Sync, move |tx| handle_page(tx, &proof_key(), &page))
            .unwrap();
    });
    assert_eq!(clinic::catalogue::lane(patient::KIND), LANE);
    store
}

fn harm(site: &Site, store: Store, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Store {
    drop(store);
    let connection = sqlite::open(&site.file(), &site.key, Mode::Existing, &sqlite::Tuning::default()).unwrap();
    assert!(connection.execute(sql, values).unwrap() > 0);
    drop(connection);
    site.open().unwrap()
}

fn page_of_what_differs(store: &Store, hub: &mut Hub) -> Option<Page> {
    for bucket in 0..=u8::MAX {
        store
            .write_blocking(Priority::Sync, move |tx| recount(tx, &proof_key(), SCOPE, LANE, bucket))
            .unwrap();
    }
    let asked = store
        .write_blocking(Priority::Sync, |tx| next_repair(tx, SCOPE, LANE, 1 << 20))
        .unwrap()
        .unwrap();
    let reply = hub.compare(&asked);
    let asked = store
        .write_blocking(Priority::Sync, move |tx| narrow(tx, &proof_key(), &reply, 1 << 20))
        .unwrap()?;
    Some(hub.compare(&asked).page)
}

fn mend(store: &Store, hub: &mut Hub) -> Mended {
    let page = page_of_what_differs(store, hub).unwrap();
    let outcome = store
        .write_blocking(Priority::Sync, move |tx| handle_repair(tx, &proof_key(), &page))
        .unwrap();
    match outcome {
        RepairOutcome::Mended(mended) => mended,
        other @ (RepairOutcome::OtherCursor | RepairOutcome::NotApplied(_)) => panic!("{other:?}"),
    }
}

fn base_of(store: &Store, record: RecordId) -> Option<sync_protocol::RecordState> {
    store.read_blocking(move |tx| tx.base_of(record)).unwrap()
}

#[test]
fn a_base_that_cannot_be_read_any_more_is_fetched_again() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    let sql = "UPDATE records SET base = x'00', shown = x'00' WHERE record = ?1";
    let store = harm(&site, store, sql, &[&record(2).0]);

    let mended = mend(&store, &mut hub);

    assert_eq!(
        (mended.applied.records, mended.applied.verified),
        (vec![record(2)], Some(true))
    );
    assert_eq!(base_of(&store, record(2)).as_ref(), Some(hub.state(record(2))));
    let shown = store.read_blocking(|tx| tx.state(record(2))).unwrap();
    assert_eq!(shown.as_ref(), Some(hub.state(record(2))));
    assert!(page_of_what_differs(&store, &mut hub).is_none());
}

#[test]
fn what_is_shown_and_is_not_what_is_held_is_shown_anew() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    save(&store, new_phone(record(2), "602-555-0199"));
    let shown = |store: &Store, number| store.read_blocking(move |tx| tx.state(record(number))).unwrap();
    let right = [shown(&store, 1), shown(&store, 2)];
    let look = |store: &Store| {
        let look = |tx: &mut WriteTx<'_>| tx.show_anew(RecordId::NIL, 2);
        store.write_blocking(Priority::Sync, look).unwrap()
    };
    assert_eq!((look(&store).rotted, look(&store).last), (0, Some(record(2))));

    let store = harm(
        &site,
        store,
        "UPDATE records SET shown = base WHERE record = ?1",
        &[&record(2).0],
    );
    let store = harm(
        &site,
        store,
        "UPDATE records SET shown = x'00' WHERE record = ?1",
        &[&record(1).0],
    );
    let rotted = look(&store).rotted;

    assert_eq!((rotted, look(&store).rotted), (2, 0));
    assert_eq!([shown(&store, 1), shown(&store, 2)], right);
}

#[test]
fn a_base_that_is_lost_comes_back_and_a_sum_that_rotted_is_counted_anew() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    let store = harm(&site, store, "DELETE FROM records WHERE record = ?1", &[&record(3).0]);
    let store = harm(&site, store, "UPDATE buckets SET sum = zeroblob(32)", &[]);

    let mended = mend(&store, &mut hub);

    assert_eq!(
        (mended.applied.records, mended.applied.verified),
        (vec![record(3)], Some(true))
    );
    assert_eq!(base_of(&store, record(3)).as_ref(), Some(hub.state(record(3))));
}

#[test]
fn a_record_that_has_left_the_scope_is_let_go_of() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    hub.lose_row(record(1));

    let mended = mend(&store, &mut hub);

    assert_eq!(
        (mended.applied.records, mended.applied.verified),
        (vec![record(1)], Some(true))
    );
    assert_eq!(base_of(&store, record(1)), None);
}

#[test]
fn a_base_that_holds_what_the_hub_lacks_stays_and_is_named() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    let before = base_of(&store, record(1));
    hub.lose_change_of(record(1));

    let mended = mend(&store, &mut hub);

    assert_eq!((mended.applied.records, mended.ahead), (vec![], vec![record(1)]));
    assert_eq!(base_of(&store, record(1)), before);
}

#[test]
fn rows_for_another_cursor_are_not_taken() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    let store = harm(&site, store, "DELETE FROM records WHERE record = ?1", &[&record(3).0]);
    let mut page = page_of_what_differs(&store, &mut hub).unwrap();
    page.from += 1;
    page.to += 1;

    let outcome = store
        .write_blocking(Priority::Sync, move |tx| handle_repair(tx, &proof_key(), &page))
        .unwrap();

    assert_eq!(outcome, RepairOutcome::OtherCursor);
    assert_eq!(
        store.write_blocking(Priority::Sync, |tx| tx.base(record(3))).unwrap(),
        None
    );
}
