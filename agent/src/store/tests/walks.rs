//! What every exchange asks, and what a record that leaves costs, whatever else the site holds.

use std::sync::atomic::{AtomicU64, Ordering};

use clinic::Value;
use sync_protocol::replica::{ReplicaLedger, next_pull};
use sync_protocol::{ChangeId, Dot};

use super::hub::Hub;
use super::replica::{enrol, pull, push};
use super::*;

/// Steps of SQLite's machine.
fn steps(store: &Store, mut write: impl FnMut(&mut WriteTx<'_>) -> Result<(), AuthorError> + Send + 'static) -> u64 {
    let counted = store.write_blocking(Priority::Sync, move |tx| {
        let steps = Arc::new(AtomicU64::new(0));
        let count = {
            let steps = steps.clone();
            move || {
                steps.fetch_add(1, Ordering::Relaxed);
                false
            }
        };
        tx.connection.progress_handler(1, Some(count)).map_err(TxError::from)?;
        let written = write(tx);
        let none: Option<fn() -> bool> = None;
        tx.connection.progress_handler(0, none).map_err(TxError::from)?;
        written.map(|()| steps.load(Ordering::Relaxed))
    });
    counted.unwrap()
}

fn patient_of(number: u16) -> RecordId {
    let mut id = [7; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    RecordId(id)
}

const SOURCES: [&str; 3] = ["ADT|MAIN", "LAB", "SCHEDULE|WEST"];

/// Every source has said a name.
fn say(store: &Store, record: RecordId) {
    let said = SourceValue {
        change: ChangeId([1; 16]),
        value: PersonName::new("Lovelace", "Ada").to_raw(),
    };
    let written = store.write_blocking(Priority::Desk, move |tx| {
        let mut sources = SOURCES.into_iter();
        sources.try_for_each(|source| tx.set_source_value(source, record, patient::NAME.id, &said))
    });
    written.unwrap();
}

/// How many sources are known to have said something of a record.
fn said_of(store: &Store, record: RecordId) -> usize {
    let known = store.read_blocking(move |tx| {
        let mut known = 0;
        for source in SOURCES {
            known += usize::from(tx.source_value(source, record, patient::NAME.id)?.is_some());
        }
        Ok(known)
    });
    known.unwrap()
}

#[test]
fn an_exchange_and_a_record_that_leaves_cost_no_more_where_there_are_more_records() {
    let mut costs = Vec::new();
    for patients in [10, 200] {
        let (site, mut hub) = (Site::new(), Hub::new());
        let store = site.create();
        enrol(&store);
        for number in 0..patients {
            save(&store, new_patient(patient_of(number), "Lovelace"));
            say(&store, patient_of(number));
        }
        push(&store, &mut hub);
        pull(&store, &mut hub);
        assert_eq!(store.read_blocking(|tx| tx.counts()).unwrap().pending, 0);

        let asking = steps(&store, |tx| next_pull(tx, 1 << 20, 0, |_, _| Ok(false)).map(drop));
        let forgetting = steps(&store, move |tx| {
            let replica = ReplicaLedger::head(tx)?.replica;
            let upto = Dot {
                replica,
                counter: u64::from(patients),
            };
            Ok(tx.forget_stable(upto)?)
        });
        let purging = steps(&store, |tx| Ok(tx.purge(patient_of(3))?));
        assert_eq!(
            [said_of(&store, patient_of(3)), said_of(&store, patient_of(4))],
            [0, SOURCES.len()]
        );
        costs.push([asking, forgetting, purging]);
    }

    assert_eq!(costs[0], costs[1], "asking, forgetting, purging");
}
