//! A patient who no longer concerns a site: purged there, down to the raw pages read with the key, and whole again when a
//! new booking brings them back, with what was changed elsewhere meanwhile, or when a result comes that names them by the
//! number of their label.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clinic::value::AppointmentStatus;
use sync_protocol::RecordId;
use tests::fleet::{Fleet, SimAgent};
use tests::hl7_peer::RawMllp;
use tests::house::Clinic;
use tests::page::{Page, View};
use tests::people::{CLINIC_DAY, Person, oru_r01};
use tests::postgres::Cluster;
use tests::raw_pages;
use tests::region::Store;
use vault::{key_file, sqlite};

use crate::several::Several;
use crate::world::{arrive, count, edit, patient_id, patient_page, temp_number, until_shown};

const SOON: Duration = Duration::from_secs(60);
const ANSWERED: Duration = Duration::from_secs(5);

/// The sites, at one hub process.
const SITES: [(&str, usize); 2] = [("Northside", 0), ("Southside", 0)];

#[tokio::test]
async fn a_patient_whose_booking_is_cancelled_is_purged_at_the_site_and_comes_back_whole_with_the_next() -> Result<()> {
    leave_and_come_back(Several::open(&Store::Embedded, 1, &SITES).await?).await
}

#[tokio::test]
async fn a_patient_is_purged_and_comes_back_the_same_way_with_two_hub_processes_on_postgresql() -> Result<()> {
    let cluster = Cluster::start_without_fsync()?;
    let sites = [("Northside", 0), ("Southside", 1)];
    leave_and_come_back(Several::open(&Store::Postgres(cluster.url()), 2, &sites).await?).await
}

async fn leave_and_come_back(several: Several) -> Result<()> {
    let mut visitor = Visitor::arrive_at_north(&several, CLINIC_DAY[5]).await?;
    let (north, south) = (&several.clinics[0], &several.clinics[1]);
    let booking = visitor.be_booked_at_south(south).await?;
    assert!(
        holds(south, visitor.person.family)?,
        "what is searched for is not found where it is"
    );

    visitor.leave_south(south, booking).await?;
    assert!(
        holds(north, visitor.person.family)?,
        "the other site has lost the patient"
    );

    let page = edit(&mut visitor.north_desk, &visitor.page, "email", "hubertus@example.org").await?;
    let form = page.form_to(&format!("/patients/{}/allergies", visitor.record))?;
    visitor.north_desk.submit(&form, &[("substance", "Latex")]).await?;
    north.until_agreed().await?;
    visitor.bookings.agents[0].book(visitor.record)?;
    let path = format!("/patients/{}", visitor.record);
    for stands in [
        "hubertus@example.org",
        "Latex",
        visitor.person.family,
        visitor.person.phone,
    ] {
        until_shown(&mut visitor.south_desk, &path, stands, SOON).await?;
    }
    south.until_agreed().await?;
    visitor.bookings.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_result_with_a_labels_number_finds_the_patient_who_left_the_site_before_it_came() -> Result<()> {
    let several = Several::open(&Store::Embedded, 1, &SITES).await?;
    let mut visitor = Visitor::arrive_at_north(&several, CLINIC_DAY[5]).await?;
    let south = &several.clinics[1];
    let booking = visitor.be_booked_at_south(south).await?;
    visitor.leave_south(south, booking).await?;

    let named = |control: &str, value: &str| {
        oru_r01(&visitor.person, control, value).replace(visitor.person.mrn, &visitor.temp)
    };
    // The number alone brings nobody.
    let somebody_else = oru_r01(&CLINIC_DAY[2], "L-1", "114").replace(CLINIC_DAY[2].mrn, &visitor.temp);
    assert_eq!(send(south, &somebody_else).await?, "AA");
    south.until_agreed().await?;
    assert!(
        patient_page(&mut visitor.south_desk, visitor.person.family)
            .await
            .is_err()
    );
    assert_eq!(count(&south.status().await?, "/unmatched")?, 1);

    assert_eq!(send(south, &named("L-2", "118")).await?, "AA");

    let path = format!("/patients/{}", visitor.record);
    until_shown(&mut visitor.south_desk, &path, "118", SOON).await?;
    assert_eq!(count(&south.status().await?, "/unmatched")?, 1);
    south.until_agreed().await?;
    visitor.bookings.stop().await;
    Ok(())
}

/// A walk-in of the first site, and what books them at the second.
struct Visitor {
    person: Person,
    record: RecordId,
    temp: String,
    page: View,
    north_desk: Page,
    south_desk: Page,
    bookings: Fleet,
}

impl Visitor {
    async fn arrive_at_north(several: &Several, person: Person) -> Result<Visitor> {
        let (north, south) = (&several.clinics[0], &several.clinics[1]);
        let mut north_desk = north.desk().await?;
        let arrived = arrive(&mut north_desk, &person).await?;
        let temp = temp_number(&arrived)?;
        let page = patient_page(&mut north_desk, person.family).await?;
        north.until_agreed().await?;
        let socket = several.hubs[0].socket()?;
        let mut bookings = Fleet::of(vec![SimAgent::enrol(&socket, &south.site).await?]);
        bookings.start();
        Ok(Visitor {
            person,
            record: RecordId::parse(&patient_id(&page)?).context("a patient's id")?,
            temp,
            page,
            north_desk,
            south_desk: south.desk().await?,
            bookings,
        })
    }

    async fn be_booked_at_south(&mut self, south: &Clinic) -> Result<RecordId> {
        let booking = self.bookings.agents[0].book(self.record)?;
        tests::until(SOON, "the booking to bring the patient", async || {
            Ok(patient_page(&mut self.south_desk, self.person.family).await.ok())
        })
        .await?;
        south.until_agreed().await?;
        Ok(booking)
    }

    async fn leave_south(&mut self, south: &Clinic, booking: RecordId) -> Result<()> {
        self.bookings.agents[0].rebook(booking, AppointmentStatus::Cancelled)?;
        tests::until(SOON, "the patient to be purged", async || {
            Ok((!holds(south, self.person.family)? && !holds(south, self.person.phone)?).then_some(()))
        })
        .await?;
        south.until_agreed().await?;
        assert!(patient_page(&mut self.south_desk, self.person.family).await.is_err());
        Ok(())
    }
}

async fn send(clinic: &Clinic, message: &str) -> Result<String> {
    let mut peer = RawMllp::connect(clinic.mllp()?).await?;
    Ok(peer.send(message.as_bytes(), ANSWERED).await?.0.code().to_owned())
}

/// Whether a text can be read anywhere in the agent's store by whoever has its key.
fn holds(clinic: &Clinic, text: &str) -> Result<bool> {
    let home = clinic.agent.program.home();
    let key = key_file::load(&home.join("keys/store.key"))?;
    let clear = raw_pages::in_clear(&home.join("data/agent.db"), &sqlite::page_key(&key))?;
    Ok(raw_pages::holds(&clear, text))
}
