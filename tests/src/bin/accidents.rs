//! The two accidents that `tests/comparisons` plays with other libraries, played with Mainstay's real programs: an agent's
//! folder is copied to a second machine and both go on; the hub's database goes back to an older backup and the hub writes
//! on. Prints what every side holds afterwards; judges nothing.
//!
//!     cargo build -p mainstay-agent -p mainstay-hub && cargo run -p tests --bin accidents -- clone --json

#![expect(clippy::print_stdout, reason = "what it found is its output")]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use clinic::catalogue::allergy;
use serde_json::{Value, json};
use sync_protocol::RecordId;
use tests::copy_folder;
use tests::fleet::{Fleet, HubSocket, SimAgent, substances};
use tests::house::{House, Service, Target};
use tests::page::{Arrival, Page};
use tests::process::{Binaries, Program};

const PATIENCE: Duration = Duration::from_secs(90);
const BEFORE: usize = 50;
const AFTER: usize = 30;

#[derive(Parser)]
struct Wanted {
    accident: Accident,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Accident {
    Clone,
    Rollback,
}

#[tokio::main]
async fn main() -> Result<()> {
    let wanted = Wanted::parse();
    let folder = tempfile::Builder::new().prefix("mainstay-accident-").tempdir()?;
    let house = House::open(folder.path(), Binaries::find()?, Target::Person).await?;
    let found = match wanted.accident {
        Accident::Clone => clone(house, folder.path()).await?,
        Accident::Rollback => rollback(house, folder.path()).await?,
    };
    if wanted.json {
        println!("{found}");
    } else {
        for (name, value) in found.as_object().into_iter().flatten() {
            println!("{name}: {value}");
        }
    }
    Ok(())
}

/// One copy notes penicillin, the other sulfa, on a patient who is known to be allergic to latex.
async fn clone(mut house: House, folder: &Path) -> Result<Value> {
    let mut desk = Desk::sit_down(&house).await?;
    desk.note("latex").await?;
    house.until_agreed().await?;

    house.agent.stop().await?;
    let second_home = folder.join("second-machine");
    copy_folder(house.agent.program.home(), &second_home)?;
    house.line.cut().await?;
    house.agent.start().await?;
    let mut second = Service::new(Program::new(&house.binaries.agent, &second_home));
    second.start().await?;
    desk.move_to(house.page_url()?, &house).await?;
    desk.note("penicillin").await?;
    let mut second_desk = desk.beside(second.running()?.ready("page")?, &house).await?;
    second_desk.note("sulfa").await?;

    let restored = SystemTime::now();
    house.line.restore().await?;
    let said = until_both_agree(&[&house.agent, &second], restored).await?;
    let found = json!({
        "said": said,
        "shown": {
            "hub": at_hub(&house).await?,
            "first": desk.allergies().await?,
            "second": second_desk.allergies().await?,
        },
    });
    second.stop().await?;
    house.close().await?;
    Ok(found)
}

/// The hub goes back to a backup that knows 50 of 80 records and nothing of its own H1, and writes H2.
async fn rollback(mut house: House, folder: &Path) -> Result<Value> {
    let mut desk = Desk::sit_down(&house).await?;
    for number in 0..BEFORE {
        desk.note(&format!("record {number}")).await?;
    }
    house.until_agreed().await?;
    house.hub.stop().await?;
    let backup = folder.join("backup");
    put_store(house.hub.program.home(), &backup)?;
    house.hub.start().await?;

    hub_notes(&house, desk.patient, "H1").await?;
    for number in BEFORE..BEFORE + AFTER {
        desk.note(&format!("record {number}")).await?;
    }
    desk.until_shown("H1").await?;
    house.until_agreed().await?;

    house.line.cut().await?;
    house.hub.kill9().await?;
    put_store(&backup, house.hub.program.home())?;
    house.hub.start().await?;
    hub_notes(&house, desk.patient, "H2").await?;
    let restored = SystemTime::now();
    house.line.restore().await?;
    let said = until_both_agree(&[&house.agent], restored).await?;
    let found = json!({ "said": said, "hub": at_hub(&house).await?, "site": desk.allergies().await? });
    house.close().await?;
    Ok(found)
}

/// The hub's database files take the place of those in another home.
fn put_store(from: &Path, to: &Path) -> Result<()> {
    let to = to.join("data");
    std::fs::create_dir_all(&to)?;
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        let (from, to) = (from.join("data").join(name), to.join(name));
        if to.exists() {
            std::fs::remove_file(&to)?;
        }
        if from.exists() {
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
}

async fn hub_notes(house: &House, patient: RecordId, substance: &str) -> Result<()> {
    let socket = HubSocket::of(house.hub.program.home())?;
    socket.edit_patient(patient, substance, "312-555-0199").await
}

/// Waits until every agent has everything in a base and has proven equal roots since a time: what it proved before says nothing
/// of a hub that it has not heard since. Answers what they tell of new identities.
async fn until_both_agree(agents: &[&Service], since: SystemTime) -> Result<String> {
    let since_ms = since.duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let mut statuses = Vec::new();
    let agreed = tests::until(PATIENCE, "the agents to agree with the hub", async || {
        statuses.clear();
        for agent in agents {
            statuses.push(agent.answer(&["status", "--json"]).await?);
        }
        Ok(statuses.iter().all(|status| agrees(status, since_ms)).then_some(()))
    })
    .await;
    let told: Vec<String> = statuses
        .iter()
        .flat_map(|status| status["rebirths"].as_array().into_iter().flatten())
        .filter_map(|rebirth| rebirth["cause"].as_str().map(|cause| format!("new identity: {cause}")))
        .collect();
    let mut said = if told.is_empty() {
        "nothing".to_owned()
    } else {
        told.join("; ")
    };
    if agreed.is_err() {
        said = format!("does not come to rest; {said}");
    }
    Ok(said)
}

fn agrees(status: &Value, since_ms: i64) -> bool {
    let is_proven = |lane: &Value| lane["verified_ms"].as_i64().is_some_and(|at_ms| at_ms >= since_ms);
    let lanes = status["roots"].as_object();
    status["pending"] == 0
        && lanes.is_some_and(|lanes| {
            let mut lanes = lanes.values();
            lanes.len() > 0 && lanes.all(|lane| lane["equal"] == true && is_proven(lane))
        })
}

/// What the hub feeds to a store that has never been there.
async fn at_hub(house: &House) -> Result<Vec<String>> {
    let socket = HubSocket::of(house.hub.program.home())?;
    let reader = SimAgent::enrol(&socket, &house.site).await?;
    reader.turn_to(&format!("https://{}", house.hub_address));
    let mut fleet = Fleet::of(vec![reader]);
    fleet.start();
    fleet.until_agreed(PATIENCE).await?;
    fleet.stop().await;
    let allergies = fleet.agents[0].bases_of(allergy::KIND);
    Ok(allergies.iter().flat_map(substances).collect())
}

/// Somebody signed in at an agent's page, with one patient before them.
struct Desk {
    page: Page,
    patient: RecordId,
    path: String,
}

impl Desk {
    async fn sit_down(house: &House) -> Result<Desk> {
        let mut page = house.desk().await?;
        let arrival = Arrival {
            name: "Quiñones-Whitfield, Dolores",
            birth_date: "1961-03-02",
            reason: "Cough for 3 days",
            phone: Some("312-555-0101"),
        };
        page.arrive_new(arrival).await?;
        let found = page.find("Quiñones-Whitfield").await?;
        let links = found.attributes("a[href^='/patients/']", "href");
        let path = links.first().context("the patient is not found")?.clone();
        let id = path.trim_start_matches("/patients/");
        let patient = RecordId::parse(id.split(['?', '#']).next().unwrap_or(id)).context("the patient's id")?;
        let path = format!("/patients/{patient}");
        Ok(Desk { page, patient, path })
    }

    /// The same person at another agent's page.
    async fn beside(&self, url: &str, house: &House) -> Result<Desk> {
        let mut page = Page::at(url)?;
        page.sign_in(&house.lead.login, &house.lead.passphrase).await?;
        Ok(Desk {
            page,
            patient: self.patient,
            path: self.path.clone(),
        })
    }

    async fn move_to(&mut self, url: &str, house: &House) -> Result<()> {
        *self = self.beside(url, house).await?;
        Ok(())
    }

    async fn note(&mut self, substance: &str) -> Result<()> {
        let shown = self.page.open(&self.path).await?;
        let form = shown.form_to(&format!("{}/allergies", self.path))?;
        let saved = self.page.submit(&form, &[("substance", substance)]).await?;
        anyhow::ensure!(saved.status == 200, "the allergy was answered {}", saved.status);
        Ok(())
    }

    async fn allergies(&mut self) -> Result<Vec<String>> {
        let shown = self.page.open(&self.path).await?;
        let mut listed: Vec<String> = shown.texts(".allergy-list .what");
        for text in &mut listed {
            *text = text.trim().to_owned();
        }
        Ok(listed)
    }

    async fn until_shown(&mut self, substance: &str) -> Result<()> {
        tests::until(PATIENCE, substance, async || {
            let listed = self.allergies().await?;
            Ok(listed.iter().any(|listed| listed == substance).then_some(()))
        })
        .await
    }
}
