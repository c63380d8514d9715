//! A change: the one unit of writing, and the chain that its author hangs it on.
//!
//! The header says who, when, on which record, what the writer was shown and what it names; the payload holds the
//! values. `h(n) = SHA-256(h(n-1) ‖ header ‖ SHA-256(salt ‖ payload))` over the author's own bytes, which are stored and
//! relayed unchanged, so that payload and salt can be forgotten while the chain still verifies.

use ring::digest;

use crate::CHANGE_MAX_BYTES;
use crate::cbor::{self, CborError, MapWriter, Raw, Reader, Unknown, Writer};
use crate::ids::{BootId, ChangeId, Dot, FieldId, Hash, KindId, RecordId, ReplicaId};
use crate::time::HybridTime;
use crate::vector::{Entry, VersionVector};

/// At most this many names, fields or elements in one change, and replicas or aliases in one vector.
pub const LIST_MAX: usize = 4_096;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub change: ChangeId,
    pub dot: Dot,
    pub at: HybridTime,
    pub boot: BootId,
    pub monotonic_ms: u64,
    /// When it happened in the clinic, milliseconds since 1970; `at` is when it was entered.
    pub event_ms: i64,
    pub actor: Actor,
    /// What the writer did, a number of the catalogue.
    pub action: u16,
    pub kind: KindId,
    pub record: RecordId,
    /// The version that was shown to the writer.
    pub saw: VersionVector,
    pub names: Vec<Names>,
    /// Ties together what one request, message or rule caused; its own id when nothing else did.
    pub correlation: ChangeId,
    pub unknown: Unknown,
}

/// Who wrote and by which way. `who` is a staff record, or nil for a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Actor {
    pub who: RecordId,
    pub channel: u8,
}

/// What a change does to the things it names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Act {
    /// Says something: a value of a register, a transition, an allergy.
    Assert = 0,
    /// Takes back transitions that its writer was shown.
    Withdraw = 1,
    /// Says that named assertions are wrong.
    Refute = 2,
    /// Says that the whole record, as shown, was entered in error.
    Retract = 3,
}

impl Act {
    fn from_number(number: u8) -> Option<Act> {
        [Act::Assert, Act::Withdraw, Act::Refute, Act::Retract]
            .into_iter()
            .find(|act| *act as u8 == number)
    }
}

/// The ids that a write of one field was shown and does away with: for a register they are replaced, for elements the
/// act of the element written says what becomes of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    pub field: FieldId,
    pub ids: Vec<ChangeId>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Payload {
    pub fields: Vec<FieldWrite>,
    pub elements: Vec<ElementWrite>,
    pub unknown: Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldWrite {
    pub field: FieldId,
    pub value: Raw,
    /// For `ask` fields: what the writer's base agreed on, kept since once both sides have replaced it no state has it.
    pub seen: Option<Raw>,
}

/// An immutable element. One change writes at most one element of a field, so (field, change id) names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElementWrite {
    pub field: FieldId,
    pub act: Act,
    pub value: Raw,
}

/// A change as it is stored and sent: the author's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    pub header: Vec<u8>,
    pub salt: [u8; 16],
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "change({} bytes)", self.bytes())
    }
}

impl Change {
    pub fn new(header: &Header, salt: [u8; 16], payload: &Payload) -> Change {
        Change {
            header: header.to_bytes(),
            salt,
            payload: payload.to_bytes(),
        }
    }

    pub fn bytes(&self) -> usize {
        self.header.len() + self.salt.len() + self.payload.len()
    }

    pub fn parse_header(&self) -> Result<Header, CborError> {
        if self.bytes() > CHANGE_MAX_BYTES {
            return Err(CborError::TooLarge {
                what: "change",
                max: CHANGE_MAX_BYTES,
            });
        }
        Header::parse(&self.header)
    }

    pub fn parse_payload(&self) -> Result<Payload, CborError> {
        Payload::parse(&self.payload)
    }

    pub fn payload_digest(&self) -> Hash {
        sha256(&[&self.salt, &self.payload])
    }

    /// The next hash of the chain that this change is hung on.
    pub fn link(&self, previous: Hash) -> Hash {
        link(previous, &self.header, self.payload_digest())
    }
}

/// The next hash of a chain, from what is left of a change when salt and payload are forgotten.
pub fn link(previous: Hash, header: &[u8], payload_digest: Hash) -> Hash {
    sha256(&[&previous.0, header, &payload_digest.0])
}

/// The hash before a replica's first change.
pub fn genesis(replica: ReplicaId) -> Hash {
    sha256(&[b"mainstay chain 1", &replica.0])
}

pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Hash(out)
}

