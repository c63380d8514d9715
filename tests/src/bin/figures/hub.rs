//! Of the hub: what it takes in, what it feeds, how that grows with sites and backlog, and how a fleet comes back after it
//! was away. The sites are simulated in this process, on the same machine, and take their part of its processor time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tests::fleet::{Fleet, spread};
use tests::postgres::Cluster;
use tests::process::Binaries;
use tests::region::{Region, Store};

use crate::resident_kib;

const PATIENCE: Duration = Duration::from_secs(1_800);
/// An arrival is a patient and a visit that goes on to a room: so many changes.
const ARRIVAL: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// Where the hub keeps its records, and how many processes there are.
    #[arg(long, value_enum, default_values = ["embedded", "postgres", "postgres-two"])]
    on: Vec<On>,
    /// Numbers of simulated sites.
    #[arg(long, default_values_t = [10, 100, 1000])]
    sites: Vec<usize>,
    /// Changes that all sites together write in each measurement.
    #[arg(long, default_value_t = 20_000)]
    changes: usize,
    /// Changes that each site has written while the hub was away.
    #[arg(long, default_value_t = 200)]
    backlog: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum On {
    Embedded,
    Postgres,
    PostgresTwo,
}

impl On {
    fn processes(self) -> usize {
        match self {
            On::Embedded | On::Postgres => 1,
            On::PostgresTwo => 2,
        }
    }

    fn words(self) -> &'static str {
        match self {
            On::Embedded => "embedded store, one process",
            On::Postgres => "PostgreSQL, one process",
            On::PostgresTwo => "PostgreSQL, two processes",
        }
    }
}

pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    for on in &wanted.on {
        for sites in &wanted.sites {
            let folder = tempfile::tempdir()?;
            let cluster = match on {
                On::Embedded => None,
                On::Postgres | On::PostgresTwo => Some(Cluster::start()?),
            };
            let store = cluster
                .as_ref()
                .map_or(Store::Embedded, |cluster| Store::Postgres(cluster.url()));
            let region = Region::open(folder.path(), Binaries::find()?, &store, on.processes(), &[]).await?;
            println!("== {}, {sites} sites", on.words());
            measure_one(region, *sites, wanted).await?;
        }
    }
    Ok(())
}

async fn measure_one(mut region: Region, sites: usize, wanted: &Wanted) -> Result<()> {
    println!("hub at rest: {}", memory(&region)?);
    let begun = Instant::now();
    let mut fleet = Fleet::enrol(&region.hubs[0].socket()?, sites).await?;
    println!("{sites} sites added and their agents enrolled: {:.1?}", begun.elapsed());
    turn(&fleet, &region);

    write(&fleet, (wanted.changes / sites / ARRIVAL).max(1))?;
    let begun = Instant::now();
    fleet.start();
    let done = fleet.until_drained(PATIENCE).await?;
    let took = last(&done, begun);
    let total = fleet.total();
    println!(
        "taken in: {} changes in {took:.1?}, {:.0} a second; one push: {}",
        total.changes_accepted,
        total.changes_accepted as f64 / took.as_secs_f64(),
        spread(&total.push_took)
    );
    fleet.until_agreed(PATIENCE).await?;
    println!(
        "until every site had its own back and the roots were equal: {:.1?}",
        begun.elapsed()
    );
    println!("met: {}", fleet.total());
    println!("hub: {}", memory(&region)?);

    come_back(&mut region, &fleet, wanted.backlog).await?;
    println!("hub: {}", memory(&region)?);
    feed(&region, &mut fleet, sites).await?;
    fleet.stop().await;
    region.close().await
}

/// The hub is killed, every site goes on writing, the hub is back.
async fn come_back(region: &mut Region, fleet: &Fleet, backlog: usize) -> Result<()> {
    for hub in &mut region.hubs {
        hub.service.kill9().await?;
    }
    fleet.agents.iter().for_each(|agent| agent.forget_tally());
    write(fleet, backlog / ARRIVAL)?;
    for hub in &mut region.hubs {
        hub.service.start().await?;
    }
    let begun = Instant::now();
    let done = fleet.until_drained(PATIENCE).await?;
    let waits: Vec<Duration> = done.iter().map(|at| at.saturating_duration_since(begun)).collect();
    let took = last(&done, begun);
    let total = fleet.total();
    println!(
        "{} sites came back with {backlog} changes each: all taken in after {took:.1?}, {:.0} a second; a site's wait: {}",
        fleet.agents.len(),
        total.changes_accepted as f64 / took.as_secs_f64(),
        spread(&waits)
    );
    fleet.until_agreed(PATIENCE).await?;
    println!(
        "until every site had its own back and the roots were equal: {:.1?}",
        begun.elapsed()
    );
    println!("met: {}", fleet.total());
    Ok(())
}

/// Nothing is to be pushed: every site connects, asks, is given its feed from the beginning and proves the roots.
async fn feed(region: &Region, fleet: &mut Fleet, sites: usize) -> Result<()> {
    fleet.stop().await;
    fleet.agents.iter().for_each(|agent| agent.forget_feed());
    let begun = Instant::now();
    fleet.start();
    fleet.until_agreed(PATIENCE).await?;
    let (took, total) = (begun.elapsed(), fleet.total());
    println!(
        "fed from nothing: {sites} sites in {took:.1?}, {:.0} sites and {:.0} records a second; {total}",
        sites as f64 / took.as_secs_f64(),
        total.rows as f64 / took.as_secs_f64(),
    );
    println!("hub: {}", memory(region)?);
    Ok(())
}

/// Each site writes so many arrivals.
fn write(fleet: &Fleet, arrivals: usize) -> Result<()> {
    for (number, agent) in fleet.agents.iter().enumerate() {
        for arrival in 0..arrivals {
            agent.arrival(number * arrivals + arrival)?;
        }
    }
    Ok(())
}

/// Sites talk to the processes in turn.
fn turn(fleet: &Fleet, region: &Region) {
    for (number, agent) in fleet.agents.iter().enumerate() {
        agent.turn_to(&region.hubs[number % region.hubs.len()].url());
    }
}

fn last(done: &[Instant], begun: Instant) -> Duration {
    let last = done.iter().max();
    last.map_or(Duration::ZERO, |last| last.saturating_duration_since(begun))
}

fn memory(region: &Region) -> Result<String> {
    let each = region.hubs.iter().map(|hub| {
        let kib = resident_kib(hub.service.running()?.process_id()?)?;
        anyhow::Ok(format!("{} MiB", kib / 1024))
    });
    let each = each.collect::<Result<Vec<_>>>().context("memory of the hub")?;
    Ok(format!("{} resident", each.join(" and ")))
}
