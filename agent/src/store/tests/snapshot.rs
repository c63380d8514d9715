//! A lane that is filled from a snapshot, in parts and broken off, while the hub goes on.

use sync_protocol::hub::{Packed, SnapshotOf};
use sync_protocol::replica::{Applied, ChunkOutcome, Comparison, ReplicaLedger, next_pull, take_chunk};
use sync_protocol::wire::{Chunk, ChunkNote, Manifest, SnapshotReply, digest_of_chunk};
use sync_protocol::{Lane, RecordId};

use super::hub::{EPOCH, Hub, SCOPE, proof_key};
use super::replica::{enrol, pull, push, verified};
use super::*;

/// Two rows each.
const CHUNK_BYTES: u64 = 2;

fn with_patients(numbers: impl Iterator<Item = u8>) -> Hub {
    let mut hub = Hub::new();
    numbers.for_each(|number| hub.write(&new_patient(record(number), "Lovelace")));
    hub
}

/// The chunks of the flow lane from its beginning, and what `meanwhile` does to the hub after the first of them.
fn snapshot(store: &Store, hub: &mut Hub, meanwhile: impl FnOnce(&mut Hub)) -> (SnapshotReply, Vec<Chunk>) {
    let of = SnapshotOf {
        scope: SCOPE,
        lane: Lane::Flow,
        generation: 1,
        to: hub.head(Lane::Flow),
    };
    let (mut chunks, mut notes, mut after, mut meanwhile) = (Vec::new(), Vec::new(), 0, Some(meanwhile));
    while let Some(Packed { chunk, bytes }) = hub.next_chunk(&of, after, CHUNK_BYTES) {
        after = chunk.to;
        notes.push(ChunkNote {
            digest: digest_of_chunk(&bytes),
            bytes: bytes.len() as u64,
            rows: chunk.rows.len() as u64,
            to: chunk.to,
        });
        chunks.push(Chunk::decode(&bytes).unwrap());
        if let Some(meanwhile) = meanwhile.take() {
            meanwhile(hub);
        }
    }
    let manifest = Manifest {
        epoch: EPOCH,
        scope: SCOPE,
        lane: Lane::Flow,
        generation: 1,
        from: 0,
        chunks: notes,
    };
    (hub.answer_snapshot(store_head(store).replica, &manifest), chunks)
}

fn store_head(store: &Store) -> sync_protocol::replica::ReplicaHead {
    store.read_blocking(|tx| tx.head()).unwrap()
}

fn take(store: &Store, reply: &SnapshotReply, chunk: &Chunk, rows_max: usize) -> ChunkOutcome {
    let (reply, chunk) = (reply.clone(), chunk.clone());
    store
        .write_blocking(Priority::Sync, move |tx| {
            take_chunk(tx, &proof_key(), &reply, &chunk, rows_max)
        })
        .unwrap()
}

fn records(outcome: ChunkOutcome) -> (Vec<RecordId>, bool) {
    match outcome {
        ChunkOutcome::Applied {
            applied: Applied { records, .. },
            is_whole,
        } => (records, is_whole),
        other @ (ChunkOutcome::OtherCursor | ChunkOutcome::NotApplied(_)) => panic!("{other:?}"),
    }
}

fn phone_of(store: &Store, record: RecordId) -> Option<String> {
    let state = store.read_blocking(move |tx| tx.state(record)).unwrap()?;
    patient::PHONE.value(&state).map(Phi::into_exposed)
}

#[test]
fn a_lane_that_is_filled_while_the_hub_goes_on_ends_with_equal_roots() {
    let (site, mut hub) = (Site::new(), with_patients(1..=7));
    let store = site.create();
    enrol(&store);
    let (reply, chunks) = snapshot(&store, &mut hub, |hub| {
        // Of a chunk that is made, and of one that is to be made.
        hub.write(&new_phone(record(1), "602-555-0101"));
        hub.write(&new_phone(record(6), "602-555-0106"));
        hub.write(&new_patient(record(8), "Byron"));
    });
    assert!(chunks.len() > 2, "{}", chunks.len());

    for chunk in &chunks {
        records(take(&store, &reply, chunk, 100));
    }
    assert_eq!(phone_of(&store, record(1)), None);
    let outcomes = pull(&store, &mut hub);

    assert!(verified(&outcomes), "{outcomes:?}");
    assert_eq!(phone_of(&store, record(1)).as_deref(), Some("602-555-0101"));
    assert_eq!(phone_of(&store, record(6)).as_deref(), Some("602-555-0106"));
}

