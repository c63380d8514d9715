//! Writes as wholes: undone, woken for, leased, numbered.

use super::*;

pub(super) async fn each_incarnation_has_a_series_of_its_own_for_good(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);

    let given = store
        .write(|txn| {
            let first = txn.allot_series(ReplicaId([1; 16]), SITE)?;
            let second = txn.allot_series(ReplicaId([2; 16]), SITE)?;
            Ok((first, second, txn.allot_series(ReplicaId([1; 16]), SITE)?))
        })
        .await;

    assert_eq!(given, (Some(1), Some(2), Some(1)));
}

pub(super) async fn a_write_that_fails_or_panics_leaves_nothing_and_the_next_one_goes_on(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let draft = name(RecordId([40; 16]), "Vance", &[]);
    let (refused, faulty) = (draft.clone(), draft.clone());

    let failed: Result<(), HubError<DbError>> = store
        .db
        .write(move |txn| {
            txn.author(&refused, Some(SITE))?;
            Err(HubError::Refused(1))
        })
        .await;
    let panicked: Result<(), HubError<DbError>> = store
        .db
        .write(move |txn| {
            txn.author(&faulty, Some(SITE))?;
            panic!("a fault on purpose")
        })
        .await;
    let written = store.write(move |txn| txn.author(&draft, Some(SITE))).await.unwrap();

    assert!(matches!(failed, Err(HubError::Refused(1))));
    assert!(matches!(panicked, Err(HubError::Ledger(DbError::Panicked))));
    assert_eq!(written.dot.counter, 1);
}

pub(super) async fn listeners_hear_of_a_commit_with_the_scopes_it_touched_and_of_no_undone_write(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut commits = store.db.commits();
    let draft = name(RecordId([40; 16]), "Vance", &[]);
    let undone = draft.clone();

    let _: Result<(), HubError<DbError>> = store
        .db
        .write(move |txn| {
            txn.author(&undone, Some(OTHER_SITE))?;
            Err(HubError::Refused(1))
        })
        .await;
    store.write(move |txn| txn.author(&draft, Some(SITE))).await;

    // A listener that has just begun says that something may have been missed.
    let heard = std::iter::from_fn(|| commits.try_recv().ok()).filter(|commit| *commit != Commit::Everything);
    let heard: Vec<Commit> = heard.collect();
    assert_eq!(heard, [Commit::Scopes(Arc::new(BTreeSet::from([SITE])))]);
}

pub(super) async fn a_lease_has_one_owner_until_it_runs_out(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let db = store.db.clone();
    let (mine, other) = ([1; 16], [2; 16]);

    let (taken, refused, prolonged) = db
        .write(move |txn| {
            let until = txn.now_ms() + 60_000;
            let taken = txn.take_lease(b"work", mine, until)?;
            let refused = txn.take_lease(b"work", other, until)?;
            Ok::<_, DbError>((taken, refused, txn.take_lease(b"work", mine, until + 1)?))
        })
        .await
        .unwrap();
    let after = db
        .write(move |txn| {
            let now = txn.now_ms();
            txn.take_lease(b"work", mine, now)?;
            Ok::<_, DbError>((
                txn.holds_lease(b"work", mine)?,
                txn.take_lease(b"work", other, now + 1)?,
            ))
        })
        .await
        .unwrap();

    assert_eq!((taken, refused, prolonged), (true, false, true));
    assert_eq!(after, (false, true));
}
