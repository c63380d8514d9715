//! What rots on a site's disk, from outside: it is found, fetched again from a real hub over a real line, and told.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clinic::patient;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Unit};
use rusqlite::params;
use serde_json::Value;
use sync_protocol::Lane;
use tests::house::Target;
use tests::people::CLINIC_DAY;
use vault::{key_file, sqlite};

use crate::world::{World, arrive, patient_page};

const PATIENTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// Before the nightly look: longer than a machine under load takes to start the agent.
const UNTIL_THE_LOOK: SignedDuration = SignedDuration::from_secs(15);

/// A site whose agent has stopped, with a few patients that the hub has too.
async fn with_patients() -> Result<World> {
    let mut world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    for person in &CLINIC_DAY[..PATIENTS] {
        arrive(&mut desk, person).await?;
    }
    world.until_agreed().await?;
    world.agent.stop().await?;
    Ok(world)
}

/// Spoils what the hub sent of every patient, and what is shown of it.
fn rot_records(home: &Path) -> Result<()> {
    let sql = "UPDATE records SET base = x'00', shown = x'00' WHERE kind = ?1 AND base IS NOT NULL";
    let rotted = spoil(home, sql, patient::KIND.0)?;
    ensure!(rotted == PATIENTS, "{rotted} patients were there to rot");
    Ok(())
}

fn rot_sums(home: &Path) -> Result<()> {
    let rotted = spoil(
        home,
        "UPDATE buckets SET sum = zeroblob(32) WHERE lane = ?1",
        Lane::Flow as u16,
    )?;
    ensure!(rotted > 0, "no sums were there to rot");
    Ok(())
}

fn spoil(home: &Path, sql: &str, value: u16) -> Result<usize> {
    let key = key_file::load(&home.join("keys/store.key"))?;
    let file = home.join("data/agent.db");
    let connection = sqlite::open(&file, &key, sqlite::Mode::Existing, &sqlite::Tuning::default())?;
    Ok(connection.execute(sql, params![value])?)
}

/// Every patient is mended, the lane is proven, and the page shows them again.
async fn mended(world: &World) -> Result<()> {
    let is_mended = |status: &Value| {
        let repairs = status["repairs"].as_array();
        let flow = &status["roots"]["flow"];
        repairs.is_some_and(|repairs| repairs.iter().any(|one| one["mended"] == PATIENTS))
            && flow["equal"] == true
            && flow["verified_ms"].is_i64()
            && status["line"] == "connected"
    };
    world
        .until_status("what rotted to be mended", PATIENCE, is_mended)
        .await?;
    let mut desk = world.desk().await?;
    for person in &CLINIC_DAY[..PATIENTS] {
        let page = patient_page(&mut desk, person.family).await?;
        ensure!(page.text().contains(person.phone), "{}", page.text());
    }
    Ok(())
}

#[tokio::test]
async fn records_that_rot_at_a_site_are_fetched_again_from_the_hub_at_the_next_exchange() -> Result<()> {
    let mut world = with_patients().await?;
    rot_records(world.agent.program.home())?;
    rot_sums(world.agent.program.home())?;

    world.agent.start().await?;

    mended(&world).await
}

#[tokio::test]
async fn records_that_rot_unseen_are_found_by_the_nightly_look_and_fetched_again() -> Result<()> {
    let mut world = with_patients().await?;
    let home = world.agent.program.home().to_path_buf();
    rot_records(&home)?;
    // The night's look is moved to the next minute, and the machine's clock to shortly before it.
    let now = Timestamp::now();
    let at = now
        .to_zoned(TimeZone::get("America/Chicago")?)
        .round(Unit::Minute)?
        .checked_add(SignedDuration::from_mins(1))?;
    let ahead = (at.timestamp() - UNTIL_THE_LOOK).duration_since(now).as_secs();
    let settings = home.join("agent.toml");
    let text = fs::read_to_string(&settings).context("the agent's settings")?;
    let look = at.strftime("%H:%M");
    fs::write(
        &settings,
        format!("{text}\n[jobs]\nrecompute_roots_at = \"{look}\"\n\n[sync]\nlong_poll_secs = 2\n"),
    )?;
    world.agent.program = world.agent.program.clone().with_clock_off_by(&format!("{ahead:+}s"));

    world.agent.start().await?;

    mended(&world).await
}