#[test]
fn what_was_cut_off_in_the_middle_of_a_chunk_goes_on_at_its_next_row() {
    let (site, mut hub) = (Site::new(), with_patients(1..=4));
    let store = site.create();
    enrol(&store);
    let (reply, chunks) = snapshot(&store, &mut hub, |_| {});
    let first = records(take(&store, &reply, &chunks[0], 1));
    drop(store);

    let store = site.open().unwrap();
    let second = records(take(&store, &reply, &chunks[0], 1));
    let before_its_turn = take(&store, &reply, &chunks[0], 1);
    let third = records(take(&store, &reply, &chunks[1], 9));

    assert_eq!(first, (vec![record(1)], false));
    assert_eq!(second, (vec![record(2)], true));
    assert_eq!(before_its_turn, ChunkOutcome::OtherCursor);
    assert_eq!(third, (vec![record(3), record(4)], true));
    assert!(verified(&pull(&store, &mut hub)));
}

#[test]
fn the_feed_goes_on_where_a_snapshot_that_is_gone_was_left() {
    let (site, mut hub) = (Site::new(), with_patients(1..=6));
    let store = site.create();
    enrol(&store);
    let (reply, chunks) = snapshot(&store, &mut hub, |_| {});
    records(take(&store, &reply, &chunks[0], 9));

    let outcomes = pull(&store, &mut hub);

    assert!(verified(&outcomes), "{outcomes:?}");
    assert_eq!(take(&store, &reply, &chunks[1], 9), ChunkOutcome::OtherCursor);
}

#[test]
fn own_changes_stay_pending_until_a_base_contains_them_and_no_base_is_taken_back() {
    let (site, mut hub) = (Site::new(), with_patients(1..=4));
    let store = site.create();
    enrol(&store);
    let (reply, chunks) = snapshot(&store, &mut hub, |_| {});
    save(&store, new_phone(record(2), "602-555-0102"));
    assert_eq!(push(&store, &mut hub), Comparison::Same);

    records(take(&store, &reply, &chunks[0], 9));
    assert_eq!(phone_of(&store, record(2)).as_deref(), Some("602-555-0102"));
    // The newer base comes by another way, such as a repair.
    let newer = hub.state(record(4)).clone();
    hub.write(&new_phone(record(4), "602-555-0104"));
    let page = hub
        .pull(&request(&store))
        .into_iter()
        .find(|page| page.lane == Lane::Flow)
        .unwrap();
    let base = hub.state(record(4)).clone();
    assert_ne!(newer, base);
    let row = page.rows.iter().find(|row| row.record() == record(4)).unwrap().clone();
    store
        .write_blocking(Priority::Sync, move |tx| {
            let place = sync_protocol::replica::Place {
                scope: SCOPE,
                lane: Lane::Flow,
                sequence: row.sequence,
                offered: false,
            };
            tx.add_to_bucket(
                SCOPE,
                Lane::Flow,
                record(4).0[0],
                proof_key().leaf(&base),
                Default::default(),
            )?;
            tx.put_base(place, &base, None)?;
            sync_protocol::replica::show(tx, record(4))
        })
        .unwrap();
    let taken = records(take(&store, &reply, &chunks[1], 9));

    assert_eq!(taken, (vec![record(3)], true));
    assert_eq!(phone_of(&store, record(4)).as_deref(), Some("602-555-0104"));
    assert!(verified(&pull(&store, &mut hub)));
    assert_eq!(store.read_blocking(|tx| tx.counts()).unwrap().pending, 0);
}

fn request(store: &Store) -> sync_protocol::wire::PullRequest {
    store
        .write_blocking(Priority::Sync, |tx| next_pull(tx, 1 << 20, 0, |_, _| Ok(false)))
        .unwrap()
}

#[test]
fn a_snapshot_that_speaks_of_another_chain_or_replica_is_not_taken() {
    let (site, mut hub) = (Site::new(), with_patients(1..=4));
    let store = site.create();
    enrol(&store);
    let (reply, chunks) = snapshot(&store, &mut hub, |_| {});
    let of_another = SnapshotReply {
        replica: sync_protocol::ReplicaId([9; 16]),
        ..reply.clone()
    };
    let with_more = SnapshotReply { accepted: 3, ..reply };

    assert_eq!(
        take(&store, &of_another, &chunks[0], 9),
        ChunkOutcome::NotApplied(Comparison::Stale)
    );
    assert!(matches!(
        take(&store, &with_more, &chunks[0], 9),
        ChunkOutcome::NotApplied(Comparison::Lost(_))
    ));
}
