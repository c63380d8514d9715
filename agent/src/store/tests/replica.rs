//! The store as the engine's ledger, against a hub in memory: push, pull, quarantine, rebirth.

use ::tests::raw_pages;
use sync_protocol::replica::{
    Comparison, Lost, PageOutcome, PushedUpTo, ReplicaHead, ReplicaLedger, handle_page, handle_push_reply, next_pull,
    next_push, pull_after, push_after,
};
use sync_protocol::wire::{Cursor, Page};
use sync_protocol::{Lane, cbor::Raw};

use super::hub::{EPOCH, Hub, REFUSED, SCOPE, proof_key};
use super::*;

pub(super) fn enrol(store: &Store) {
    store
        .write_blocking(Priority::Sync, |tx| {
            let born = ReplicaHead::born(ReplicaLedger::head(tx)?.replica, EPOCH);
            tx.set_head(&born)?;
            Lane::ALL.into_iter().try_for_each(|lane| {
                tx.set_cursor(&Cursor {
                    scope: SCOPE,
                    lane,
                    generation: 1,
                    sequence: 0,
                })
            })
        })
        .unwrap();
}

/// Sends the next run, and says how the hub's answer compares.
pub(super) fn push(store: &Store, hub: &mut Hub) -> Comparison {
    let request = store
        .write_blocking(Priority::Sync, |tx| next_push(tx, 64 * 1024))
        .unwrap()
        .unwrap();
    let reply = hub.push(&request);
    store
        .write_blocking(Priority::Sync, move |tx| handle_push_reply(tx, &reply))
        .unwrap()
}

/// Applies all that the hub has, and gives each page's outcome.
pub(super) fn pull(store: &Store, hub: &mut Hub) -> Vec<PageOutcome> {
    let request = store
        .write_blocking(Priority::Sync, |tx| {
            next_pull(tx, 1 << 20, 0, |tx, record| tx.is_worked_with(record))
        })
        .unwrap();
    let apply = |page| {
        store
            .write_blocking(Priority::Sync, move |tx| handle_page(tx, &proof_key(), &page))
            .unwrap()
    };
    hub.pull(&request).into_iter().map(apply).collect()
}

/// The lanes of which a bucket's rows and sum have come apart.
fn rotten(store: &Store) -> Vec<Lane> {
    let look = |lane| {
        store
            .read_blocking(move |tx| tx.miscounted(SCOPE, lane, &proof_key()))
            .unwrap()
    };
    Lane::ALL.into_iter().filter(|lane| !look(*lane).is_empty()).collect()
}

pub(super) fn verified(outcomes: &[PageOutcome]) -> bool {
    let good =
        |outcome: &PageOutcome| matches!(outcome, PageOutcome::Applied(applied) if applied.verified == Some(true));
    outcomes.len() == Lane::ALL.len() && outcomes.iter().all(good)
}

fn counts(store: &Store) -> Counts {
    store.read_blocking(|tx| tx.counts()).unwrap()
}

fn email(record: RecordId, text: &str) -> Draft {
    Writing::new(patient::KIND, record, Action::Edit, Channel::Page.program(), 3_000)
        .set(patient::EMAIL, &Phi::new(text.to_owned()))
        .done()
}

#[test]
fn a_change_is_pending_until_the_hub_sends_it_back_and_then_the_roots_are_equal() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    save(&store, new_patient(record(1), "Lovelace"));
    save(&store, new_phone(record(1), "602-555-0101"));
    assert_eq!(
        counts(&store),
        Counts {
            pending: 2,
            unsent: 2,
            quarantined: 0
        }
    );

    assert_eq!(push(&store, &mut hub), Comparison::Same);
    assert_eq!(
        counts(&store),
        Counts {
            pending: 2,
            unsent: 0,
            quarantined: 0
        }
    );
    let outcomes = pull(&store, &mut hub);

    assert!(verified(&outcomes), "{outcomes:?}");
    assert_eq!(counts(&store), Counts::default());
    let stored = store.read_blocking(|tx| Ok(tx.record(record(1))?.unwrap())).unwrap();
    assert!(stored.base && stored.pending == 0 && stored.state == *hub.state(record(1)));
    assert_eq!(rotten(&store), []);
    assert!(
        store
            .write_blocking(Priority::Sync, |tx| next_push(tx, 1024))
            .unwrap()
            .is_none()
    );
}

