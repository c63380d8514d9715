//! Everything takes effect at the EHR exactly once.

use ::tests::line::Condition;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_patient_and_the_visit_are_created_once_and_follow_the_flow() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    house.until_all_done(arrived).await;
    house.moved(arrived, VisitState::Arrived, VisitState::Triaged).await;
    house
        .moved(arrived, VisitState::Triaged, VisitState::WithProvider)
        .await;
    house
        .moved(arrived, VisitState::WithProvider, VisitState::Discharged)
        .await;
    house.until_all_done(arrived).await;

    let (patients, encounters) = (arrived.at(&ehr).await, arrived.encounters_at(&ehr).await);
    assert_eq!((patients.len(), encounters.len()), (1, 1));
    assert_eq!(
        patients[0]["id"].as_str().map(str::to_owned),
        house.partner_id(arrived).await
    );
    assert_eq!(
        encounters[0]["subject"]["reference"],
        format!("Patient/{}", patients[0]["id"].as_str().unwrap())
    );
    assert_eq!(encounters[0]["status"], "finished");
    assert!(encounters[0]["period"]["end"].is_string());
    assert_eq!(house.reach.now(), Some(true));
    house.stop().await;
}

#[tokio::test]
async fn a_reply_lost_after_the_ehr_committed_leaves_one_patient_and_one_encounter() {
    let (mut house, ehr, line) = House::with_ehr().await;
    line.swallow_next_reply_to("POST /Patient HTTP");
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    let (delivery, _) = house.until_registration(arrived, DeliveryState::Delivered).await;
    house.until_all_done(arrived).await;
    line.swallow_next_reply_to("PUT /Encounter/");
    house.moved(arrived, VisitState::Arrived, VisitState::Triaged).await;
    house.until_all_done(arrived).await;

    assert_eq!(line.passed().replies_lost, 2);
    assert_eq!(delivery.attempts, 1);
    assert_eq!(
        (arrived.at(&ehr).await.len(), arrived.encounters_at(&ehr).await.len()),
        (1, 1)
    );
    assert_eq!(arrived.encounters_at(&ehr).await[0]["status"], "triaged");
    house.stop().await;
}

