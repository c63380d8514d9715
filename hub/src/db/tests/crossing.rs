//! Several processes on one PostgreSQL, as several handles that know nothing of each other.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Two processes with one store.
fn two(settings: impl Fn(&mut Config)) -> (Store, Db) {
    let mut store = Store::new(On::Postgres, Policy::CATALOGUE);
    store.db.close();
    settings(&mut store.place.config);
    let open = || Db::open(&store.place, &store.key, Policy::CATALOGUE).unwrap();
    let (one, other) = (open(), open());
    (Store { db: one, ..store }, other)
}

fn patient_record(number: u8) -> RecordId {
    RecordId([100 + number; 16])
}

/// A change of a name, under an id of its own.
fn fresh_name(author: &mut Author, record: RecordId) -> ChangeId {
    let change = ChangeId(random().unwrap());
    let dot = Dot {
        replica: author.replica,
        counter: author.counter + 1,
    };
    let stamp = Stamp {
        change,
        salt: change.0,
        at: HybridTime {
            wall_ms: 1_000 + author.counter,
            logical: 0,
        },
        boot: BootId([1; 16]),
        monotonic_ms: 0,
    };
    let draft = name(record, &format!("Vance {}", author.counter), &[]);
    let (header, payload) = author::compose(&draft, &stamp, dot, None, None).unwrap();
    author.append(Change::new(&header, stamp.salt, &payload));
    change
}

/// What looks by itself after a minute is turned off.
#[tokio::test]
async fn postgresql_is_made_to_look_at_tables_that_have_filled() {
    let store = Store::new(On::Postgres, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    for number in 0..=200 {
        fresh_name(&mut one, patient_record(number % 100));
    }
    store.push(SITE, one.push_after(0)).await;
    let cluster = store.cluster.as_ref().unwrap();
    for away in ["ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"] {
        cluster.sql("postgres", away).unwrap();
    }

    let looked = ::tests::until(PATIENCE, "statistics of the changes", async || {
        let known = cluster.sql("hub", "SELECT count(*) FROM pg_stats WHERE tablename = 'changes'")?;
        Ok((known != "0").then_some(()))
    });

    looked.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opposite_orders_in_two_processes_end_in_no_error_no_gap_and_no_lost_row() {
    const RECORDS: u8 = 12;
    const ROUNDS: usize = 25;
    let (store, other) = two(|_| {});
    let moves = Arc::new(AtomicU64::new(0));
    let mut running = Vec::new();
    for number in 1..=6u8 {
        let db = if number % 2 == 0 {
            store.db.clone()
        } else {
            other.clone()
        };
        let mut author = Author::new(&store, number);
        let moves = moves.clone();
        running.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let before = author.counter;
                let mut records: Vec<u8> = (0..4).map(|n| (round as u8 * 5 + n * number) % RECORDS).collect();
                records.sort_unstable();
                records.dedup();
                if number % 2 == 0 {
                    records.reverse();
                }
                for record in &records {
                    fresh_name(&mut author, patient_record(*record));
                }
                let push = author.push_after(before);
                let pushed = db.write(move |txn| txn.push(SITE, &push)).await.unwrap();
                assert_eq!(
                    (pushed.reply.accepted, pushed.reply.hash),
                    (author.counter, author.hash)
                );
                moves.fetch_add(records.len() as u64, Ordering::Relaxed);
            }
        }));
    }
    for (number, db) in [(1u8, store.db.clone()), (2, other.clone())] {
        let moves = moves.clone();
        running.push(tokio::spawn(async move {
            for round in 0..ROUNDS as u8 {
                let mut records = [patient_record(round % RECORDS), patient_record((round + 3) % RECORDS)];
                if number == 2 {
                    records.reverse();
                }
                db.write(move |txn| {
                    for record in records {
                        let shown = txn.state(record)?.map(|state| state.shown(patient::NAME.id));
                        txn.author(
                            &name(record, &format!("Hub {number} {round}"), &shown.unwrap_or_default()),
                            Some(SITE),
                        )?;
                    }
                    Ok::<_, HubError<DbError>>(())
                })
                .await
                .unwrap();
                moves.fetch_add(2, Ordering::Relaxed);
            }
        }));
    }
    for one in running {
        one.await.unwrap();
    }

    let (head, _) = store.write(|txn| Ok(txn.feed_head(SITE, Lane::Flow)?)).await;
    assert_eq!(
        head,
        moves.load(Ordering::Relaxed),
        "sequences have a gap or were given twice"
    );
    store.assert_sums_hold(SITE).await;
    let hub = store.db.organisation().hub_replica;
    let (chain, rows) = store
        .write(move |txn| Ok((txn.chain(hub)?, txn.rows_after(SITE, Lane::Flow, 0, u64::MAX)?)))
        .await;
    assert_eq!(chain.unwrap().counter, 2 * 2 * ROUNDS as u64);
    assert_eq!(rows.len(), usize::from(RECORDS));
    let kept = store
        .cluster
        .as_ref()
        .unwrap()
        .sql("hub", "SELECT count(*), count(DISTINCT change_id) FROM changes");
    let all = moves.load(Ordering::Relaxed);
    println!(
        "DEADLOCKS {}",
        store
            .cluster
            .as_ref()
            .unwrap()
            .log()
            .matches("deadlock detected")
            .count()
    );
    assert_eq!(kept.unwrap(), format!("{all}|{all}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stands_still_in_a_transaction_holds_nobody_up_and_goes_on_later() {
    let (store, other) = two(|config| config.idle_in_transaction_timeout_secs = 1);
    let record = patient_record(1);
    let runs = Arc::new(AtomicU32::new(0));
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (went_on, has_gone_on) = std::sync::mpsc::channel();
    let has_gone_on = Mutex::new(has_gone_on);
    let still = {
        let (db, runs) = (store.db.clone(), runs.clone());
        tokio::spawn(async move {
            db.write(move |txn| {
                txn.lock(&[record.0])?;
                if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                    locked.send(()).unwrap();
                    has_gone_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                }
                txn.author(&name(record, "Stood still", &[]), Some(SITE))
            })
            .await
        })
    };
    tokio::task::spawn_blocking(move || is_locked.recv().unwrap())
        .await
        .unwrap();

    let draft = name(record, "Went on", &[]);
    other.write(move |txn| txn.author(&draft, Some(SITE))).await.unwrap();
    went_on.send(()).unwrap();
    let written = still.await.unwrap().unwrap().unwrap();

    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(written.dot.counter, 2);
    store.assert_sums_hold(SITE).await;
}