/// Made ready while the hub was at work: what it is asked to go on from is not what this replica goes on as.
#[test]
fn what_was_made_ready_goes_up_only_after_an_answer_that_holds_all_before_it() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    for number in 1..=3 {
        save(&store, new_patient(record(number), "Lovelace"));
    }
    let next = || {
        store
            .write_blocking(Priority::Sync, |tx| next_push(tx, 1))
            .unwrap()
            .unwrap()
    };
    let after = |sent: PushedUpTo| {
        store
            .write_blocking(Priority::Sync, move |tx| push_after(tx, &sent, 1 << 20))
            .unwrap()
    };
    let first = next();
    let sent = PushedUpTo::of(&first);

    let ready = after(sent).unwrap();
    let nothing = after(PushedUpTo::of(&ready));
    let reply = hub.push(&first);
    let held = reply.clone();
    store
        .write_blocking(Priority::Sync, move |tx| handle_push_reply(tx, &held))
        .unwrap();

    assert_eq!((first.changes.len(), ready.changes.len()), (1, 2));
    assert_eq!(nothing, None);
    assert!(sent.is_held(&reply) && !PushedUpTo::of(&ready).is_held(&reply));
    assert_eq!(
        (ready.after, ready.previous, &ready.changes[0]),
        (next().after, next().previous, &next().changes[0])
    );
    let wrong = PushedUpTo {
        hash: sync_protocol::Hash([7; 32]),
        ..sent
    };
    assert!(!wrong.is_held(&reply));
    store
        .write_blocking(Priority::Sync, |tx| tx.take_new_incarnation())
        .unwrap();
    assert_eq!(after(sent), None);
}

#[test]
fn what_is_asked_for_beyond_an_answer_goes_on_where_that_ends_and_onto_no_other_cursor() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    for number in 1..=3 {
        hub.write(&new_patient(record(number), "Lovelace"));
    }
    let take = |pages: Vec<Page>| -> Vec<PageOutcome> {
        let apply = |page| {
            let taken = store.write_blocking(Priority::Sync, move |tx| handle_page(tx, &proof_key(), &page));
            taken.unwrap()
        };
        pages.into_iter().map(apply).collect()
    };
    let question = store
        .write_blocking(Priority::Sync, |tx| next_pull(tx, 1, 0, |_, _| Ok(false)))
        .unwrap();

    let first = hub.pull(&question);
    let beyond = pull_after(&question, &first).unwrap();
    let second = hub.pull(&beyond);
    let last = hub.pull(&pull_after(&beyond, &second).unwrap());
    let nothing = pull_after(&beyond, &last);

    assert_eq!(nothing, None);
    assert!(take(second.clone()).contains(&PageOutcome::OtherCursor));
    for pages in [first, second] {
        let outcomes = take(pages);
        assert!(
            !outcomes.is_empty() && outcomes.iter().all(|one| matches!(one, PageOutcome::Applied(_))),
            "{outcomes:?}"
        );
    }
    assert!(verified(&take(last)));
    assert_eq!(
        store.read_blocking(|tx| tx.state(record(3))).unwrap().as_ref(),
        Some(hub.state(record(3)))
    );
}

#[test]
fn a_scope_that_was_rebuilt_is_read_from_its_beginning_and_the_cursor_goes_over_to_it() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    for number in 1..=3 {
        save(&store, new_patient(record(number), "Lovelace"));
    }
    push(&store, &mut hub);
    assert!(verified(&pull(&store, &mut hub)));
    let question = |store: &Store| {
        store
            .write_blocking(Priority::Sync, |tx| next_pull(tx, 1 << 20, 0, |_, _| Ok(false)))
            .unwrap()
    };
    let late = hub.pull(&question(&store));

    hub.rebuild();
    let outcomes = pull(&store, &mut hub);

    assert!(verified(&outcomes), "{outcomes:?}");
    assert!(question(&store).cursors.iter().all(|cursor| cursor.generation == 2));
    hub.write(&new_phone(record(1), "602-555-0199"));
    assert!(verified(&pull(&store, &mut hub)));
    assert_eq!(
        store.read_blocking(|tx| tx.state(record(1))).unwrap().as_ref(),
        Some(hub.state(record(1)))
    );
    // A page of before the rebuild comes too late.
    for page in late {
        let outcome = store.write_blocking(Priority::Sync, move |tx| handle_page(tx, &proof_key(), &page));
        assert_eq!(outcome.unwrap(), PageOutcome::OtherCursor);
    }
}

