//! Agents' stores on disks: how a transaction is committed to one, and what becomes of an agent whose disk fails.

use std::collections::VecDeque;

use super::disk::Image;
use super::network::Message;
use super::rng::Rng;
use super::sql_store::{self, Prints, SqlStore, Wrote, writes};
use super::trace::{Checked, Failure, Invariant, hold};
use super::world::{AgentDisk, Crash, World};

/// So many states an agent's disk may go back to when it lies: more than its log holds.
const PAST_MAX: usize = 64;

pub(crate) struct OnDisk {
    pub(crate) store: SqlStore,
    /// What the store held after each commit, the latest last.
    past: VecDeque<AgentDisk>,
}

/// An agent's files as they were copied, and what they hold.
#[derive(Clone)]
pub(crate) struct Copy {
    pub(crate) disk: AgentDisk,
    image: Option<Image>,
}

/// What became of a transaction.
#[derive(Clone, std::marker::Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stored {
    Kept,
    Lost,
}

/// Whether the disk did what it said.
#[derive(Clone, std::marker::Copy, PartialEq, Eq, Debug)]
enum Word {
    Kept,
    /// It confirmed syncs and lost them.
    Broken,
    /// It changed what it held in the file of pages, each of which bears a proof of its own.
    Flipped,
    /// It changed what it held in the log, of which the engine then leaves out the rest, be it in the file already or not.
    FlippedLog,
}

fn unsound(detail: String) -> Failure {
    Failure::new(Invariant::EngineSound, detail)
}

impl World {
    /// The store on a disk of a new agent, where agents have one.
    pub(crate) fn store_of(&mut self, disk: &AgentDisk) -> Option<OnDisk> {
        if self.backing == super::plan::Backing::Memory {
            return None;
        }
        match SqlStore::new(disk.store.head, disk.store.cursor_list()) {
            Ok(store) => Some(OnDisk {
                store,
                past: VecDeque::from([disk.clone()]),
            }),
            Err(error) => {
                self.broken_machine = Some(error);
                None
            }
        }
    }

    pub(crate) fn cloned_store(&mut self, agent: usize) -> Checked<Option<OnDisk>> {
        let Some(sql) = &self.agents[agent].sql else {
            return Ok(None);
        };
        let cloned = OnDisk {
            store: sql.store.cloned().map_err(unsound)?,
            past: VecDeque::from([self.agents[agent].disk.clone()]),
        };
        self.check_store(&cloned, agent)?;
        Ok(Some(cloned))
    }

    pub(crate) fn copied(&self, agent: usize) -> Checked<Copy> {
        let image = self.agents[agent].sql.as_ref().map(|sql| sql.store.image());
        Ok(Copy {
            disk: self.agents[agent].disk.clone(),
            image: image.transpose().map_err(unsound)?,
        })
    }

    pub(crate) fn put_back(&mut self, agent: usize, copy: Copy) -> Checked<()> {
        self.connections_break(agent);
        self.agents[agent].disk = copy.disk.clone();
        if let (Some(sql), Some(image)) = (&mut self.agents[agent].sql, &copy.image) {
            sql.store.restore(image).map_err(unsound)?;
            sql.past = VecDeque::from([copy.disk]);
        }
        match self.agents[agent].sql.take() {
            Some(sql) => {
                let same = self.check_store(&sql, agent);
                self.agents[agent].sql = Some(sql);
                same
            }
            None => Ok(()),
        }
    }

    /// The process that asked for pages is gone, and its connections with it. A page of before, for a cursor that is reached
    /// anew by later pages, would be of another moment than these, and no line can bring it (SPEC 11).
    fn connections_break(&mut self, agent: usize) {
        self.network
            .retain(|envelope| (envelope.agent, envelope.message) != (agent, Message::PullReply));
        for envelope in &mut self.network {
            envelope.is_of_nobody |= (envelope.agent, envelope.message) == (agent, Message::Pull);
        }
        self.agents[agent].asked = None;
    }