/// What a return makes of other records is not known when its own are locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_was_read_without_its_lock_is_not_written_over_what_came_between() {
    let (store, other) = two(|_| {});
    let record = patient_record(1);
    let draft = name(record, "Vance", &[]);
    store.write(move |txn| txn.author(&draft, Some(SITE))).await;
    let runs = Arc::new(AtomicU32::new(0));
    let (read, is_read) = std::sync::mpsc::channel();
    let (went_on, has_gone_on) = std::sync::mpsc::channel();
    let has_gone_on = Mutex::new(has_gone_on);
    let dot = Dot {
        replica: ReplicaId([7; 16]),
        counter: 1,
    };
    let slow = {
        let (db, runs) = (store.db.clone(), runs.clone());
        tokio::spawn(async move {
            db.write(move |txn| {
                let mut state = RecordState::clone(&txn.state(record)?.unwrap());
                if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                    read.send(()).unwrap();
                    has_gone_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                }
                state.vector.add(dot);
                let canonical = state.to_bytes();
                Ok::<_, HubError<DbError>>(txn.put_state(state, canonical)?)
            })
            .await
        })
    };
    tokio::task::spawn_blocking(move || is_read.recv().unwrap())
        .await
        .unwrap();

    let draft = name(record, "Went on", &[]);
    other.write(move |txn| txn.author(&draft, Some(SITE))).await.unwrap();
    went_on.send(()).unwrap();
    slow.await.unwrap().unwrap();

    let state = store.write(move |txn| Ok(txn.state(record)?.unwrap())).await;
    let names = state.shown(patient::NAME.id);
    assert_eq!((runs.load(Ordering::Relaxed), names.len()), (2, 2), "{names:?}");
    assert!(state.vector.contains(dot));
}

#[tokio::test]
async fn a_commit_wakes_who_waits_in_another_process() {
    let (store, other) = two(|_| {});
    let mut commits = other.commits();
    assert_eq!(commits.recv().await.unwrap(), Commit::Everything);
    let (waiting, elsewhere) = (other.woken(&[SITE]), other.woken(&[OTHER_SITE]));
    let draft = name(patient_record(1), "Vance", &[]);

    store.write(move |txn| txn.author(&draft, Some(SITE))).await;

    tokio::time::timeout(PATIENCE, waiting.again()).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, commits.recv()).await.unwrap().unwrap();
    assert_eq!(heard, Commit::Scopes(Arc::new(BTreeSet::from([SITE]))));
    let silence = tokio::time::timeout(Duration::from_millis(300), elsewhere.again()).await;
    assert!(silence.is_err(), "a commit in another scope woke this one");
}

