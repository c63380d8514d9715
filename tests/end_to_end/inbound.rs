//! What the EHR holds reaches the sites that it concerns and no other, and what only comes back changes nothing. Judged at
//! the pages and by the programs' own status, against a FHIR server that nobody here wrote.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::ehr::Ehr;
use tests::house::Target;
use tests::until;

use crate::world::{World, until_shown};

const SOON: Duration = Duration::from_secs(60);
const READINGS: usize = 20;

/// A world whose hub reads the EHR every second.
async fn reading() -> Result<World> {
    let mut world = World::open(Target::Machine).await?;
    world.hub.stop().await?;
    let file = world.hub.program.home().join("hub.toml");
    let config = std::fs::read_to_string(&file)?;
    std::fs::write(
        &file,
        format!("{config}\n[ehr.inbound]\nenabled = true\npoll_secs = 1\n"),
    )?;
    world.hub.start().await?;
    Ok(world)
}

fn ehr(world: &World) -> Result<&Ehr> {
    world.ehr.as_ref().context("this world has no EHR")
}

async fn made(ehr: &Ehr, resource: Value) -> Result<String> {
    let stored = ehr.create(&resource).await?;
    Ok(stored["id"].as_str().context("it has no id")?.to_owned())
}

/// Somebody with an appointment now, at a location.
async fn booked(ehr: &Ehr, family: &str, location: &str) -> Result<String> {
    let person = json!({"resourceType": "Patient", "name": [{"family": family, "given": ["Orla"]}],
        "birthDate": "1980-12-03", "telecom": [{"system": "phone", "value": "(602) 555-0143"}]});
    let person = made(ehr, person).await?;
    let now = jiff::Timestamp::now().to_string();
    let appointment = json!({"resourceType": "Appointment", "status": "booked", "start": now,
        "reasonCode": [{"text": "Follow-up"}],
        "identifier": [{"system": "urn:example:bookings", "value": family}],
        "participant": [
            {"actor": {"reference": format!("Patient/{person}")}, "status": "accepted"},
            {"actor": {"reference": format!("Location/{location}")}, "status": "accepted"}]});
    made(ehr, appointment).await?;
    Ok(person)
}

/// A count in the hub's word on what it reads.
async fn inbound(world: &World, pointer: &str) -> Result<Option<u64>> {
    let status = world.hub.answer(&["status", "--json"]).await?;
    let inbound = status.pointer("/inbound").or_else(|| status.pointer("/status/inbound"));
    Ok(inbound
        .and_then(|inbound| inbound.pointer(pointer))
        .and_then(Value::as_u64))
}

#[tokio::test]
async fn a_booking_at_the_ehr_is_expected_at_its_site_and_arrives_by_one_press() -> Result<()> {
    let world = reading().await?;
    let ehr = ehr(&world)?;
    let here = made(ehr, json!({"resourceType": "Location", "name": "Riverside"})).await?;
    let elsewhere = made(ehr, json!({"resourceType": "Location", "name": "Lakeside"})).await?;
    booked(ehr, "Quillfeather", &here).await?;
    booked(ehr, "Otherwhere", &elsewhere).await?;
    until(SOON, "two bookings to wait for a site", async || {
        Ok(inbound(&world, "/without_site").await?.filter(|count| *count == 2))
    })
    .await?;

    world
        .hub
        .answer(&["site", "set", &world.site, "--ehr-location", &here, "--json"])
        .await?;
    let mut desk = world.desk().await?;
    let board = until_shown(&mut desk, "/board", "Quillfeather", SOON).await?;
    assert!(!board.text().contains("Otherwhere"), "{}", board.text());
    let arrive = board.attributes("form[action^='/appointments/']", "action");
    let form = board.form_to(arrive.first().context("nobody can be arrived")?)?;
    let after = desk.submit(&form, &[]).await?;
    assert_eq!(after.status, 200, "{}", after.text());

    world
        .until_status("the encounter to be delivered", SOON, |status| {
            status["queue"]["waiting"] == 0
        })
        .await?;
    let found = ehr.patients_named("Quillfeather", "1980-12-03").await?;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(inbound(&world, "/without_site").await?, Some(1));
    let search = desk.find("Otherwhere").await?;
    assert!(!search.text().contains("Otherwhere, Orla"), "{}", search.text());
    Ok(())
}

#[tokio::test]
async fn tens_of_readings_of_what_was_delivered_change_nothing() -> Result<()> {
    let world = reading().await?;
    let mut desk = world.desk().await?;
    crate::world::arrive(&mut desk, &tests::people::CLINIC_DAY[0]).await?;
    world
        .until_status("patient and visit to be delivered", SOON, |status| {
            status["queue"]["delivered"] == 2
        })
        .await?;
    let settled = roots(&world.until_agreed().await?);
    let waiting = world.status().await?["queue"].clone();

    let mut read = BTreeSet::new();
    until(SOON, "twenty readings", async || {
        let status = world.hub.answer(&["status", "--json"]).await?;
        let feeds = status.pointer("/inbound/feeds").and_then(Value::as_array);
        let patients = feeds.into_iter().flatten().find(|feed| feed["feed"] == "Patient");
        read.extend(patients.and_then(|feed| feed["polled"].as_str()).map(str::to_owned));
        Ok((read.len() >= READINGS).then_some(()))
    })
    .await?;

    let after = world.until_agreed().await?;
    assert_eq!(roots(&after), settled);
    assert_eq!(after["queue"], waiting);
    Ok(())
}

/// What the hub proves of every lane.
fn roots(status: &Value) -> Vec<Value> {
    let lanes = status["roots"].as_object();
    lanes
        .into_iter()
        .flatten()
        .map(|(_, lane)| lane["hub"].clone())
        .collect()
}
