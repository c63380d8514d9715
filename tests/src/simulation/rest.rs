//! How this world comes to rest when nothing disturbs it any more, and one undisturbed exchange.

use sync_protocol::{EpochId, ReplicaId};

use super::network::Line;
use super::trace::{Checked, Failure, Invariant};
use super::world::{Crash, World};

/// So many rounds of exchanges must be enough once the network has healed.
pub(crate) const ROUNDS_MAX: usize = 24;
const PAGES_MAX: usize = 200;

impl World {
    /// Everything still under way arrives, the network holds, and everybody exchanges until nobody has anything new.
    pub(crate) fn come_to_rest(&mut self) -> Checked<()> {
        for agent in &mut self.agents {
            agent.line = Line::Whole;
            if let Some(sql) = &agent.sql {
                sql.store.disk.fill_for(0);
            }
        }
        for push in std::mem::take(&mut self.slow) {
            self.commit_push(push, Crash::Never)?;
        }
        while !self.network.is_empty() {
            let at = self.rng.index(self.network.len());
            let envelope = self.network.remove(at);
            self.deliver(envelope.agent, envelope.open()?, Crash::Never)?;
        }
        for round in 0..ROUNDS_MAX {
            let mut moved = false;
            for agent in 0..self.agents.len() {
                moved |= self.exchange(agent)?;
            }
            if !moved {
                self.tally.rounds_max = self.tally.rounds_max.max(round as u64);
                return Ok(());
            }
        }
        Err(Failure::new(
            Invariant::ComesToRest,
            format!("still moving after {ROUNDS_MAX} rounds"),
        ))
    }

    /// One undisturbed exchange: pushes and pulls until the agent is at the head. True when anything moved.
    pub(crate) fn exchange(&mut self, agent: usize) -> Checked<bool> {
        let before = self.place_of(agent);
        for _ in 0..PAGES_MAX {
            let pushing = self.send_push(agent, 4_000)?.is_some();
            self.settle_line(agent)?;
            let place = self.place_of(agent);
            let returning = self.send_return(agent, 2_000)?;
            self.settle_line(agent)?;
            if returning {
                continue;
            }
            self.send_pull(agent, 2_000, false)?;
            self.settle_line(agent)?;
            // What it meets may be a new epoch: it pushes again and returns its bases before it is done.
            let returning = self.agents[agent].disk.store.head.returning.is_some();
            if !pushing && !returning && place == self.place_of(agent) {
                return Ok(before != place);
            }
        }
        Err(Failure::new(
            Invariant::ComesToRest,
            format!("agent {agent} never reaches the head"),
        ))
    }

    /// Delivers what was sent for this agent last, answers included.
    pub(crate) fn settle_line(&mut self, agent: usize) -> Checked<()> {
        while let Some(at) = self.network.iter().rposition(|envelope| envelope.agent == agent) {
            let envelope = self.network.remove(at);
            self.deliver(agent, envelope.open()?, Crash::Never)?;
        }
        Ok(())
    }

    fn place_of(&self, agent: usize) -> (EpochId, ReplicaId, u64, Vec<u64>) {
        let store = &self.agents[agent].disk.store;
        (
            store.head.epoch,
            store.head.replica,
            store.head.accepted,
            store.cursor_list().iter().map(|c| c.sequence).collect(),
        )
    }
}
