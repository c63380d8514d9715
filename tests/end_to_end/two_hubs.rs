//! Hub processes on one store under writes that overlap in opposite order, while one of them is stopped, goes on, is killed
//! and comes back: nothing is lost, nothing counts twice, and no agent hears of it but by a pause.
//!
//! `MAINSTAY_SOAK_SECS` says how long the writing goes on; by default it is short.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clinic::catalogue::allergy;
use sync_protocol::RecordId;
use tests::fleet::{Fleet, HubSocket, SimAgent, substances};
use tests::postgres::Cluster;
use tests::region::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::several::Several;

const WRITING: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENTS: usize = 6;
/// A writer that is so far ahead of the hub waits for it.
const UNPUSHED_MAX: u64 = 60;

fn writing_time() -> Duration {
    let wished = std::env::var("MAINSTAY_SOAK_SECS")
        .ok()
        .and_then(|secs| secs.parse().ok());
    wished.map_or(WRITING, Duration::from_secs)
}

#[tokio::test]
async fn overlapping_writes_on_the_embedded_store_survive_a_stop_and_a_kill_of_the_hub() -> Result<()> {
    let mut several = Several::open(&Store::Embedded, 1, &[]).await?;
    overlapping_writes_survive(&mut several).await
}

#[tokio::test]
async fn overlapping_writes_by_two_processes_on_postgresql_survive_a_stop_and_a_kill_of_one() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut several = Several::open(&Store::Postgres(cluster.url()), 2, &[]).await?;
    let outcome = overlapping_writes_survive(&mut several).await;
    outcome.with_context(|| format!("PostgreSQL said: {}", cluster.log()))
}

/// The same for any number of hub processes.
async fn overlapping_writes_survive(several: &mut Several) -> Result<()> {
    let (mut fleet, patients) = two_sites_that_share_patients(several).await?;
    let stop = CancellationToken::new();
    let mut writers = JoinSet::new();
    for (number, agent) in fleet.agents.iter().enumerate() {
        let order = in_turn(&patients, number);
        writers.spawn(keep_writing(number, Arc::clone(agent), order, stop.clone()));
    }
    let mut editors = JoinSet::new();
    for number in 0..several.hubs.len() {
        let order = in_turn(&patients, number);
        editors.spawn(keep_editing(
            number,
            several.hubs[number].socket()?,
            order,
            stop.clone(),
        ));
    }

    disturb(several, &fleet).await?;
    stop.cancel();
    let mut by_agents: Vec<Vec<String>> = vec![Vec::new(); fleet.agents.len()];
    while let Some(written) = writers.join_next().await {
        let (number, substances) = written??;
        by_agents[number] = substances;
    }
    let mut at_hub = Vec::new();
    while let Some(edited) = editors.join_next().await {
        at_hub.extend(edited?);
    }

    fleet.until_agreed(PATIENCE).await?;
    check(several, &fleet, &patients, &by_agents, &at_hub).await?;
    fleet.stop().await;
    Ok(())
}

/// Two sites with an agent at each hub process; every patient has been at both sites.
async fn two_sites_that_share_patients(several: &Several) -> Result<(Fleet, Vec<RecordId>)> {
    let socket = several.hubs[0].socket()?;
    let mut agents = Vec::new();
    for site in ["Northside", "Southside"] {
        let site = socket.add_site(site).await?;
        for hub in &several.hubs {
            let agent = SimAgent::enrol(&socket, &site).await?;
            agent.turn_to(&hub.url());
            agents.push(agent);
        }
    }
    let mut fleet = Fleet::of(agents);
    fleet.start();
    let patients = (0..PATIENTS).map(|number| fleet.agents[0].arrival(number));
    let patients = patients.collect::<Result<Vec<_>>>()?;
    fleet.until_agreed(PATIENCE).await?;
    let (_, elsewhere) = fleet.agents.split_at(fleet.agents.len() / 2);
    for patient in &patients {
        for agent in elsewhere {
            agent.come(*patient)?;
            agent.set_phone(*patient, "(602) 555-0100")?;
        }
    }
    fleet.until_agreed(PATIENCE).await?;
    Ok((fleet, patients))
}

fn in_turn(patients: &[RecordId], number: usize) -> Vec<RecordId> {
    let mut order = patients.to_vec();
    if number % 2 == 1 {
        order.reverse();
    }
    order
}

