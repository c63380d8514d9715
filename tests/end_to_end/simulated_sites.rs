//! Many simulated sites against the real hub: they all come back at once after it was away, and all are served.

use std::time::Duration;

use anyhow::Result;
use tests::fleet::Fleet;
use tests::process::Binaries;
use tests::region::{Region, Store};

use crate::several::Several;

const SITES: usize = 40;
const ARRIVALS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn all_sites_that_come_back_at_once_after_the_hub_was_killed_are_drained_and_proved_equal() -> Result<()> {
    let mut several = Several::open(&Store::Embedded, 1, &[]).await?;
    let mut fleet = Fleet::enrol(&several.hubs[0].socket()?, SITES).await?;
    fleet.start();
    fleet.agents[0].arrival(0)?;
    fleet.until_agreed(PATIENCE).await?;

    several.hubs[0].service.kill9().await?;
    for (number, agent) in fleet.agents.iter().enumerate() {
        for arrival in 0..ARRIVALS {
            agent.arrival(number * ARRIVALS + arrival)?;
        }
    }
    several.hubs[0].service.start().await?;

    fleet.until_drained(PATIENCE).await?;
    fleet.until_agreed(PATIENCE).await?;
    let total = fleet.total();
    assert!(total.refused.is_empty() && total.unequal == 0, "{total}");
    for agent in &fleet.agents {
        assert!(agent.sums_add_up()?);
    }
    let status = several.hubs[0].socket()?.status().await?;
    let sites = status["sites"].as_array().expect("no sites");
    let accepted: u64 = sites.iter().filter_map(|site| site["accepted"].as_u64()).sum();
    let written: u64 = fleet.agents.iter().map(|agent| agent.counter()).sum();
    assert_eq!(accepted, written);
    fleet.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_hub_with_more_pushes_than_it_takes_in_tells_agents_when_to_come_again_and_all_are_drained() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let one_at_a_time = "push_bytes_at_once = 1\npush_wait_secs = 0\n";
    let region = Region::open_with(folder.path(), Binaries::find()?, one_at_a_time, 1, &[]).await?;
    let mut fleet = Fleet::enrol(&region.hubs[0].socket()?, SITES / 2).await?;
    for (number, agent) in fleet.agents.iter().enumerate() {
        for arrival in 0..ARRIVALS * 4 {
            agent.arrival(number * ARRIVALS * 4 + arrival)?;
        }
    }

    fleet.start();
    fleet.until_drained(PATIENCE).await?;
    fleet.until_agreed(PATIENCE).await?;

    let total = fleet.total();
    assert!(total.told_to_wait.contains_key(&503), "{total}");
    assert!(total.refused.is_empty() && total.not_reached == 0, "{total}");
    fleet.stop().await;
    region.close().await
}
