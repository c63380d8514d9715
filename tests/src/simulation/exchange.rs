//! What agents and the hub say to each other in this world.

use std::collections::BTreeSet;
use std::sync::Arc;

use sync_protocol::hub::{self, Standing};
use sync_protocol::replica::{self, Comparison, Entered, Lost, PageOutcome, PushedUpTo};
use sync_protocol::wire::{
    EpochReply, EpochRequest, Page, PullReply, PullRequest, PushReply, PushRequest, ReturnRequest, Told,
};
use sync_protocol::{BootClock, Dot, EpochId, Hash, RecordId, ReplicaId};

use super::lies;
use super::network::SlowPush;
use super::network::{Envelope, Message, Opened};
use super::trace::{Checked, Failure, Invariant, Transition, hold};
use super::variant::Variant;
use super::world::{Crash, World};
use super::writers::BOOT;

impl World {
    /// Puts the agent's next push on the line; `None` when it has nothing to push.
    pub(crate) fn send_push(&mut self, agent: usize, bytes_max: usize) -> Checked<Option<PushRequest>> {
        let request = self.agent_commits(agent, Crash::Never, |disk| {
            replica::next_push(&mut disk.store, bytes_max)
        })?;
        let Some(request) = request.flatten() else {
            return Ok(None);
        };
        let sent = PushedUpTo::of(&request);
        let next = self.agent_commits(agent, Crash::Never, |disk| {
            replica::push_after(&mut disk.store, &sent, bytes_max)
        })?;
        self.agents[agent].ready = next.flatten().map(|next| (sent, next));
        self.pushes(agent, request.clone());
        Ok(Some(request))
    }

    fn pushes(&mut self, agent: usize, mut request: PushRequest) {
        request.clock = Some(BootClock {
            boot: BOOT,
            zero_ms: 0,
            monotonic_ms: self.now_ms,
            wall_ms: self.wall_ms(agent),
        });
        self.trace.line(format!(
            "agent {agent} pushes {:?}.{}..={}",
            request.replica,
            request.after + 1,
            request.after + request.changes.len() as u64
        ));
        // Agents of either protocol speak to the hub.
        let body = if request.after.is_multiple_of(2) {
            request.encode_compact()
        } else {
            request.encode()
        };
        self.send(agent, Message::Push, body);
    }

    /// Asks for pages. `busy`: somebody at the site works with whatever the hub offers to forget.
    pub(crate) fn send_pull(&mut self, agent: usize, bytes_max: u64, busy: bool) -> Checked<()> {
        let key = self.key.clone();
        // Agents of either kind speak to the hub: some never ask for a digest.
        let takes_digest = agent.is_multiple_of(2) && !std::mem::take(&mut self.agents[agent].wants_pages);
        let request = self.agent_commits(agent, Crash::Never, |disk| {
            let mut request = replica::next_pull(&mut disk.store, bytes_max, 0, |_, _| Ok(busy))?;
            if disk.store.variant == Some(Variant::PurgeThenAcknowledge) {
                lies::purge_at_once(&mut disk.store, &key, &request);
            }
            if takes_digest {
                replica::ask_for_digest(&mut disk.store, &mut request)?;
            }
            Ok(request)
        })?;
        if let Some(request) = request {
            if !request.willing.is_empty() {
                self.tally.event("offers to forget agreed to");
            }
            self.trace.line(format!("agent {agent} pulls as {:?}", request.replica));
            self.send(agent, Message::Pull, request.encode());
            self.agents[agent].asked = Some(request);
        }
        Ok(())
    }

