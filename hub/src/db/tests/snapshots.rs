//! Snapshots of lanes: made in chunks, by one process after another, given to whoever may pull the lane, and dropped.

use sync_protocol::hub::next_chunk;
use sync_protocol::wire::{Chunk, Manifest, digest_of_chunk};

use super::*;

const LANE: Lane = Lane::Flow;
const START: Cursor = Cursor {
    scope: SITE,
    lane: LANE,
    generation: 0,
    sequence: 0,
};

async fn with_patients(on: On, count: u8) -> Store {
    let store = Store::new(on, Policy::CATALOGUE);
    for number in 1..=count {
        let draft = name(RecordId([number; 16]), "Vance", &[]);
        store
            .write(move |txn| txn.author(&draft, Some(SITE)))
            .await
            .expect("a change");
    }
    store
}

async fn ask(store: &Store) {
    store.write(|txn| Ok(txn.ask_for_snapshot(&START, 0)?)).await;
}

async fn stands(store: &Store, cursor: Cursor, since_ms: u64) -> Stands {
    store.write(move |txn| Ok(txn.snapshot_after(&cursor, since_ms)?)).await
}

/// Adds the next chunk of what is to be made, or finishes it. False when nothing is to be made.
async fn make_one(store: &Store) -> bool {
    store
        .write(|txn| {
            let Some(snapshot) = txn.snapshot_to_make()? else {
                return Ok(false);
            };
            match next_chunk(txn, &snapshot.of, snapshot.made_to, 1)? {
                Some(packed) => txn.add_snapshot_chunk(&snapshot, &packed)?,
                None => txn.finish_snapshot(&snapshot)?,
            }
            Ok(true)
        })
        .await
}

pub(super) async fn a_snapshot_is_made_chunk_by_chunk_and_goes_on_after_a_restart(on: On) {
    let store = with_patients(on, 3).await;
    assert_eq!(stands(&store, START, 0).await, Stands::Missing);
    ask(&store).await;
    ask(&store).await;
    assert!(make_one(&store).await);
    assert_eq!(stands(&store, START, 0).await, Stands::BeingMade);

    let store = store.reopened(Policy::CATALOGUE);
    // What is written now comes with the feed.
    let draft = name(RecordId([3; 16]), "Voss", &[]);
    store
        .write(move |txn| txn.author(&draft, Some(SITE)))
        .await
        .expect("a change");
    while make_one(&store).await {}

    let Stands::Whole(snapshot) = stands(&store, START, 0).await else {
        panic!("it is not whole");
    };
    let signed = store.write(move |txn| Ok(txn.signed_manifest(&snapshot)?)).await;
    let manifest = Manifest::decode(&signed.bytes).unwrap();
    assert_eq!((manifest.from, manifest.to(), manifest.rows()), (0, 2, 2));
    assert!(
        store
            .write(move |txn| Ok(txn.keys.has_signed(&signed.said(), &signed.signature.0)))
            .await
    );
    let mut from = 0;
    for note in &manifest.chunks {
        let digest = note.digest.0;
        let bytes = store.write(move |txn| Ok(txn.snapshot_chunk(digest, &[SITE])?)).await;
        let bytes = bytes.expect("a chunk");
        let foreign = store
            .write(move |txn| Ok(txn.snapshot_chunk(digest, &[OTHER_SITE])?))
            .await;
        assert_eq!(foreign, None);
        assert_eq!(digest_of_chunk(&bytes), note.digest);
        let chunk: Chunk = manifest.read(from, note, &bytes).expect("what the manifest says");
        assert!(chunk.rows.iter().all(|row| row.signature.is_some()));
        from = note.to;
    }
    let later = Cursor { sequence: 2, ..START };
    assert_eq!(stands(&store, later, 0).await, Stands::Missing);
    assert_eq!(
        stands(&store, Cursor { sequence: 4, ..START }, 0).await,
        Stands::NothingWaits
    );
}

pub(super) async fn a_snapshot_that_is_too_old_is_given_out_no_more_and_dropped_with_its_chunks(on: On) {
    let store = with_patients(on, 3).await;
    ask(&store).await;
    while make_one(&store).await {}
    let Stands::Whole(snapshot) = stands(&store, START, 0).await else {
        panic!("it is not whole");
    };
    let signed = store.write(move |txn| Ok(txn.signed_manifest(&snapshot)?)).await;
    let digest = Manifest::decode(&signed.bytes).unwrap().chunks[0].digest.0;
    let later = u64::MAX / 2;

    assert_eq!(stands(&store, START, later).await, Stands::Missing);
    assert_eq!(store.write(|txn| Ok(txn.snapshot_to_drop(0)?)).await, None);
    let old = store.write(move |txn| Ok(txn.snapshot_to_drop(later)?)).await;
    assert_eq!(old, Some(snapshot.id));
    let drop_two = async || store.write(move |txn| Ok(txn.drop_snapshot(snapshot.id, 2)?)).await;
    assert!(!drop_two().await);
    assert!(drop_two().await);

    assert_eq!(stands(&store, START, 0).await, Stands::Missing);
    let chunk = store.write(move |txn| Ok(txn.snapshot_chunk(digest, &[SITE])?)).await;
    let bytes = store.write(move |txn| Ok(txn.blob_bytes(digest)?)).await;
    assert_eq!((chunk, bytes), (None, None));
}

pub(super) async fn a_snapshot_is_refused_to_another_site_and_to_another_epoch(on: On) {
    use sync_protocol::wire::SnapshotRequest;
    let store = with_patients(on, 1).await;
    let epoch = store.db.organisation().epoch;
    let admit = async |site: ScopeId, epoch: EpochId, sequence: u64| {
        let request = SnapshotRequest {
            epoch,
            replica: ReplicaId([4; 16]),
            cursor: Cursor { sequence, ..START },
        };
        store.db.read(move |txn| txn.admit_snapshot(site, &request)).await
    };

    assert!(matches!(admit(OTHER_SITE, epoch, 0).await, Err(HubError::ForeignScope)));
    assert!(matches!(
        admit(SITE, EpochId([1; 16]), 0).await,
        Err(HubError::OtherEpoch)
    ));
    assert!(matches!(admit(SITE, epoch, 9).await, Err(HubError::GoneBack)));
    assert_eq!(admit(SITE, epoch, 0).await.unwrap().counter, 0);
}
