//! A record: registers of live values, immutable elements, a version vector. Removal is by name: a value goes only when
//! a change that names it is applied. Nothing here chooses what is shown; that is `rules`.

use std::collections::{BTreeMap, BTreeSet};

use crate::cbor::{self, CborError, MapWriter, Raw, Reader, Unknown, Writer};
use crate::change::{
    Act, Actor, Header, LIST_MAX, Payload, put_actor, put_bytes, put_dot, put_i64, put_ids, put_raw, put_time, put_u64,
    put_vector, read_act, read_actor, read_dot, read_ids, read_time, read_vector,
};
use crate::ids::{ChangeId, Dot, FieldId, KindId, RecordId};
use crate::time::{CLOCK_TOLERANCE_MS, ClockFact, HybridTime};
use crate::vector::VersionVector;

/// How large a change may make a record: the canonical bytes of its state. Twelve of the largest changes; what a writer adds
/// beyond is refused to it, or set aside at the hub.
pub const STATE_MAX_BYTES: usize = 192 * 1024;
/// How large a state may get in all, with what is only counted and with what comes back in a return. One body holds it however
/// badly it packs, beside all the acknowledgements that go with it: what the hub has stored can be fed, and can be returned.
pub const STATE_HELD_MAX_BYTES: usize = 224 * 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordState {
    pub kind: KindId,
    pub record: RecordId,
    pub registers: BTreeMap<FieldId, Register>,
    pub elements: BTreeMap<FieldId, BTreeMap<ChangeId, Element>>,
    pub vector: VersionVector,
    pub unknown: Unknown,
}

/// The live values of one field, each named by the change that wrote it. More than one means that writers did not see
/// each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Register {
    pub values: BTreeMap<ChangeId, LiveValue>,
    /// Named ids that have not arrived yet: when they do, their value is never shown.
    pub unseen: BTreeSet<ChangeId>,
}