    /// Asks for what follows an answer before any of that is applied.
    fn ask_beyond(&mut self, agent: usize, reply: &PullReply) {
        let is_answer = |asked: &mut PullRequest| {
            let begins = |page: &Page| (page.epoch, page.replica, page.scope, page.lane, page.from);
            let cursors = asked.cursors.iter();
            let asked: BTreeSet<_> = cursors
                .map(|cursor| (asked.epoch, asked.replica, cursor.scope, cursor.lane, cursor.sequence))
                .collect();
            reply.pages.iter().all(|page| asked.contains(&begins(page)))
        };
        let asked = self.agents[agent].asked.take_if(is_answer);
        let Some(next) = asked.and_then(|asked| replica::pull_after(&asked, &reply.pages)) else {
            return;
        };
        self.tally.event("questions beyond an answer that was not applied yet");
        self.trace.line(format!("agent {agent} pulls beyond the answer"));
        self.send(agent, Message::Pull, next.encode());
        self.agents[agent].asked = Some(next);
    }

    fn send(&mut self, agent: usize, message: Message, bytes: Vec<u8>) {
        self.trace.bytes(&bytes);
        if !self.agents[agent].line.carries(message) {
            self.tally.fault("message into a cut line");
            return;
        }
        self.network.push(Envelope {
            agent,
            message,
            bytes: Arc::new(bytes),
            is_of_nobody: false,
        });
    }

    /// What has come over the line reaches its end.
    pub(crate) fn deliver(&mut self, agent: usize, opened: Opened, crash: Crash) -> Checked<()> {
        match opened {
            Opened::Push(request) => self.hub_takes_push(agent, &request, crash),
            Opened::Pull(request) => {
                if let Some(reply) = self.hub_answers_pull(agent, &request, crash)? {
                    self.send(agent, Message::PullReply, reply.encode());
                }
                Ok(())
            }
            Opened::PullOfNobody(request) => self.hub_answers_pull(agent, &request, crash).map(|_| ()),
            Opened::PushReply(reply) => self.agent_takes_reply(agent, &reply, crash),
            Opened::PullReply(PullReply {
                at_rest: Some(digest), ..
            }) => self.agent_takes_digest(agent, digest, crash),
            Opened::PullReply(reply) => {
                self.ask_beyond(agent, &reply);
                reply
                    .pages
                    .iter()
                    .try_for_each(|page| self.agent_takes_page(agent, page, crash))
            }
            Opened::Epoch(request) => self.hub_answers_epoch(agent, &request, crash),
            Opened::EpochReply(reply) => self.agent_takes_epoch(agent, &reply, crash),
            Opened::Return(request) => self.hub_takes_return(agent, &request, crash),
            Opened::ReturnReply(reply) => self
                .agent_commits(agent, crash, |disk| {
                    replica::handle_return_reply(&mut disk.store, &reply)
                })
                .map(|_| ()),
            Opened::Refusal(_) => self.send_epoch(agent),
        }
    }

    fn hub_takes_push(&mut self, agent: usize, request: &PushRequest, crash: Crash) -> Checked<()> {
        let slow = SlowPush {
            agent,
            request: request.clone(),
            drawn: Default::default(),
        };
        self.commit_push(slow, crash)
    }

