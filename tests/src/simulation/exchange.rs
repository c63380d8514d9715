//! What agents and the hub say to each other in this world, and how they come to rest when nothing disturbs them.

use std::collections::BTreeSet;
use std::sync::Arc;

use sync_protocol::ReplicaId;
use sync_protocol::hub::{self, Standing};
use sync_protocol::replica::{self, Comparison, PageOutcome};
use sync_protocol::wire::{Page, PullReply, PullRequest, PushReply, PushRequest};

use super::network::{Envelope, Message, Opened};
use super::trace::{Checked, Failure, Invariant};
use super::variant::Variant;
use super::world::{Crash, World};

/// So many rounds of exchanges must be enough once the network has healed.
const ROUNDS_MAX: usize = 24;
const PAGES_MAX: usize = 200;

impl World {
    /// Puts the agent's next push on the line; `None` when it has nothing to push.
    pub(crate) fn send_push(&mut self, agent: usize, bytes_max: usize) -> Checked<Option<PushRequest>> {
        let request = self.agent_commits(agent, Crash::Never, |disk| {
            replica::next_push(&mut disk.store, bytes_max)
        })?;
        let Some(request) = request.flatten() else {
            return Ok(None);
        };
        self.trace.line(format!(
            "agent {agent} pushes {:?}.{}..={}",
            request.replica,
            request.after + 1,
            request.after + request.changes.len() as u64
        ));
        // Agents of either protocol speak to the hub.
        let body = if request.after % 2 == 0 {
            request.encode_compact()
        } else {
            request.encode()
        };
        self.send(agent, Message::Push, body);
        Ok(Some(request))
    }

    /// Asks for pages. `busy`: somebody at the site works with whatever the hub offers to forget.
    pub(crate) fn send_pull(&mut self, agent: usize, bytes_max: u64, busy: bool) -> Checked<()> {
        let request = self.agent_commits(agent, Crash::Never, |disk| {
            replica::next_pull(&mut disk.store, bytes_max, 0, |_, _| Ok(busy))
        })?;
        if let Some(request) = request {
            if !request.willing.is_empty() {
                self.tally.event("offers to forget agreed to");
            }
            self.trace.line(format!("agent {agent} pulls as {:?}", request.replica));
            self.send(agent, Message::Pull, request.encode());
        }
        Ok(())
    }

    fn send(&mut self, agent: usize, message: Message, bytes: Vec<u8>) {
        self.trace.bytes(&bytes);
        self.network.push(Envelope {
            agent,
            message,
            bytes: Arc::new(bytes),
        });
    }

    /// What has come over the line reaches its end.
    pub(crate) fn deliver(&mut self, agent: usize, opened: Opened, crash: Crash) -> Checked<()> {
        match opened {
            Opened::Push(request) => self.hub_takes_push(agent, &request, crash),
            Opened::Pull(request) => self.hub_answers_pull(agent, &request, crash),
            Opened::PushReply(reply) => self.agent_takes_reply(agent, &reply, crash),
            Opened::PullReply(reply) => reply
                .pages
                .iter()
                .try_for_each(|page| self.agent_takes_page(agent, page, crash)),
        }
    }

    fn hub_takes_push(&mut self, agent: usize, request: &PushRequest, crash: Crash) -> Checked<()> {
        let (site, sites) = (self.agents[agent].site, self.sites.clone());
        let pushed = self.hub_commits(crash, |disk, rulebook| {
            let pushed = hub::handle_push(&mut disk.store, rulebook, site, request)?;
            for record in &pushed.touched {
                disk.left.remove(&(site, *record));
                World::share(&sites, disk, rulebook, *record)?;
            }
            Ok(pushed)
        })?;
        let Some(pushed) = pushed else { return Ok(()) };
        for record in &pushed.touched {
            self.check_at_hub(*record)?;
        }
        let reply = pushed.reply;
        self.trace.line(format!(
            "hub holds {:?}..={} {:?}",
            reply.replica, reply.accepted, reply.hash
        ));
        if crash == Crash::After {
            self.tally.fault("push reply lost after the commit");
            self.trace.line("the hub crashes after the commit".to_owned());
            return Ok(());
        }
        self.send(agent, Message::PushReply, reply.encode());
        Ok(())
    }

    fn hub_answers_pull(&mut self, agent: usize, request: &PullRequest, crash: Crash) -> Checked<()> {
        let site = self.agents[agent].site;
        let pages = self.hub_commits(crash, |disk, rulebook| {
            hub::handle_willing(&mut disk.store, rulebook, site, request)?;
            hub::handle_pull(&mut disk.store, site, &[], request)
        })?;
        let Some(pages) = pages.filter(|_| crash != Crash::After) else {
            return Ok(());
        };
        let reply = PullReply {
            pages,
            hub_ms: self.now_ms,
            series: None,
            ehr_reached: None,
            ehr_polled_ms: None,
            follows: Vec::new(),
        };
        self.send(agent, Message::PullReply, reply.encode());
        Ok(())
    }

