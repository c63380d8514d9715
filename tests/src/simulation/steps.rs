//! One step of a plan, done to the world with the step's own chance.

use sync_protocol::cbor::Raw;
use sync_protocol::{Act, RecordId, ReplicaId, ScopeId, hub};

use super::network::{Message, Opened};
use super::plan::{Rates, Step, What};
use super::records;
use super::rng::Rng;
use super::trace::{Checked, Invariant, hold};
use super::world::{Agent, Crash, KnownRecord, World};
use super::writers::{Form, Wish, Writer};

const AGENTS_MAX: usize = 4;
const FORMS_MAX: usize = 8;
const NETWORK_MAX: usize = 24;

const VALUES: [&str; 4] = ["555-0100", "555-0101", "1980-02-03", "1980-03-02"];
const YEAR_MS: i64 = 365 * 24 * 3_600 * 1_000;

impl World {
    pub(crate) fn step(&mut self, step: &Step, rates: &Rates) -> Checked<()> {
        let mut rng = Rng::seeded(step.seed);
        self.rng = Rng::seeded(step.seed ^ 0x5eed);
        self.now_ms += 1 + rng.below(3_000);
        self.tally.steps += 1;
        let agent = rng.index(self.agents.len());
        match step.what {
            What::Edit => {
                let form = self.open_any(&mut rng);
                self.fill_in_and_submit(&mut rng, &form, rates)
            }
            What::OpenForm => {
                let form = self.open_any(&mut rng);
                self.trace
                    .line(format!("{:?} opens a form of {:?}", form.writer, form.record));
                if self.forms.len() == FORMS_MAX {
                    self.forms.remove(0);
                }
                self.forms.push(form);
                Ok(())
            }
            What::SubmitForm => self.submit_stale(&mut rng, rates),
            What::Message => self.message(&mut rng, rates),
            What::Push => self.send_push(agent, 200 + rng.index(4_000)).map(|_| ()),
            What::Pull => {
                let (bytes_max, busy) = (200 + rng.below(4_000), rng.per_mille(300));
                self.send_pull(agent, bytes_max, busy)
            }
            What::Deliver => self.deliver_one(&mut rng, rates),
            What::Exchange => self.exchange(agent).map(|_| ()),
            What::CrashAgent => self.lose_line(&format!("agent {agent} stops"), "agent stopped", |m, to_hub| {
                m == agent && !to_hub
            }),
            What::CrashHub => self.lose_line("the hub stops", "hub stopped", |_, to_hub| to_hub),
            What::Clone => self.clone_agent(agent),
            What::Copy => self.copy_agent(agent),
            What::Restore => self.restore_agent(agent),
            What::Release => self.release(self.hub.schema + 1),
            What::ClockStep => self.step_clock(&mut rng, agent),
            What::Leave => self.leave(&mut rng),
            What::Return => self.come_back(&mut rng),
        }?;
        self.bound_network();
        Ok(())
    }

    fn bound_network(&mut self) {
        while self.network.len() > NETWORK_MAX {
            self.network.remove(0);
            self.tally.fault("message lost");
        }
    }

    fn any_writer(&self, rng: &mut Rng) -> Writer {
        if rng.per_mille(250) {
            Writer::Hub
        } else {
            Writer::Agent(rng.index(self.agents.len()))
        }
    }

    fn open_any(&mut self, rng: &mut Rng) -> Form {
        let writer = self.any_writer(rng);
        let site = match writer {
            Writer::Agent(agent) => Some(self.agents[agent].site),
            Writer::Hub => None,
        };
        let open = |known: &&KnownRecord| records::shared(known.kind) || site.is_none_or(|site| known.site == site);
        let reachable: Vec<KnownRecord> = self.records.iter().filter(open).copied().collect();
        let known = reachable[rng.index(reachable.len())];
        self.open_form(writer, known.record, known.kind)
    }

    fn submit_stale(&mut self, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        if self.forms.is_empty() {
            return Ok(());
        }
        let at = rng.index(self.forms.len());
        let form = self.forms[at].clone();
        // A form may be sent twice: the browser's back button.
        if rng.per_mille(800) {
            self.forms.remove(at);
        }
        self.tally.event("stale forms submitted");
        self.fill_in_and_submit(rng, &form, rates)
    }

