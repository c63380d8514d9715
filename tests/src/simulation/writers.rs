//! Whoever writes: a person at a form, stale or fresh, and an outside source that knows only its own last message.

use std::collections::{BTreeMap, BTreeSet};

use sync_protocol::cbor::Raw;
use sync_protocol::ids::BootId;
use sync_protocol::{
    Act, Actor, ChangeId, Draft, ElementDraft, FieldDraft, FieldId, KindId, RecordId, RecordState, Stamp,
    VersionVector, rules,
};
use sync_protocol::{hub, replica};

use super::oracle::Meant;
use super::records;
use super::trace::{Checked, Invariant, hold};
use super::variant::Variant;
use super::world::{Crash, World};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Writer {
    Agent(usize),
    Hub,
}

/// A form as it lies open in somebody's browser: what it shows does not change when the store does.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) writer: Writer,
    pub(crate) record: RecordId,
    pub(crate) kind: KindId,
    pub(crate) fields: BTreeMap<FieldId, Vec<(ChangeId, Raw)>>,
    pub(crate) assertions: Vec<ChangeId>,
    /// Where the visit stands, as shown.
    pub(crate) ends: Vec<ChangeId>,
    /// The outside source whose last message this is, if it is not a person's.
    pub(crate) source: Option<u8>,
}

/// What is filled in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) fields: Vec<(FieldId, Raw)>,
    pub(crate) elements: Vec<(FieldId, Act, Raw, Vec<ChangeId>)>,
}

impl Wish {
    pub(crate) fn field(field: FieldId, value: &str) -> Wish {
        Wish {
            fields: vec![(field, Raw::text(value))],
            elements: Vec::new(),
        }
    }

    pub(crate) fn element(field: FieldId, act: Act, value: Raw, names: &[ChangeId]) -> Wish {
        Wish {
            fields: Vec::new(),
            elements: vec![(field, act, value, names.to_vec())],
        }
    }

    fn form_level(&self) -> u8 {
        let fields = self.fields.iter().map(|(_, value)| value);
        let elements = self.elements.iter().map(|(_, _, value, _)| value);
        fields.chain(elements).map(records::form_level).max().unwrap_or(0)
    }
}

impl Form {
    fn shown(&self, field: FieldId) -> &[(ChangeId, Raw)] {
        self.fields.get(&field).map_or(&[], Vec::as_slice)
    }

    /// A write is nothing when it repeats the one value that was shown, or leaves an empty field empty.
    fn differs(&self, field: FieldId, value: &Raw) -> bool {
        match self.shown(field) {
            [] => *value != Raw::null(),
            [(_, was)] => was != value,
            _ => true,
        }
    }
}

impl World {
    pub(crate) fn view(&self, writer: Writer, record: RecordId) -> Option<&RecordState> {
        match writer {
            Writer::Agent(agent) => self.agents[agent].disk.store.view(record),
            Writer::Hub => self.hub.store.states.get(&record).map(AsRef::as_ref),
        }
    }

    pub(crate) fn open_form(&mut self, writer: Writer, record: RecordId, kind: KindId) -> Form {
        let mut form = Form {
            writer,
            record,
            kind,
            fields: BTreeMap::new(),
            assertions: Vec::new(),
            ends: Vec::new(),
            source: None,
        };
        let Some(state) = self.view(writer, record) else {
            return form;
        };
        for (field, _) in records::registers(kind) {
            let live = state.register(*field).into_iter().flat_map(|register| &register.values);
            form.fields
                .insert(*field, live.map(|(id, live)| (*id, live.value.clone())).collect());
        }
        let asserted = rules::assertions(state, records::ASSERTION).asserted;
        form.assertions = asserted.iter().map(|(id, _)| **id).collect();
        form.ends = rules::furthest(state, records::STATUS, records::passed_by)
            .ends
            .iter()
            .map(|(id, _)| **id)
            .collect();
        form
    }

    /// The next message of an outside source: it knows its own last one, and nothing of anybody else's.
    pub(crate) fn open_message(&self, writer: Writer, source: u8, record: RecordId, field: FieldId) -> Form {
        let sources = match writer {
            Writer::Agent(agent) => &self.agents[agent].disk.sources,
            Writer::Hub => &self.hub.sources,
        };
        let last = sources.get(&(source, record, field)).cloned();
        Form {
            writer,
            record,
            kind: records::PATIENT,
            fields: BTreeMap::from([(field, last.into_iter().collect())]),
            assertions: Vec::new(),
            ends: Vec::new(),
            source: Some(source),
        }
    }

    /// Opens a form and submits it at once.
    pub(crate) fn edit(
        &mut self,
        writer: Writer,
        record: RecordId,
        kind: KindId,
        wish: &Wish,
    ) -> Checked<Option<ChangeId>> {
        let form = self.open_form(writer, record, kind);
        self.submit(&form, wish, Crash::Never)
    }

