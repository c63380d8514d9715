//! What befalls agents, the hub, and the line between them.

use sync_protocol::cbor::Raw;
use sync_protocol::hub::{self, Cause};
use sync_protocol::replica::{self, ReplicaError};
use sync_protocol::{EpochId, RecordId, ReplicaId, ScopeId};

use super::network::{Envelope, Line, Message, Opened, SlowPush};
use super::plan::Rates;
use super::records;
use super::rng::Rng;
use super::trace::{Checked, Invariant, Transition, hold};
use super::variant::Variant;
use super::world::{Agent, Crash, World};
use super::writers::{Form, Wish, Writer};

const AGENTS_MAX: usize = 4;
const RECORDED_MAX: usize = 8;
const YEAR_MS: i64 = 365 * 24 * 3_600 * 1_000;
const THIRTY_DAYS_MS: u64 = 30 * 24 * 3_600 * 1_000;

impl World {
    pub(super) fn lose_line(
        &mut self,
        line: &str,
        fault: &'static str,
        lost: impl Fn(usize, bool) -> bool,
    ) -> Checked<()> {
        self.trace.line(line.to_owned());
        self.tally.fault(fault);
        self.network
            .retain(|envelope| !lost(envelope.agent, envelope.message.to_hub()));
        Ok(())
    }

    pub(crate) fn clone_agent(&mut self, agent: usize) -> Checked<()> {
        if self.agents.len() == AGENTS_MAX {
            return Ok(());
        }
        let sql = self.cloned_store(agent)?;
        let original = &self.agents[agent];
        let copy = Agent::new(original.disk.clone(), original.site, original.skew_ms, sql);
        self.agents.push(copy);
        self.tally.fault("agent cloned");
        self.trace
            .line(format!("agent {agent} is cloned as agent {}", self.agents.len() - 1));
        Ok(())
    }

    pub(crate) fn copy_agent(&mut self, agent: usize) -> Checked<()> {
        let copy = self.copied(agent)?;
        self.agents[agent].copy = Some(copy);
        Ok(())
    }

    /// What the agent wrote since the copy and had not pushed is gone with its disk; nobody can be asked for it.
    pub(crate) fn restore_agent(&mut self, agent: usize) -> Checked<()> {
        let Some(copy) = self.agents[agent].copy.clone() else {
            return Ok(());
        };
        let head = copy.disk.store.head;
        let replica: ReplicaId = head.replica;
        self.trace
            .line(format!("agent {agent} is restored to {replica:?}.{}", head.counter));
        self.tally.fault("agent restored from a copy");
        self.put_back(agent, copy)
    }

    pub(crate) fn copy_hub(&mut self) {
        self.hub_copy = Some(self.hub.clone());
        self.trace.line("the hub's store is copied".to_owned());
    }

    /// Whoever runs the hub says that the copy is safe.
    pub(crate) fn confirm_hub_copy(&mut self) {
        if let Some(copy) = &self.hub_copy {
            self.hub.store.confirm(&copy.store);
            self.tally.event("backups confirmed");
            self.trace.line("the hub's copy is confirmed".to_owned());
        }
    }

    /// The hub's store is put back to its copy. The mark beside it is ahead, so the hub begins a new epoch before it writes.
    pub(crate) fn restore_hub(&mut self) -> Checked<()> {
        if self.put_hub_back().is_none() {
            return Ok(());
        }
        let (epoch, replica) = (EpochId(self.rng.id()), ReplicaId(self.rng.id()));
        self.hub_commits(Crash::Never, |disk, _| {
            hub::begin_epoch(&mut disk.store, epoch, replica, Cause::Mark)
        })
        .map(|_| ())
    }

    /// The hub's store is put back to its copy, and the mark beside it with it: the hub knows nothing of it.
    pub(crate) fn put_hub_back(&mut self) -> Option<()> {
        let mut copy = self.hub_copy.clone()?;
        self.tally.fault("hub restored from a copy");
        self.trace.line("the hub is restored from its copy".to_owned());
        copy.store.made_of = self.hub.store.made_of.clone();
        // What the partner did for a task is not undone, and the sites tell of every task again.
        let tasks = self.hub.tasks.iter();
        let put_back = tasks.map(|(key, task)| (key.clone(), task.put_back(copy.tasks.get(key), self.variant)));
        copy.tasks = put_back.collect();
        self.hub = copy;
        // Another process that had taken something up has lost its store as well.
        self.slow.clear();
        Some(())
    }

