//! Many sites in one process: agents that speak the real protocol to a real hub over mutual TLS, each with a ledger in
//! memory instead of an encrypted file. They push, hold their pull open, compare chains, apply pages, prove the roots, wait as
//! long as they are told, and count what they meet.
//!
//! Refuses to know the hub from inside: sites, tokens and edits go through its local socket, as its own command line's do.

mod agent;
mod exchange;
mod hub_socket;
mod signing;
mod tally;
mod writing;

pub use agent::SimAgent;
pub use hub_socket::HubSocket;
pub use signing::{Signed, SigningAgent};
pub use tally::{Tally, spread};
pub use writing::substances;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Enrolments that are under way at once.
const ENROLLING: usize = 16;

/// Simulated agents, and the tasks that run their exchanges.
pub struct Fleet {
    pub agents: Vec<Arc<SimAgent>>,
    running: JoinSet<()>,
    stop: CancellationToken,
}

impl Fleet {
    /// So many new sites with one agent each, enrolled at `hub` and not yet exchanging anything.
    pub async fn enrol(hub: &HubSocket, sites: usize) -> Result<Fleet> {
        let mut enrolling = JoinSet::new();
        let mut agents = Vec::new();
        for number in 0..sites {
            if enrolling.len() >= ENROLLING {
                agents.push(joined(enrolling.join_next().await)?);
            }
            let hub = hub.clone();
            enrolling.spawn(async move {
                let site = hub.add_site(&format!("Simulated site {number}")).await?;
                SimAgent::enrol(&hub, &site).await
            });
        }
        while let Some(enrolled) = enrolling.join_next().await {
            agents.push(joined(Some(enrolled))?);
        }
        Ok(Fleet::of(agents))
    }

    pub fn of(agents: Vec<Arc<SimAgent>>) -> Fleet {
        Fleet {
            agents,
            running: JoinSet::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Begins the exchanges of all agents.
    pub fn start(&mut self) {
        for agent in &self.agents {
            let (agent, stop) = (Arc::clone(agent), self.stop.clone());
            self.running.spawn(async move { agent.run(stop).await });
        }
    }

    /// Waits until the hub holds everything that was written. Answers when each agent was done, in the agents' order.
    pub async fn until_drained(&self, patience: Duration) -> Result<Vec<Instant>> {
        let mut done: Vec<Option<Instant>> = vec![None; self.agents.len()];
        crate::until(patience, "every simulated agent to be drained", async || {
            for (agent, done) in self.agents.iter().zip(&mut done) {
                if done.is_none() && agent.unpushed() == 0 {
                    *done = Some(agent.drained_at());
                }
            }
            Ok(done.iter().all(Option::is_some).then_some(()))
        })
        .await
        .with_context(|| self.total().to_string())?;
        Ok(done.into_iter().flatten().collect())
    }

    /// Waits until each agent has everything it wrote back in a base and every lane's root equals the hub's, by a question
    /// that was asked when the hub held what all of them had written.
    pub async fn until_agreed(&self, patience: Duration) -> Result<()> {
        let mut drained = None;
        let agrees = |agent: &SimAgent, drained: Option<Instant>| drained.is_some_and(|at| agent.agrees_since(at));
        crate::until(patience, "every simulated agent to agree with the hub", async || {
            if drained.is_none() && self.agents.iter().all(|agent| agent.unpushed() == 0) {
                drained = Some(Instant::now());
                self.agents.iter().for_each(|agent| agent.look());
            }
            Ok(self.agents.iter().all(|agent| agrees(agent, drained)).then_some(()))
        })
        .await
        .with_context(|| {
            let behind = self.agents.iter().filter(|agent| !agrees(agent, drained));
            let told: Vec<String> = behind.take(5).map(|agent| agent.standing()).collect();
            format!("{}; {}", self.total(), told.join("; "))
        })
    }

    /// What all of them counted together.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for agent in &self.agents {
            total.add(&agent.tally());
        }
        total
    }

    /// Ends the exchanges; what the agents hold stays.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
        self.stop = CancellationToken::new();
    }
}

/// Patients that one simulated agent registers: it keeps all of them in memory.
const REGISTERED_BY_ONE: usize = 20_000;

/// Registers patients at a site that is there already, by simulated agents of it one after the other, until the hub has them.
pub async fn register_at(hub: &HubSocket, site: &str, numbers: Range<usize>, patience: Duration) -> Result<()> {
    for first in numbers.clone().step_by(REGISTERED_BY_ONE) {
        let agent = SimAgent::enrol(hub, site).await?;
        for number in first..numbers.end.min(first + REGISTERED_BY_ONE) {
            agent.register(number)?;
        }
        let mut fleet = Fleet::of(vec![agent]);
        fleet.start();
        fleet.until_drained(patience).await?;
        fleet.stop().await;
    }
    Ok(())
}

fn joined(ended: Option<Result<Result<Arc<SimAgent>>, tokio::task::JoinError>>) -> Result<Arc<SimAgent>> {
    ended
        .context("an enrolment is missing")?
        .context("an enrolment broke off")?
}

/// Random bytes, for ids and salts.
fn random() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}

/// A random number below `limit`.
fn random_below(limit: u64) -> u64 {
    let [a, b, c, d, e, ..] = random();
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e]) % limit.max(1)
}

fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}