    fn agent_takes_reply(&mut self, agent: usize, reply: &PushReply, crash: Crash) -> Checked<()> {
        let lies = self.variant == Some(Variant::NoRebirth);
        let comparison = self.agent_commits(agent, crash, |disk| {
            if lies {
                disk.store.adopt(reply.replica, reply.accepted, reply.hash);
            }
            replica::handle_push_reply(&mut disk.store, reply)
        })?;
        match comparison {
            Some(comparison) => self.after_comparison(agent, comparison, crash),
            None => Ok(()),
        }
    }

    fn agent_takes_page(&mut self, agent: usize, page: &Page, crash: Crash) -> Checked<()> {
        let (lies, now_ms, key) = (
            self.variant == Some(Variant::NoRebirth),
            self.wall_ms(agent),
            self.key.clone(),
        );
        let outcome = self.agent_commits(agent, crash, |disk| {
            if lies {
                disk.store.adopt(page.replica, page.accepted, page.hash);
            }
            let outcome = replica::handle_page(&mut disk.store, &key, page)?;
            if let PageOutcome::Applied(applied) = &outcome {
                disk.clock.observe(applied.latest, now_ms);
            }
            Ok(outcome)
        })?;
        let applied = match outcome {
            None => return Ok(()),
            Some(PageOutcome::OtherCursor) => {
                self.trace.line(format!("agent {agent} drops a page of another cursor"));
                return Ok(());
            }
            Some(PageOutcome::NotApplied(comparison)) => return self.after_comparison(agent, comparison, crash),
            Some(PageOutcome::Applied(applied)) => applied,
        };
        self.trace.line(format!(
            "agent {agent} applies {:?} {}..={}: {} records, {} settled",
            page.lane,
            page.from,
            page.to,
            applied.records.len(),
            applied.settled
        ));
        self.check_page(agent, &applied)
    }

    fn after_comparison(&mut self, agent: usize, comparison: Comparison, crash: Crash) -> Checked<()> {
        match comparison {
            Comparison::Same => Ok(()),
            Comparison::Stale | Comparison::HubWentBack { .. } => {
                self.tally.event("answers to an older question");
                self.trace.line(format!("agent {agent} drops an older answer"));
                Ok(())
            }
            Comparison::Lost(lost) => {
                self.trace.line(format!("agent {agent} finds {lost:?}"));
                self.reborn(agent, crash)
            }
        }
    }

    /// Takes a fresh incarnation, as on a fork, a regression, or a local witness that does not match.
    pub(crate) fn reborn(&mut self, agent: usize, crash: Crash) -> Checked<()> {
        let to = ReplicaId(self.rng.id());
        let reborn = self.agent_commits(agent, crash, |disk| replica::rebirth(&mut disk.store, to))?;
        let Some(reborn) = reborn else { return Ok(()) };
        self.tally.event("rebirths");
        self.trace.line(format!(
            "agent {agent} is reborn as {:?} with {} changes",
            reborn.to, reborn.changes
        ));
        let records: BTreeSet<_> = self.agents[agent]
            .disk
            .store
            .unsettled()
            .map(|own| own.header.record)
            .collect();
        records
            .into_iter()
            .try_for_each(|record| self.check_at_agent(agent, record))
    }

    /// The schema now knows the forms of the next level: what waited for it is tried again.
    pub(crate) fn release(&mut self, level: u8) -> Checked<()> {
        self.hub.schema = self.hub.schema.max(level);
        self.trace
            .line(format!("the hub learns forms up to {}", self.hub.schema));
        for (change, _) in self.hub.store.quarantined() {
            let released = self.hub_commits(Crash::Never, |disk, rulebook| {
                hub::release(&mut disk.store, rulebook, change)
            })?;
            let standing = self.hub.store.first_of(change).map(|kept| kept.standing);
            let known = self
                .log
                .get(&change)
                .is_some_and(|meant| meant.form_level <= self.hub.schema);
            if (released == Some(true)) != known || known != (standing == Some(Standing::Applied)) {
                let detail = format!("{change:?}: understood {known}, released {released:?}, {standing:?}");
                return Err(Failure::new(Invariant::QuarantineIsAdmission, detail));
            }
            if let Some(meant) = self.log.get(&change).filter(|_| known) {
                self.tally.event("changes released from quarantine");
                self.check_at_hub(meant.record)?;
            }
        }
        Ok(())
    }

    /// Everything still under way arrives, the network holds, and everybody exchanges until nobody has anything new.
    pub(crate) fn come_to_rest(&mut self) -> Checked<()> {
        while !self.network.is_empty() {
            let at = self.rng.index(self.network.len());
            let envelope = self.network.remove(at);
            self.deliver(envelope.agent, envelope.open()?, Crash::Never)?;
        }
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for agent in 0..self.agents.len() {
                moved |= self.exchange(agent)?;
            }
            if !moved {
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
            self.send_pull(agent, 2_000, false)?;
            self.settle_line(agent)?;
            if !pushing && place == self.place_of(agent) {
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

    fn place_of(&self, agent: usize) -> (ReplicaId, u64, Vec<u64>) {
        let store = &self.agents[agent].disk.store;
        (
            store.head.replica,
            store.head.accepted,
            store.cursor_list().iter().map(|c| c.sequence).collect(),
        )
    }
}