    fn fill_in_and_submit(&mut self, rng: &mut Rng, form: &Form, rates: &Rates) -> Checked<()> {
        let mut wish = self.fill_in(rng, form);
        let newer = form.writer != Writer::Hub && rng.per_mille(rates.newer_form);
        if newer {
            let value = records::of_newer_form(
                self.hub.schema.saturating_add(1 + rng.below(2) as u8),
                rng.below(200) as u8,
            );
            match (wish.fields.first_mut(), wish.elements.first_mut()) {
                (Some((_, said)), _) | (None, Some((_, _, said, _))) => *said = value,
                (None, None) => {}
            }
            self.tally.fault("change of a newer form");
        }
        let crash = self.crash(rng, rates);
        self.submit(form, &wish, crash).map(|_| ())
    }

    fn fill_in(&self, rng: &mut Rng, form: &Form) -> Wish {
        let mut wish = Wish::default();
        match form.kind {
            records::ALLERGY => {
                let asserts = form.assertions.is_empty() || rng.per_mille(550);
                let mut names = form.assertions.clone();
                if rng.per_mille(150) {
                    names.pop();
                }
                let (act, names) = if asserts {
                    (Act::Assert, Vec::new())
                } else {
                    (Act::Refute, names)
                };
                wish.elements.push((records::ASSERTION, act, any_value(rng), names));
            }
            records::VISIT if rng.per_mille(800) => {
                let withdraws = !form.ends.is_empty() && rng.per_mille(250);
                wish.elements.push(if withdraws {
                    (records::STATUS, Act::Withdraw, Raw::null(), form.ends.clone())
                } else {
                    (
                        records::STATUS,
                        Act::Assert,
                        Raw::int(1 + rng.below(5) as i64),
                        Vec::new(),
                    )
                });
            }
            _ => {}
        }
        for (field, _) in records::registers(form.kind) {
            let chosen = wish.fields.is_empty() && wish.elements.is_empty() || rng.per_mille(350);
            if chosen && rng.per_mille(700) {
                let repeats = form
                    .fields
                    .get(field)
                    .and_then(|live| live.first())
                    .filter(|_| rng.per_mille(120));
                wish.fields.push((
                    *field,
                    repeats.map_or_else(|| any_value(rng), |(_, value)| value.clone()),
                ));
            }
        }
        wish
    }

    fn message(&mut self, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        let writer = self.any_writer(rng);
        let patients: Vec<_> = self
            .records
            .iter()
            .filter(|known| known.kind == records::PATIENT)
            .copied()
            .collect();
        let known = patients[rng.index(patients.len())];
        let field = if rng.per_mille(300) {
            records::BIRTH_DATE
        } else {
            records::PHONE
        };
        let form = self.open_message(writer, rng.below(2) as u8, known.record, field);
        let last = form
            .fields
            .get(&field)
            .and_then(|live| live.first())
            .filter(|_| rng.per_mille(600));
        let value = last.map_or_else(
            || Raw::text(VALUES[rng.index(VALUES.len())]),
            |(_, value)| value.clone(),
        );
        let crash = self.crash(rng, rates);
        self.submit(
            &form,
            &Wish {
                fields: vec![(field, value)],
                elements: Vec::new(),
            },
            crash,
        )
        .map(|_| ())
    }

    fn crash(&mut self, rng: &mut Rng, rates: &Rates) -> Crash {
        if !rng.per_mille(rates.crash) {
            Crash::Never
        } else if rng.per_mille(300) {
            Crash::After
        } else {
            Crash::During(rng.below(30))
        }
    }