impl Header {
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(|w| {
            let mut map = MapWriter::new(&self.unknown);
            map.put(1, |w| put_bytes(w, &self.change.0));
            map.put(2, |w| put_dot(w, self.dot));
            map.put(3, |w| put_time(w, self.at));
            map.put(4, |w| put_bytes(w, &self.boot.0));
            map.put(5, |w| put_u64(w, self.monotonic_ms));
            map.put(6, |w| put_i64(w, self.event_ms));
            map.put(7, |w| put_actor(w, self.actor));
            map.put(8, |w| put_u64(w, u64::from(self.action)));
            map.put(9, |w| put_u64(w, u64::from(self.kind.0)));
            map.put(10, |w| put_bytes(w, &self.record.0));
            map.put(11, |w| put_vector(w, &self.saw));
            if !self.names.is_empty() {
                map.put(12, |w| put_names(w, &self.names));
            }
            if self.correlation != self.change {
                map.put(13, |w| put_bytes(w, &self.correlation.0));
            }
            map.finish(w);
        })
    }

    pub fn parse(bytes: &[u8]) -> Result<Header, CborError> {
        cbor::parse(bytes, |r| {
            let (mut change, mut dot, mut at, mut boot, mut monotonic_ms, mut event_ms) = Default::default();
            let (mut actor, mut action, mut kind, mut record, mut saw) = Default::default();
            let (mut names, mut correlation) = (Vec::new(), None);
            let unknown = r.map(|key, r| {
                match key {
                    1 => change = Some(ChangeId(r.fixed("change id")?)),
                    2 => dot = Some(read_dot(r)?),
                    3 => at = Some(read_time(r)?),
                    4 => boot = Some(BootId(r.fixed("boot id")?)),
                    5 => monotonic_ms = Some(r.u64()?),
                    6 => event_ms = Some(r.i64()?),
                    7 => actor = Some(read_actor(r)?),
                    8 => action = Some(r.u16()?),
                    9 => kind = Some(KindId(r.u16()?)),
                    10 => record = Some(RecordId(r.fixed("record id")?)),
                    11 => saw = Some(read_vector(r)?),
                    12 => names = read_names(r)?,
                    13 => correlation = Some(ChangeId(r.fixed("correlation id")?)),
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            let change = change.ok_or(CborError::Missing { what: "change id" })?;
            Ok(Header {
                change,
                dot: dot.ok_or(CborError::Missing { what: "dot" })?,
                at: at.ok_or(CborError::Missing { what: "hybrid time" })?,
                boot: boot.ok_or(CborError::Missing { what: "boot id" })?,
                monotonic_ms: monotonic_ms.ok_or(CborError::Missing { what: "monotonic time" })?,
                event_ms: event_ms.ok_or(CborError::Missing { what: "event time" })?,
                actor: actor.ok_or(CborError::Missing { what: "actor" })?,
                action: action.ok_or(CborError::Missing { what: "action" })?,
                kind: kind.ok_or(CborError::Missing { what: "kind" })?,
                record: record.ok_or(CborError::Missing { what: "record id" })?,
                saw: saw.ok_or(CborError::Missing { what: "version shown" })?,
                names,
                correlation: correlation.unwrap_or(change),
                unknown,
            })
        })
    }

    pub fn named(&self, field: FieldId) -> &[ChangeId] {
        self.names.iter().find(|n| n.field == field).map_or(&[], |n| &n.ids)
    }
}

impl Payload {
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(|w| {
            let mut map = MapWriter::new(&self.unknown);
            if !self.fields.is_empty() {
                map.put(1, |w| {
                    w.array(self.fields.len() as u64).ok();
                    for field in &self.fields {
                        w.array(if field.seen.is_some() { 3 } else { 2 }).ok();
                        put_u64(w, u64::from(field.field.0));
                        put_raw(w, &field.value);
                        if let Some(seen) = &field.seen {
                            put_raw(w, seen);
                        }
                    }
                });
            }
            if !self.elements.is_empty() {
                map.put(2, |w| {
                    w.array(self.elements.len() as u64).ok();
                    for element in &self.elements {
                        w.array(3).ok();
                        put_u64(w, u64::from(element.field.0));
                        put_u64(w, element.act as u64);
                        put_raw(w, &element.value);
                    }
                });
            }
            map.finish(w);
        })
    }

    pub fn parse(bytes: &[u8]) -> Result<Payload, CborError> {
        cbor::parse(bytes, |r| {
            let (mut fields, mut elements) = (Vec::new(), Vec::new());
            let unknown = r.map(|key, r| {
                match key {
                    1 => {
                        fields = r.array(LIST_MAX, "fields", |r| {
                            let parts = r.array_length()?;
                            if !(2..=3).contains(&parts) {
                                return Err(CborError::Form { what: "field write" });
                            }
                            Ok(FieldWrite {
                                field: FieldId(r.u16()?),
                                value: r.raw()?,
                                seen: if parts == 3 { Some(r.raw()?) } else { None },
                            })
                        })?;
                    }
                    2 => {
                        elements = r.array(LIST_MAX, "elements", |r| {
                            r.exact_array(3, "element write")?;
                            Ok(ElementWrite {
                                field: FieldId(r.u16()?),
                                act: read_act(r)?,
                                value: r.raw()?,
                            })
                        })?;
                    }
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            Ok(Payload {
                fields,
                elements,
                unknown,
            })
        })
    }
}

pub(crate) fn put_bytes(w: &mut Writer, bytes: &[u8]) {
    w.bytes(bytes).ok();
}

pub(crate) fn put_u64(w: &mut Writer, value: u64) {
    w.u64(value).ok();
}

pub(crate) fn put_i64(w: &mut Writer, value: i64) {
    w.i64(value).ok();
}

pub(crate) fn put_raw(w: &mut Writer, raw: &Raw) {
    w.writer_mut().extend_from_slice(raw.as_bytes());
}

pub(crate) fn put_dot(w: &mut Writer, dot: Dot) {
    w.array(2).ok();
    put_bytes(w, &dot.replica.0);
    put_u64(w, dot.counter);
}

pub(crate) fn read_dot(r: &mut Reader<'_>) -> Result<Dot, CborError> {
    r.exact_array(2, "dot")?;
    Ok(Dot {
        replica: ReplicaId(r.fixed("replica")?),
        counter: r.u64()?,
    })
}

pub(crate) fn put_time(w: &mut Writer, at: HybridTime) {
    w.array(2).ok();
    put_u64(w, at.wall_ms);
    put_u64(w, u64::from(at.logical));
}

pub(crate) fn read_time(r: &mut Reader<'_>) -> Result<HybridTime, CborError> {
    r.exact_array(2, "hybrid time")?;
    Ok(HybridTime {
        wall_ms: r.u64()?,
        logical: r.u32()?,
    })
}

pub(crate) fn put_actor(w: &mut Writer, actor: Actor) {
    w.array(2).ok();
    put_bytes(w, &actor.who.0);
    put_u64(w, u64::from(actor.channel));
}

pub(crate) fn read_actor(r: &mut Reader<'_>) -> Result<Actor, CborError> {
    r.exact_array(2, "actor")?;
    Ok(Actor {
        who: RecordId(r.fixed("actor")?),
        channel: r.u8()?,
    })
}

pub(crate) fn read_act(r: &mut Reader<'_>) -> Result<Act, CborError> {
    Act::from_number(r.u8()?).ok_or(CborError::Form { what: "act" })
}

pub(crate) fn put_ids<'a>(w: &mut Writer, ids: impl ExactSizeIterator<Item = &'a ChangeId>) {
    w.array(ids.len() as u64).ok();
    for id in ids {
        put_bytes(w, &id.0);
    }
}

pub(crate) fn read_ids(r: &mut Reader<'_>) -> Result<Vec<ChangeId>, CborError> {
    r.array(LIST_MAX, "ids", |r| Ok(ChangeId(r.fixed("change id")?)))
}

fn put_names(w: &mut Writer, names: &[Names]) {
    w.array(names.len() as u64).ok();
    for name in names {
        w.array(2).ok();
        put_u64(w, u64::from(name.field.0));
        put_ids(w, name.ids.iter());
    }
}

fn read_names(r: &mut Reader<'_>) -> Result<Vec<Names>, CborError> {
    r.array(LIST_MAX, "names", |r| {
        r.exact_array(2, "names")?;
        Ok(Names {
            field: FieldId(r.u16()?),
            ids: read_ids(r)?,
        })
    })
}

/// A vector is `[[replica, upto, except…]…, [[dot, id]…]]`.
pub(crate) fn put_vector(w: &mut Writer, vector: &VersionVector) {
    w.array(2).ok();
    w.array(vector.entries.len() as u64).ok();
    for (replica, entry) in &vector.entries {
        w.array(2 + entry.except.len() as u64).ok();
        put_bytes(w, &replica.0);
        put_u64(w, entry.upto);
        entry.except.iter().for_each(|counter| put_u64(w, *counter));
    }
    w.array(vector.aliases.len() as u64).ok();
    for (dot, id) in &vector.aliases {
        w.array(2).ok();
        put_dot(w, *dot);
        put_bytes(w, &id.0);
    }
}

pub(crate) fn read_vector(r: &mut Reader<'_>) -> Result<VersionVector, CborError> {
    r.exact_array(2, "version vector")?;
    let entries = r.array(LIST_MAX, "version vector", |r| {
        let parts = r.array_length()?;
        if parts < 2 {
            return Err(CborError::Form { what: "version vector" });
        }
        let replica = ReplicaId(r.fixed("replica")?);
        let upto = r.u64()?;
        let except = (2..parts).map(|_| r.u64()).collect::<Result<_, _>>()?;
        Ok((replica, Entry { upto, except }))
    })?;
    let aliases = r.array(LIST_MAX, "aliases", |r| {
        r.exact_array(2, "alias")?;
        Ok((read_dot(r)?, ChangeId(r.fixed("change id")?)))
    })?;
    Ok(VersionVector {
        entries: entries.into_iter().collect(),
        aliases: aliases.into_iter().collect(),
    })
}