#[test]
fn what_was_written_apart_stands_together() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    save(&store, new_patient(record(1), "Lovelace"));
    push(&store, &mut hub);
    pull(&store, &mut hub);

    hub.write(&new_phone(record(1), "602-555-0199"));
    save(&store, email(record(1), "ada@example.org"));
    pull(&store, &mut hub);

    let shown = store.read_blocking(|tx| tx.record(record(1))).unwrap().unwrap();
    assert_eq!((shown.base, shown.pending), (true, 1));
    assert_eq!(patient::PHONE.value(&shown.state).unwrap().expose(), "602-555-0199");
    assert_eq!(patient::EMAIL.value(&shown.state).unwrap().expose(), "ada@example.org");
    push(&store, &mut hub);
    assert!(verified(&pull(&store, &mut hub)));
    assert_eq!(
        store.read_blocking(|tx| tx.state(record(1))).unwrap().unwrap(),
        *hub.state(record(1))
    );
}

#[test]
fn a_change_that_the_hub_cannot_use_stays_visible_and_holds_up_nothing() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    hub.refuses.push(record(1));
    save(&store, new_patient(record(1), "Lovelace"));
    save(&store, new_patient(record(2), "Byron"));
    let mut told = store.committed();

    push(&store, &mut hub);
    let told = told.try_recv().unwrap();
    assert!(verified(&pull(&store, &mut hub)));

    assert!(told.acknowledged && told.records.contains(&record(1)) && told.kinds.contains(&patient::KIND));
    assert_eq!(
        counts(&store),
        Counts {
            pending: 0,
            unsent: 0,
            quarantined: 1
        }
    );
    let (stored, set_aside) = store
        .read_blocking(|tx| Ok((tx.record(record(1))?.unwrap(), tx.quarantined(10)?)))
        .unwrap();
    assert_eq!((stored.pending, stored.quarantined), (0, 1));
    assert_eq!((set_aside[0].record, set_aside[0].reason), (record(1), REFUSED));
    assert_eq!(patient::NAME.value(&stored.state).unwrap().expose().family, "Lovelace");
}

#[test]
fn a_copied_store_takes_a_new_identity_and_neither_loses_a_change() {
    let (site, copy, mut hub) = (Site::new(), Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    save(&store, new_patient(record(1), "Lovelace"));
    push(&store, &mut hub);
    pull(&store, &mut hub);
    drop(store);
    std::fs::copy(site.file(), copy.file()).unwrap();
    let store = site.open().unwrap();
    let twin = Store::open(copy.path(), site.key.clone(), Tuning::default()).unwrap();

    save(&store, new_phone(record(1), "602-555-0101"));
    save(&twin, email(record(1), "ada@example.org"));
    save(&twin, new_patient(record(2), "Byron"));
    assert_eq!(push(&store, &mut hub), Comparison::Same);
    assert_eq!(push(&twin, &mut hub), Comparison::Lost(Lost::Fork { counter: 2 }));
    let reborn = twin
        .write_blocking(Priority::Sync, |tx| tx.take_new_incarnation())
        .unwrap();

    assert_eq!(
        (reborn.changes, twin.read_blocking(|tx| tx.incarnation()).unwrap()),
        (2, 2)
    );
    assert_eq!(chain(&twin), ChainCheck::Sound { changes: 3 });
    assert_eq!(push(&twin, &mut hub), Comparison::Same);
    assert!(verified(&pull(&twin, &mut hub)) && verified(&pull(&store, &mut hub)));
    assert_eq!((counts(&store), counts(&twin)), (Counts::default(), Counts::default()));
    for number in 1..=2 {
        let [here, there] = [&store, &twin].map(|s| s.read_blocking(move |tx| tx.state(record(number))).unwrap());
        assert_eq!(here, there);
    }
    let both = store.read_blocking(|tx| tx.state(record(1))).unwrap().unwrap();
    assert!(patient::PHONE.value(&both).is_some() && patient::EMAIL.value(&both).is_some());
}

#[test]
fn a_base_that_rotted_is_noticed_by_the_nightly_recompute() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    save(&store, new_patient(record(1), "Lovelace"));
    push(&store, &mut hub);
    pull(&store, &mut hub);
    drop(store);
    let harm = sqlite::open(&site.file(), &site.key, Mode::Existing, &sqlite::Tuning::default()).unwrap();
    let mut base = hub.state(record(1)).clone();
    base.registers
        .values_mut()
        .flat_map(|register| register.values.values_mut())
        .for_each(|live| live.value = Raw::null());
    harm.execute("UPDATE records SET base = ?1", [base.to_bytes()]).unwrap();
    drop(harm);

    let store = site.open().unwrap();

    assert_eq!(rotten(&store), [clinic::catalogue::lane(patient::KIND)]);
}