    fn deliver_one(&mut self, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        if self.network.is_empty() {
            return Ok(());
        }
        // Any of those under way: order means nothing.
        let at = rng.index(self.network.len());
        if at > 0 {
            self.tally.fault("message reordered");
        }
        let envelope = if rng.per_mille(rates.duplicate) {
            self.tally.fault("message duplicated");
            self.network[at].clone()
        } else {
            self.network.remove(at)
        };
        if rng.per_mille(rates.lose) {
            self.tally.fault("message lost");
            self.trace
                .line(format!("{:?} of agent {} is lost", envelope.message, envelope.agent));
            return Ok(());
        }
        let opened = if rng.per_mille(rates.damage) {
            let shorten = rng.per_mille(500);
            self.tally.fault(if shorten {
                "message shortened"
            } else {
                "message altered"
            });
            self.tally.checked(Invariant::DamageRefused);
            envelope.open_damaged(rng, shorten)?
        } else {
            Some(envelope.open()?)
        };
        let crash = self.crash(rng, rates);
        match opened {
            Some(opened) if envelope.message == Message::Push && rng.per_mille(rates.damage) => {
                self.deliver_tampered(rng, envelope.agent, opened)
            }
            Some(opened) => self.deliver(envelope.agent, opened, crash),
            None => Ok(()),
        }
    }

    fn deliver_tampered(&mut self, rng: &mut Rng, agent: usize, opened: Opened) -> Checked<()> {
        self.tally.fault("push tampered with");
        self.tally.checked(Invariant::DamageRefused);
        self.trace.line(format!("a push of agent {agent} is tampered with"));
        let kept = self.hub.store.arrivals.len();
        self.deliver(agent, opened.tampered(rng), Crash::Never)?;
        hold(Invariant::DamageRefused, self.hub.store.arrivals.len() == kept, || {
            format!("a tampered push of agent {agent} was kept")
        })
    }

    fn lose_line(&mut self, line: &str, fault: &'static str, lost: impl Fn(usize, bool) -> bool) -> Checked<()> {
        self.trace.line(line.to_owned());
        self.tally.fault(fault);
        self.network.retain(|envelope| {
            let to_hub = matches!(envelope.message, Message::Push | Message::Pull);
            !lost(envelope.agent, to_hub)
        });
        Ok(())
    }

    pub(crate) fn clone_agent(&mut self, agent: usize) -> Checked<()> {
        if self.agents.len() == AGENTS_MAX {
            return Ok(());
        }
        let original = &self.agents[agent];
        let copy = Agent {
            disk: original.disk.clone(),
            site: original.site,
            skew_ms: original.skew_ms,
            copy: None,
        };
        self.agents.push(copy);
        self.tally.fault("agent cloned");
        self.trace
            .line(format!("agent {agent} is cloned as agent {}", self.agents.len() - 1));
        Ok(())
    }

    pub(crate) fn copy_agent(&mut self, agent: usize) -> Checked<()> {
        let agent = &mut self.agents[agent];
        agent.copy = Some(agent.disk.clone());
        Ok(())
    }

    /// What the agent wrote since the copy and had not pushed is gone with its disk; nobody can be asked for it.
    pub(crate) fn restore_agent(&mut self, agent: usize) -> Checked<()> {
        let Some(copy) = self.agents[agent].copy.clone() else {
            return Ok(());
        };
        let replica: ReplicaId = copy.store.head.replica;
        self.trace.line(format!(
            "agent {agent} is restored to {replica:?}.{}",
            copy.store.head.counter
        ));
        self.tally.fault("agent restored from a copy");
        self.agents[agent].disk = copy;
        Ok(())
    }

    fn leave(&mut self, rng: &mut Rng) -> Checked<()> {
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

    fn come_back(&mut self, rng: &mut Rng) -> Checked<()> {
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

    fn step_clock(&mut self, rng: &mut Rng, agent: usize) -> Checked<()> {
        let range = [5_000, 3_600_000, 40 * YEAR_MS][rng.index(3)];
        self.agents[agent].skew_ms = rng.below(2 * range as u64) as i64 - range;
        self.tally.fault("clock stepped");
        self.trace.line(format!(
            "agent {agent}'s clock is off by {} ms",
            self.agents[agent].skew_ms
        ));
        Ok(())
    }
}

fn any_value(rng: &mut Rng) -> Raw {
    if rng.per_mille(80) {
        return Raw::null();
    }
    if rng.per_mille(100) {
        return Raw::text(&"long ".repeat(20 + rng.index(100)));
    }
    Raw::text(VALUES[rng.index(VALUES.len())])
}
