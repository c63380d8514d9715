//! Writes together and alone: what one may spoil for the others, which is nothing.

use std::sync::mpsc;
use std::thread;

use clinic::Identifier;
use sync_protocol::replica::ReplicaError;

use super::disk::Disk;
use super::*;

#[derive(Debug, thiserror::Error)]
#[error("the desk changed its mind")]
struct ChangedItsMind;

/// Holds the writer until the answer is dropped, so that what is asked for meanwhile waits together.
fn hold(store: &Store) -> mpsc::Sender<()> {
    let (held, holding) = mpsc::channel();
    let (free, freed) = mpsc::channel::<()>();
    drop(store.write(Priority::Desk, move |_| {
        // It may be run once more, when nobody waits for it to begin.
        let _ = held.send(());
        let _ = freed.recv();
        Ok::<_, TxError>(())
    }));
    holding.recv().unwrap();
    free
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

fn message(control: &str) -> NewMessage {
    NewMessage {
        key: MessageKey {
            application: "LAB".to_owned(),
            facility: "EAST".to_owned(),
            control: control.to_owned(),
            digest: digest_of(control.as_bytes()),
        },
        received_ms: 5,
        peer: "127.0.0.1".to_owned(),
        kind: "ORU".to_owned(),
        trigger: "R01".to_owned(),
        outcome: Outcome::Accepted,
        ack: b"MSA|AA".to_vec(),
        error: None,
        record: None,
    }
}

#[test]
fn of_sixteen_writes_one_panics_and_one_breaks_a_rule_and_fourteen_commit_without_a_gap() {
    let site = Site::new();
    let disk = Disk::beneath(site.path());
    let store = site.create_gathering();
    store
        .write_blocking(Priority::Desk, |tx| tx.insert_message(&message("1")))
        .unwrap();
    let before = disk.syncs();
    let free = hold(&store);

    let writes: Vec<_> = (1..=16u8)
        .map(|number| {
            store.write(Priority::Desk, move |tx| -> Authored {
                let written = tx.author(&new_patient(record(number), "Lovelace"))?;
                assert_ne!(number, 5, "the fifth write panics on purpose");
                if number == 11 {
                    tx.insert_message(&message("1"))?;
                }
                Ok(written)
            })
        })
        .collect();
    drop(free);
    let outcomes: Vec<_> = writes.into_iter().map(wait).collect();

    for (number, outcome) in (1..).zip(&outcomes) {
        match number {
            5 => assert!(matches!(outcome, Err(WriteError::Panicked))),
            11 => assert!(matches!(outcome, Err(WriteError::Refused(_)))),
            _ => assert!(outcome.is_ok(), "{number}"),
        }
    }
    assert_eq!(chain(&store), ChainCheck::Sound { changes: 14 });
    assert_eq!(disk.syncs() - before, 1);
    assert_eq!(
        store.read_blocking(|tx| tx.count_messages(Outcome::Accepted)).unwrap(),
        1
    );
    drop(store);
    assert_eq!(chain(&site.open().unwrap()), ChainCheck::Sound { changes: 14 });
}

#[test]
fn sixteen_desks_that_save_at_once_cost_at_most_a_quarter_of_a_sync_each() {
    const SAVES: u8 = 40;
    let site = Site::new();
    let disk = Disk::beneath(site.path());
    let store = site.create();
    let before = disk.syncs();

    thread::scope(|scope| {
        for desk in 1..=16 {
            let store = &store;
            scope.spawn(move || {
                save(store, new_patient(record(desk), "Lovelace"));
                (1..SAVES).for_each(|save_number| {
                    save(store, new_phone(record(desk), &format!("602-555-01{save_number:02}")));
                });
            });
        }
    });

    let (syncs, saves) = (disk.syncs() - before, 16 * u64::from(SAVES));
    println!("{syncs} syncs for {saves} saves");
    assert_eq!(chain(&store), ChainCheck::Sound { changes: saves });
    assert!(syncs * 4 <= saves, "{syncs} syncs for {saves} saves");
}

#[test]
fn on_a_full_disk_writes_are_refused_by_name_reading_goes_on_and_nothing_confirmed_is_lost() {
    let site = Site::new();
    let disk = Disk::beneath(site.path());
    let store = site.create();
    save(&store, new_patient(record(1), "Lovelace"));
    let free = hold(&store);

    let writes: Vec<_> = (2..=4)
        .map(|number| {
            store.write(Priority::Desk, move |tx| {
                tx.author(&new_patient(record(number), "Byron"))
            })
        })
        .collect();
    disk.fill();
    drop(free);
    for write in writes {
        assert!(matches!(wait(write), Err(WriteError::NoSpace)));
    }

    let (first, second) = store
        .read_blocking(|tx| Ok((tx.record(record(1))?, tx.record(record(2))?)))
        .unwrap();
    assert!(first.is_some() && second.is_none());
    disk.free();
    assert_eq!(save(&store, new_patient(record(5), "Byron")).dot.counter, 2);
    drop(store);
    assert_eq!(chain(&site.open().unwrap()), ChainCheck::Sound { changes: 2 });
}

#[test]
fn when_a_group_is_lost_each_write_is_run_once_more_alone() {
    let site = Site::new();
    let disk = Disk::beneath(site.path());
    let store = site.create_gathering();
    let free = hold(&store);
    let writes: Vec<_> = (1..=3)
        .map(|number| {
            let mut runs = 0;
            store.write(Priority::Desk, move |tx| {
                runs += 1;
                tx.author(&new_patient(record(number), "Byron")).map(|_| runs)
            })
        })
        .collect();

    disk.fill_for(1);
    drop(free);

    assert!(writes.into_iter().all(|write| wait(write).unwrap() == 2));
    assert_eq!(chain(&store), ChainCheck::Sound { changes: 3 });
}

#[test]
fn a_write_that_finds_the_disk_full_midway_loses_no_other() {
    let site = Site::new();
    let disk = Disk::beneath(site.path());
    let store = site.create_gathering();
    let free = hold(&store);
    let before = store.write(Priority::Desk, |tx| tx.author(&new_patient(record(1), "Lovelace")));
    // More than the page cache holds, so that pages go to the disk before the commit.
    let scan = vec![7; 2 * 1024 * Tuning::default().sqlite.cache_kib as usize];
    let large = store.write(Priority::Desk, move |tx| tx.put_blob("image/png", &scan));
    let after = store.write(Priority::Desk, |tx| tx.author(&new_patient(record(2), "Byron")));

    disk.fill_for(1);
    drop(free);

    assert!(wait(before).is_ok() && wait(large).is_ok() && wait(after).is_ok());
    assert_eq!(chain(&store), ChainCheck::Sound { changes: 2 });
}

#[test]
fn a_disk_that_does_not_sync_confirms_nothing_and_is_used_again_when_it_does() {
    let site = Site::new();
    let disk = Disk::beneath(site.path());
    let store = site.create();
    save(&store, new_patient(record(1), "Lovelace"));

    disk.set_broken(true);
    let refused = store.write_blocking(Priority::Desk, |tx| tx.author(&new_patient(record(2), "Byron")));
    disk.set_broken(false);

    assert!(matches!(refused, Err(WriteError::Disk)));
    assert_eq!(save(&store, new_patient(record(3), "Byron")).dot.counter, 2);
    drop(store);
    assert_eq!(chain(&site.open().unwrap()), ChainCheck::Sound { changes: 2 });
}

#[test]
fn a_refused_write_leaves_nothing_and_tells_nobody() {
    let site = Site::new();
    let store = site.create();
    let mut told = store.committed();

    let refused = store.write_blocking(Priority::Desk, |tx| {
        tx.author(&new_patient(record(1), "Lovelace")).unwrap();
        Err::<(), _>(ChangedItsMind)
    });

    assert!(matches!(refused, Err(WriteError::Refused(ChangedItsMind))));
    assert!(store.read_blocking(|tx| tx.record(record(1))).unwrap().is_none());
    assert!(told.try_recv().is_err());
}

#[test]
fn a_change_that_the_catalogue_does_not_know_is_refused_where_it_is_written() {
    let site = Site::new();
    let store = site.create();
    let mut draft = new_phone(record(1), "602-555-0101");
    draft.fields[0].field = sync_protocol::FieldId(9_999);

    let refused = store
        .write_blocking(Priority::Desk, move |tx| tx.author(&draft))
        .unwrap_err();

    assert!(refused.to_string().contains("does not admit"), "{refused}");
    assert_eq!(chain(&store), ChainCheck::Sound { changes: 0 });
}

#[test]
fn listeners_are_told_what_changed_once_it_can_be_read() {
    let site = Site::new();
    let store = site.create();
    let mut told = store.committed();

    save(&store, new_patient(record(1), "Lovelace"));
    store
        .write_blocking(Priority::Desk, |tx| tx.insert_message(&message("1")))
        .unwrap();

    let (first, second) = (told.try_recv().unwrap(), told.try_recv().unwrap());
    assert!(first.own && first.kinds.contains(&patient::KIND) && first.records.contains(&record(1)));
    assert!(second.messages && !second.own && second.records.is_empty());
}

#[test]
fn a_write_is_made_though_its_caller_hangs_up() {
    let site = Site::new();
    let store = site.create();

    drop(store.write(Priority::Desk, |tx| tx.author(&new_patient(record(1), "Lovelace"))));

    drop(store);
    assert_eq!(chain(&site.open().unwrap()), ChainCheck::Sound { changes: 1 });
}

#[test]
fn the_desk_goes_first_but_the_hub_is_never_put_off_for_ever() {
    let site = Site::new();
    let tuning = Tuning {
        group_writes_max: 1,
        desk_groups_max: 3,
        ..Tuning::default()
    };
    let store = Store::create(site.path(), site.key.clone(), tuning).unwrap();
    let free = hold(&store);
    let (note, notes) = mpsc::channel();
    let ask = |priority, what: &'static str| {
        let note = note.clone();
        store.write(priority, move |_| {
            note.send(what).unwrap();
            Ok::<_, TxError>(())
        })
    };

    let page = ask(Priority::Sync, "page");
    let desks: Vec<_> = (0..6).map(|_| ask(Priority::Desk, "desk")).collect();
    drop(free);
    wait(page).unwrap();
    desks.into_iter().for_each(|desk| wait(desk).unwrap());

    let order: Vec<_> = notes.try_iter().collect();
    assert_eq!(order, ["desk", "desk", "desk", "page", "desk", "desk", "desk"]);
}

