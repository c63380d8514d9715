//! A clock that is off by a day, or by ten years, when no certificate fits it: the agent starts, serves, syncs, and says how
//! wrong it is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::house::Target;
use tests::people::CLINIC_DAY;

use crate::world::{World, arrive, until_shown};

const DAY_MILLIS: i64 = 86_400_000;

async fn works_with_clock_off_by(offset: &str, millis: i64) -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    world.agent.stop().await?;
    world.agent.program = world.agent.program.clone().with_clock_off_by(offset);
    world.agent.start().await?;

    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    let status = world.until_agreed().await?;

    let said = status["clock_offset_ms"]
        .as_i64()
        .context("the status does not say how wrong the clock is")?;
    assert!(
        (said.abs() - millis.abs()).abs() < 60_000,
        "the clock is off by {millis} ms, the status says {said}"
    );
    until_shown(&mut desk, "/board", CLINIC_DAY[0].family, Duration::from_secs(5)).await?;
    Ok(())
}

#[tokio::test]
async fn with_a_clock_a_day_ahead_the_agent_works_and_says_so() -> Result<()> {
    works_with_clock_off_by("+1d", DAY_MILLIS).await
}

#[tokio::test]
async fn with_a_clock_a_day_behind_the_agent_works_and_says_so() -> Result<()> {
    works_with_clock_off_by("-1d", -DAY_MILLIS).await
}

#[tokio::test]
async fn with_a_clock_ten_years_ahead_the_agent_takes_the_hubs_word_for_the_line_and_says_so() -> Result<()> {
    works_with_clock_off_by("+3650d", 3650 * DAY_MILLIS).await
}

#[tokio::test]
async fn with_a_clock_ten_years_behind_the_agent_takes_the_hubs_word_for_the_line_and_says_so() -> Result<()> {
    works_with_clock_off_by("-3650d", -3650 * DAY_MILLIS).await
}