/// Where a value comes from, so that a page can say who and when without the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    pub dot: Dot,
    /// When it was entered.
    pub at: HybridTime,
    /// When it happened.
    pub event_ms: i64,
    pub actor: Actor,
    /// What the hub knows of the writer's clock.
    pub clock: Option<ClockFact>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveValue {
    pub origin: Origin,
    pub value: Raw,
    pub seen: Option<Raw>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Element {
    pub origin: Origin,
    pub act: Act,
    pub value: Raw,
    pub names: BTreeSet<ChangeId>,
}

impl RecordState {
    pub fn new(kind: KindId, record: RecordId) -> RecordState {
        RecordState {
            kind,
            record,
            registers: BTreeMap::new(),
            elements: BTreeMap::new(),
            vector: VersionVector::default(),
            unknown: Unknown::default(),
        }
    }

    pub fn register(&self, field: FieldId) -> Option<&Register> {
        self.registers.get(&field)
    }

    pub fn elements(&self, field: FieldId) -> impl Iterator<Item = (&ChangeId, &Element)> {
        self.elements.get(&field).into_iter().flatten()
    }

    /// The ids a form shows for a field; a write that follows names exactly these.
    pub fn shown(&self, field: FieldId) -> Vec<ChangeId> {
        let values = self.registers.get(&field).into_iter().flat_map(|r| r.values.keys());
        values
            .chain(self.elements.get(&field).into_iter().flat_map(BTreeMap::keys))
            .copied()
            .collect()
    }

    /// Applies a change that is not in this state yet. `applied` answers whether a named change that is not live here was
    /// applied and has gone; one that was not is remembered, so that it is never shown when it comes.
    pub fn apply(&mut self, header: &Header, payload: &Payload, applied: impl Fn(&ChangeId) -> bool) {
        self.remove_named(header, payload, applied);
        for write in &payload.fields {
            let register = self.registers.entry(write.field).or_default();
            if !register.unseen.contains(&header.change) {
                let live = LiveValue {
                    origin: Origin::of(header),
                    value: write.value.clone(),
                    seen: write.seen.clone(),
                };
                register.values.insert(header.change, live);
            }
        }
        // It has arrived, also where it was named in a field that it did not write.
        for register in self.registers.values_mut() {
            register.unseen.remove(&header.change);
        }
        for write in &payload.elements {
            let element = Element {
                origin: Origin::of(header),
                act: write.act,
                value: write.value.clone(),
                names: header.named(write.field).iter().copied().collect(),
            };
            self.elements
                .entry(write.field)
                .or_default()
                .insert(header.change, element);
        }
        self.vector.add(header.dot);
        self.count_aliases(|id| *id == header.change);
    }

    /// Does away with what a change names, of which everything else is in this state already.
    pub fn apply_names(&mut self, header: &Header, payload: &Payload, applied: impl Fn(&ChangeId) -> bool) {
        self.remove_named(header, payload, applied);
        for register in self.registers.values_mut() {
            register.unseen.remove(&header.change);
        }
    }

    fn remove_named(&mut self, header: &Header, payload: &Payload, applied: impl Fn(&ChangeId) -> bool) {
        for write in &payload.fields {
            let register = self.registers.entry(write.field).or_default();
            for id in header.named(write.field) {
                if register.values.remove(id).is_none() && !applied(id) && *id != header.change {
                    register.unseen.insert(*id);
                }
            }
        }
    }

    /// What either side holds, of two states that were built by applying changes. A value that the other side has
    /// applied and holds no more was named there, so it goes; commutative, associative and idempotent. `applied` answers
    /// whether a change was applied on either side.
    pub fn join(&mut self, other: &RecordState, applied: impl Fn(&ChangeId) -> bool) {
        let known = [self.clocks(), other.clocks()];
        let mut fields: BTreeSet<FieldId> = self.registers.keys().copied().collect();
        fields.extend(other.registers.keys());
        for field in fields {
            let mine = self.registers.entry(field).or_default();
            let empty = Register::default();
            let theirs = other.registers.get(&field).unwrap_or(&empty);
            let gone = |id: &ChangeId, live: &LiveValue, from: &Register, vector: &VersionVector| {
                !from.values.contains_key(id) && (vector.contains(live.origin.dot) || from.unseen.contains(id))
            };
            let mut values = BTreeMap::new();
            for (id, live) in &mine.values {
                if !gone(id, live, theirs, &other.vector) {
                    values.insert(*id, live.clone());
                }
            }
            for (id, live) in &theirs.values {
                if !gone(id, live, mine, &self.vector) {
                    values.insert(*id, live.clone());
                }
            }
            let arrived = |id: &ChangeId| mine.values.contains_key(id) || theirs.values.contains_key(id) || applied(id);
            let unseen = mine
                .unseen
                .union(&theirs.unseen)
                .filter(|id| !arrived(id))
                .copied()
                .collect();
            *mine = Register { values, unseen };
        }
        for (field, theirs) in &other.elements {
            let mine = self.elements.entry(*field).or_default();
            for (id, element) in theirs {
                mine.entry(*id).or_insert_with(|| element.clone());
            }
        }
        for (change, fact) in known.iter().flatten() {
            self.note_clock(*change, *fact);
        }
        self.vector.join(&other.vector);
        // A change that one side has released is released under the names that only the other side knows, too.
        self.count_aliases(|id| applied(id));
        for (key, theirs) in &other.unknown.0 {
            let mine = self.unknown.0.entry(*key).or_insert_with(|| theirs.clone());
            if *mine < *theirs {
                mine.clone_from(theirs);
            }
        }
    }

    /// Notes what the hub knows of the clock that a change's times were read from.
    pub fn note_clock(&mut self, change: ChangeId, fact: ClockFact) {
        for origin in self
            .origins_mut()
            .filter_map(|(id, origin)| (id == change).then_some(origin))
        {
            origin.clock = ClockFact::joined(origin.clock, Some(fact));
        }
    }

    /// What is known of clocks on either side, for what is live here.
    pub(crate) fn join_clocks(&mut self, other: &RecordState) {
        for (change, fact) in other.clocks() {
            self.note_clock(change, fact);
        }
    }

    /// Takes what is said of clocks out of what was not understood. Where that is not what a hub writes, it stays there and goes
    /// on as it came.
    fn understand_clocks(&mut self) {
        let Some(said) = self.unknown.0.get(&CLOCKS) else {
            return;
        };
        let Ok(clocks) = cbor::parse(said.as_bytes(), read_clocks) else {
            return;
        };
        if clocks.is_empty() {
            return;
        }
        let mut understood = self.clone();
        for (change, fact) in &clocks {
            understood.note_clock(*change, *fact);
        }
        understood.unknown.0.remove(&CLOCKS);
        if cbor::encode(|w| put_clocks(w, &understood.clocks())) == said.as_bytes() {
            *self = understood;
        }
    }

    /// What is known of the clocks of changes that something here comes from.
    fn clocks(&self) -> BTreeMap<ChangeId, ClockFact> {
        let values = self.registers.values().flat_map(|register| &register.values);
        let elements = self.elements.values().flatten();
        values
            .map(|(id, live)| (*id, live.origin))
            .chain(elements.map(|(id, element)| (*id, element.origin)))
            .filter_map(|(id, origin)| Some((id, origin.clock?)))
            .collect()
    }

    fn origins_mut(&mut self) -> impl Iterator<Item = (ChangeId, &mut Origin)> {
        let values = self.registers.values_mut().flat_map(|register| &mut register.values);
        let elements = self.elements.values_mut().flatten();
        values
            .map(|(id, live)| (*id, &mut live.origin))
            .chain(elements.map(|(id, element)| (*id, &mut element.origin)))
    }

    /// Counts the other dots of changes that are in this state.
    pub(crate) fn count_aliases(&mut self, applied: impl Fn(&ChangeId) -> bool) {
        let aliases = self.vector.aliases.iter().filter(|(_, id)| applied(id));
        let dots: Vec<Dot> = aliases.map(|(dot, _)| *dot).collect();
        dots.into_iter().for_each(|dot| self.vector.add(dot));
    }

    /// Whether this may be stored after `before`: a reader takes every list of it, and it is at most so large, or no larger
    /// than it was.
    pub(crate) fn may_follow(&self, before: Option<&RecordState>, bytes_max: usize) -> bool {
        self.bytes_after(before, bytes_max).is_some()
    }

    /// The canonical bytes, if this may be stored after `before`.
    pub(crate) fn bytes_after(&self, before: Option<&RecordState>, bytes_max: usize) -> Option<Vec<u8>> {
        if !self.lists_fit() {
            return None;
        }
        let bytes = self.to_bytes();
        let fits = bytes.len() <= bytes_max || before.is_some_and(|before| bytes.len() <= before.to_bytes().len());
        fits.then_some(bytes)
    }

    /// Whether a reader takes every list of this state.
    pub(crate) fn lists_fit(&self) -> bool {
        let registers = self.registers.values();
        let elements = self.elements.values();
        let lists = [self.vector.entries.len(), self.vector.aliases.len()];
        lists
            .into_iter()
            .chain(registers.flat_map(|register| [register.values.len(), register.unseen.len()]))
            .chain(elements.flat_map(|elements| {
                let names = elements.values().map(|element| element.names.len());
                names.chain([elements.len()])
            }))
            .all(|length| length <= LIST_MAX)
    }

    /// All that either holds: every value that a join of the two keeps is in it.
    pub(crate) fn union(&self, other: &RecordState) -> RecordState {
        let mut both = self.clone();
        for (field, theirs) in &other.registers {
            let mine = both.registers.entry(*field).or_default();
            let values = theirs.values.iter().map(|(id, live)| (*id, live.clone()));
            mine.values.extend(values);
            mine.unseen.extend(&theirs.unseen);
        }
        for (field, theirs) in &other.elements {
            let mine = both.elements.entry(*field).or_default();
            mine.extend(theirs.iter().map(|(id, element)| (*id, element.clone())));
        }
        both.vector.join(&other.vector);
        for (key, theirs) in &other.unknown.0 {
            both.unknown.0.entry(*key).or_insert_with(|| theirs.clone());
        }
        both
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(|w| {
            let mut map = MapWriter::new(&self.unknown);
            map.put(1, |w| put_u64(w, u64::from(self.kind.0)));
            map.put(2, |w| put_bytes(w, &self.record.0));
            map.put(3, |w| put_vector(w, &self.vector));
            map.put(4, |w| self.put_registers(w));
            map.put(5, |w| self.put_elements(w));
            let clocks = self.clocks();
            if !clocks.is_empty() && !self.unknown.0.contains_key(&CLOCKS) {
                map.put(CLOCKS, |w| put_clocks(w, &clocks));
            }
            map.finish(w);
        })
    }

    fn put_registers(&self, w: &mut Writer) {
        w.map(self.registers.len() as u64).ok();
        for (field, register) in &self.registers {
            put_u64(w, u64::from(field.0));
            w.array(2).ok();
            w.array(register.values.len() as u64).ok();
            for (id, live) in &register.values {
                w.array(if live.seen.is_some() { 4 } else { 3 }).ok();
                put_bytes(w, &id.0);
                put_origin(w, &live.origin);
                put_raw(w, &live.value);
                if let Some(seen) = &live.seen {
                    put_raw(w, seen);
                }
            }
            put_ids(w, register.unseen.iter());
        }
    }

    fn put_elements(&self, w: &mut Writer) {
        w.map(self.elements.len() as u64).ok();
        for (field, elements) in &self.elements {
            put_u64(w, u64::from(field.0));
            w.array(elements.len() as u64).ok();
            for (id, element) in elements {
                w.array(5).ok();
                put_bytes(w, &id.0);
                put_origin(w, &element.origin);
                put_u64(w, element.act as u64);
                put_raw(w, &element.value);
                put_ids(w, element.names.iter());
            }
        }
    }

    pub fn parse(bytes: &[u8]) -> Result<RecordState, CborError> {
        cbor::parse(bytes, |r| {
            let (mut kind, mut record, mut vector) = (None, None, None);
            let (mut registers, mut elements) = (BTreeMap::new(), BTreeMap::new());
            let unknown = r.map(|key, r| {
                match key {
                    1 => kind = Some(KindId(r.u16()?)),
                    2 => record = Some(RecordId(r.fixed("record id")?)),
                    3 => vector = Some(read_vector(r)?),
                    4 => registers = read_fields(r, read_register)?,
                    5 => elements = read_fields(r, read_elements)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            let mut state = RecordState {
                kind: kind.ok_or(CborError::Missing { what: "kind" })?,
                record: record.ok_or(CborError::Missing { what: "record id" })?,
                vector: vector.ok_or(CborError::Missing { what: "version vector" })?,
                registers,
                elements,
                unknown,
            };
            state.understand_clocks();
            Ok(state)
        })
    }
}

impl Origin {
    /// When it was entered, as far as is known, in an order that all replicas share.
    pub fn written(&self) -> HybridTime {
        match self.clock {
            Some(ClockFact::Corrected(wall_ms)) => HybridTime { wall_ms, logical: 0 },
            Some(ClockFact::Suspect) | None => self.at,
        }
    }

    /// When it happened. What was entered as it happened was read from the same clock, and is corrected with it.
    pub fn happened_ms(&self) -> i64 {
        match self.clock {
            Some(ClockFact::Corrected(ms)) if self.is_of_its_entry() => i64::try_from(ms).unwrap_or(i64::MAX),
            Some(ClockFact::Corrected(_) | ClockFact::Suspect) | None => self.event_ms,
        }
    }

    fn is_of_its_entry(&self) -> bool {
        let at = i64::try_from(self.at.wall_ms).unwrap_or(i64::MAX);
        self.event_ms.abs_diff(at) <= CLOCK_TOLERANCE_MS
    }

    /// Whether nobody knows when it was entered.
    pub fn is_suspect(&self) -> bool {
        self.clock == Some(ClockFact::Suspect)
    }

    pub fn of(header: &Header) -> Origin {
        Origin {
            dot: header.dot,
            at: header.at,
            event_ms: header.event_ms,
            actor: header.actor,
            clock: None,
        }
    }
}

/// The key of what is known of clocks. Readers from before it keep it as something that they do not understand.
const CLOCKS: u64 = 6;

/// `[id, corrected]`, or `[id]` of what is suspect, in order of ids.
fn put_clocks(w: &mut Writer, clocks: &BTreeMap<ChangeId, ClockFact>) {
    w.array(clocks.len() as u64).ok();
    for (id, fact) in clocks {
        match fact {
            ClockFact::Corrected(ms) => {
                w.array(2).ok();
                put_bytes(w, &id.0);
                put_u64(w, *ms);
            }
            ClockFact::Suspect => {
                w.array(1).ok();
                put_bytes(w, &id.0);
            }
        }
    }
}

fn read_clocks(r: &mut Reader<'_>) -> Result<Vec<(ChangeId, ClockFact)>, CborError> {
    r.array(LIST_MAX, "clocks", |r| {
        let parts = r.array_length()?;
        let id = ChangeId(r.fixed("change id")?);
        match parts {
            1 => Ok((id, ClockFact::Suspect)),
            2 => Ok((id, ClockFact::Corrected(r.u64()?))),
            _ => Err(CborError::Form { what: "clock" }),
        }
    })
}

fn put_origin(w: &mut Writer, origin: &Origin) {
    w.array(4).ok();
    put_dot(w, origin.dot);
    put_time(w, origin.at);
    put_i64(w, origin.event_ms);
    put_actor(w, origin.actor);
}

fn read_origin(r: &mut Reader<'_>) -> Result<Origin, CborError> {
    r.exact_array(4, "origin")?;
    Ok(Origin {
        dot: read_dot(r)?,
        at: read_time(r)?,
        event_ms: r.i64()?,
        actor: read_actor(r)?,
        clock: None,
    })
}

fn read_fields<'b, T>(
    r: &mut Reader<'b>,
    mut read: impl FnMut(&mut Reader<'b>) -> Result<T, CborError>,
) -> Result<BTreeMap<FieldId, T>, CborError> {
    let mut fields = BTreeMap::new();
    r.map(|key, r| {
        let field = u16::try_from(key).map_err(|_| CborError::Form { what: "field number" })?;
        fields.insert(FieldId(field), read(r)?);
        Ok(true)
    })?;
    Ok(fields)
}

fn read_register(r: &mut Reader<'_>) -> Result<Register, CborError> {
    r.exact_array(2, "register")?;
    let values = r.array(LIST_MAX, "live values", |r| {
        let parts = r.array_length()?;
        if !(3..=4).contains(&parts) {
            return Err(CborError::Form { what: "live value" });
        }
        let id = ChangeId(r.fixed("change id")?);
        let (origin, value) = (read_origin(r)?, r.raw()?);
        Ok((
            id,
            LiveValue {
                origin,
                value,
                seen: if parts == 4 { Some(r.raw()?) } else { None },
            },
        ))
    })?;
    Ok(Register {
        values: values.into_iter().collect(),
        unseen: read_ids(r)?.into_iter().collect(),
    })
}

fn read_elements(r: &mut Reader<'_>) -> Result<BTreeMap<ChangeId, Element>, CborError> {
    let elements = r.array(LIST_MAX, "elements", |r| {
        r.exact_array(5, "element")?;
        let id = ChangeId(r.fixed("change id")?);
        let (origin, act, value) = (read_origin(r)?, read_act(r)?, r.raw()?);
        Ok((
            id,
            Element {
                origin,
                act,
                value,
                names: read_ids(r)?.into_iter().collect(),
            },
        ))
    })?;
    Ok(elements.into_iter().collect())
}
