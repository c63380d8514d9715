//! Certificates over months: one that has run out is renewed by the agent itself, an authority is followed by another, and
//! nobody at the site does anything. Time passes at the hub alone, whose clock is set forward, so the agent's is wrong too.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::house::Target;
use tests::people::CLINIC_DAY;

use crate::world::{World, arrive, until_shown};

const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the hub again with its clock so far ahead.
async fn hub_after(world: &mut World, days: &str) -> Result<()> {
    world.hub.stop().await?;
    world.hub.program = world.hub.program.clone().with_clock_off_by(days);
    world.hub.start().await
}

/// The one agent of the site, as the hub lists it.
async fn agent_at_hub(world: &World) -> Result<Value> {
    let site = world.hub.answer(&["site", "show", &world.site, "--json"]).await?;
    let agent = site["agents"][0].clone();
    agent.is_object().then_some(agent).context("the hub lists no agent")
}

#[tokio::test]
async fn a_certificate_that_ran_out_is_renewed_by_the_agent_itself() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    world.until_agreed().await?;
    assert_eq!(agent_at_hub(&world).await?["signs"], true);
    hub_after(&mut world, "+100d").await?;

    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    world
        .until_status("the line to be back", PATIENCE, |status| {
            status["line"] == "connected" && status["pending"] == 0
        })
        .await?;

    let renewed = agent_at_hub(&world).await?;
    assert!(
        renewed["certificate_days"].as_i64().is_some_and(|days| days >= 88),
        "{renewed}"
    );
    until_shown(&mut desk, "/board", CLINIC_DAY[0].family, Duration::from_secs(5)).await?;
    Ok(())
}

#[tokio::test]
async fn an_agent_learns_the_authority_that_follows_and_outlives_the_one_it_enrolled_with() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    world.until_agreed().await?;
    let rotated = world.hub.answer(&["authority", "rotate", "--json"]).await?;
    assert_eq!(rotated["trusted"].as_array().map(Vec::len), Some(2), "{rotated}");
    let again = world.hub.program.verb(&["authority", "rotate"], None).await?;
    assert_eq!(again.code(), Some(2), "{}", again.stderr);

    // It learns of it when a session begins.
    world.agent.stop().await?;
    world.agent.start().await?;
    world
        .until_status("the session to have begun", PATIENCE, |status| {
            status["channel"]["hub"].is_object()
        })
        .await?;
    world.until_agreed().await?;
    hub_after(&mut world, "+121d").await?;
    let shown = world.hub.answer(&["authority", "show", "--json"]).await?;
    assert_eq!(shown["trusted"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown["trusted"][0], rotated["trusted"][1]);

    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    world
        .until_status("the line to be back", PATIENCE, |status| {
            status["line"] == "connected" && status["pending"] == 0
        })
        .await?;
    Ok(())
}
