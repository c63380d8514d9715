//! What is kept of the EHR beside the records.

use clinic::following::LastSaid;
use sync_protocol::FieldId;
use sync_protocol::cbor::Raw;

use super::*;

pub(super) async fn how_far_the_ehr_was_read_and_what_waits_is_kept(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let feed = InboundFeed {
        since_ms: Some(-5),
        filled: true,
        polled_ms: Some(7),
        problem: Some("status 500".to_owned()),
        taken: 3,
        unknown: 2,
        broken: 1,
    };
    let seen = Seen {
        digest: [7; 32],
        record: Some(RecordId([8; 16])),
    };
    let (kept, known) = (feed.clone(), seen.clone());

    store
        .write(move |txn| {
            txn.set_inbound_feed("Appointment", &InboundFeed::default())?;
            txn.set_inbound_feed("Appointment", &kept)?;
            txn.set_seen("Appointment", "a1", &Seen { record: None, ..known })?;
            txn.set_seen("Appointment", "a1", &known)?;
            txn.set_waiting("Appointment", "a1", Some(&waits_for(Wants::Patient, "p1")))?;
            txn.set_waiting("Appointment", "a1", Some(&waits_for(Wants::Site, "l1")))?;
            txn.set_waiting("Coverage", "c1", Some(&waits_for(Wants::Patient, "p1")))?;
            Ok(txn.set_waiting("Coverage", "c1", None)?)
        })
        .await;
    let (feeds, again, waiting, counts, polled) = store
        .write(|txn| {
            let counts = [txn.count_waiting(Wants::Site)?, txn.count_waiting(Wants::Patient)?];
            Ok((
                txn.inbound_feeds()?,
                txn.seen("Appointment", "a1")?,
                txn.waiting_for(Wants::Site, &["l0", "l1", "l2"].map(str::to_owned), 10)?,
                counts,
                txn.ehr_polled_ms()?,
            ))
        })
        .await;

    assert_eq!(feeds, [("Appointment".to_owned(), feed)]);
    assert_eq!(again, Some(seen));
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].id.as_str(), waiting[0].named.as_str()), ("a1", "l1"));
    assert_eq!((counts, polled), ([1, 0], Some(7)));
}

fn waits_for(wants: Wants, named: &str) -> Waits {
    Waits {
        wants,
        named: named.to_owned(),
        term: named.to_owned(),
        until_ms: None,
    }
}

pub(super) async fn what_waits_for_a_record_that_the_index_knows_is_found_behind_all_that_waits_for_none(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let person = clinic::Identifier {
        system: clinic::rules::EHR_SYSTEM.to_owned(),
        value: "p1".to_owned(),
        kind: clinic::linking::EHR_ID_KIND.to_owned(),
    };
    let draft = Writing::new(
        patient::KIND,
        RecordId([9; 16]),
        Action::Message,
        Channel::Connector.program(),
        0,
    )
    .assert(patient::IDENTIFIER, &Phi::new(person))
    .done();
    let of_patient = |named: &str, until_ms| Waits {
        term: clinic::index::identifier_term(named),
        until_ms,
        ..waits_for(Wants::Patient, named)
    };

    let (found, behind, gone, left) = store
        .write(move |txn| {
            txn.author(&draft, None)?;
            for at in 0..300 {
                let over = (at < 100).then_some(1);
                txn.set_waiting("Appointment", &format!("a{at}"), Some(&of_patient("p2", over)))?;
            }
            txn.set_waiting("Appointment", "mine", Some(&of_patient("p1", Some(i64::MAX))))?;
            let kind = patient::KIND;
            let found = txn.waiting_for_known(Wants::Patient, kind, (0, [0; 16]), 200)?;
            let behind = txn.waiting_for_known(Wants::Patient, kind, found[0].place, 200)?;
            let gone = txn.any_waited_out()?;
            txn.drop_waited_out()?;
            let left = (txn.any_waited_out()?, txn.count_waiting(Wants::Patient)?);
            Ok((found, behind, gone, left))
        })
        .await;

    assert_eq!((found.len(), found[0].id.as_str()), (1, "mine"));
    assert!(behind.is_empty() && gone);
    assert_eq!(left, (false, 201));
}

pub(super) async fn a_sources_last_word_is_kept_by_field(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let record = RecordId([9; 16]);
    let said = |text: &str| LastSaid {
        change: ChangeId([1; 16]),
        value: Raw::text(text),
    };
    let (first, second) = (said("one"), said("two"));

    let words = store
        .write(move |txn| {
            txn.set_last_word("ehr", record, FieldId(1), &first)?;
            txn.set_last_word("ehr", record, FieldId(1), &second)?;
            txn.set_last_word("ehr", record, FieldId(2), &first)?;
            txn.set_last_word("hl7:DESK|", record, FieldId(1), &first)?;
            Ok(txn.last_words("ehr", record)?)
        })
        .await;

    assert_eq!(words.len(), 2);
    assert_eq!(words[&FieldId(1)], said("two"));
}