#[tokio::test]
async fn a_hub_that_dies_between_the_attempt_and_the_reply_looks_it_up_first() {
    let (mut house, ehr, line) = House::with_ehr().await;
    // The request reaches the EHR, the reply never comes.
    line.swallow_next_reply_to("POST /Patient HTTP");
    // Longer than it takes to pull the plug; the lease that is left behind runs out soon after.
    house.config.attempt_timeout_secs = 9;
    house.config.lease_secs = 10;
    house.deliver();
    let arrived = house.arrival(QUILL).await;
    ::tests::until(PATIENCE, "the EHR to have the patient", async || {
        Ok((!arrived.at(&ehr).await.is_empty()).then_some(()))
    })
    .await
    .unwrap();
    house.pull_the_plug().await;
    // The plug may have been pulled after the lost reply was noticed; set the record back to the moment before.
    let (sent, task) = house.registration(arrived).await;
    let interrupted = Delivery {
        state: DeliveryState::BeingSent,
        attempts: 1,
        ..sent
    };
    let shown = task.shown(task_record::DELIVERY.id);
    house
        .says(&task, |writing| {
            writing.replace(task_record::DELIVERY, &interrupted, &shown)
        })
        .await;

    house.deliver();
    let (delivery, _) = house.until_registration(arrived, DeliveryState::Delivered).await;
    house.until_all_done(arrived).await;

    assert_eq!(delivery.attempts, 1);
    assert_eq!(arrived.at(&ehr).await.len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_withdrawal_asked_while_the_outcome_is_unknown_loses_to_the_delivery() {
    let (mut house, ehr, line) = House::with_ehr().await;
    line.swallow_next_reply_to("POST /Patient HTTP");
    house.deliver();
    let arrived = house.arrival(QUILL).await;
    ::tests::until(PATIENCE, "the EHR to have the patient", async || {
        Ok((!arrived.at(&ehr).await.is_empty()).then_some(()))
    })
    .await
    .unwrap();
    let (_, task) = house.registration(arrived).await;
    house.asks_for(&task, Intent::Withdraw).await;

    house.until_registration(arrived, DeliveryState::Delivered).await;

    assert_eq!(arrived.at(&ehr).await.len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn what_waits_while_the_line_is_cut_is_delivered_once_when_it_returns() {
    let (mut house, ehr, line) = House::with_ehr().await;
    house.config.breaker_failures = 2;
    line.set(Condition::Cut).await.unwrap();
    house.deliver();
    let mut all = Vec::new();
    // People who are alike would be asked about.
    let people = [
        ("Quill, Orla", "1980-12-03"),
        ("Marlow, Ada", "1961-05-17"),
        ("Haddad, Nadia", "1975-08-29"),
        ("Petrov, Dmitri", "1948-02-11"),
        ("Tanaka, Aiko", "1993-10-24"),
        ("Begay, Jolene", "2002-07-06"),
    ];
    for (name, birth_date) in people {
        let phone = None;
        all.push(
            house
                .arrival(Person {
                    name,
                    birth_date,
                    phone,
                })
                .await,
        );
    }
    ::tests::until(PATIENCE, "the hub to notice", async || {
        Ok((house.reach.now() == Some(false)).then_some(()))
    })
    .await
    .unwrap();

    line.restore().await.unwrap();

    for arrived in all {
        house.until_all_done(arrived).await;
        assert_eq!(
            (arrived.at(&ehr).await.len(), arrived.encounters_at(&ehr).await.len()),
            (1, 1)
        );
    }
    house.stop().await;
}

#[tokio::test]
async fn a_patient_whose_record_is_full_is_registered_once_and_the_visit_is_a_persons() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let arrived = house.arrival(QUILL).await;
    let full = arrived.patient;
    house.db.write(move |txn| txn.fill_up(full)).await.unwrap();

    house.deliver();
    house.until_registration(arrived, DeliveryState::Delivered).await;
    let visit = house.task(arrived.patient, TaskKind::Encounter).await;
    let told = house.until_set_aside(visit.record).await;

    assert!(told.note.contains("no room"), "{}", told.note);
    let there = (arrived.at(&ehr).await.len(), arrived.encounters_at(&ehr).await.len());
    assert_eq!(there, (1, 0));
    house.stop().await;
}

#[tokio::test]
async fn a_newer_encounter_task_takes_the_place_of_those_that_wait() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let arrived = house.arrival(QUILL).await;
    house.moved(arrived, VisitState::Arrived, VisitState::Triaged).await;
    house
        .moved(arrived, VisitState::Triaged, VisitState::WithProvider)
        .await;

    house.deliver();
    house.until_all_done(arrived).await;

    let encounters = arrived.encounters_at(&ehr).await;
    assert_eq!(
        (encounters.len(), encounters[0]["status"].as_str()),
        (1, Some("in-progress"))
    );
    assert_eq!(encounters[0]["meta"]["versionId"], "1");
    let tasks = house.tasks(arrived.patient).await;
    let deliveries = tasks.iter().filter_map(|task| task_record::DELIVERY.value(task));
    let superseded = deliveries
        .filter(|delivery| delivery.state == DeliveryState::Superseded)
        .count();
    assert_eq!(superseded, 2);
    house.stop().await;
}

#[tokio::test]
async fn what_an_earlier_life_of_the_hub_delivered_is_not_confirmed_withdrawn() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let delivered = house.arrival(QUILL).await;
    let not_delivered = house
        .arrival(Person {
            name: "Marlow, Ada",
            birth_date: "1961-05-17",
            phone: None,
        })
        .await;
    let there = json!({"resourceType": "Patient", "name": [{"family": "Quill", "given": ["Orla"]}], "birthDate": ADULT,
        "identifier": [{"system": "urn:mainstay:patient", "value": delivered.patient.to_string()}]});
    let there = ehr.create(&there).await.unwrap();
    house.is_put_back_to_a_copy().await;
    for arrived in [delivered, not_delivered] {
        for task in house.tasks(arrived.patient).await {
            house.asks_for(&task, Intent::Withdraw).await;
        }
    }

    house.deliver();
    house.until_all_done(delivered).await;
    house.until_all_done(not_delivered).await;

    let (delivery, _) = house.registration(delivered).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 0));
    assert_eq!(house.partner_id(delivered).await.as_deref(), there["id"].as_str());
    let (delivery, _) = house.registration(not_delivered).await;
    assert_eq!(delivery.state, DeliveryState::Withdrawn);
    assert!(not_delivered.at(&ehr).await.is_empty());
    for arrived in [delivered, not_delivered] {
        let encounter = house.task(arrived.patient, TaskKind::Encounter).await;
        let delivery = task_record::DELIVERY.value(&encounter).unwrap();
        assert_eq!(delivery.state, DeliveryState::Withdrawn);
        assert!(arrived.encounters_at(&ehr).await.is_empty());
    }
    house.stop().await;
}

#[tokio::test]
async fn what_an_earlier_life_of_the_hub_delivered_is_delivered_once() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let arrived = house.arrival(QUILL).await;
    let before = house.tasks(arrived.patient).await;
    house.deliver();
    house.until_all_done(arrived).await;
    house.stop_delivering().await;
    // The copy is of before the delivery, as far as the tasks are concerned.
    for task in before {
        let now = house.record(task.record).await;
        let shown = now.shown(task_record::DELIVERY.id);
        house
            .says(&now, |writing| writing.clear(task_record::DELIVERY, &shown))
            .await;
    }
    house.is_put_back_to_a_copy().await;

    house.deliver();
    house.until_all_done(arrived).await;

    let (patients, encounters) = (arrived.at(&ehr).await, arrived.encounters_at(&ehr).await);
    assert_eq!((patients.len(), encounters.len()), (1, 1));
    let (delivery, _) = house.registration(arrived).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 0));
    house.stop().await;
}
