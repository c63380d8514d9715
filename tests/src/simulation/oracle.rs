//! What must come out, from what each writer was literally shown and wrote. Set semantics and nothing else: a value is
//! live if and only if its change is among those given and no change among them names it.

use std::collections::{BTreeMap, BTreeSet};

use sync_protocol::cbor::Raw;
use sync_protocol::{Act, ChangeId, Dot, FieldId, RecordId, RecordState};

/// One committed write, as its writer meant it.
#[derive(Clone, Debug)]
pub(crate) struct Meant {
    pub(crate) record: RecordId,
    /// The dot it was first written under.
    pub(crate) dot: Dot,
    /// Value, and for `ask` fields what the writer's base agreed on.
    pub(crate) fields: BTreeMap<FieldId, (Raw, Option<Raw>)>,
    pub(crate) elements: BTreeMap<FieldId, (Act, Raw)>,
    /// What was on the screen, and what the writer's own predecessors among that had done away with.
    pub(crate) names: BTreeMap<FieldId, BTreeSet<ChangeId>>,
    /// What changes among those had done away with that the hub could not use when this one took effect there: their
    /// writer saw them in place of that.
    pub(crate) followed: Option<BTreeMap<FieldId, BTreeSet<ChangeId>>>,
    /// The schema level that understands it.
    pub(crate) form_level: u8,
}

#[derive(Default)]
pub(crate) struct Log(BTreeMap<ChangeId, Meant>);

/// What an element does, its value, and what it names.
type Said = (Act, Raw, BTreeSet<ChangeId>);

/// Changes that are named, by field.
pub(crate) type Named = BTreeMap<FieldId, BTreeSet<ChangeId>>;

/// What a record says: live values, elements, and names that wait for what they name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Effect {
    pub(crate) values: BTreeMap<FieldId, BTreeMap<ChangeId, (Raw, Option<Raw>)>>,
    pub(crate) elements: BTreeMap<FieldId, BTreeMap<ChangeId, Said>>,
    pub(crate) awaited: BTreeMap<FieldId, BTreeSet<ChangeId>>,
}

impl Log {
    pub(crate) fn add(&mut self, change: ChangeId, meant: Meant) {
        self.0.insert(change, meant);
    }

    pub(crate) fn get(&self, change: &ChangeId) -> Option<&Meant> {
        self.0.get(change)
    }

    pub(crate) fn on<'a>(
        &'a self,
        record: RecordId,
        changes: impl IntoIterator<Item = &'a ChangeId>,
    ) -> impl Iterator<Item = (&'a ChangeId, &'a Meant)> {
        let found = changes.into_iter().filter_map(|id| self.0.get_key_value(id));
        found.filter(move |(_, meant)| meant.record == record)
    }

    /// Names as shown, with those of the writer's own predecessors among them: `own` are all it wrote and remembers.
    pub(crate) fn with_predecessors(
        &self,
        field: FieldId,
        shown: &[ChangeId],
        own: &BTreeSet<ChangeId>,
    ) -> BTreeSet<ChangeId> {
        let predecessors = shown
            .iter()
            .filter(|id| own.contains(id))
            .filter_map(|id| self.0.get(id));
        let followed = predecessors.filter_map(|meant| meant.names.get(&field)).flatten();
        shown.iter().chain(followed).copied().collect()
    }

    /// Notes, once, what a change that has just taken effect at the hub does away with beyond what it names.
    pub(crate) fn took_effect(&mut self, change: &ChangeId, unused: impl Fn(&ChangeId) -> bool) {
        let Some(meant) = self.0.get(change).filter(|meant| meant.followed.is_none()) else {
            return;
        };
        let mut followed: BTreeMap<FieldId, BTreeSet<ChangeId>> = BTreeMap::new();
        for field in meant.fields.keys() {
            let all = followed.entry(*field).or_default();
            let mut next: Vec<ChangeId> = meant.names.get(field).into_iter().flatten().copied().collect();
            while let Some(id) = next.pop() {
                let behind = self
                    .0
                    .get(&id)
                    .filter(|_| unused(&id))
                    .and_then(|meant| meant.names.get(field));
                next.extend(behind.into_iter().flatten().filter(|id| all.insert(**id)));
            }
        }
        if let Some(meant) = self.0.get_mut(change) {
            meant.followed = Some(followed);
        }
    }

    /// What a record says by the changes of a base, and `own` changes on top of it that the hub may not have yet.
    pub(crate) fn effect(&self, record: RecordId, base: &BTreeSet<ChangeId>, own: &BTreeSet<ChangeId>) -> Effect {
        let mut effect = Effect::default();
        let mut named: BTreeMap<FieldId, BTreeSet<ChangeId>> = BTreeMap::new();
        let changes = base.union(own).copied().collect();
        for (id, meant) in self.on(record, &changes) {
            let followed = meant.followed.as_ref().filter(|_| base.contains(id));
            for (field, (value, seen)) in &meant.fields {
                effect
                    .values
                    .entry(*field)
                    .or_default()
                    .insert(*id, (value.clone(), seen.clone()));
                let named = named.entry(*field).or_default();
                named.extend(meant.names.get(field).into_iter().flatten());
                named.extend(followed.and_then(|followed| followed.get(field)).into_iter().flatten());
            }
            for (field, (act, value)) in &meant.elements {
                let names = meant.names.get(field).cloned().unwrap_or_default();
                let said = (*act, value.clone(), names);
                effect.elements.entry(*field).or_default().insert(*id, said);
            }
        }
        for (field, named) in named {
            if let Some(values) = effect.values.get_mut(&field) {
                values.retain(|id, _| !named.contains(id));
            }
            effect
                .awaited
                .insert(field, named.difference(&changes).copied().collect());
        }
        effect.values.retain(|_, values| !values.is_empty());
        effect.awaited.retain(|_, awaited| !awaited.is_empty());
        effect
    }

    /// Of each field what changes among these name.
    pub(crate) fn named_by(&self, record: RecordId, changes: &BTreeSet<ChangeId>) -> Named {
        let mut named = Named::new();
        for (_, meant) in self.on(record, changes) {
            for field in meant.fields.keys() {
                let followed = meant.followed.as_ref().and_then(|followed| followed.get(field));
                let ids = meant.names.get(field).into_iter().chain(followed).flatten();
                named.entry(*field).or_default().extend(ids);
            }
        }
        named
    }

    /// The value that these changes agree on: a writer who reads them is said to have seen it.
    pub(crate) fn agreed(&self, record: RecordId, field: FieldId, changes: &BTreeSet<ChangeId>) -> Option<Raw> {
        let effect = self.effect(record, changes, &BTreeSet::new());
        self.agreed_of(field, effect.values.get(&field)?.keys())
    }

    /// The value that is agreed on where these changes' values are live.
    pub(crate) fn agreed_of<'a>(&self, field: FieldId, live: impl IntoIterator<Item = &'a ChangeId>) -> Option<Raw> {
        let values = live.into_iter().filter_map(|id| self.get(id)?.fields.get(&field));
        let values: Vec<_> = values.collect();
        let (first, seen) = values.first()?;
        if values.iter().all(|(value, _)| value == first) {
            return Some(first.clone());
        }
        if values.iter().all(|(_, other)| other == seen) {
            seen.clone()
        } else {
            None
        }
    }

    /// Whether an allergy must be shown as active: asserted, and no refutation names every assertion.
    pub(crate) fn active(&self, record: RecordId, field: FieldId, changes: &BTreeSet<ChangeId>) -> bool {
        let mut asserted = BTreeSet::new();
        let mut refutations = Vec::new();
        for (id, meant) in self.on(record, changes) {
            match meant.elements.get(&field) {
                Some((Act::Assert, _)) => {
                    asserted.insert(*id);
                }
                Some((Act::Refute, _)) => refutations.push(meant.names.get(&field)),
                Some((Act::Withdraw | Act::Retract, _)) | None => {}
            }
        }
        let refuted = refutations
            .iter()
            .any(|names| names.is_some_and(|names| asserted.is_subset(names)));
        !asserted.is_empty() && !refuted
    }
}

