//! Rows apart from the sums kept of them: what rotted is found, told and set right.

use sync_protocol::proof::Sum;

use super::*;

async fn a_patient(store: &Store, record: RecordId) {
    let writing = Writing::new(patient::KIND, record, Action::Arrive, Channel::Page.program(), 0);
    let name = PersonName::new("Vance", "Ada");
    let draft = writing.set(patient::NAME, &Phi::new(name)).done();
    store
        .write(move |txn| txn.author(&draft, Some(SITE)))
        .await
        .expect("a change");
}

pub(super) async fn a_sum_that_rotted_is_found_and_set_right(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let record = RecordId([9; 16]);
    a_patient(&store, record).await;
    let lane = clinic::catalogue::lane(patient::KIND);
    let noise = store.db.organisation().proof_key.leaf_of_bytes(b"noise");
    let check = async || store.db.read(move |txn| txn.check_bucket(SITE, lane, 9)).await.unwrap();
    assert_eq!(check().await, BucketFound::default());

    store
        .write(move |txn| Ok(txn.add_to_bucket(SITE, lane, 9, noise, Sum::default())?))
        .await;

    assert!(check().await.is_miscounted);
    assert!(store.write(move |txn| txn.recount(SITE, lane, 9)).await);
    assert_eq!(check().await, BucketFound::default());
    assert!(!store.write(move |txn| txn.recount(SITE, lane, 9)).await);
}

pub(super) async fn a_lane_is_looked_at_once_and_what_was_found_stays_known(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    a_patient(&store, RecordId([9; 16])).await;
    let lane = clinic::catalogue::lane(patient::KIND);
    let due = async |since_ms| store.db.read(move |txn| txn.lanes_to_check(since_ms, 9)).await.unwrap();
    assert_eq!(due(0).await, [(SITE, lane)]);

    store
        .write(move |txn| Ok(txn.note_proof_check(SITE, lane, 2, 0)?))
        .await;
    store
        .write(move |txn| Ok(txn.note_proof_check(SITE, lane, 0, 1)?))
        .await;

    assert_eq!(due(0).await, []);
    assert_eq!(due(u64::MAX / 2).await, [(SITE, lane)]);
    let found = store.db.read(|txn| txn.proof_checks()).await.unwrap();
    assert_eq!((found[0].miscounted, found[0].unreadable), (0, 1));
    assert!(found[0].found_ms.is_some());
}