#[test]
fn a_record_that_leaves_the_scope_is_purged_and_comes_back_whole() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    save(&store, new_patient(record(1), "Featherstonehaugh"));
    save(&store, new_patient(record(2), "Byron"));
    hub.confirm_backup(2);
    push(&store, &mut hub);
    pull(&store, &mut hub);
    hub.offer(record(1));
    pull(&store, &mut hub);
    assert!(store.read_blocking(|tx| tx.record(record(1))).unwrap().is_some());

    assert!(verified(&pull(&store, &mut hub)));
    assert!(store.read_blocking(|tx| tx.record(record(1))).unwrap().is_none());
    assert_eq!(chain(&store), ChainCheck::Sound { changes: 2 });
    // The log is folded away with the next write that meets no reader.
    save(&store, new_phone(record(2), "602-555-0101"));
    let clear = raw_pages::in_clear(&site.file(), &sqlite::page_key(&site.key)).unwrap();
    assert!(raw_pages::holds(&clear, "Byron") && !raw_pages::holds(&clear, "Featherstonehaugh"));

    hub.write(&new_phone(record(1), "602-555-0199"));
    hub.enter(record(1));
    push(&store, &mut hub);
    assert!(verified(&pull(&store, &mut hub)));
    let back = store.read_blocking(|tx| tx.state(record(1))).unwrap().unwrap();
    assert_eq!(back, *hub.state(record(1)));
    assert_eq!(patient::NAME.value(&back).unwrap().expose().family, "Featherstonehaugh");
}

#[test]
fn what_no_backup_of_the_hub_covers_is_kept_after_the_record_has_left() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    save(&store, new_patient(record(1), "Featherstonehaugh"));
    save(&store, new_patient(record(2), "Byron"));
    push(&store, &mut hub);
    pull(&store, &mut hub);
    hub.offer(record(1));
    pull(&store, &mut hub);
    pull(&store, &mut hub);
    assert!(store.read_blocking(|tx| tx.record(record(1))).unwrap().is_none());
    let written = |store: &Store| {
        save(store, new_phone(record(2), "602-555-0101"));
        let clear = raw_pages::in_clear(&site.file(), &sqlite::page_key(&site.key)).unwrap();
        raw_pages::holds(&clear, "Featherstonehaugh")
    };
    assert!(written(&store));

    hub.confirm_backup(2);
    pull(&store, &mut hub);

    save(&store, new_phone(record(2), "602-555-0102"));
    assert!(!written(&store));
    assert_eq!(chain(&store), ChainCheck::Sound { changes: 5 });
}

#[test]
fn an_edit_made_while_the_record_leaves_is_kept_and_enters_it_again() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    save(&store, new_patient(record(1), "Lovelace"));
    push(&store, &mut hub);
    pull(&store, &mut hub);
    hub.offer(record(1));
    pull(&store, &mut hub);
    let willing = store
        .write_blocking(Priority::Sync, |tx| {
            next_pull(tx, 1 << 20, 0, |tx, record| tx.is_worked_with(record))
        })
        .unwrap();
    assert_eq!(willing.willing.len(), 1);

    save(&store, new_phone(record(1), "602-555-0101"));
    for page in hub.pull(&willing) {
        store
            .write_blocking(Priority::Sync, move |tx| handle_page(tx, &proof_key(), &page))
            .unwrap();
    }

    let kept = store.read_blocking(|tx| tx.record(record(1))).unwrap().unwrap();
    assert_eq!(kept.pending, 1);
    assert_eq!(patient::NAME.value(&kept.state).unwrap().expose().family, "Lovelace");
    push(&store, &mut hub);
    assert!(verified(&pull(&store, &mut hub)));
    let back = store.read_blocking(|tx| tx.record(record(1))).unwrap().unwrap();
    assert_eq!((back.pending, &back.state), (0, hub.state(record(1))));
}

#[test]
fn a_patient_whose_visit_is_open_is_not_let_go() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    save(&store, new_patient(record(1), "Lovelace"));
    let arrival = clinic::rules::arrive(record(3), record(1), record(9), Channel::Page.program(), 3_000);
    save(&store, arrival.done());
    push(&store, &mut hub);
    pull(&store, &mut hub);
    hub.offer(record(1));
    pull(&store, &mut hub);

    let request = store
        .write_blocking(Priority::Sync, |tx| {
            next_pull(tx, 1 << 20, 0, |tx, record| tx.is_worked_with(record))
        })
        .unwrap();

    assert!(request.willing.is_empty());
}
