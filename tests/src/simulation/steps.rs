//! One step of a plan, done to the world with the step's own chance.

use sync_protocol::Act;
use sync_protocol::cbor::Raw;

use super::network::{Line, Message, Opened};
use super::plan::{Rates, Step, What};
use super::records;
use super::rng::Rng;
use super::trace::{Checked, Invariant, Transition, hold};
use super::world::{Crash, KnownRecord, World};
use super::writers::{Form, Wish, Writer};

const FORMS_MAX: usize = 8;
const NETWORK_MAX: usize = 24;

impl World {
    pub(crate) fn step(&mut self, step: &Step, rates: &Rates) -> Checked<()> {
        let mut rng = Rng::seeded(step.seed);
        self.rng = Rng::seeded(step.seed ^ 0x5eed);
        self.now_ms += 1 + rng.below(3_000);
        self.tally.steps += 1;
        *self.tally.steps_of.entry(step.what).or_default() += 1;
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
            // Undisturbed it can only be where the line is whole.
            What::Exchange if self.agents[agent].line != Line::Whole => Ok(()),
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
            What::HubCopy => {
                self.copy_hub();
                Ok(())
            }
            What::HubConfirm => {
                self.confirm_hub_copy();
                Ok(())
            }
            What::HubRestore => self.restore_hub(),
            What::Leave => self.leave(&mut rng),
            What::Return => self.come_back(&mut rng),
            What::CutLine => self.cut_line(&mut rng, agent),
            What::MendLine => self.mend_line(agent),
            What::SlowPush => self.take_up_slowly(&mut rng),
            What::SlowCommit => self.slow_commit(&mut rng, rates),
            What::Oversized => self.write_too_much(&mut rng),
            What::NewerHub => self.write_unknown(&mut rng),
            What::Replay => self.replay(&mut rng),
            What::Task => self.task_step(&mut rng, rates),
            What::Withdraw => self.withdraw_task(&mut rng, rates),
            What::Rot => self.rot(&mut rng, agent),
            What::PowerCut => self.cut_power(agent),
            What::DiskFull => self.fill_disk(&mut rng, agent),
            What::LoseSyncs => self.lose_syncs(agent),
            What::FlipBit => self.flip_bit(agent),
            What::WrongKey => self.try_another_key(agent),
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
        let value = records::of_newer_form(
            self.hub.schema.saturating_add(1 + rng.below(2) as u8),
            rng.below(200) as u8,
        );
        if newer && poison(form, &mut wish, value) {
            self.tally.fault("change of a newer form");
        }
        let crash = self.crash(rng, rates);
        let written = self.submit(form, &wish, crash)?;
        self.tally.took(if written.is_some() {
            Transition::Wrote
        } else if crash == Crash::Never {
            Transition::SaidNothing
        } else {
            Transition::WriteCrashed
        });
        Ok(())
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
                let value = records::any_value(rng, form.kind, records::ASSERTION);
                wish.elements.push((records::ASSERTION, act, value, names));
            }
            records::VISIT if rng.per_mille(800) => {
                let withdraws = !form.ends.is_empty() && rng.per_mille(250);
                wish.elements.push(if withdraws {
                    (records::STATUS, Act::Withdraw, Raw::null(), form.ends.clone())
                } else {
                    let value = records::any_value(rng, form.kind, records::STATUS);
                    (records::STATUS, Act::Assert, value, Vec::new())
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
                    repeats.map_or_else(
                        || records::any_value(rng, form.kind, *field),
                        |(_, value)| value.clone(),
                    ),
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
            || records::any_value(rng, records::PATIENT, field),
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

    pub(crate) fn crash(&mut self, rng: &mut Rng, rates: &Rates) -> Crash {
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
        let at = if rates.reorder {
            rng.index(self.network.len())
        } else {
            0
        };
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
            Some(opened) if envelope.message == Message::Push && rates.tamper && rng.per_mille(rates.damage) => {
                self.deliver_tampered(rng, envelope.agent, opened)
            }
            Some(opened) => {
                if envelope.message == Message::Push && crash == Crash::Never {
                    self.record(&envelope);
                }
                self.deliver(envelope.agent, opened, crash)
            }
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
}

/// Puts a value that the hub does not understand where any text may stand.
fn poison(form: &Form, wish: &mut Wish, value: Raw) -> bool {
    let text = wish
        .fields
        .iter_mut()
        .find(|(field, _)| *field != records::BIRTH_DATE || form.kind != records::PATIENT);
    let statement = wish
        .elements
        .iter_mut()
        .find(|(_, act, ..)| *act == Act::Assert && form.kind == records::ALLERGY);
    match (text, statement) {
        (Some((_, said)), _) => *said = value,
        (None, Some((_, _, said, _))) => *said = records::statement(&value.to_text().unwrap_or_default()),
        (None, None) => return false,
    }
    true
}
