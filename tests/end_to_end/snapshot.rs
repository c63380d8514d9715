//! A machine that is new at a site with many patients is filled from a snapshot, whatever breaks off on the way, and
//! ends with what the hub has.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::fleet::{HubSocket, register_at};
use tests::house::Target;

use crate::world::{World, count};

const PATIENTS: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// So slow that there is time to break something off.
const SLOW: Duration = Duration::from_millis(25);
/// Chunks of some twenty patients.
const SMALL_CHUNKS: &str = "\n[snapshots]\nchunk_max_bytes = 16384\n";
/// Pages are small, so that the snapshot is made before the pages have brought everything.
const FEW_SUFFICE: &str = "[sync]\nsnapshot_rows_min = 200\npull_max_bytes = 4096\n\
    pull_lane_bytes = { safety = 1024, flow = 1024, schedule = 1024, reference = 1024 }\n";

/// A hub that has many patients of a site, whose machine is out of use.
async fn with_patients() -> Result<World> {
    let mut world = World::open(Target::Person).await?;
    world.agent.stop().await?;
    let socket = HubSocket::of(world.hub.program.home())?;
    register_at(&socket, &world.site, 0..PATIENTS, PATIENCE).await?;
    let config = world.hub.program.home().join("hub.toml");
    let text = fs::read_to_string(&config)?;
    fs::write(&config, text + SMALL_CHUNKS)?;
    world.hub.stop().await?;
    Ok(world)
}

/// How far the snapshot is, once it is under way.
async fn filled(world: &World) -> Result<u64> {
    let under_way = |status: &Value| !status["filling"].is_null();
    let status = world
        .until_status("a snapshot to be under way", PATIENCE, under_way)
        .await?;
    ensure!(status["filling"]["lane"] == "flow", "{status}");
    count(&status, "/filling/rows")
}

async fn until_filled(world: &World, rows: u64) -> Result<u64> {
    let enough = |status: &Value| status["filling"]["rows"].as_u64().is_some_and(|now| now >= rows);
    let status = world.until_status("the snapshot to go on", PATIENCE, enough).await?;
    count(&status, "/filling/rows")
}

/// How often a home's log has said something.
fn said(home: &Path, words: &str) -> Result<usize> {
    let mut times = 0;
    for file in fs::read_dir(home.join("logs"))? {
        times += fs::read_to_string(file?.path())?.matches(words).count();
    }
    Ok(times)
}

/// The new machine has every patient, and everything is proven identical.
async fn complete(world: &World) -> Result<()> {
    world
        .until_status("the new machine to have everything", PATIENCE, |status| {
            let lanes = status["roots"].as_object();
            let is_flow_proven = status["roots"]["flow"]["verified_ms"].is_i64();
            let are_equal = lanes.is_some_and(|lanes| lanes.values().all(|lane| lane["equal"] == true));
            status["filling"].is_null() && status["behind"] == 0 && is_flow_proven && are_equal
        })
        .await?;
    let hub = world.hub.answer(&["status", "--json"]).await?;
    let held = hub["sites"].as_array().context("no sites")?;
    ensure!(
        held.iter()
            .any(|site| site["accepted"].as_u64() == Some(PATIENTS as u64)),
        "{hub}"
    );
    Ok(())
}

#[tokio::test]
async fn a_new_machine_is_filled_from_a_snapshot_through_kill_9_of_agent_and_hub() -> Result<()> {
    let mut world = with_patients().await?;
    world.hub.start().await?;
    world.agent = world.another_agent("new", FEW_SUFFICE).await?;
    world.line.set_delay(SLOW);
    world.agent.start().await?;

    let first = until_filled(&world, 100).await?;
    world.agent.kill9().await?;
    world.agent.start().await?;
    let second = filled(&world).await?;
    ensure!(second >= first, "it began anew: {second} after {first}");
    world.hub.kill9().await?;
    world.hub.start().await?;
    let third = until_filled(&world, second + 100).await?;
    world.line.cut().await?;
    world.line.restore().await?;
    until_filled(&world, third + 100).await?;
    world.line.set_delay(Duration::ZERO);

    complete(&world).await?;
    let (agent, hub) = (world.agent.program.home(), world.hub.program.home());
    ensure!(said(agent, "a lane is filled from a snapshot")? == 1);
    ensure!(said(agent, "the snapshot of a lane is taken; the feed goes on")? == 1);
    ensure!(said(hub, "a snapshot of a lane was made")? == 1);
    ensure!(said(agent, "is not what was signed")? == 0);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_that_the_hub_has_dropped_is_followed_by_another_and_nothing_is_lost() -> Result<()> {
    let mut world = with_patients().await?;
    let on_time = world.hub.program.clone();
    world.hub.program = on_time.clone().with_clock_off_by("-2d");
    world.hub.start().await?;
    world.agent = world.another_agent("new", FEW_SUFFICE).await?;
    world.line.set_delay(SLOW);
    world.agent.start().await?;
    let first = until_filled(&world, 100).await?;
    world.agent.kill9().await?;
    world.hub.stop().await?;

    // Two days later.
    world.hub.program = on_time;
    world.hub.start().await?;
    world.agent.start().await?;
    let again = "the hub has dropped the snapshot of a lane; another is asked for";
    tests::until(PATIENCE, "the agent to ask for another snapshot", async || {
        Ok((said(world.agent.program.home(), again)? > 0).then_some(()))
    })
    .await?;
    let rest = filled(&world).await?;
    world.line.set_delay(Duration::ZERO);

    complete(&world).await?;
    ensure!(said(world.hub.program.home(), "a snapshot of a lane was made")? == 2);
    ensure!(first + rest > 0, "nothing was under way");
    Ok(())
}
