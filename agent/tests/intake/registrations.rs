//! A04, A08 and A03: who is registered, who is not taken for somebody else, and what becomes of the visit.

use clinic::catalogue::{allergy, coverage, patient, task, visit};
use clinic::flow::VisitState;
use clinic::numbering::TEMP_SYSTEM;
use clinic::value::{BirthDate, PersonName, Role};
use clinic::write::Channel;
use mainstay_agent::access::arrivals::{Arrival, Arrived, arrive};
use mainstay_agent::access::patients::{Edited, PatientEdit, edit, refute_allergy};
use mainstay_agent::access::{By, Person as Staff};
use mainstay_agent::store::Outcome;
use sync_protocol::{Phi, RecordId};

use super::*;

fn nurse() -> Staff {
    Staff {
        staff: RecordId([7; 16]),
        login: "nurse".to_owned(),
        name: "Nurse".to_owned(),
        role: Role::Nurse,
    }
}

/// Somebody types an arrival in at the desk.
async fn arrives(site: &Site, name: &str, born: &str) -> Arrived {
    let arrival = Arrival {
        name: Phi::new(PersonName::parse(name)),
        birth_date: BirthDate::parse(born).map(Phi::new),
        reason: Phi::new("Cough".to_owned()),
        phone: None,
        patient: None,
        event_ms: 1_767_366_000_000,
    };
    site.write(move |tx| arrive(tx, By::Person(&nurse(), Channel::Page), &arrival))
        .await
}

/// A person corrects a patient, having seen what is shown now.
async fn corrects(site: &Site, what: PatientEdit) {
    let id = site.patient().await.record;
    site.write(move |tx| edit(tx, By::Person(&nurse(), Channel::Page), id, &what, 1_767_366_000_000))
        .await;
}

fn edited<T>(value: T, shown: Vec<sync_protocol::ChangeId>) -> Option<Edited<T>> {
    Some(Edited {
        value: Some(value),
        shown,
    })
}

#[tokio::test]
async fn a_registration_makes_a_patient_a_visit_and_their_tasks() {
    let site = Site::open().await;
    let pv2 = "PV2|||^Cough for 3 days";

    let answer = site
        .send(&DOLORES.adt("A04", "1", &[pv2, "AL1|1|DA|^Penicillin", "IN1|1|HMO^Blue|7|Cascade"]))
        .await;

    assert!(answer.is("AA", "1"));
    let person = site.patient().await;
    assert_eq!(phone(&person).as_deref(), Some("312-555-0101"));
    let (state, standing) = site.visit().await;
    assert_eq!(standing, VisitState::Arrived);
    assert_eq!(visit::REASON.value(&state).unwrap().expose(), "Cough for 3 days");
    assert_eq!(site.linked(person.record, allergy::KIND).await.len(), 1);
    assert_eq!(site.linked(person.record, coverage::KIND).await.len(), 1);
    assert_eq!(site.linked(person.record, task::KIND).await.len(), 2);
    let kept = site.messages(Some(Outcome::Accepted)).await;
    assert_eq!((kept[0].kind.as_str(), kept[0].trigger.as_str()), ("ADT", "A04"));
    assert!(kept[0].peer.starts_with("127.0.0.1:"));
    assert_eq!(site.original(&kept[0]).await.unwrap().media, "application/hl7-v2");
}

#[tokio::test]
async fn the_same_message_again_gets_the_same_acknowledgement_and_changes_nothing() {
    let site = Site::open().await;
    let message = DOLORES.adt("A04", "1", &["AL1|1|DA|^Penicillin"]);
    let first = site.send(&message).await;
    let before = site.changes().await;

    let again = site.send(&message).await;

    assert_eq!(again.bytes, first.bytes);
    assert_eq!(site.changes().await, before);
    assert_eq!(site.messages(None).await.len(), 1);
}

#[tokio::test]
async fn the_same_content_under_a_new_control_id_says_nothing_new() {
    let site = Site::open().await;
    let more = ["PV2|||^Cough", "AL1|1|DA|^Penicillin", "IN1|1|HMO^Blue|7|Cascade"];
    site.send(&DOLORES.adt("A04", "1", &more)).await;
    let before = site.changes().await;

    let answers = [
        site.send(&DOLORES.adt("A04", "2", &more)).await,
        site.send(&DOLORES.adt("A08", "3", &more)).await,
    ];

    assert!(answers[0].is("AA", "2") && answers[1].is("AA", "3"));
    assert_eq!(site.changes().await, before);
    assert_eq!(site.messages(Some(Outcome::Accepted)).await.len(), 3);
}

