//! Nobody is created at the EHR who is there already, and doubt is a person's to settle.

use ::tests::ehr::KnownPatient;
use clinic::Identifier;
use clinic::numbering::TEMP_SYSTEM;

use super::*;

const KNOWN: KnownPatient<'static> = KnownPatient {
    family: "Quill",
    given: "Orla",
    birth_date: ADULT,
    phone: Some("+1 602-555-0143"),
    identifier: None,
};

async fn quills(ehr: &Ehr) -> usize {
    ehr.patients_named("Quill", ADULT).await.unwrap().len()
}

#[tokio::test]
async fn a_walk_in_with_the_same_name_birth_date_and_phone_is_attached() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let there = ehr.already_knows(KNOWN).await.unwrap();
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    house.until_all_done(arrived).await;

    assert_eq!(house.partner_id(arrived).await, Some(there.clone()));
    assert_eq!(quills(&ehr).await, 1);
    assert_eq!(
        arrived.encounters_at(&ehr).await[0]["subject"]["reference"],
        format!("Patient/{there}")
    );
    house.stop().await;
}

#[tokio::test]
async fn an_accented_name_is_found_however_the_ehr_spells_it() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let known = KnownPatient {
        family: "O'Suilleabhain",
        given: "Mairead",
        ..KNOWN
    };
    let there = ehr.already_knows(known).await.unwrap();
    house.deliver();

    let arrived = house
        .arrival(Person {
            name: "O\u{2019}Súilleabháin, Máiréad",
            ..QUILL
        })
        .await;
    house.until_registration(arrived, DeliveryState::Delivered).await;

    assert_eq!(house.partner_id(arrived).await, Some(there));
    house.stop().await;
}

#[tokio::test]
async fn an_ambiguous_match_asks_and_attaches_as_answered() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let there = ehr.already_knows(KnownPatient { phone: None, ..KNOWN }).await.unwrap();
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    let (_, task) = house.until_registration(arrived, DeliveryState::OnHold).await;
    let offered = task_record::CANDIDATES.value(&task).unwrap().into_exposed().0;
    assert_eq!(
        offered.iter().map(|one| one.partner_id.as_str()).collect::<Vec<_>>(),
        [there.as_str()]
    );
    house.answers(&task, Answer::Attach(there.clone())).await;
    house.until_all_done(arrived).await;

    assert_eq!((house.partner_id(arrived).await, quills(&ehr).await), (Some(there), 1));
    house.stop().await;
}

#[tokio::test]
async fn an_ambiguous_match_asks_and_creates_as_answered() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    ehr.already_knows(KnownPatient { phone: None, ..KNOWN }).await.unwrap();
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    let (_, task) = house.until_registration(arrived, DeliveryState::OnHold).await;
    house.answers(&task, Answer::Create).await;
    house.until_all_done(arrived).await;

    assert_eq!((arrived.at(&ehr).await.len(), quills(&ehr).await), (1, 2));
    house.stop().await;
}

#[tokio::test]
async fn an_answer_that_no_longer_holds_is_asked_for_anew() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let alike = KnownPatient { phone: None, ..KNOWN };
    let (gone, there) = (
        ehr.already_knows(alike).await.unwrap(),
        ehr.already_knows(alike).await.unwrap(),
    );
    house.deliver();
    let arrived = house.arrival(QUILL).await;
    let (_, task) = house.until_registration(arrived, DeliveryState::OnHold).await;
    let removal = reqwest::Client::new().delete(format!("{}/Patient/{gone}", ehr.base_url()));
    removal.send().await.unwrap().error_for_status().unwrap();

    house.answers(&task, Answer::Attach(gone)).await;
    let asked_anew = ::tests::until(PATIENCE, "the question to be asked anew", async || {
        let (_, task) = house.registration(arrived).await;
        let offered = task_record::CANDIDATES.value(&task).unwrap().into_exposed().0;
        Ok((offered.len() == 1).then_some(task))
    });
    let task = asked_anew.await.unwrap();

    assert_eq!(task_record::ANSWER.value(&task), None);
    house.answers(&task, Answer::Attach(there.clone())).await;
    house.until_all_done(arrived).await;
    assert_eq!((house.partner_id(arrived).await, quills(&ehr).await), (Some(there), 1));
    house.stop().await;
}

#[tokio::test]
async fn a_phone_and_a_name_alone_ask_too() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    ehr.already_knows(KnownPatient {
        birth_date: "1981-12-03",
        ..KNOWN
    })
    .await
    .unwrap();
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    house.until_registration(arrived, DeliveryState::OnHold).await;

    assert!(arrived.at(&ehr).await.is_empty());
    house.stop().await;
}

#[tokio::test]
async fn an_encounter_finds_the_patient_whom_somebody_registered_by_hand() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let arrived = house.arrival(QUILL).await;
    let (_, task) = house.registration(arrived).await;
    let entered = Phi::new(clinic::task::Entered {
        number: "104882".to_owned(),
    });
    house
        .says(&task, |writing| writing.set(task_record::ENTERED, &entered))
        .await;
    let by_hand = KnownPatient {
        phone: None,
        identifier: Some(("urn:example:mrn", "104882")),
        ..KNOWN
    };
    let there = ehr.already_knows(by_hand).await.unwrap();

    house.deliver();
    house.until_all_done(arrived).await;

    assert_eq!((house.partner_id(arrived).await, quills(&ehr).await), (Some(there), 1));
    assert_eq!(arrived.encounters_at(&ehr).await.len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_temp_number_on_two_records_blocks_both_until_one_is_put_right() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let one = house.arrival(QUILL).await;
    let other = house
        .arrival(Person {
            name: "Marlow, Ada",
            ..QUILL
        })
        .await;
    let number = Phi::new(Identifier {
        system: TEMP_SYSTEM.to_owned(),
        value: "T0A00051".to_owned(),
        kind: "MR".to_owned(),
    });
    let writing = |arrived: Arrived| {
        Writing::new(
            patient::KIND,
            arrived.patient,
            Action::Edit,
            Channel::Page.program(),
            now(),
        )
    };
    house
        .write(
            [one, other]
                .map(|who| writing(who).assert(patient::IDENTIFIER, &number).done())
                .into(),
        )
        .await;

    house.deliver();
    for arrived in [one, other] {
        let (delivery, _) = house.until_registration(arrived, DeliveryState::OnHold).await;
        assert_eq!(delivery.class, clinic::task::ErrorClass::Conflict);
        assert!(arrived.at(&ehr).await.is_empty());
    }
    let record = house.record(one.patient).await;
    let wrong: Vec<_> = patient::IDENTIFIER
        .standing(&record)
        .iter()
        .map(|said| said.change)
        .collect();
    house
        .write(vec![
            writing(one)
                .refute(patient::IDENTIFIER, &wrong, "of another patient")
                .done(),
        ])
        .await;

    house.until_all_done(one).await;
    assert_eq!(one.at(&ehr).await.len(), 1);
    house.stop().await;
}
