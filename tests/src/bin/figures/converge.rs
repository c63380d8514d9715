//! Of a conflict in bulk: every record edited on both sides of a cut line, and how long until both have merged all of it and
//! proved it. Beside it PouchDB and express-pouchdb until both have the same winners, which is less: they pick, nobody merges.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clinic::catalogue::patient;
use serde_json::json;
use sync_protocol::RecordId;
use tests::fleet::{Fleet, HubSocket, SimAgent};
use tests::hl7_peer::RawMllp;
use tests::process::Binaries;
use tests::region::{Region, Store};

use crate::peer;
use crate::report::{Form, Report};

const PATIENCE: Duration = Duration::from_secs(600);

#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// Records that both sides edit.
    #[arg(long, default_value_t = 1_000)]
    records: usize,
    /// Without PouchDB beside it.
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    form: Form,
}

pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let mut report = Report::new(format!("{} records edited on both sides", wanted.records));
    let rate = mainstay(wanted, &mut report).await?;
    if !wanted.alone {
        let theirs = peer::pouchdb("converge", wanted.records).await?;
        report.add("PouchDB and express-pouchdb agree on winners", theirs, "records/s");
        report.add_noted("times as fast", rate / theirs, "times", "aim 5");
    }
    report.print(&wanted.form);
    Ok(())
}

/// Answers records a second.
async fn mainstay(wanted: &Wanted, report: &mut Report) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut region = Region::open(
        folder.path(),
        Binaries::find()?,
        &Store::Embedded,
        1,
        &[("Riverside", 0)],
    )
    .await?;
    let socket = region.hubs[0].socket()?;
    bring_in(&region, wanted.records, 602).await?;
    region.clinics[0].until_agreed().await?;
    let patients = patients(&region, &socket, wanted.records).await?;

    region.clinics[0].line.cut().await?;
    bring_in(&region, wanted.records, 480).await?;
    for (place, patient) in patients.iter().enumerate() {
        let phone = format!("(623) {:03}-{:04}", 200 + place / 10_000, place % 10_000);
        let edit = json!({ "about": "patient", "command": "edit", "patient": patient.to_string(), "phone": phone });
        socket.ask(&edit).await?;
    }

    // A fresh start: how long an agent waits after an outage is no part of how fast it merges.
    let clinic = &mut region.clinics[0];
    clinic.agent.stop().await?;
    accept_beforehand(clinic.agent.program.home())?;
    clinic.line.restore().await?;
    clinic.agent.start().await?;
    let begun = Instant::now();
    let agreed = clinic
        .until_status("both sides to have merged everything", PATIENCE, tests::house::agrees)
        .await?;
    let took = begun.elapsed().as_secs_f64();
    ensure!(agreed["quarantined"] == 0, "changes were set aside");
    let rate = wanted.records as f64 / took;
    report.add("merged on both sides and proved equal", rate, "records/s");
    report.add("  that took", took, "s");
    region.close().await?;
    Ok(rate)
}

/// That so much of a lane is altered at once waits for a person, who is no part of how fast it merges either.
fn accept_beforehand(agent: &Path) -> Result<()> {
    let mut settings = File::options().append(true).open(agent.join("agent.toml"))?;
    Ok(settings.write_all(b"\n[sync]\nfreeze_records_min = 1000000000\n")?)
}

/// The ids of the patients, as a new store of the site has them.
async fn patients(region: &Region, socket: &HubSocket, count: usize) -> Result<Vec<RecordId>> {
    let reader = SimAgent::enrol(socket, &region.clinics[0].site).await?;
    reader.turn_to(&region.hubs[0].url());
    let mut fleet = Fleet::of(vec![reader]);
    fleet.start();
    fleet.until_agreed(PATIENCE).await?;
    fleet.stop().await;
    let patients: Vec<_> = fleet.agents[0]
        .bases_of(patient::KIND)
        .iter()
        .map(|state| state.record)
        .collect();
    ensure!(
        patients.len() == count,
        "{} patients of {count} are there",
        patients.len()
    );
    Ok(patients)
}

/// Everybody, each with a birth date and a telephone number of this area, by ADT A08. Nobody looks like anybody else: whom the
/// hub would take for one person is another figure.
async fn bring_in(region: &Region, count: usize, area: usize) -> Result<()> {
    let mut peer = RawMllp::connect(region.clinics[0].mllp()?).await?;
    for number in 0..count {
        let (year, month, day) = (1930 + number % 90, 1 + number % 12, 1 + number % 28);
        let message = format!(
            "MSH|^~\\&|FIGURES|RIVERSIDE|MAINSTAY|RIVERSIDE|20260414080000||ADT^A08^ADT_A01|C{area}{number}|P|2.5.1\r\
             EVN||20260414080000\r\
             PID|1||{number:07}^^^RIVERSIDE^MR||{}^{}||{year}{month:02}{day:02}|F|||||({area}) {:03}-{:04}\r",
            crate::agent::syllables(number),
            crate::agent::syllables(number / 7 + 3),
            200 + number / 10_000,
            number % 10_000,
        );
        let (ack, _) = peer.send(message.as_bytes(), Duration::from_secs(60)).await?;
        ensure!(ack.code() == "AA", "message {number} was answered {}", ack.code());
    }
    Ok(())
}
