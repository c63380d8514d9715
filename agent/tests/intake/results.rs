//! ORU R01: on the patient it is surely about, else in the list of those that wait for a person.

use std::time::Instant;

use clinic::catalogue::{patient, result};
use clinic::value::{BirthDate, PersonName};
use clinic::write::Channel;
use mainstay_agent::access::By;
use mainstay_agent::access::arrivals::{Arrival, arrive};
use mainstay_agent::store::Outcome;
use sync_protocol::Phi;

use super::*;

#[tokio::test]
async fn a_result_of_a_known_number_and_name_is_on_the_patient() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;

    let answer = site.send(&DOLORES.oru("R1", "113")).await;

    assert!(answer.is("AA", "R1"));
    let results = site.linked(site.patient().await.record, result::KIND).await;
    assert_eq!(result::SERVICE.value(&results[0]).unwrap().expose(), "Glucose");
    assert_eq!(
        &**result::OBSERVATIONS.value(&results[0]).unwrap().expose(),
        "Glucose: 113 mg/dL (H)"
    );
    // 2026-01-02T14:15:00Z
    assert_eq!(result::OBSERVED_MS.value(&results[0]), Some(1_767_363_300_000));
    assert_eq!(result::DEADLINE_MS.value(&results[0]), None);
    let original = result::ORIGINAL.value(&results[0]).unwrap();
    assert_eq!(original.0, site.messages(Some(Outcome::Accepted)).await[0].key.digest.0);
    assert!(site.unmatched().await.is_empty());
}

#[tokio::test]
async fn the_same_number_of_another_authority_waits_for_a_person() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    let received = jiff::Timestamp::now().as_millisecond();

    let foreign = Person {
        number: "740101^^^NORTH LAB^MR",
        ..DOLORES
    };
    let answer = site.send(&foreign.oru("R1", "113")).await;

    assert!(answer.is("AA", "R1"));
    let waiting = site.unmatched().await;
    assert_eq!(waiting.len(), 1);
    assert!(result::DEADLINE_MS.value(&waiting[0]).unwrap() >= received + 4 * 3_600_000);
    let said = result::SAID_NAME.value(&waiting[0]).unwrap();
    assert_eq!(said.expose().listed(), "Quiñones-Whitfield, Dolores");
    assert_eq!(site.messages(Some(Outcome::Unmatched)).await.len(), 1);
}

#[tokio::test]
async fn a_number_alone_puts_a_result_on_nobody() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    let mistyped = Person {
        number: DOLORES.number,
        ..SEAMUS
    };
    let nameless = DOLORES
        .oru("R2", "114")
        .replace(DOLORES.name, "")
        .replace(DOLORES.born, "");

    let answers = [site.send(&mistyped.oru("R1", "113")).await, site.send(&nameless).await];

    assert!(answers[0].is("AA", "R1") && answers[1].is("AA", "R2"));
    assert_eq!(site.unmatched().await.len(), 2);
}

#[tokio::test]
async fn one_of_name_and_birth_date_is_enough_with_the_number() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;

    site.send(
        &Person {
            name: "QUINONES WHITFIELD^DOLORES",
            born: "",
            ..DOLORES
        }
        .oru("R1", "113"),
    )
    .await;
    site.send(
        &Person {
            name: "Whitfield^D",
            ..DOLORES
        }
        .oru("R2", "114"),
    )
    .await;

    assert_eq!(site.linked(site.patient().await.record, result::KIND).await.len(), 2);
}

#[tokio::test]
async fn a_label_number_finds_the_patient_who_wears_it() {
    let site = Site::open().await;
    let arrival = Arrival {
        name: Phi::new(PersonName::parse("Li, Na")),
        birth_date: BirthDate::parse("1999-01-05").map(Phi::new),
        reason: Phi::new("Cut".to_owned()),
        phone: None,
        patient: None,
        event_ms: 1_767_366_000_000,
    };
    let arrived = site
        .write(move |tx| arrive(tx, By::Interface(Channel::Page), &arrival))
        .await;
    let number = arrived.temp_number.unwrap().to_lowercase();

    let labelled = DOLORES
        .oru("R1", "113")
        .replace(DOLORES.number, &number)
        .replace(DOLORES.name, "LI^NA");
    site.send(&labelled).await;

    assert_eq!(site.linked(arrived.patient, result::KIND).await.len(), 1);
}

#[tokio::test]
async fn a_report_sent_again_in_another_message_is_the_same_result() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    for number in ["R1", "R2"] {
        site.send(&DOLORES.oru(number, "113")).await;
        site.send(&SEAMUS.oru(&format!("{number}-waits"), "99")).await;
    }
    let other = Person {
        number: "1^^^RIVERSIDE^MR",
        ..SEAMUS
    };
    site.send(&other.oru("R3", "99")).await;

    assert_eq!(site.linked(site.patient().await.record, result::KIND).await.len(), 1);
    assert_eq!(
        site.unmatched().await.len(),
        2,
        "another person's result was taken for a repeat"
    );
}

#[tokio::test]
async fn each_patient_of_a_message_gets_their_own_results() {
    let site = Site::open().await;
    site.send(&DOLORES.adt("A04", "1", &[])).await;
    let second = SEAMUS.oru("x", "88");
    let second: Vec<&str> = second.split('\r').skip(1).collect();

    site.send(&(DOLORES.oru("R1", "113") + &second.join("\r"))).await;

    let known = site.of_kind(patient::KIND).await.remove(0).record;
    assert_eq!(
        (
            site.linked(known, result::KIND).await.len(),
            site.unmatched().await.len()
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn a_result_that_came_before_its_patient_finds_them_once_they_are_here() {
    let site = Site::open().await;
    site.send(&DOLORES.oru("R1", "113")).await;
    site.send(&SEAMUS.oru("R2", "99")).await;
    assert_eq!(site.unmatched().await.len(), 2);

    site.send(&DOLORES.adt("A04", "1", &[])).await;

    let deadline = Instant::now() + PATIENCE;
    while site.unmatched().await.len() == 2 {
        assert!(Instant::now() < deadline, "the result still waits");
        tokio::task::yield_now().await;
    }
    let results = site.linked(site.patient().await.record, result::KIND).await;
    assert_eq!(results.len(), 1);
    assert_eq!(site.unmatched().await.len(), 1, "another person's result went with it");
}

#[tokio::test]
async fn a_result_that_waits_goes_on_naming_the_labels_number() {
    let site = Site::open().await;
    let label = clinic::numbering::mint(3, 4, None).unwrap();
    let both = DOLORES
        .oru("R1", "113")
        .replace(DOLORES.number, &format!("{}~{label}", DOLORES.number));

    site.send(&both).await;

    let number = result::SAID_IDENTIFIER.value(&site.unmatched().await[0]).unwrap();
    assert_eq!(number.expose().value, label);
}
