//! PostgreSQL stops under a running hub: sites work on, the hub asks them to wait and says why, and when the server is back
//! everything is taken in.

use std::time::Duration;

use anyhow::Result;
use tests::fleet::{Fleet, SimAgent};
use tests::people::CLINIC_DAY;
use tests::postgres::Cluster;
use tests::region::Store;

use crate::several::Several;
use crate::world::{arrive, count, patient_page};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn with_postgresql_gone_the_site_works_on_the_hub_asks_to_wait_and_all_is_taken_in_when_it_is_back() -> Result<()>
{
    let mut cluster = Cluster::start()?;
    let several = Several::open(&Store::Postgres(cluster.url()), 1, &[("Riverside", 0)]).await?;
    let clinic = &several.clinics[0];
    let hub = &several.hubs[0];
    let mut desk = clinic.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    let mut fleet = Fleet::of(vec![SimAgent::enrol(&hub.socket()?, &clinic.site).await?]);
    fleet.start();
    clinic.until_agreed().await?;
    fleet.until_agreed(SOON).await?;

    cluster.stop()?;
    let other = &fleet.agents[0];
    other.arrival(1)?;
    arrive(&mut desk, &CLINIC_DAY[1]).await?;
    tests::until(SOON, "the hub to ask for patience", async || {
        Ok(other.tally().told_to_wait.contains_key(&503).then_some(()))
    })
    .await?;
    let status = hub.service.program.verb(&["status", "--json"], None).await?;

    assert!(fleet.total().refused.is_empty(), "{}", fleet.total());
    assert_ne!(status.code(), Some(0));
    assert!(status.stderr.contains("PostgreSQL"), "{}", status.stderr);
    assert!(patient_page(&mut desk, CLINIC_DAY[1].family).await.is_ok());
    let waits = clinic.status().await?;
    assert!(count(&waits, "/pending")? > 0, "{waits}");

    cluster.start_again()?;
    fleet.until_agreed(SOON).await?;
    clinic
        .until_status("everything to be taken in", SOON, |status| status["pending"] == 0)
        .await?;
    clinic.until_agreed().await?;
    assert!(fleet.total().refused.is_empty(), "{}", fleet.total());
    fleet.stop().await;
    Ok(())
}
