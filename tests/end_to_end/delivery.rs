//! What leaves for the EHR takes effect there exactly once, whatever is lost or killed on the way; judged by searching
//! a FHIR server that nobody here wrote.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::ehr::{Ehr, KnownPatient};
use tests::house::Target;
use tests::people::{CLINIC_DAY, Person};
use tests::until;

use crate::world::{World, arrive, until_shown};

const DELIVERED: Duration = Duration::from_secs(90);

fn ehr(world: &World) -> Result<&Ehr> {
    world.ehr.as_ref().context("this world has no EHR")
}

async fn known(ehr: &Ehr, person: &Person) -> Result<Vec<Value>> {
    ehr.patients_named(person.family, person.birth_date).await
}

/// Waits until the patient and an encounter are there and the queue is empty; gives the patients found.
async fn delivered(world: &World, person: &Person) -> Result<Vec<Value>> {
    until(DELIVERED, "patient and encounter at the EHR", async || {
        let found = known(ehr(world)?, person).await?;
        let Some(id) = found.first().and_then(|patient| patient["id"].as_str()) else {
            return Ok(None);
        };
        Ok((!ehr(world)?.encounters_of(id).await?.is_empty()).then_some(()))
    })
    .await?;
    world
        .until_status("the queue to be empty", DELIVERED, |status| {
            status["queue"]["waiting"] == 0
        })
        .await?;
    known(ehr(world)?, person).await
}

async fn is_there_once(world: &World, person: &Person) -> Result<()> {
    let found = delivered(world, person).await?;
    assert_eq!(found.len(), 1, "{found:?}");
    let encounters = ehr(world)?
        .encounters_of(found[0]["id"].as_str().unwrap_or_default())
        .await?;
    assert_eq!(encounters.len(), 1, "{encounters:?}");
    Ok(())
}

#[tokio::test]
async fn a_walk_in_is_registered_at_the_ehr_once_with_one_encounter() -> Result<()> {
    let world = World::open(Target::Machine).await?;
    let mut desk = world.desk().await?;

    arrive(&mut desk, &CLINIC_DAY[0]).await?;

    is_there_once(&world, &CLINIC_DAY[0]).await
}

#[tokio::test]
async fn a_reply_lost_after_the_ehr_created_the_patient_makes_no_second_one() -> Result<()> {
    let world = World::open(Target::Machine).await?;
    let mut desk = world.desk().await?;
    world.ehr_line.swallow_next_reply_to("POST /Patient");

    arrive(&mut desk, &CLINIC_DAY[1]).await?;

    is_there_once(&world, &CLINIC_DAY[1]).await?;
    assert_eq!(
        world.ehr_line.passed().replies_lost,
        1,
        "no reply was lost, so nothing was shown"
    );
    Ok(())
}

#[tokio::test]
async fn a_reply_lost_after_the_ehr_created_the_encounter_makes_no_second_one() -> Result<()> {
    let world = World::open(Target::Machine).await?;
    let mut desk = world.desk().await?;
    world.ehr_line.swallow_next_reply_to("POST /Encounter");

    arrive(&mut desk, &CLINIC_DAY[2]).await?;

    is_there_once(&world, &CLINIC_DAY[2]).await?;
    assert_eq!(
        world.ehr_line.passed().replies_lost,
        1,
        "no reply was lost, so nothing was shown"
    );
    Ok(())
}

#[tokio::test]
async fn a_hub_killed_after_its_request_left_delivers_once() -> Result<()> {
    let mut world = World::open(Target::Machine).await?;
    let mut desk = world.desk().await?;
    // The reply is held back: the EHR has committed, the hub does not know.
    world.ehr_line.set_delay(Duration::from_millis(700));

    arrive(&mut desk, &CLINIC_DAY[3]).await?;
    until(DELIVERED, "the EHR to have the patient", async || {
        Ok((!known(ehr(&world)?, &CLINIC_DAY[3]).await?.is_empty()).then_some(()))
    })
    .await?;
    world.hub.kill9().await?;
    world.ehr_line.set_delay(Duration::ZERO);
    world.hub.start().await?;

    is_there_once(&world, &CLINIC_DAY[3]).await
}

#[tokio::test]
async fn an_agent_killed_while_its_task_is_on_its_way_delivers_once() -> Result<()> {
    let mut world = World::open(Target::Machine).await?;
    let mut desk = world.desk().await?;
    world.ehr_line.set_delay(Duration::from_millis(300));

    arrive(&mut desk, &CLINIC_DAY[4]).await?;
    world.agent.kill9().await?;
    world.agent.start().await?;

    is_there_once(&world, &CLINIC_DAY[4]).await
}

#[tokio::test]
async fn an_ehr_that_is_away_gets_everything_when_it_is_back() -> Result<()> {
    let world = World::open(Target::Machine).await?;
    let mut desk = world.desk().await?;
    world.ehr_line.cut().await?;

    for person in &CLINIC_DAY[5..7] {
        arrive(&mut desk, person).await?;
    }
    world
        .until_status("the tasks to wait", DELIVERED, |status| {
            status["queue"]["waiting"].as_u64() >= Some(2)
        })
        .await?;
    world.ehr_line.restore().await?;

    for person in &CLINIC_DAY[5..7] {
        is_there_once(&world, person).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_walk_in_the_ehr_knows_by_name_birth_date_and_phone_is_attached() -> Result<()> {
    let world = World::open(Target::Machine).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[8];
    let Person {
        family,
        given,
        birth_date,
        phone,
        ..
    } = *person;
    let there = ehr(&world)?
        .already_knows(KnownPatient {
            family,
            given,
            birth_date,
            phone: Some(phone),
            identifier: None,
        })
        .await?;

    arrive(&mut desk, person).await?;

    is_there_once(&world, person).await?;
    assert_eq!(
        ehr(&world)?.encounters_of(&there).await?.len(),
        1,
        "the visit is on somebody else"
    );
    Ok(())
}

#[tokio::test]
async fn a_walk_in_the_ehr_may_know_asks_and_the_answer_is_followed() -> Result<()> {
    let world = World::open(Target::Machine).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[9];
    let Person {
        family,
        given,
        birth_date,
        ..
    } = *person;
    let alike = KnownPatient {
        family,
        given,
        birth_date,
        phone: Some("773-555-0100"),
        identifier: None,
    };
    let there = ehr(&world)?.already_knows(alike).await?;

    arrive(&mut desk, person).await?;
    let asked = until_shown(&mut desk, "/work", "Same person at", DELIVERED).await?;
    let made_before_the_answer = known(ehr(&world)?, person).await?.len();
    let form = asked.form_to("/tasks/")?;
    desk.submit(&form, &[("answer", &format!("same:{there}"))]).await?;

    assert_eq!(made_before_the_answer, 1);
    is_there_once(&world, person).await?;
    assert_eq!(ehr(&world)?.encounters_of(&there).await?.len(), 1);
    Ok(())
}