#[tokio::test]
async fn while_the_server_is_away_it_is_said_and_once_it_is_back_work_goes_on() {
    let mut store = Store::new(On::Postgres, Policy::CATALOGUE);
    let draft = name(patient_record(1), "Vance", &[]);
    let first = draft.clone();
    store.write(move |txn| txn.author(&first, Some(SITE))).await;
    let mut commits = store.db.commits();

    store.cluster.as_mut().unwrap().crash().unwrap();
    let read = store.db.read(|txn| txn.sites()).await;
    let refused = draft.clone();
    let written: Result<_, HubError<DbError>> = store.db.write(move |txn| txn.author(&refused, Some(SITE))).await;

    assert!(matches!(read, Err(DbError::Away { .. })), "{read:?}");
    assert!(matches!(written, Err(HubError::Ledger(DbError::Away { .. }))));

    store.cluster.as_mut().unwrap().start_again().unwrap();
    let written = store.write(move |txn| txn.author(&draft, Some(SITE))).await;

    assert!(written.is_some());
    // What was committed meanwhile may have been missed.
    let everything = async { while commits.recv().await.unwrap() != Commit::Everything {} };
    tokio::time::timeout(PATIENCE, everything).await.unwrap();
    store.assert_sums_hold(SITE).await;
}

#[tokio::test]
async fn a_home_with_the_same_keys_joins_and_one_with_others_is_refused() {
    let store = Store::new(On::Postgres, Policy::CATALOGUE);

    let joined = Db::create(&store.place, &store.key, Policy::CATALOGUE).unwrap();
    let stranger = Db::create(&store.place, &DataKey::generate().unwrap(), Policy::CATALOGUE);

    assert_eq!(joined.organisation().org, store.db.organisation().org);
    assert_eq!(
        joined.organisation().proof_key_bytes,
        store.db.organisation().proof_key_bytes
    );
    assert!(matches!(stranger, Err(DbError::OtherKey)));
    assert_eq!(store.db.organisations().await.unwrap().len(), 1);
}

#[test]
fn processes_that_start_together_found_one_organisation() {
    let store = Store::new(On::Postgres, Policy::CATALOGUE);
    let cluster = store.cluster.as_ref().unwrap();
    cluster.create_database("fresh").unwrap();
    let place = Place {
        config: Config {
            postgres: Some(cluster.url_of("fresh")),
            ..store.place.config.clone()
        },
        ..store.place.clone()
    };

    let orgs: BTreeSet<[u8; 16]> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    Db::create(&place, &store.key, Policy::CATALOGUE)
                        .unwrap()
                        .organisation()
                        .org
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });

    assert_eq!(orgs.len(), 1);
}

#[test]
fn an_empty_database_is_not_taken_for_the_store_of_a_home_that_was_set_up() {
    let store = Store::new(On::Postgres, Policy::CATALOGUE);
    let cluster = store.cluster.as_ref().unwrap();
    cluster.create_database("other").unwrap();
    let place = Place {
        config: Config {
            postgres: Some(cluster.url_of("other")),
            ..store.place.config.clone()
        },
        ..store.place.clone()
    };

    let opened = Db::open(&place, &store.key, Policy::CATALOGUE);

    assert!(matches!(opened, Err(DbError::Empty)));
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_on_postgresql_too() {
    let store = Store::new(On::Postgres, Policy::CATALOGUE);
    let cluster = store.cluster.as_ref().unwrap();
    cluster.sql("hub", "UPDATE store_version SET version = 99").unwrap();

    let newer = Db::open(&store.place, &store.key, Policy::CATALOGUE);

    assert!(matches!(newer, Err(DbError::Newer { stored: 99, .. })));
}

#[tokio::test]
async fn a_connection_that_ends_before_the_commit_costs_nothing_but_another_run() {
    let store = Store::new(On::Postgres, Policy::CATALOGUE);
    let url = store.cluster.as_ref().unwrap().port();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let record = patient_record(1);
    // The statement that ends every other connection of the hub's user, from inside the first run.
    let end_all = move || {
        let end = format!("host=127.0.0.1 port={url} user=postgres dbname=hub");
        std::thread::spawn(move || {
            let mut client = ::postgres::Client::connect(&end, ::postgres::NoTls).unwrap();
            client
                .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hub'")
                .unwrap();
        })
        .join()
        .unwrap();
    };

    let written = store
        .write(move |txn| {
            let written = txn.author(&name(record, "Vance", &[]), Some(SITE))?;
            if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                end_all();
            }
            Ok(written)
        })
        .await;

    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(written.unwrap().dot.counter, 1);
    store.assert_sums_hold(SITE).await;
}
