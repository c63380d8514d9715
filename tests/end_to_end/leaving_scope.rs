//! A patient who no longer concerns a site: purged there, down to the raw pages read with the key, and whole again when a
//! new booking brings them back, with what was changed elsewhere meanwhile.

use std::time::Duration;

use anyhow::Result;
use clinic::value::AppointmentStatus;
use sync_protocol::RecordId;
use tests::fleet::{Fleet, SimAgent};
use tests::house::Clinic;
use tests::people::CLINIC_DAY;
use tests::raw_pages;
use tests::region::Store;
use vault::{key_file, sqlite};

use crate::several::Several;
use crate::world::{arrive, edit, patient_id, patient_page, until_shown};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_patient_whose_booking_is_cancelled_is_purged_at_the_site_and_comes_back_whole_with_the_next() -> Result<()> {
    let several = Several::open(&Store::Embedded, 1, &[("Northside", 0), ("Southside", 0)]).await?;
    let (north, south) = (&several.clinics[0], &several.clinics[1]);
    let (mut north_desk, mut south_desk) = (north.desk().await?, south.desk().await?);
    let person = &CLINIC_DAY[5];
    arrive(&mut north_desk, person).await?;
    let page = patient_page(&mut north_desk, person.family).await?;
    let patient = RecordId::parse(&patient_id(&page)?).expect("a patient's id");
    north.until_agreed().await?;
    let socket = several.hubs[0].socket()?;
    let mut bookings = Fleet::of(vec![SimAgent::enrol(&socket, &south.site).await?]);
    bookings.start();

    let booking = bookings.agents[0].book(patient)?;
    tests::until(SOON, "the booking to bring the patient", async || {
        Ok(patient_page(&mut south_desk, person.family).await.ok())
    })
    .await?;
    south.until_agreed().await?;
    assert!(
        holds(south, person.family)?,
        "what is searched for is not found where it is"
    );

    bookings.agents[0].rebook(booking, AppointmentStatus::Cancelled)?;
    tests::until(SOON, "the patient to be purged", async || {
        Ok((!holds(south, person.family)? && !holds(south, person.phone)?).then_some(()))
    })
    .await?;
    south.until_agreed().await?;
    assert!(patient_page(&mut south_desk, person.family).await.is_err());
    assert!(holds(north, person.family)?, "the other site has lost the patient");

    let page = edit(&mut north_desk, &page, "email", "hubertus@example.org").await?;
    let form = page.form_to(&format!("/patients/{patient}/allergies"))?;
    north_desk.submit(&form, &[("substance", "Latex")]).await?;
    north.until_agreed().await?;
    bookings.agents[0].book(patient)?;
    let path = format!("/patients/{patient}");
    for stands in ["hubertus@example.org", "Latex", person.family, person.phone] {
        until_shown(&mut south_desk, &path, stands, SOON).await?;
    }
    south.until_agreed().await?;
    bookings.stop().await;
    Ok(())
}

/// Whether a text can be read anywhere in the agent's store by whoever has its key.
fn holds(clinic: &Clinic, text: &str) -> Result<bool> {
    let home = clinic.agent.program.home();
    let key = key_file::load(&home.join("keys/store.key"))?;
    let clear = raw_pages::in_clear(&home.join("data/agent.db"), &sqlite::page_key(&key))?;
    Ok(raw_pages::holds(&clear, text))
}
