//! Sixty made-up patients of Synthea in the EHR, booked at two sites: each reaches the site it is booked at and no other.
//!
//! `MAINSTAY_CORPUS_DIR` names a folder with `fhir/synthea/*.json.gz` in it; without it there is nothing to load.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clinic::catalogue::patient;
use serde_json::{Value, json};
use tests::ehr::Ehr;
use tests::fleet::{Fleet, SimAgent};

use crate::several::Several;

const PATIENCE: Duration = Duration::from_secs(180);
/// Northside and Southside are places that the EHR books at; nobody is booked at Eastside.
const SITES: [(&str, usize); 3] = [("Northside", 0), ("Southside", 0), ("Eastside", 0)];

#[tokio::test]
async fn patients_booked_at_two_sites_in_the_ehr_reach_these_two_and_no_other() -> Result<()> {
    let Some(bundles) =
        std::env::var_os("MAINSTAY_CORPUS_DIR").map(|folder| PathBuf::from(folder).join("fhir/synthea"))
    else {
        println!("MAINSTAY_CORPUS_DIR is not set: no bundle was loaded");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let mut ehr = Ehr::start(folder.path()).await?;
    let places = [place(&ehr, "Northside").await?, place(&ehr, "Southside").await?];
    let booked = book(&ehr, &bundles, &places).await?;
    ensure!(booked.iter().map(BTreeSet::len).sum::<usize>() > 50, "too few bundles");

    let tables = format!(
        "\n[ehr]\nbase_url = \"{}\"\n\n[ehr.inbound]\nenabled = true\npoll_secs = 2\n",
        ehr.base_url()
    );
    let several = Several::open_with(&tables, 1, &SITES).await?;
    let hub = &several.hubs[0].service;
    for (clinic, place) in several.clinics.iter().zip(&places) {
        let verb = ["site", "set", &clinic.site, "--ehr-location", place, "--json"];
        hub.answer(&verb).await?;
    }
    let mut workstations = Vec::new();
    for clinic in &several.clinics {
        workstations.push(SimAgent::enrol(&several.hubs[0].socket()?, &clinic.site).await?);
    }
    let mut fleet = Fleet::of(workstations);
    fleet.start();

    tests::until(PATIENCE, "all who are booked to reach their site", async || {
        let held: Vec<_> = fleet.agents.iter().map(|agent| numbers(agent)).collect();
        Ok((held[0] == booked[0] && held[1] == booked[1]).then_some(()))
    })
    .await?;
    fleet.until_agreed(PATIENCE).await?;
    assert_eq!(numbers(&fleet.agents[0]), booked[0]);
    assert_eq!(numbers(&fleet.agents[1]), booked[1]);
    assert_eq!(numbers(&fleet.agents[2]), BTreeSet::new());
    for clinic in &several.clinics {
        clinic.until_agreed().await?;
    }
    fleet.stop().await;
    drop(several);
    ehr.stop().await
}

async fn place(ehr: &Ehr, name: &str) -> Result<String> {
    let place = ehr
        .create(&json!({ "resourceType": "Location", "status": "active", "name": name }))
        .await?;
    id_of(&place)
}

fn id_of(resource: &Value) -> Result<String> {
    Ok(resource["id"].as_str().context("the EHR gave no id")?.to_owned())
}

/// Every bundle's patient is put into the EHR and booked for tomorrow, at one place and the other in turn. Answers the
/// EHR's ids of those who are booked at each.
async fn book(ehr: &Ehr, bundles: &Path, places: &[String; 2]) -> Result<[BTreeSet<String>; 2]> {
    let mut files: Vec<_> = std::fs::read_dir(bundles)
        .with_context(|| format!("{}", bundles.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.to_string_lossy().ends_with(".json.gz"));
    files.sort();
    let mut booked = [BTreeSet::new(), BTreeSet::new()];
    let tomorrow = jiff::Timestamp::now() + Duration::from_secs(24 * 60 * 60);
    for (number, file) in files.iter().enumerate() {
        let person = id_of(&ehr.create(&patient_of(file)?).await?)?;
        let place = &places[number % 2];
        let booking = json!({
            "resourceType": "Appointment",
            "status": "booked",
            "start": tomorrow.to_string(),
            "end": (tomorrow + Duration::from_secs(900)).to_string(),
            "identifier": [{ "system": "urn:test:bookings", "value": format!("B-{number}") }],
            "participant": [
                { "actor": { "reference": format!("Patient/{person}") }, "status": "accepted" },
                { "actor": { "reference": format!("Location/{place}") }, "status": "accepted" },
            ],
        });
        ehr.create(&booking).await?;
        booked[number % 2].insert(person);
    }
    Ok(booked)
}

fn patient_of(file: &Path) -> Result<Value> {
    let unpacked = Command::new("gzip").arg("-dc").arg(file).output()?;
    ensure!(unpacked.status.success(), "{} cannot be unpacked", file.display());
    let bundle: Value = serde_json::from_slice(&unpacked.stdout)?;
    let entries = bundle["entry"].as_array().context("a bundle without entries")?;
    let patients = entries.iter().map(|entry| &entry["resource"]);
    let mut patients = patients.filter(|resource| resource["resourceType"] == "Patient");
    patients.next().cloned().context("a bundle without a patient")
}

/// The EHR's ids of the patients that an agent holds.
fn numbers(agent: &SimAgent) -> BTreeSet<String> {
    let people = agent.bases_of(patient::KIND);
    let identifiers = people.iter().flat_map(|state| patient::IDENTIFIER.standing(state));
    let own = identifiers
        .map(|said| said.value.into_exposed())
        .filter(|id| id.kind == "PI");
    own.map(|id| id.value).collect()
}