    /// The store on the disk holds what the one in memory does.
    fn check_store(&mut self, sql: &OnDisk, agent: usize) -> Checked<()> {
        self.tally.checked(Invariant::StoreAsModel);
        let records = self.record_ids();
        let expected = self.print_of(&self.agents[agent].disk.clone());
        hold(
            Invariant::StoreAsModel,
            sql.store.fingerprint(records) == expected,
            || format!("agent {agent}'s store on its disk holds something else"),
        )?;
        self.tally.checked(Invariant::StoreAsModel);
        let rotted = sql.store.show_anew();
        hold(Invariant::StoreAsModel, rotted == 0, || {
            format!("agent {agent} finds rot in what it shows of {rotted} records, and there is none")
        })
    }

    fn record_ids(&self) -> Vec<sync_protocol::RecordId> {
        self.records.iter().map(|known| known.record).collect()
    }

    fn print_of(&self, disk: &AgentDisk) -> Option<Prints> {
        let mut store = disk.store.clone();
        store.calls = None;
        sql_store::fingerprint(&mut store, &self.record_ids()).ok()
    }

    /// Commits what was done in memory to the disk as well, where there is one.
    pub(crate) fn stores(&mut self, agent: usize, mut after: AgentDisk, crash: Crash) -> Checked<Stored> {
        let calls = after.store.calls.take();
        let (Some(calls), Some(sql)) = (calls, &mut self.agents[agent].sql) else {
            self.agents[agent].disk = after;
            return Ok(Stored::Kept);
        };
        let changes = calls.iter().any(writes);
        if let (Crash::During(steps), true) = (crash, changes) {
            sql.store.disk.cut_power_after(steps % 12);
        }
        let wrote = sql.store.play(calls);
        sql.store.disk.keep_power();
        if sql.store.disk.is_dead() {
            self.tally.fault("power cut at a write or sync");
            return self.power_returns(agent, Some(after));
        }
        self.tally.checked(Invariant::StoreAsModel);
        match wrote {
            Wrote::Kept => {
                sql.past.push_back(after.clone());
                if sql.past.len() > PAST_MAX {
                    sql.past.pop_front();
                }
                self.agents[agent].disk = after;
                if crash == Crash::After && changes {
                    self.tally.fault("power cut after a commit");
                    return self.power_returns(agent, None).map(|_| Stored::Kept);
                }
                Ok(Stored::Kept)
            }
            Wrote::Refused(why) => {
                self.tally.fault(why);
                self.trace.line(format!("agent {agent}'s store refuses a write: {why}"));
                self.recheck(agent)?;
                Ok(Stored::Lost)
            }
            Wrote::Damaged => {
                self.lost_machine(agent, "its store says that it is damaged")?;
                Ok(Stored::Lost)
            }
            Wrote::Differs(how) => Err(Failure::new(Invariant::StoreAsModel, format!("agent {agent}: {how}"))),
        }
    }

    pub(crate) fn recheck(&mut self, agent: usize) -> Checked<()> {
        let Some(sql) = self.agents[agent].sql.take() else {
            return Ok(());
        };
        let same = self.check_store(&sql, agent);
        self.agents[agent].sql = Some(sql);
        same
    }

    /// Power is back at an agent's. `under_way` is what it was committing, which may be there or not.
    fn power_returns(&mut self, agent: usize, under_way: Option<AgentDisk>) -> Checked<Stored> {
        let mut rng = Rng::seeded(self.rng.draw());
        let Some(sql) = &mut self.agents[agent].sql else {
            return Ok(Stored::Lost);
        };
        let word = if sql.store.disk.has_lost_syncs() {
            Word::Broken
        } else {
            Word::Kept
        };
        let opened = sql.store.power_cut(&mut rng).map_err(|error| error.to_string());
        self.found_again(agent, word, opened, under_way)
    }

