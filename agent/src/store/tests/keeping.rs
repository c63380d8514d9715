//! What the siblings keep beside the records: messages, answers, sign-ins, sources, blobs, single values.

use sync_protocol::cbor::Raw;
use sync_protocol::{ChangeId, Hash};

use super::*;

fn message(control: &str, outcome: Outcome) -> NewMessage {
    NewMessage {
        key: MessageKey {
            application: "ADT".to_owned(),
            facility: "MAIN".to_owned(),
            control: control.to_owned(),
            digest: digest_of(b"content"),
        },
        received_ms: 5_000,
        peer: "10.0.0.7:4711".to_owned(),
        kind: "ADT".to_owned(),
        trigger: "A04".to_owned(),
        outcome,
        ack: b"MSH|^~\\&|...\rMSA|AA|1".to_vec(),
        error: None,
        record: None,
    }
}

fn write<T: Send + 'static>(
    store: &Store,
    mut write: impl FnMut(&mut WriteTx<'_>) -> Result<T, TxError> + Send + 'static,
) -> T {
    store.write_blocking(Priority::Desk, move |tx| write(tx)).unwrap()
}

#[test]
fn a_repeated_message_is_found_with_its_answer_and_another_content_is_another_message() {
    let site = Site::new();
    let store = site.create();
    let first = message("1", Outcome::Accepted);
    let id = write(&store, {
        let first = first.clone();
        move |tx| tx.insert_message(&first)
    });
    let other = MessageKey {
        digest: digest_of(b"other content"),
        ..first.key.clone()
    };

    let key = first.key.clone();
    let (same, other) = store
        .read_blocking(move |tx| Ok((tx.find_message(&key)?, tx.find_message(&other)?)))
        .unwrap();

    assert_eq!((same, other), (Some(Message { id, message: first }), None));
}

#[test]
fn unmatched_messages_are_listed_newest_first_until_their_patient_is_found() {
    let site = Site::new();
    let store = site.create();
    let ids = write(&store, |tx| {
        tx.insert_message(&message("1", Outcome::Accepted))?;
        ["2", "3"]
            .map(|control| tx.insert_message(&message(control, Outcome::Unmatched)))
            .into_iter()
            .collect()
    });
    let ids: Vec<u64> = ids;
    let unmatched = || {
        let listed = store
            .read_blocking(|tx| tx.messages(Some(Outcome::Unmatched), None, 10))
            .unwrap();
        listed.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    assert_eq!(unmatched(), [ids[1], ids[0]]);

    let last = ids[1];
    let (message, all, before) = store
        .read_blocking(move |tx| {
            Ok((
                tx.message(last)?,
                tx.messages(None, None, 2)?,
                tx.messages(None, Some(2), 9)?,
            ))
        })
        .unwrap();
    assert_eq!(message.map(|message| message.id), Some(last));
    assert_eq!((all.len(), before.len()), (2, 1));
}

#[test]
fn a_request_is_answered_once_and_its_answer_is_forgotten_in_time() {
    let site = Site::new();
    let store = site.create();
    write(&store, |tx| tx.keep_answer([1; 16], b"/patient"));

    let again = store.write_blocking(Priority::Desk, |tx| tx.keep_answer([1; 16], b"/other"));

    assert!(matches!(again, Err(WriteError::Refused(_))));
    assert_eq!(
        store.read_blocking(|tx| tx.answered([1; 16])).unwrap().unwrap(),
        b"/patient"
    );
    assert_eq!(write(&store, |tx| tx.prune_answers(1_000)), 0);
    assert_eq!(write(&store, |tx| tx.prune_answers(identity::wall_ms() + 1)), 1);
    assert!(store.read_blocking(|tx| tx.answered([1; 16])).unwrap().is_none());
}

#[test]
fn a_sign_in_survives_a_restart_and_ends_when_it_is_ended_or_expires() {
    let site = Site::new();
    let store = site.create();
    let sign_in = |token: u8, expires_ms| SignIn {
        token_hash: Hash([token; 32]),
        staff: record(1),
        created_ms: 1,
        seen_ms: 2,
        expires_ms,
    };
    write(&store, move |tx| {
        (1..=3).try_for_each(|token| tx.put_sign_in(&sign_in(token, 100 * u64::from(token))))
    });
    write(&store, move |tx| {
        tx.put_sign_in(&SignIn {
            seen_ms: 50,
            ..sign_in(3, 400)
        })
    });
    drop(store);

    let store = site.open().unwrap();
    let kept = store.read_blocking(|tx| tx.sign_in(Hash([3; 32]))).unwrap().unwrap();
    assert_eq!(
        kept,
        SignIn {
            seen_ms: 50,
            ..sign_in(3, 400)
        }
    );

    assert!(write(&store, |tx| tx.end_sign_in(Hash([2; 32]))));
    assert_eq!(write(&store, |tx| tx.prune_sign_ins(100)), 1);
    assert!(store.read_blocking(|tx| tx.sign_in(Hash([3; 32]))).unwrap().is_some());
}

#[test]
fn a_source_is_held_to_what_it_said_last() {
    let site = Site::new();
    let store = site.create();
    let said = |number: u8, text: &str| SourceValue {
        change: ChangeId([number; 16]),
        value: Raw::text(text),
    };
    let field = patient::PHONE.id;
    let (old, new) = (said(1, "602-555-0101"), said(2, "602-555-0102"));

    let last = new.clone();
    write(&store, move |tx| {
        tx.set_source_value("ADT|MAIN", record(1), field, &old)?;
        tx.set_source_value("ADT|MAIN", record(1), field, &new)
    });

    let (here, elsewhere) = store
        .read_blocking(move |tx| {
            Ok((
                tx.source_value("ADT|MAIN", record(1), field)?,
                tx.source_value("LAB", record(1), field)?,
            ))
        })
        .unwrap();
    assert_eq!((here, elsewhere), (Some(last), None));
}

#[test]
fn a_blob_is_kept_once_under_its_digest_and_an_oversized_one_is_refused() {
    let site = Site::new();
    let store = site.create();

    let digests = write(&store, |tx| {
        Ok([tx.put_blob("text/plain", b"one")?, tx.put_blob("text/plain", b"one")?])
    });
    let large = store.write_blocking(Priority::Desk, |tx| {
        tx.put_blob("image/png", &vec![0; BLOB_MAX_BYTES + 1])
    });

    assert_eq!(digests, [digest_of(b"one"); 2]);
    assert!(matches!(large, Err(WriteError::Refused(TxError::TooLarge { .. }))));
    let [digest, _] = digests;
    let blob = store.read_blocking(move |tx| tx.blob(digest)).unwrap().unwrap();
    assert_eq!(
        (blob.media.as_str(), blob.bytes.as_slice()),
        ("text/plain", b"one".as_slice())
    );
}

#[test]
fn single_values_are_kept_replaced_and_removed_by_name() {
    let site = Site::new();
    let store = site.create();
    write(&store, |tx| {
        tx.set_meta("site", b"east")?;
        tx.set_meta("site", b"west")
    });
    assert_eq!(store.read_blocking(|tx| tx.meta("site")).unwrap().unwrap(), b"west");

    write(&store, |tx| tx.remove_meta("site"));

    assert!(store.read_blocking(|tx| tx.meta("site")).unwrap().is_none());
}