#[test]
fn more_writes_than_may_wait_wait_for_room() {
    let site = Site::new();
    let tuning = Tuning {
        writes_waiting_max: 2,
        ..Tuning::default()
    };
    let store = Store::create(site.path(), site.key.clone(), tuning).unwrap();

    thread::scope(|scope| {
        (1..=12).for_each(|number| {
            let store = &store;
            scope.spawn(move || save(store, new_patient(record(number), "Lovelace")));
        });
    });

    assert_eq!(chain(&store), ChainCheck::Sound { changes: 12 });
}

#[test]
fn shutdown_makes_the_writes_that_wait_and_takes_no_more() {
    let site = Site::new();
    let store = site.create();
    let free = hold(&store);
    let writes: Vec<_> = (1..=9)
        .map(|number| {
            store.write(Priority::Desk, move |tx| {
                tx.author(&new_patient(record(number), "Lovelace"))
            })
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    drop(free);
    runtime.block_on(store.shutdown());

    assert!(writes.into_iter().all(|write| wait(write).is_ok()));
    let late = store.write_blocking(Priority::Desk, |tx| tx.author(&new_patient(record(10), "Lovelace")));
    assert!(matches!(late, Err(WriteError::Stopped)));
    assert!(matches!(store.read_blocking(|tx| tx.head()), Err(ReadError::Stopped)));
    assert_eq!(chain(&site.open().unwrap()), ChainCheck::Sound { changes: 9 });
}

/// A number that a patient is known by, nearly as long as one may be.
fn long_number(record: RecordId, number: u32) -> Draft {
    let number = Identifier {
        system: "RIVERSIDE".to_owned(),
        value: format!("{number:01900}"),
        kind: "MR".to_owned(),
    };
    Writing::new(patient::KIND, record, Action::Message, Channel::Page.program(), 2_000)
        .assert(patient::IDENTIFIER, &Phi::new(number))
        .done()
}

#[test]
fn a_record_that_is_full_takes_no_more_and_says_so_while_others_go_on() {
    let site = Site::new();
    let store = site.create();
    save(&store, new_patient(record(1), "Lovelace"));
    let add = |number| {
        let draft = long_number(record(1), number);
        store.write_blocking(Priority::Desk, move |tx| tx.author(&draft))
    };

    let added = (0..200).take_while(|number| add(*number).is_ok()).count();

    assert!((98..=103).contains(&added), "{added}");
    let before = store.read_blocking(|tx| tx.head()).unwrap();
    let refused = add(200).unwrap_err();
    assert!(
        matches!(refused, WriteError::Refused(ReplicaError::RecordFull)),
        "{refused}"
    );
    assert!(refused.to_string().contains("instead of adding to it"), "{refused}");
    assert_eq!(store.read_blocking(|tx| tx.head()).unwrap(), before);
    // A value that takes the place of one as long has room, and so has every other record.
    save(&store, new_phone(record(2), "602-555-0101"));
    let shown = store.read_blocking(|tx| tx.state(record(1))).unwrap().unwrap();
    let renamed = Writing::new(patient::KIND, record(1), Action::Edit, Channel::Page.program(), 3_000)
        .replace(
            patient::NAME,
            &Phi::new(PersonName::new("Lovelac", "Ada")),
            &shown.shown(patient::NAME.id),
        )
        .done();
    save(&store, renamed);
}

#[test]
fn a_read_that_panics_spoils_no_other() {
    let site = Site::new();
    let store = site.create();

    for _ in 0..8 {
        let broken = store.read_blocking(|_| -> Result<(), TxError> { panic!("this read panics on purpose") });
        assert!(matches!(broken, Err(ReadError::Panicked)));
    }

    assert_eq!(store.read_blocking(|tx| tx.head()).unwrap().counter, 0);
}

#[test]
fn time_goes_on_over_a_restart_with_the_clock_set_back() {
    let site = Site::new();
    let store = site.create();
    let ahead = identity::wall_ms() + 1_500;
    let seen = sync_protocol::HybridTime {
        wall_ms: ahead,
        logical: 7,
    };
    store
        .write_blocking(Priority::Sync, move |tx| tx.observe(seen))
        .unwrap();
    drop(store);

    let store = site.open().unwrap();
    save(&store, new_patient(record(1), "Lovelace"));

    let own = store.read_blocking(|tx| tx.pending_of(record(1))).unwrap();
    assert!(own[0].header.at > seen);
}