impl Effect {
    /// What the engine's state says, in the oracle's terms.
    pub(crate) fn of(state: &RecordState) -> Effect {
        let mut effect = Effect::default();
        for (field, register) in &state.registers {
            let values = register
                .values
                .iter()
                .map(|(id, live)| (*id, (live.value.clone(), live.seen.clone())));
            effect.values.insert(*field, values.collect());
            effect.awaited.insert(*field, register.unseen.clone());
        }
        for (field, elements) in &state.elements {
            let said = elements
                .iter()
                .map(|(id, e)| (*id, (e.act, e.value.clone(), e.names.clone())));
            effect.elements.insert(*field, said.collect());
        }
        effect.values.retain(|_, values| !values.is_empty());
        effect.awaited.retain(|_, awaited| !awaited.is_empty());
        effect
    }

    /// After the hub was restored, what only `nameless` changes had done away with may be back as a sibling: their headers are
    /// lost with the life of the store that they were written in. Takes out what came back, and answers how many did.
    pub(crate) fn without_returned(&mut self, expected: &Effect, nameless: &Named) -> usize {
        let mut returned = 0;
        for (field, values) in &mut self.values {
            let (meant, named) = (expected.values.get(field), nameless.get(field));
            let before = values.len();
            values.retain(|id, _| {
                !named.is_some_and(|named| named.contains(id)) || meant.is_some_and(|meant| meant.contains_key(id))
            });
            returned += before - values.len();
        }
        self.values.retain(|_, values| !values.is_empty());
        self.awaited.clone_from(&expected.awaited);
        returned
    }

    /// Where two effects differ, by field and change: the values themselves stay unsaid.
    pub(crate) fn differences(&self, other: &Effect) -> String {
        let mut said = Vec::new();
        let mut compare = |what: &str, mine: &dyn Fn(&Effect) -> BTreeMap<FieldId, BTreeSet<ChangeId>>| {
            let (here, there) = (mine(self), mine(other));
            for field in here.keys().chain(there.keys()).collect::<BTreeSet<_>>() {
                let empty = BTreeSet::new();
                let (a, b) = (here.get(field).unwrap_or(&empty), there.get(field).unwrap_or(&empty));
                let (extra, lacking): (Vec<_>, Vec<_>) = (a.difference(b).collect(), b.difference(a).collect());
                if !extra.is_empty() || !lacking.is_empty() {
                    said.push(format!(
                        "field {} {what}: has {extra:?} too many, lacks {lacking:?}",
                        field.0
                    ));
                }
            }
        };
        compare("values", &|e| {
            e.values
                .iter()
                .map(|(f, v)| (*f, v.keys().copied().collect()))
                .collect()
        });
        compare("elements", &|e| {
            e.elements
                .iter()
                .map(|(f, v)| (*f, v.keys().copied().collect()))
                .collect()
        });
        compare("awaited", &|e| e.awaited.clone());
        if said.is_empty() {
            "the same changes, with other contents".to_owned()
        } else {
            said.join("; ")
        }
    }
}