    pub(super) fn leave(&mut self, rng: &mut Rng) -> Checked<()> {
        let known = self.records[rng.index(self.records.len())];
        let site = self.sites[rng.index(self.sites.len())];
        self.no_longer_needed(site, known.record)
    }

    /// The hub offers the site to forget the record.
    pub(crate) fn no_longer_needed(&mut self, site: ScopeId, record: RecordId) -> Checked<()> {
        self.tally.event("records offered to be forgotten");
        self.trace.line(format!("{site:?} no longer needs {record:?}"));
        self.hub_commits(Crash::Never, |disk, rulebook| {
            disk.left.insert((site, record));
            hub::offer(&mut disk.store, rulebook, site, record)
        })
        .map(|_| ())
    }

    pub(super) fn come_back(&mut self, rng: &mut Rng) -> Checked<()> {
        let left: Vec<_> = self.hub.left.iter().copied().collect();
        match left.get(rng.index(left.len().max(1))) {
            Some((site, record)) => self.needed_again(*site, *record),
            None => Ok(()),
        }
    }

    pub(crate) fn needed_again(&mut self, site: ScopeId, record: RecordId) -> Checked<()> {
        self.tally.event("records needed again");
        self.trace.line(format!("{site:?} needs {record:?} again"));
        self.hub_commits(Crash::Never, |disk, rulebook| {
            disk.left.remove(&(site, record));
            hub::enter(&mut disk.store, rulebook, site, record)
        })
        .map(|_| ())
    }

    pub(super) fn step_clock(&mut self, rng: &mut Rng, agent: usize) -> Checked<()> {
        let range = [5_000, 3_600_000, 40 * YEAR_MS][rng.index(3)];
        self.agents[agent].skew_ms = rng.below(2 * range as u64) as i64 - range;
        self.tally.fault("clock stepped");
        self.trace.line(format!(
            "agent {agent}'s clock is off by {} ms",
            self.agents[agent].skew_ms
        ));
        Ok(())
    }

    pub(super) fn cut_line(&mut self, rng: &mut Rng, agent: usize) -> Checked<()> {
        let line = [Line::Cut, Line::OnlyUp, Line::OnlyDown][rng.index(3)];
        self.agents[agent].line = line;
        let long = line == Line::Cut && rng.per_mille(300);
        if long {
            self.now_ms += THIRTY_DAYS_MS;
        }
        self.tally.fault(match line {
            Line::Cut if long => "line cut for thirty days",
            Line::Cut => "line cut",
            Line::OnlyUp => "line cut downward",
            Line::OnlyDown => "line cut upward",
            Line::Whole => "line whole",
        });
        self.trace
            .line(format!("agent {agent}'s line: {line:?}, for thirty days: {long}"));
        Ok(())
    }

    pub(super) fn mend_line(&mut self, agent: usize) -> Checked<()> {
        // The longest cut is mended first, so that a run has stretches of both.
        let cut = (0..self.agents.len()).find(|at| self.agents[*at].line != Line::Whole);
        let agent = cut.unwrap_or(agent);
        self.agents[agent].line = Line::Whole;
        self.trace.line(format!("agent {agent}'s line is whole"));
        Ok(())
    }

    /// Another hub process takes a push up and is slow: it holds no lock yet. A wrong one has drawn its sequences already.
    pub(super) fn take_up_slowly(&mut self, rng: &mut Rng) -> Checked<()> {
        let pushes: Vec<usize> = (0..self.network.len())
            .filter(|at| self.network[*at].message == Message::Push)
            .collect();
        let Some(at) = rng.pick(&pushes).copied() else {
            return Ok(());
        };
        let envelope = self.network.remove(at);
        if let Opened::Push(request) = envelope.open()? {
            self.take_up(envelope.agent, request);
        }
        Ok(())
    }