    /// Finds out what an agent's store holds after its disk failed. A disk that kept its word has lost nothing; one that did
    /// not may have gone back, or be damaged and say so.
    fn found_again(
        &mut self,
        agent: usize,
        word: Word,
        opened: Result<(), String>,
        under_way: Option<AgentDisk>,
    ) -> Checked<Stored> {
        let invariant = match word {
            Word::Kept => Invariant::SurvivesPowerCut,
            Word::Broken | Word::Flipped | Word::FlippedLog => Invariant::NeverWrongData,
        };
        self.tally.checked(invariant);
        let records = self.record_ids();
        let found = match (&opened, &self.agents[agent].sql) {
            (Ok(()), Some(sql)) => sql.store.fingerprint(records),
            (Ok(()) | Err(_), _) => None,
        };
        if found.is_some() && found == under_way.as_ref().and_then(|disk| self.print_of(disk)) {
            self.trace.line(format!("agent {agent} comes back after its commit"));
            if let Some(disk) = under_way {
                self.agents[agent].disk = disk;
                self.connections_break(agent);
            }
            self.forget_past(agent);
            return Ok(Stored::Kept);
        }
        if found.is_some() && found == self.print_of(&self.agents[agent].disk) {
            self.trace.line(format!("agent {agent} comes back as it was"));
            self.forget_past(agent);
            return Ok(Stored::Lost);
        }
        if word == Word::Kept {
            let how = opened.err().unwrap_or_else(|| "it holds something else".to_owned());
            return Err(Failure::new(
                invariant,
                format!("agent {agent}'s store after a power cut: {how}"),
            ));
        }
        let past = self.agents[agent]
            .sql
            .as_ref()
            .map(|sql| sql.past.clone())
            .unwrap_or_default();
        let mut found = found;
        if let Some(sql) = self.agents[agent].sql.as_ref().filter(|_| found.is_some())
            && sql.store.show_anew() > 0
        {
            self.tally.fault("store that showed something else than it held");
            self.trace.line(format!("agent {agent} shows anew what it holds"));
            found = sql.store.fingerprint(self.record_ids());
        }
        let earlier = past
            .iter()
            .rev()
            .find(|disk| found.is_some() && self.print_of(disk) == found);
        if let Some(disk) = earlier {
            self.tally.fault("store gone back to an earlier state");
            self.trace.line(format!("agent {agent}'s store has gone back"));
            self.agents[agent].disk = disk.clone();
            self.connections_break(agent);
            self.forget_past(agent);
            return Ok(Stored::Lost);
        }
        if let Some(disk) = found.as_ref().and_then(|found| self.with_older_word(&past, found)) {
            self.tally.fault("store gone back to an earlier word of the hub");
            self.trace.line(format!(
                "agent {agent}'s store has gone back, in the hub's word further than in the rest"
            ));
            self.agents[agent].disk = disk;
            self.connections_break(agent);
            self.forget_past(agent);
            return Ok(Stored::Lost);
        }
        let sql = self.agents[agent].sql.as_ref();
        if found.is_some() && sql.is_some_and(|sql| !sql.store.is_enrolled()) {
            return self
                .lost_machine(agent, "its store was never enrolled")
                .map(|()| Stored::Lost);
        }
        let sound = sql.is_some_and(|sql| sql.store.is_sound(&self.key));
        let nearest = past
            .iter()
            .filter_map(|disk| self.print_of(disk)?.differences(found.as_ref()?).into());
        let nearest = nearest.min_by_key(Vec::len).unwrap_or_default();
        let mixed_by = match word {
            Word::Broken => Some((
                "store mixed by lost syncs, not noticed by itself",
                "its disk lost syncs",
            )),
            Word::FlippedLog => Some((
                "store mixed by a broken log, not noticed by itself",
                "its log broke off",
            )),
            Word::Kept | Word::Flipped => None,
        };
        if let Some((fault, why)) = mixed_by.filter(|_| found.is_some() && sound) {
            // Pages of several moments, each of them whole: no check of ours knows that they do not belong together. It is
            // counted and not excused; the machine is taken out of use.
            self.tally.fault(fault);
            self.trace
                .line(format!("agent {agent}'s store is of several moments, in {nearest:?}"));
            return self.lost_machine(agent, why).map(|()| Stored::Lost);
        }
        hold(invariant, !(found.is_some() && sound), || {
            format!(
                "agent {agent}'s store finds itself sound, and differs from all that it ever held, at best in {nearest:?}"
            )
        })?;
        self.lost_machine(agent, "its store says that it is damaged")?;
        Ok(Stored::Lost)
    }