#[tokio::test]
async fn a_repeated_old_phone_does_not_undo_a_persons_correction() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    let shown = site.patient().await.shown(patient::PHONE.id);
    corrects(
        &site,
        PatientEdit {
            phone: edited(Phi::new("312-555-0199".to_owned()), shown),
            ..PatientEdit::default()
        },
    )
    .await;

    site.send(&DOLORES.adt("A08", "2", &[])).await;

    assert_eq!(phone(&site.patient().await).as_deref(), Some("312-555-0199"));
}

#[tokio::test]
async fn a_person_whose_name_and_birth_date_were_corrected_is_still_the_senders() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    let state = site.patient().await;
    let what = PatientEdit {
        name: edited(
            Phi::new(PersonName::new("Whitfield", "Dora")),
            state.shown(patient::NAME.id),
        ),
        birth_date: edited(
            Phi::new(BirthDate::parse("1962-03-02").unwrap()),
            state.shown(patient::BIRTH_DATE.id),
        ),
        ..PatientEdit::default()
    };
    corrects(&site, what).await;
    let before = site.changes().await;

    site.send(&DOLORES.adt("A08", "2", &[])).await;

    assert_eq!(site.changes().await, before);
    let name = patient::NAME
        .ask(&site.patient().await)
        .standing()
        .unwrap()
        .expose()
        .listed();
    assert_eq!(name, "Whitfield, Dora");
}

#[tokio::test]
async fn a_null_empties_only_what_the_sender_itself_said() {
    let site = Site::open().await;
    let null = Person {
        phone: "\"\"",
        ..DOLORES
    };
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    site.send(&null.adt("A08", "2", &[])).await;
    let emptied = phone(&site.patient().await);
    site.send(&DOLORES.adt("A08", "3", &[])).await;
    let shown = site.patient().await.shown(patient::PHONE.id);
    corrects(
        &site,
        PatientEdit {
            phone: edited(Phi::new("312-555-0199".to_owned()), shown),
            ..PatientEdit::default()
        },
    )
    .await;

    site.send(&null.adt("A08", "4", &[])).await;

    assert_eq!(emptied, None);
    assert_eq!(phone(&site.patient().await).as_deref(), Some("312-555-0199"));
}

#[tokio::test]
async fn an_allergy_that_was_refuted_is_not_said_again_by_the_next_message() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &["AL1|1|DA|^Penicillin"])).await;
    let known = site.of_kind(allergy::KIND).await.remove(0);
    let said: Vec<_> = allergy::STATEMENT.asserted(&known).into_keys().collect();
    site.write(move |tx| {
        refute_allergy(
            tx,
            By::Person(&nurse(), Channel::Page),
            known.record,
            &said,
            "tolerated it",
            1_767_366_000_000,
        )
    })
    .await;

    site.send(&DOLORES.adt("A08", "2", &["AL1|1|DA|^PENICILLIN", "AL1|2|DA|^Sulfa"]))
        .await;

    let all = site.of_kind(allergy::KIND).await;
    let active = all
        .iter()
        .filter(|state| !allergy::STATEMENT.standing(state).is_empty());
    assert_eq!((all.len(), active.count()), (2, 1));
}

#[tokio::test]
async fn a_number_that_is_somebody_elses_by_name_and_birth_date_touches_nobody_and_is_listed() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    let stranger = Person {
        number: DOLORES.number,
        visit: "V9",
        ..SEAMUS
    };

    let answer = site.send(&stranger.adt("A04", "2", &[])).await;
    let later = site.send(&stranger.adt("A08", "3", &[])).await;

    assert!(answer.is("AA", "2") && later.is("AA", "3"));
    let all = site.of_kind(patient::KIND).await;
    let names: Vec<String> = all
        .iter()
        .map(|state| patient::NAME.ask(state).standing().unwrap().expose().listed())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let listed = site.messages(Some(Outcome::Unmatched)).await;
    assert_eq!(listed.len(), 1);
    assert!(
        listed[0]
            .error
            .as_deref()
            .unwrap()
            .contains("known under another person")
    );
}