    pub(crate) fn take_up(&mut self, agent: usize, request: sync_protocol::wire::PushRequest) {
        self.tally.fault("push taken up by a slow hub process");
        self.trace
            .line(format!("a slow hub process takes up a push of agent {agent}"));
        let drawn = if self.variant == Some(Variant::SequenceWithoutLock) {
            self.hub.store.draw(&self.sites, request.changes.len())
        } else {
            Default::default()
        };
        self.slow.push(SlowPush { agent, request, drawn });
    }

    pub(super) fn slow_commit(&mut self, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        if self.slow.is_empty() {
            return Ok(());
        }
        let push = self.slow.remove(rng.index(self.slow.len()));
        let crash = self.crash(rng, rates);
        self.trace
            .line(format!("the slow hub process commits the push of agent {}", push.agent));
        self.commit_push(push, crash)
    }

    /// A write that is larger than a change may be is refused, and leaves no trace.
    pub(super) fn write_too_much(&mut self, rng: &mut Rng) -> Checked<()> {
        let agent = rng.index(self.agents.len());
        let patient = self.records[0];
        let form = self.open_form(Writer::Agent(agent), patient.record, patient.kind);
        let wish = Wish::field(records::PHONE, &"x".repeat(sync_protocol::CHANGE_MAX_BYTES));
        self.tally.fault("write larger than a change");
        self.tally.took(Transition::WriteTooLarge);
        let draft = self.draft(&form, &wish);
        let change = sync_protocol::ChangeId(self.rng.id());
        let before = self.agents[agent].disk.store.head;
        let mut disk = self.agents[agent].disk.clone();
        disk.store.calls = None;
        let at = disk.clock.tick(self.now_ms);
        let refused = replica::author(&mut disk.store, &draft, &super::writers::stamp(change, at, self.now_ms));
        self.tally.checked(Invariant::TooLargeRefused);
        let is_refused = matches!(refused, Err(ReplicaError::TooLarge { .. }));
        hold(
            Invariant::TooLargeRefused,
            is_refused && disk.store.head == before,
            || format!("agent {agent} took a change that is too large, or moved its head"),
        )
    }

    /// The hub is of a newer version than every agent and writes a field that they don't know.
    pub(super) fn write_unknown(&mut self, rng: &mut Rng) -> Checked<()> {
        let known = self.records[rng.index(self.records.len())];
        let mut form: Form = self.open_form(Writer::Hub, known.record, known.kind);
        let live = self.hub.store.states.get(&known.record);
        let register = live.and_then(|state| state.register(records::NEWER_FIELD));
        let values = register.into_iter().flat_map(|register| &register.values);
        let shown = values.map(|(id, live)| (*id, live.value.clone())).collect();
        form.fields.insert(records::NEWER_FIELD, shown);
        let wish = Wish {
            fields: vec![(records::NEWER_FIELD, Raw::int(rng.below(1_000) as i64))],
            elements: Vec::new(),
        };
        self.tally.event("fields written that no agent knows");
        self.submit(&form, &wish, Crash::Never).map(|_| ())
    }

    pub(super) fn record(&mut self, envelope: &Envelope) {
        self.recorded.push(envelope.clone());
        if self.recorded.len() > RECORDED_MAX {
            self.recorded.remove(0);
        }
    }

    /// Somebody who listened sends again what was delivered before.
    pub(super) fn replay(&mut self, rng: &mut Rng) -> Checked<()> {
        let Some(envelope) = rng.pick(&self.recorded).cloned() else {
            return Ok(());
        };
        self.tally.fault("push replayed");
        self.tally.checked(Invariant::ReplayNothing);
        let before = (self.hub.store.arrivals.len(), self.hub.store.states.clone());
        self.deliver(envelope.agent, envelope.open()?, Crash::Never)?;
        let after = (self.hub.store.arrivals.len(), &self.hub.store.states);
        hold(Invariant::ReplayNothing, (before.0, &before.1) == after, || {
            format!("a push of agent {} that was sent again changed the hub", envelope.agent)
        })
    }
}
