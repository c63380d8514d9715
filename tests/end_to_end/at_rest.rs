//! A site at which nothing happens goes on proving its lanes by questions that the hub holds, and hears at once of what is new.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::house::Target;
use tests::people::CLINIC_DAY;

use crate::world::{World, arrive, edit, patient_id, patient_page, until_shown};

const SOON: Duration = Duration::from_secs(15);
const SETTINGS: &[u8] = b"\n[sync]\nlong_poll_secs = 1\n";

#[tokio::test]
async fn between_questions_that_were_answered_with_nothing_both_sides_still_hear_of_each_other() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[6];
    arrive(&mut desk, person).await?;
    let page = patient_page(&mut desk, person.family).await?;
    let patient = patient_id(&page)?;
    world.until_agreed().await?;
    world.agent.stop().await?;
    let settings = world.agent.program.home().join("agent.toml");
    File::options().append(true).open(settings)?.write_all(SETTINGS)?;
    world.agent.start().await?;
    let mut desk = world.desk().await?;

    for phone in ["312-555-0177", "312-555-0178"] {
        rest(&world, 3).await?;
        let at_hub = ["patient", "edit", &patient, "--phone", phone, "--json"];
        world.hub.answer(&at_hub).await?;
        until_shown(&mut desk, &page.path, &phone[4..], SOON).await?;
    }
    rest(&world, 3).await?;
    let shown = desk.open(&page.path).await?;
    edit(&mut desk, &shown, "phone", "312-555-0199").await?;

    world.until_agreed().await?;
    let found = world.hub.answer(&["patient", "find", "312-555-0199", "--json"]).await?;
    assert!(found.to_string().contains(&patient), "{found}");
    Ok(())
}

/// Waits until every lane was proven so often anew.
async fn rest(world: &World, times: usize) -> Result<()> {
    for _ in 0..times {
        let before = proven(&world.until_agreed().await?).context("a lane was never proven")?;
        let newly = |status: &Value| proven(status).is_some_and(|ms| ms > before);
        world.until_status("every lane to be proven anew", SOON, newly).await?;
    }
    Ok(())
}

/// When the lane was proven that was proven longest ago.
fn proven(status: &Value) -> Option<i64> {
    let lanes = status["roots"].as_object()?.values();
    lanes.map(|lane| lane["verified_ms"].as_i64()).min().flatten()
}