#[tokio::test]
async fn a_look_alike_without_the_number_is_somebody_new() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;

    site.send(
        &Person {
            number: "740101^^^ELSEWHERE^MR",
            visit: "V2",
            ..DOLORES
        }
        .adt("A04", "2", &[]),
    )
    .await;

    assert_eq!(site.of_kind(patient::KIND).await.len(), 2);
}

#[tokio::test]
async fn a_label_joins_the_desks_patient_to_the_senders_number_and_visit() {
    let site = Site::open().await;
    let arrived = arrives(&site, "Quiñones-Whitfield, Dolores", "1961-03-02").await;
    let numbers = format!("{}^^^MAINSTAY^PI~740101^^^RIVERSIDE^MR", arrived.temp_number.unwrap());
    let labelled = DOLORES.adt("A04", "1", &[]).replace(DOLORES.number, &numbers);

    site.send(&labelled).await;
    site.send(&DOLORES.adt("A03", "2", &[])).await;

    let person = site.patient().await;
    assert_eq!(person.record, arrived.patient);
    let systems: Vec<String> = patient::IDENTIFIER
        .standing(&person)
        .iter()
        .map(|id| id.value.expose().system.clone())
        .collect();
    assert_eq!(systems, [TEMP_SYSTEM, "RIVERSIDE"]);
    let (state, standing) = site.visit().await;
    assert_eq!((state.record, standing), (arrived.visit, VisitState::Discharged));
}

#[tokio::test]
async fn an_update_of_somebody_unknown_makes_a_patient_and_no_visit() {
    let site = Site::open().await;

    let answer = site.send(&DOLORES.adt("A08", "1", &[])).await;

    assert!(answer.is("AA", "1"));
    site.patient().await;
    assert!(site.of_kind(visit::KIND).await.is_empty());
}

#[tokio::test]
async fn a_discharge_ends_the_visit_once() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    site.send(&DOLORES.adt("A03", "2", &[])).await;
    let before = site.changes().await;

    let again = site.send(&DOLORES.adt("A03", "3", &[])).await;
    let late = site.send(&DOLORES.adt("A04", "4", &[])).await;

    assert!(again.is("AA", "3") && late.is("AA", "4"));
    assert_eq!(site.visit().await.1, VisitState::Discharged);
    assert_eq!(site.changes().await, before, "a late repeat started the visit again");
}

#[tokio::test]
async fn a_discharge_of_nobody_known_is_kept_and_listed() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A08", "1", &[])).await;

    let stranger = site.send(&SEAMUS.adt("A03", "2", &[])).await;
    let visitless = site.send(&DOLORES.adt("A03", "3", &[])).await;

    assert!(stranger.is("AA", "2") && visitless.is("AA", "3"));
    let listed = site.messages(Some(Outcome::Unmatched)).await;
    let notes: Vec<&str> = listed.iter().filter_map(|message| message.error.as_deref()).collect();
    assert!(
        notes[0].starts_with("PV1-19") && notes[1].starts_with("PID-3"),
        "{notes:?}"
    );
    assert_eq!(site.of_kind(patient::KIND).await.len(), 1);
}

#[tokio::test]
async fn another_visit_number_of_the_same_authority_is_another_visit() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;

    site.send(&Person { visit: "V2", ..DOLORES }.adt("A04", "2", &[])).await;

    assert_eq!(site.of_kind(visit::KIND).await.len(), 2);
}

#[tokio::test]
async fn a_time_that_no_clock_would_show_gives_way_to_receipt_and_is_noted() {
    let site = Site::open().await;
    let before = jiff::Timestamp::now().as_millisecond();
    let message = DOLORES.adt("A04", "1", &[]);
    let sent_at = message.split('|').nth(6).unwrap().to_owned();

    let answer = site
        .send(&message.replace(&format!("EVN|A04|{sent_at}"), "EVN|A04|20990801070724"))
        .await;

    assert!(answer.is("AA", "1"));
    let (state, _) = site.visit().await;
    let since = flow::standing(&state).unwrap().since_ms;
    assert!(since >= before && since <= jiff::Timestamp::now().as_millisecond());
    assert!(
        site.messages(None).await[0]
            .error
            .as_deref()
            .unwrap()
            .contains("time of receipt")
    );
}