/// All patients in one order, in bursts that go up together. Answers what it wrote.
async fn keep_writing(
    number: usize,
    agent: Arc<SimAgent>,
    order: Vec<RecordId>,
    stop: CancellationToken,
) -> Result<(usize, Vec<String>)> {
    let mut written = Vec::new();
    for round in 0.. {
        if stop.is_cancelled() {
            break;
        }
        for (place, patient) in order.iter().enumerate() {
            let substance = format!("A{number}-{round}-{place}");
            agent.add_allergy(*patient, &substance)?;
            agent.set_phone(
                *patient,
                &format!("(602) 555-{:04}", (round * 7 + place + number) % 10_000),
            )?;
            written.push(substance);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        while agent.unpushed() > UNPUSHED_MAX && !stop.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok((number, written))
}

/// Edits at the hub itself; what was not confirmed may have happened or not. Answers each with whether it was confirmed.
async fn keep_editing(
    number: usize,
    socket: HubSocket,
    order: Vec<RecordId>,
    stop: CancellationToken,
) -> Vec<(String, bool)> {
    let mut edits = Vec::new();
    for round in 0.. {
        for (place, patient) in order.iter().enumerate() {
            if stop.is_cancelled() {
                return edits;
            }
            let substance = format!("H{number}-{round}-{place}");
            let edited = socket
                .edit_patient(*patient, &substance, &format!("(602) 555-{:04}", round % 10_000))
                .await;
            edits.push((substance, edited.is_ok()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    edits
}

/// The last hub process is stopped for a while and goes on; later it is killed, its agents go to the first, it comes back.
async fn disturb(several: &mut Several, fleet: &Fleet) -> Result<()> {
    let part = writing_time() / 6;
    let last = several.hubs.len() - 1;
    tokio::time::sleep(part).await;
    several.hubs[last].pause()?;
    tokio::time::sleep(part).await;
    several.hubs[last].resume()?;
    tokio::time::sleep(part).await;
    several.hubs[last].service.kill9().await?;
    for (number, agent) in fleet.agents.iter().enumerate() {
        agent.turn_to(
            &several.hubs[if number % several.hubs.len() == last {
                0
            } else {
                number % several.hubs.len()
            }]
            .url(),
        );
    }
    tokio::time::sleep(part).await;
    several.hubs[last].service.start().await?;
    for (number, agent) in fleet.agents.iter().enumerate() {
        agent.turn_to(&several.hubs[number % several.hubs.len()].url());
    }
    tokio::time::sleep(part * 2).await;
    Ok(())
}

async fn check(
    several: &Several,
    fleet: &Fleet,
    patients: &[RecordId],
    by_agents: &[Vec<String>],
    at_hub: &[(String, bool)],
) -> Result<()> {
    let total = fleet.total();
    ensure!(total.refused.is_empty() && total.unequal == 0, "{total}");
    let site_of = |number: usize| number / several.hubs.len();
    for (number, agent) in fleet.agents.iter().enumerate() {
        ensure!(
            agent.sums_add_up()?,
            "the sums of agent {number} are not those of its records"
        );
        let found = counted(agent);
        ensure!(
            found.values().all(|times| *times == 1),
            "something is there twice for agent {number}: {:?}",
            found.iter().find(|(_, times)| **times > 1)
        );
        let here = by_agents
            .iter()
            .enumerate()
            .filter(|(other, _)| site_of(*other) == site_of(number));
        for substance in here.flat_map(|(_, substances)| substances) {
            ensure!(found.contains_key(substance), "{substance} is lost to agent {number}");
        }
        for (substance, confirmed) in at_hub {
            ensure!(
                !confirmed || found.contains_key(substance),
                "{substance} is lost to agent {number}"
            );
        }
    }
    for patient in patients {
        let views = fleet
            .agents
            .iter()
            .map(|agent| agent.base(*patient).map(|state| state.to_bytes()));
        let views: Vec<_> = views.collect();
        ensure!(views[0].is_some(), "agent 0 has no patient {patient}");
        for (number, view) in views.iter().enumerate() {
            ensure!(*view == views[0], "agents 0 and {number} differ on patient {patient}");
        }
    }
    ensure!(
        at_hub.iter().any(|(_, confirmed)| *confirmed),
        "no edit at the hub was confirmed"
    );

    let status = several.hubs[0].socket()?.status().await?;
    let sites = status["sites"].as_array().context("no sites")?;
    let accepted: u64 = sites.iter().filter_map(|site| site["accepted"].as_u64()).sum();
    let written: u64 = fleet.agents.iter().map(|agent| agent.counter()).sum();
    ensure!(
        accepted == written,
        "the hub counts {accepted} changes and the agents {written}"
    );
    Ok(())
}

/// How often each substance stands in what an agent holds.
fn counted(agent: &SimAgent) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for allergy in agent.bases_of(allergy::KIND) {
        for substance in substances(&allergy) {
            *found.entry(substance).or_default() += 1;
        }
    }
    found
}
