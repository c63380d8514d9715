//! Real programs under load for as long as wished, while everything happens to them that happens to computers: kill -9 of
//! agents and of the hub at any moment, an agent's disk put back to a copy from the middle of the run, an agent's folder
//! running on two machines at once, the hub's database put back to an older backup, a hub process that stands still, lines
//! that are cut. After healing, what any surviving
//! store confirmed is at the hub exactly once, all roots are equal, and each new identity was told to the operator.
//!
//! `MAINSTAY_SOAK_SECS` says how long it goes on, by default a short while; `MAINSTAY_CHAOS_SEED` repeats a run's choices.
//! Refuses to send a message twice: what was not confirmed may have happened or not, and both are right.

mod check;
mod sites;
mod writer;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tests::postgres::Cluster;
use tests::region::Store;
use tests::simulation::Rng;

use crate::several::Several;
use sites::Sites;

/// Everything happens once at least; as long as this it begins again.
const CHAOS: Duration = Duration::from_secs(10);
/// Between two disturbances.
const PAUSE_MIN_MS: u64 = 300;
const PAUSE_SPREAD_MS: u64 = 1_700;

/// What happens to the programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Disturbance {
    KillAgent,
    KillHub,
    PauseHub,
    CutLine,
    LoseReplies,
    CopyAgent,
    /// The disk is put back to the copy: what was written since is only at the hub, or nowhere.
    RestoreAgent,
    /// The folder starts on a second machine, and both go on.
    CloneAgent,
    BackUpHub,
    /// The hub's database goes back to a backup: what it acknowledged since is only at the agents.
    RestoreHub,
}

const EACH: [Disturbance; 10] = [
    Disturbance::KillAgent,
    Disturbance::KillHub,
    Disturbance::PauseHub,
    Disturbance::CutLine,
    Disturbance::LoseReplies,
    Disturbance::CopyAgent,
    Disturbance::RestoreAgent,
    Disturbance::CloneAgent,
    Disturbance::BackUpHub,
    Disturbance::RestoreHub,
];

/// The most that anything may take to come true; in a run that was longer, as long as that.
const PATIENCE_MIN: Duration = Duration::from_secs(300);

fn patience() -> Duration {
    how_long().max(PATIENCE_MIN)
}

fn how_long() -> Duration {
    let wished = std::env::var("MAINSTAY_SOAK_SECS")
        .ok()
        .and_then(|secs| secs.parse().ok());
    wished.map_or(CHAOS, Duration::from_secs)
}

fn seed() -> u64 {
    let wished = std::env::var("MAINSTAY_CHAOS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    wished.unwrap_or_else(|| {
        let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
        u64::from(u32::from_be_bytes([a, b, c, d]))
    })
}

#[tokio::test]
async fn whatever_happens_to_agents_and_an_embedded_hub_nothing_confirmed_is_lost_or_doubled() -> Result<()> {
    let several = Several::open(&Store::Embedded, 1, &sites::at(1)).await?;
    survive(several, None).await
}

#[tokio::test]
async fn whatever_happens_to_agents_and_two_hubs_on_postgresql_nothing_confirmed_is_lost_or_doubled() -> Result<()> {
    let cluster = Cluster::start()?;
    let several = Several::open(&Store::Postgres(cluster.url()), 2, &sites::at(2)).await?;
    survive(several, Some(cluster)).await
}

#[expect(clippy::print_stdout, reason = "a test's output is shown only when it fails")]
async fn survive(several: Several, cluster: Option<Cluster>) -> Result<()> {
    let seed = seed();
    println!("MAINSTAY_CHAOS_SEED={seed}");
    let mut rng = Rng::seeded(seed);
    let mut sites = Sites::take(several, cluster)?;
    let begun = Instant::now();
    let end = begun + how_long();
    let outcome = disturb(&mut sites, &mut rng, end).await;
    let written = sites.stop_writing().await?;
    println!("disturbed for {:?}", begun.elapsed());
    outcome.with_context(|| format!("seed {seed}: {}", sites.told()))?;

    check::check(&mut sites, &written)
        .await
        .with_context(|| format!("seed {seed}: {}", sites.told()))?;
    println!("{}, whole again after {:?}", sites.told(), begun.elapsed());
    Ok(())
}

/// Every kind at least once, in an order that the seed draws, and again until the time is over.
async fn disturb(sites: &mut Sites, rng: &mut Rng, end: Instant) -> Result<()> {
    loop {
        let mut order = EACH.to_vec();
        for last in (1..order.len()).rev() {
            order.swap(last, rng.index(last + 1));
        }
        for disturbance in order {
            let pause = PAUSE_MIN_MS + rng.below(PAUSE_SPREAD_MS);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let done = sites.disturb(disturbance, rng).await;
            done.with_context(|| format!("{disturbance:?}"))?;
        }
        if Instant::now() >= end {
            return Ok(());
        }
    }
}