    /// The state that is `found`, if all of it is of one moment but for a word of the hub's that is of an earlier one. An agent
    /// that missed the hub's later word holds the same: it says less than is so, and nothing that is not.
    fn with_older_word(&self, past: &VecDeque<AgentDisk>, found: &Prints) -> Option<AgentDisk> {
        let of_one_moment = |disk: &AgentDisk| {
            let print = self.print_of(disk);
            print.is_some_and(|print| print.differences(found) == ["words"])
        };
        let rest = past.iter().rposition(of_one_moment)?;
        past.iter().take(rest).rev().find_map(|earlier| {
            let mut mixed = past[rest].clone();
            mixed.store.take_words_of(&earlier.store);
            (self.print_of(&mixed).as_ref() == Some(found)).then_some(mixed)
        })
    }

    fn forget_past(&mut self, agent: usize) {
        let disk = self.agents[agent].disk.clone();
        if let Some(sql) = &mut self.agents[agent].sql {
            sql.past = VecDeque::from([disk]);
        }
    }

    /// The agent is enrolled anew and filled from the hub. What only its disk held is gone with it.
    pub(crate) fn lost_machine(&mut self, agent: usize, why: &str) -> Checked<()> {
        self.tally.fault("store damaged, agent enrolled anew");
        self.trace.line(format!("agent {agent} is enrolled anew: {why}"));
        let (site, epoch) = (self.agents[agent].site, self.hub.store.current_epoch());
        let lost = self.enrolled(site, epoch);
        let was = std::mem::replace(&mut self.agents[agent], lost);
        self.agents[agent].skew_ms = was.skew_ms;
        self.agents[agent].line = was.line;
        self.forms
            .retain(|form| form.writer != super::writers::Writer::Agent(agent));
        self.check_machine()
    }

    /// Fails the run when this machine could not make a store.
    pub(crate) fn check_machine(&mut self) -> Checked<()> {
        match self.broken_machine.take() {
            Some(error) => Err(unsound(error)),
            None => Ok(()),
        }
    }

    pub(super) fn cut_power(&mut self, agent: usize) -> Checked<()> {
        if self.agents[agent].sql.is_none() {
            return Ok(());
        }
        self.tally.fault("power cut between writes");
        self.trace.line(format!("agent {agent}'s power is cut"));
        self.power_returns(agent, None).map(|_| ())
    }

    pub(super) fn fill_disk(&mut self, rng: &mut Rng, agent: usize) -> Checked<()> {
        if let Some(sql) = &self.agents[agent].sql {
            let writes = 1 + rng.below(40);
            sql.store.disk.fill_for(writes);
            self.trace
                .line(format!("agent {agent}'s disk is full for {writes} writes"));
        }
        Ok(())
    }

    /// The disk begins to lie about its syncs; where it does already, the power is cut.
    pub(super) fn lose_syncs(&mut self, agent: usize) -> Checked<()> {
        let Some(sql) = &self.agents[agent].sql else {
            return Ok(());
        };
        if !sql.store.disk.has_lost_syncs() {
            sql.store.disk.lose_syncs(true);
            self.tally.fault("disk begins to lose syncs");
            self.trace.line(format!("agent {agent}'s disk begins to lose syncs"));
            return Ok(());
        }
        self.tally.fault("power cut after lost syncs");
        self.power_returns(agent, None).map(|_| ())
    }

    pub(super) fn flip_bit(&mut self, agent: usize) -> Checked<()> {
        let mut rng = Rng::seeded(self.rng.draw());
        let Some(sql) = &mut self.agents[agent].sql else {
            return Ok(());
        };
        self.tally.fault("bit turned over");
        self.trace.line(format!("a bit of agent {agent}'s files turns over"));
        let (in_log, opened) = sql.store.bit_flip(&mut rng);
        let word = if in_log { Word::FlippedLog } else { Word::Flipped };
        let opened = opened.map_err(|error| error.to_string());
        self.found_again(agent, word, opened, None).map(|_| ())
    }

    pub(super) fn try_another_key(&mut self, agent: usize) -> Checked<()> {
        let Some(sql) = &mut self.agents[agent].sql else {
            return Ok(());
        };
        let refused = sql.store.refuses_another_key();
        self.tally.fault("store opened with another key");
        self.tally.checked(Invariant::NeverWrongData);
        let refused = refused.map_err(unsound)?;
        hold(Invariant::NeverWrongData, refused, || {
            format!("agent {agent}'s store was opened, or changed, with another's key")
        })?;
        self.recheck(agent)
    }
}
