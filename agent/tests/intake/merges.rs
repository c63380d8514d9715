//! ADT A40: two numbers that are one person's.

use clinic::link;
use clinic::linking::{joined, link_id};
use clinic::value::LinkStanding;
use clinic::{result, visit as visit_record};

use super::*;

/// Dolores, as she was registered a second time.
const DOLORES_AGAIN: Person = Person {
    number: "740199^^^RIVERSIDE^MR",
    name: "Quinones^Lola",
    born: "19610302",
    phone: "312-555-0101",
    visit: "V740199",
};

async fn links(site: &Site) -> Vec<RecordState> {
    site.of_kind(link::KIND).await
}

#[tokio::test]
async fn two_records_of_one_person_are_linked_and_either_number_finds_them_as_one() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    site.send(&DOLORES_AGAIN.adt("A04", "2", &[])).await;

    let answer = site.send(&DOLORES.a40("3", DOLORES_AGAIN.number)).await;
    let again = site.send(&DOLORES.a40("4", DOLORES_AGAIN.number)).await;
    let result = site.send(&DOLORES_AGAIN.oru("5", "104")).await;

    assert!(answer.is("AA", "3") && again.is("AA", "4") && result.is("AA", "5"));
    let patients = site.of_kind(patient::KIND).await;
    assert_eq!(patients.len(), 2);
    let links = links(&site).await;
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].record, link_id(patients[0].record, patients[1].record));
    assert!(joined(&links[0]).is_some());
    assert!(site.unmatched().await.is_empty());
    let results = site.of_kind(result::KIND).await;
    let on = result::PATIENT.value(&results[0]).unwrap();
    // The one who was here first stands for both.
    let first = patients
        .iter()
        .find(|state| clinic::hl7::carries(state, &number(DOLORES.number)))
        .unwrap();
    assert_eq!(on, first.record);
}

fn number(cx: &str) -> clinic::Identifier {
    let mut parts = cx.split('^');
    clinic::Identifier {
        value: parts.next().unwrap().to_owned(),
        system: parts.nth(2).unwrap().to_owned(),
        kind: String::new(),
    }
}

#[tokio::test]
async fn the_visit_of_either_record_is_found_after_a_merge() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A08", "1", &[])).await;
    site.send(&DOLORES_AGAIN.adt("A04", "2", &[])).await;
    site.send(&DOLORES.a40("3", DOLORES_AGAIN.number)).await;

    let ended = site.send(&DOLORES_AGAIN.adt("A03", "4", &[])).await;

    assert!(ended.is("AA", "4"));
    assert_eq!(site.visit().await.1, VisitState::Discharged);
    assert_eq!(site.of_kind(visit_record::KIND).await.len(), 1);
}

#[tokio::test]
async fn a_number_that_nobody_carries_finds_the_survivor_from_then_on() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A08", "1", &[])).await;

    site.send(&DOLORES.a40("2", DOLORES_AGAIN.number)).await;
    site.send(&DOLORES_AGAIN.oru("3", "104")).await;

    let patient = site.patient().await;
    assert!(clinic::hl7::carries(&patient, &number(DOLORES_AGAIN.number)));
    assert!(links(&site).await.is_empty());
    assert_eq!(site.linked(patient.record, result::KIND).await.len(), 1);
    let before = site.changes().await;
    site.send(&DOLORES.a40("4", DOLORES_AGAIN.number)).await;
    assert_eq!(site.changes().await, before);
}

#[tokio::test]
async fn an_unknown_survivor_is_made_and_linked() {
    let site = Site::open().await;
    site.send(&DOLORES_AGAIN.adt("A04", "1", &[])).await;

    site.send(&DOLORES.a40("2", DOLORES_AGAIN.number)).await;

    assert_eq!(site.of_kind(patient::KIND).await.len(), 2);
    assert!(joined(&links(&site).await[0]).is_some());
}

#[tokio::test]
async fn a_number_merged_into_itself_is_refused_by_mrg_1_and_nothing_is_written() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A08", "1", &[])).await;
    let before = site.changes().await;

    let itself = site.send(&DOLORES.a40("2", DOLORES.number)).await;
    let nothing = site.send(&DOLORES.a40("3", "")).await;
    let alone = site.send(&DOLORES.adt("A40", "4", &[])).await;

    assert!(itself.is("AE", "2") && itself.location == "MRG^1^1", "{itself:?}");
    assert!(nothing.is("AE", "3") && nothing.location == "MRG^1^1", "{nothing:?}");
    assert!(alone.is("AE", "4") && alone.location == "MRG^1", "{alone:?}");
    assert_eq!(site.changes().await, before);
}

#[tokio::test]
async fn a_survivor_who_is_somebody_else_here_is_joined_with_nobody() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A08", "1", &[])).await;
    site.send(&DOLORES_AGAIN.adt("A08", "2", &[])).await;
    let before = site.changes().await;
    let stranger = Person {
        number: DOLORES.number,
        ..SEAMUS
    };

    let answer = site.send(&stranger.a40("3", DOLORES_AGAIN.number)).await;

    assert!(answer.is("AA", "3"));
    assert_eq!(site.changes().await, before);
    assert!(
        site.messages(Some(Outcome::Unmatched)).await[0]
            .error
            .as_deref()
            .unwrap()
            .contains("nothing was joined")
    );
}

#[tokio::test]
async fn two_people_whom_somebody_told_apart_wait_for_a_decision() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A08", "1", &[])).await;
    site.send(&DOLORES_AGAIN.adt("A08", "2", &[])).await;
    site.send(&DOLORES.a40("3", DOLORES_AGAIN.number)).await;
    let state = links(&site).await.remove(0);
    site.write(move |tx| {
        let shown = state.shown(link::STANDING.id);
        let actor = clinic::Channel::Page.program();
        let draft = clinic::Writing::new(link::KIND, state.record, clinic::Action::Edit, actor, 0)
            .replace(link::STANDING, &LinkStanding::Distinct, &shown)
            .done();
        tx.author(&draft)?;
        Ok(())
    })
    .await;
    let before = site.changes().await;

    // The same source says the same again: no new word, and the person's decision stands.
    site.send(&DOLORES.a40("4", DOLORES_AGAIN.number)).await;
    assert_eq!(site.changes().await, before);

    let other = DOLORES
        .a40("5", DOLORES_AGAIN.number)
        .replace("|FRONTDESK|", "|REGISTRY|");
    let answer = site.send(&other).await;

    assert!(answer.is("AA", "5"));
    let state = links(&site).await.remove(0);
    assert!(joined(&state).is_none());
    assert_eq!(site.of_kind(link::KIND).await.len(), 1);
    let told = site.messages(Some(Outcome::Unmatched)).await;
    assert!(told[0].error.as_deref().unwrap().contains("two people"));
}