    /// A hub process takes its locks, does what a push asks, and commits.
    pub(crate) fn commit_push(&mut self, push: SlowPush, crash: Crash) -> Checked<()> {
        let SlowPush { agent, request, drawn } = push;
        let (site, sites) = (self.agents[agent].site, self.sites.clone());
        let request = lies::as_taken(&self.hub, request);
        if let Some(reply) = lies::known_by_counter(&self.hub.store, &request) {
            self.send(agent, Message::PushReply, reply.encode());
            return Ok(());
        }
        let pushed = self.hub_commits(crash, |disk, rulebook| {
            lies::before_push(&mut disk.store, &request, drawn);
            let pushed = hub::handle_push(&mut disk.store, rulebook, site, &request)?;
            for record in &pushed.touched {
                disk.left.remove(&(site, *record));
                World::share(&sites, disk, rulebook, *record)?;
            }
            lies::after_push(&mut disk.store);
            Ok(pushed)
        });
        let Some(pushed) = self.or_refused(agent, pushed)? else {
            return Ok(());
        };
        for record in &pushed.touched {
            self.check_at_hub(*record)?;
        }
        self.note_standings(&request);
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

    fn note_standings(&mut self, request: &PushRequest) {
        let dots = (request.after + 1..).zip(&request.changes).map(|(counter, _)| Dot {
            replica: request.replica,
            counter,
        });
        for dot in dots {
            if let Some(kept) = self.hub.store.kept.get(&dot) {
                self.tally.took(match kept.standing {
                    Standing::Applied => Transition::ChangeApplied,
                    Standing::Quarantined(_) => Transition::ChangeQuarantined,
                    Standing::Alias => Transition::ChangeAliased,
                });
            }
        }
    }

    fn hub_answers_pull(&mut self, agent: usize, request: &PullRequest, crash: Crash) -> Checked<Option<PullReply>> {
        let site = self.agents[agent].site;
        let request = self.as_remembered(request);
        let pages = self.hub_commits(crash, |disk, rulebook| {
            hub::handle_willing(&mut disk.store, rulebook, site, &request)?;
            let mut pages = hub::handle_pull(&mut disk.store, &rulebook.seal, site, &[], &request)?;
            lies::root_of_all_lanes(&mut disk.store, &mut pages)?;
            Ok(pages)
        });
        let pages = self.or_refused(agent, pages)?;
        let Some(pages) = pages.filter(|_| crash != Crash::After) else {
            return Ok(None);
        };
        let at_rest = request.digest_of(&pages);
        Ok(Some(PullReply {
            pages: if at_rest.is_some() { Vec::new() } else { pages },
            hub_ms: self.now_ms,
            series: None,
            ehr_reached: None,
            ehr_polled_ms: None,
            follows: Vec::new(),
            at_rest,
        }))
    }

    /// Asks which epoch the hub is of, and shows what it said before.
    pub(crate) fn send_epoch(&mut self, agent: usize) -> Checked<()> {
        let request = self.agent_commits(agent, Crash::Never, |disk| replica::epoch_request(&mut disk.store))?;
        if let Some(request) = request {
            self.trace.line(format!("agent {agent} asks for the epoch"));
            self.send(agent, Message::Epoch, request.encode());
        }
        Ok(())
    }

    fn hub_answers_epoch(&mut self, agent: usize, request: &EpochRequest, crash: Crash) -> Checked<()> {
        let site = self.agents[agent].site;
        let next = (EpochId(self.rng.id()), ReplicaId(self.rng.id()));
        let found = self.hub_commits(crash, |disk, rulebook| {
            hub::handle_epoch(&mut disk.store, rulebook, site, request, next)
        })?;
        let Some(found) = found else { return Ok(()) };
        if found.begun {
            self.tally.event("epochs begun on an agent's word");
            self.trace
                .line(format!("agent {agent} shows that the hub has gone back"));
        }
        if crash != Crash::After {
            self.send(agent, Message::EpochReply, found.reply.encode());
        }
        Ok(())
    }

    fn agent_takes_epoch(&mut self, agent: usize, reply: &EpochReply, crash: Crash) -> Checked<()> {
        let to = ReplicaId(self.rng.id());
        let entered = self.agent_commits(agent, crash, |disk| {
            replica::handle_epoch_reply(&mut disk.store, reply, to)
        })?;
        if let Some(Entered::New(reborn)) = entered {
            self.tally.event("new epochs entered");
            self.trace.line(format!(
                "agent {agent} enters the new epoch as {:?} with {} changes",
                reborn.to, reborn.changes
            ));
        }
        Ok(())
    }

    /// Puts the agent's next return on the line; false when it has nothing to return.
    pub(crate) fn send_return(&mut self, agent: usize, bytes_max: usize) -> Checked<bool> {
        let request = self.agent_commits(agent, Crash::Never, |disk| {
            replica::next_return(&mut disk.store, bytes_max)
        })?;
        let Some(request) = request.flatten() else {
            return Ok(false);
        };
        self.trace
            .line(format!("agent {agent} returns {} states", request.states.len()));
        self.send(agent, Message::Return, request.encode());
        Ok(true)
    }

    fn hub_takes_return(&mut self, agent: usize, request: &ReturnRequest, crash: Crash) -> Checked<()> {
        let (site, sites) = (self.agents[agent].site, self.sites.clone());
        let taken = self.hub_commits(crash, |disk, rulebook| {
            for returned in &request.states {
                disk.store.note_return(returned.record, &returned.signature);
            }
            let taken = hub::handle_return(&mut disk.store, rulebook, site, &[], request)?;
            for record in &taken.touched {
                disk.left.remove(&(site, *record));
                World::share(&sites, disk, rulebook, *record)?;
            }
            Ok(taken)
        });
        let Some(taken) = self.or_refused(agent, taken)? else {
            return Ok(());
        };
        hold(Invariant::NothingLost, taken.reply.refused == 0, || {
            format!("{} states of agent {agent} were refused", taken.reply.refused)
        })?;
        self.tally.event("states returned");
        for record in &taken.touched {
            self.check_at_hub(*record)?;
        }
        if crash != Crash::After {
            self.send(agent, Message::ReturnReply, taken.reply.encode());
        }
        Ok(())
    }

    /// A request of another epoch is answered with the hub's.
    fn or_refused<T>(&mut self, agent: usize, outcome: Checked<Option<T>>) -> Checked<Option<T>> {
        match outcome {
            Err(failure) if failure.invariant == Invariant::OldEpochRefused => {
                self.tally.checked(Invariant::OldEpochRefused);
                self.trace
                    .line(format!("a request of agent {agent} is refused: {}", failure.detail));
                let refusal = EpochReply {
                    epoch: self.hub.store.epoch_now(),
                    held: Vec::new(),
                };
                self.send(agent, Message::Refusal, refusal.encode());
                Ok(None)
            }
            other => other,
        }
    }

    fn agent_takes_reply(&mut self, agent: usize, reply: &PushReply, crash: Crash) -> Checked<()> {
        let comparison = self.agent_commits(agent, crash, |disk| {
            if disk.store.variant == Some(Variant::NoRebirth) {
                disk.store.adopt(reply.replica, reply.accepted, reply.hash);
            }
            let comparison = replica::handle_push_reply(&mut disk.store, reply)?;
            if disk.store.variant == Some(Variant::DropAtAccepted) {
                lies::drop_accepted(&mut disk.store)?;
            }
            Ok(comparison)
        })?;
        let Some(comparison) = comparison else { return Ok(()) };
        self.tally.took(match comparison {
            Comparison::Same => Transition::ReplySame,
            Comparison::Stale => Transition::ReplyStale,
            Comparison::Lost(Lost::Fork { .. }) => Transition::ReplyFork,
            Comparison::Lost(Lost::Regression { .. }) => Transition::ReplyRegression,
            Comparison::HubWentBack { .. } => Transition::ReplyHubWentBack,
        });
        if comparison == Comparison::Same {
            for record in self.own_records(agent) {
                self.check_at_agent(agent, record)?;
            }
        }
        let goes_on = comparison == Comparison::Same;
        let ready = self.agents[agent].ready.take_if(|(sent, _)| sent.is_held(reply));
        if let Some((_, next)) = ready.filter(|_| goes_on) {
            self.tally.event("runs sent that were made ready before");
            self.pushes(agent, next);
        }
        self.after_comparison(agent, comparison, crash)
    }

    fn agent_takes_page(&mut self, agent: usize, page: &Page, crash: Crash) -> Checked<()> {
        let (now_ms, key) = (self.wall_ms(agent), self.key.clone());
        let outcome = self.agent_commits(agent, crash, |disk| {
            if disk.store.variant == Some(Variant::NoRebirth) {
                disk.store.adopt(page.replica, page.accepted, page.hash);
            }
            let page = lies::as_believed(&disk.store, page);
            let hidden = lies::hide_returning(&mut disk.store);
            let mut outcome = replica::handle_page(&mut disk.store, &key, &page)?;
            lies::show_returning(&mut disk.store, hidden);
            lies::compare_all_lanes(&mut disk.store, &page, &mut outcome)?;
            if let PageOutcome::Applied(applied) = &outcome {
                disk.clock.observe(applied.latest, now_ms);
            }
            Ok(outcome)
        })?;
        self.tally.took(match &outcome {
            None => Transition::PageCrashed,
            Some(PageOutcome::Applied(_)) => Transition::PageApplied,
            Some(PageOutcome::OtherCursor) => Transition::PageOtherCursor,
            Some(PageOutcome::NotApplied(Comparison::Same | Comparison::Stale)) => Transition::PageStale,
            Some(PageOutcome::NotApplied(Comparison::Lost(Lost::Fork { .. }))) => Transition::PageFork,
            Some(PageOutcome::NotApplied(Comparison::Lost(Lost::Regression { .. }))) => Transition::PageRegression,
            Some(PageOutcome::NotApplied(Comparison::HubWentBack { .. })) => Transition::PageHubWentBack,
        });
        let applied = match outcome {
            None => return Ok(()),
            Some(PageOutcome::OtherCursor) => {
                self.trace.line(format!("agent {agent} drops a page of another cursor"));
                return Ok(());
            }
            Some(PageOutcome::NotApplied(comparison)) => return self.after_comparison(agent, comparison, crash),
            Some(PageOutcome::Applied(applied)) => applied,
        };
        for row in &page.rows {
            self.tally.took(match &row.told {
                Told::State { offered: false, .. } => Transition::RowLive,
                Told::State { offered: true, .. } => Transition::RowOffered,
                Told::Gone { .. } => Transition::RowGone,
            });
        }
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

    /// Nothing was new at the hub: every lane is proven at once, or pages are asked for.
    fn agent_takes_digest(&mut self, agent: usize, digest: Hash, crash: Crash) -> Checked<()> {
        let Some(asked) = self.agents[agent].asked.take() else {
            return Ok(());
        };
        let compared = self.agent_commits(agent, crash, |disk| {
            replica::compare_digest(&mut disk.store, &asked, digest)
        })?;
        let Some(proven) = compared else { return Ok(()) };
        if let Some(lanes) = proven {
            self.tally.took(Transition::DigestEqual);
            self.trace
                .line(format!("agent {agent} is told in one that nothing is new"));
            return self.check_proven(agent, &lanes);
        }
        self.tally.took(Transition::DigestDiffers);
        self.trace
            .line(format!("agent {agent} has another digest and asks for pages"));
        self.agents[agent].wants_pages = true;
        // To no offer is agreed on the way.
        self.send_pull(agent, asked.bytes_max, true)
    }

    fn after_comparison(&mut self, agent: usize, comparison: Comparison, crash: Crash) -> Checked<()> {
        match comparison {
            Comparison::Same => Ok(()),
            Comparison::HubWentBack { .. } => {
                self.tally.event("answers that say less than before");
                self.send_epoch(agent)
            }
            Comparison::Stale => {
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
        self.tally.took(Transition::Reborn);
        let records = self.own_records(agent);
        records
            .into_iter()
            .try_for_each(|record| self.check_at_agent(agent, record))
    }

    /// The records with own changes that no base has.
    fn own_records(&self, agent: usize) -> BTreeSet<RecordId> {
        let store = &self.agents[agent].disk.store;
        store.unsettled().map(|own| own.header.record).collect()
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
                self.tally.took(Transition::ChangeReleased);
                self.check_at_hub(meant.record)?;
            }
        }
        Ok(())
    }
}