    /// Submits a form, however old. The change's id, unless it said nothing or its writer crashed before the commit.
    pub(crate) fn submit(&mut self, form: &Form, wish: &Wish, crash: Crash) -> Checked<Option<ChangeId>> {
        let draft = self.draft(form, wish);
        let change = ChangeId(self.rng.id());
        let meant = self.meant(form, wish);
        let vector = self
            .view(form.writer, form.record)
            .map_or_else(VersionVector::default, |s| s.vector.clone());
        let source_field = form.source.zip(wish.fields.first().cloned());
        let written = match form.writer {
            Writer::Agent(agent) => {
                let (wall_ms, now_ms) = (self.wall_ms(agent), self.now_ms);
                self.agent_commits(agent, crash, |disk| {
                    let stamp = stamp(change, disk.clock.tick(wall_ms), now_ms);
                    let written = replica::author(&mut disk.store, &draft, &stamp)?;
                    if written.is_some() {
                        disk.written.insert(change);
                        if let Some((source, (field, value))) = source_field {
                            disk.sources.insert((source, draft.record, field), (change, value));
                        }
                    }
                    Ok(written)
                })?
            }
            Writer::Hub => {
                let (now_ms, sites) = (self.now_ms, self.sites.clone());
                let own = self
                    .records
                    .iter()
                    .find(|known| known.record == form.record)
                    .map(|known| known.site);
                self.hub_commits(crash, |disk, rulebook| {
                    let stamp = stamp(change, disk.clock.tick(now_ms), now_ms);
                    let written = hub::author_at_hub(&mut disk.store, rulebook, &draft, &stamp, own)?;
                    if written.is_some() {
                        disk.written.insert(change);
                        if let Some((source, (field, value))) = source_field {
                            disk.sources.insert((source, draft.record, field), (change, value));
                        }
                        World::share(&sites, disk, rulebook, draft.record)?;
                    }
                    Ok(written)
                })?
            }
        };
        let Some(written) = written else {
            if let (Writer::Agent(agent), Some(Variant::AckBeforeCommit)) = (form.writer, self.variant) {
                self.agents[agent].disk.written.insert(change);
            }
            return Ok(None);
        };
        self.tally.checked(Invariant::SaysNothing);
        if self.variant != Some(Variant::PresentInsteadOfShown) {
            let says = !meant.fields.is_empty() || !meant.elements.is_empty();
            hold(Invariant::SaysNothing, written.is_some() == says, || {
                format!(
                    "{:?} on {:?}: a change {}, should be {says}",
                    form.writer,
                    form.record,
                    written.is_some()
                )
            })?;
        }
        let Some(written) = written else { return Ok(None) };
        self.trace.line(format!(
            "{:?} writes {change:?} {:?} naming {:?}",
            form.writer, written.dot, meant.names
        ));
        self.log.add(
            change,
            Meant {
                dot: written.dot,
                ..meant
            },
        );
        self.hub.store.note_vector(change, &vector);
        match form.writer {
            Writer::Agent(agent) => self.check_at_agent(agent, form.record)?,
            Writer::Hub => self.check_at_hub(form.record)?,
        }
        Ok(Some(change))
    }

    pub(crate) fn draft(&self, form: &Form, wish: &Wish) -> Draft {
        let present = |field| {
            let register = self
                .view(form.writer, form.record)
                .and_then(|state| state.register(field));
            register
                .into_iter()
                .flat_map(|register| register.values.keys().copied())
                .collect()
        };
        let shown = |field| {
            if self.variant == Some(Variant::PresentInsteadOfShown) {
                present(field)
            } else {
                form.shown(field).iter().map(|(id, _)| *id).collect()
            }
        };
        let was = |field| match form.shown(field) {
            [(_, value)] => Some(value.clone()),
            _ => None,
        };
        let fields = wish.fields.iter().map(|(field, value)| FieldDraft {
            field: *field,
            value: value.clone(),
            shown: shown(*field),
            was: was(*field),
            ask: records::asks(*field),
        });
        let elements = wish.elements.iter().map(|(field, act, value, names)| ElementDraft {
            field: *field,
            act: *act,
            value: value.clone(),
            names: names.clone(),
        });
        Draft {
            kind: form.kind,
            record: form.record,
            action: 1,
            actor: Actor {
                who: RecordId::NIL,
                channel: form.source.map_or(0, |source| source + 1),
            },
            event_ms: self.now_ms as i64,
            correlation: None,
            fields: fields.collect(),
            elements: elements.collect(),
        }
    }

    /// The oracle's note of this write, from the form alone and the writer's own memory of what it wrote before.
    fn meant(&self, form: &Form, wish: &Wish) -> Meant {
        let empty = BTreeSet::new();
        let own = match form.writer {
            Writer::Agent(agent) => &self.agents[agent].disk.written,
            Writer::Hub => &empty,
        };
        let mut meant = Meant {
            record: form.record,
            dot: sync_protocol::Dot {
                replica: sync_protocol::ReplicaId::NIL,
                counter: 0,
            },
            fields: BTreeMap::new(),
            elements: BTreeMap::new(),
            names: BTreeMap::new(),
            followed: None,
            form_level: wish.form_level(),
        };
        for (field, value) in wish.fields.iter().filter(|(field, value)| form.differs(*field, value)) {
            let seen = || self.agreed_in_base(form.writer, form.record, *field);
            meant.fields.insert(
                *field,
                (value.clone(), if records::asks(*field) { seen() } else { None }),
            );
            let shown: Vec<_> = form.shown(*field).iter().map(|(id, _)| *id).collect();
            meant
                .names
                .insert(*field, self.log.with_predecessors(*field, &shown, own));
        }
        for (field, act, value, names) in &wish.elements {
            meant.elements.insert(*field, (*act, value.clone()));
            meant.names.insert(*field, names.iter().copied().collect());
        }
        meant
    }
}

/// The one boot of all writers: monotonic time is the run's own, whatever wall clocks say.
pub(crate) const BOOT: BootId = BootId([0xb0; 16]);

pub(crate) fn stamp(change: ChangeId, at: sync_protocol::HybridTime, now_ms: u64) -> Stamp {
    // The salt changes nothing of what is simulated; it need only be the run's own.
    Stamp {
        change,
        salt: change.0,
        at,
        boot: BOOT,
        monotonic_ms: now_ms,
    }
}
