//! One patient of two sites, changed at both while neither hears of the other: what can merge merges, what only a person
//! can settle asks one at each site, and afterwards both hold the same, byte for byte.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clinic::catalogue::allergy;
use serde_json::Value;
use sync_protocol::RecordId;
use tests::fleet::{Fleet, SimAgent};
use tests::house::Clinic;
use tests::page::Page;
use tests::people::{CLINIC_DAY, Person};
use tests::postgres::Cluster;
use tests::region::Store;

use crate::several::Several;
use crate::world::{arrive, count, edit, patient_id, patient_page, until_shown};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn two_sites_edit_one_patient_with_the_lines_cut_and_the_embedded_store_brings_them_together() -> Result<()> {
    let sites = [("Northside", 0), ("Southside", 0)];
    let several = Several::open(&Store::Embedded, 1, &sites).await?;
    two_sites_come_together(&several).await
}

#[tokio::test]
async fn two_sites_at_two_hub_processes_on_postgresql_come_together_the_same_way() -> Result<()> {
    let cluster = Cluster::start_without_fsync()?;
    let sites = [("Northside", 0), ("Southside", 1)];
    let several = Several::open(&Store::Postgres(cluster.url()), 2, &sites).await?;
    two_sites_come_together(&several).await
}

/// The same whatever the hub keeps its records in and however many processes it has.
async fn two_sites_come_together(several: &Several) -> Result<()> {
    let [north, south] = several.clinics.as_slice() else {
        anyhow::bail!("two sites are needed")
    };
    let (mut north_desk, mut south_desk) = (north.desk().await?, south.desk().await?);
    let person = &CLINIC_DAY[6];
    arrive(&mut north_desk, person).await?;
    let north_page = patient_page(&mut north_desk, person.family).await?;
    let patient = RecordId::parse(&patient_id(&north_page)?).context("a patient's id")?;
    north.until_agreed().await?;
    let mut workstations = also_at(several, patient).await?;
    let south_page = until_found(&mut south_desk, person).await?;
    south.until_agreed().await?;

    north.line.cut().await?;
    south.line.cut().await?;
    let allergies = format!("/patients/{patient}/allergies");
    let north_page = edit(&mut north_desk, &north_page, "phone", "312-555-0177").await?;
    let north_page = edit(&mut north_desk, &north_page, "birth_date", "12 11 1983").await?;
    let form = north_page.form_to(&allergies)?;
    north_desk.submit(&form, &[("substance", "Penicillin")]).await?;
    let south_page = edit(&mut south_desk, &south_page, "email", "jose@example.org").await?;
    let south_page = edit(&mut south_desk, &south_page, "birth_date", "12 13 1983").await?;
    let form = south_page.form_to(&allergies)?;
    south_desk.submit(&form, &[("substance", "Sulfa")]).await?;
    north.line.restore().await?;
    south.line.restore().await?;

    for (desk, clinic, other) in [
        (&mut north_desk, north, "Sulfa"),
        (&mut south_desk, south, "Penicillin"),
    ] {
        shows_both(desk, clinic, patient, other).await?;
    }
    let (here, there) = (lines(north, person).await?, lines(south, person).await?);
    assert_eq!(here, there);
    workstations.until_agreed(SOON).await?;
    let [held_north, held_south] = [0, 1].map(|number| held(&workstations.agents[number], patient));
    assert_eq!(held_north.len(), 3, "the patient and two allergies");
    assert_eq!(held_north, held_south);
    workstations.stop().await;
    Ok(())
}

/// A second workstation at each site, simulated; at the south one somebody starts a visit of the patient, who is so known
/// at both sites from then on.
async fn also_at(several: &Several, patient: RecordId) -> Result<Fleet> {
    let socket = several.hubs[0].socket()?;
    let mut agents = Vec::new();
    for (number, clinic) in several.clinics.iter().enumerate() {
        let agent = SimAgent::enrol(&socket, &clinic.site).await?;
        agent.turn_to(&several.hubs[number % several.hubs.len()].url());
        agents.push(agent);
    }
    let mut fleet = Fleet::of(agents);
    fleet.start();
    fleet.until_agreed(SOON).await?;
    fleet.agents[1].come(patient)?;
    Ok(fleet)
}

async fn until_found(desk: &mut Page, person: &Person) -> Result<tests::page::View> {
    tests::until(SOON, "the patient to be known at the other site", async || {
        Ok(patient_page(desk, person.family).await.ok())
    })
    .await
}

async fn shows_both(desk: &mut Page, clinic: &Clinic, patient: RecordId, other: &str) -> Result<()> {
    let path = format!("/patients/{patient}");
    // Each comes when its own site has pushed it.
    for stands in [other, "555-0177", "jose@example.org", "two values"] {
        let shown = until_shown(desk, &path, stands, SOON).await;
        shown.with_context(|| format!("{} does not show {stands}", clinic.site_name))?;
    }
    clinic.until_agreed().await?;
    let shown = desk.open(&path).await?;
    let active = shown.texts(".allergy-list .what").concat();
    assert!(active.contains("Penicillin") && active.contains("Sulfa"), "{active}");
    let sides = shown.texts(".sides .side");
    let own = &clinic.lead.login;
    for value in ["11 Dec 1983", "13 Dec 1983"] {
        assert!(
            sides.iter().any(|side| side.contains(value)),
            "{value} is not asked about: {sides:?}"
        );
    }
    assert!(
        sides.iter().any(|side| side.contains("Dolores")),
        "{own} wrote one of {sides:?}"
    );
    assert_eq!(count(&clinic.status().await?, "/conflicts")?, 1);
    Ok(())
}

/// What the agent's own command line shows of the patient.
async fn lines(clinic: &Clinic, person: &Person) -> Result<Value> {
    clinic.agent.answer(&["patient", person.family, "--json"]).await
}

/// The canonical bytes of the patient and of what is known of them, as the hub sent them to a site.
fn held(agent: &SimAgent, patient: RecordId) -> Vec<Vec<u8>> {
    let allergies = agent.bases_of(allergy::KIND).into_iter();
    let of_patient = allergies.filter(|state| allergy::PATIENT.value(state) == Some(patient));
    let mut held: Vec<_> = of_patient
        .chain(agent.base(patient))
        .map(|state| state.to_bytes())
        .collect();
    held.sort();
    held
}
