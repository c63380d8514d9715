//! The bytes of headers, payloads, states and version vectors in the first format. Frozen: it must not follow the engine.

use std::collections::BTreeMap;

use super::cbor::{In, Map, Out, Read, Refusal, put_bytes, put_int, put_list, put_raw};
use super::model::{
    Act, Actor, Alias, Dot, Element, ElementWrite, Entry, FieldWrite, Header, Id, LiveValue, Names, Origin, Payload,
    Register, State, Time, Vector,
};

/// At most this many names, ids, fields, elements or values in one list, and replicas or aliases in one vector.
const LIST_MAX: u64 = 4_096;

impl Header {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut map = Map::new(&self.unknown);
        map.put(1, |out| put_bytes(out, &self.change.0));
        map.put(2, |out| put_dot(out, self.dot));
        map.put(3, |out| put_time(out, self.at));
        map.put(4, |out| put_bytes(out, &self.boot.0));
        map.put(5, |out| put_int(out, self.monotonic_ms));
        map.put(6, |out| put_signed(out, self.event_ms));
        map.put(7, |out| put_actor(out, self.actor));
        map.put(8, |out| put_int(out, self.action));
        map.put(9, |out| put_int(out, self.kind));
        map.put(10, |out| put_bytes(out, &self.record.0));
        map.put(11, |out| put_vector(out, &self.saw));
        if !self.names.is_empty() {
            map.put(12, |out| {
                put_list(out, self.names.iter(), |out, names| {
                    out.array(2).unwrap();
                    put_int(out, names.field);
                    put_list(out, names.ids.iter(), |out, id| put_bytes(out, &id.0));
                });
            });
        }
        if let Some(correlation) = self.correlation.filter(|correlation| *correlation != self.change) {
            map.put(13, |out| put_bytes(out, &correlation.0));
        }
        map.bytes()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Read<Header> {
        In::whole(bytes, |r| {
            let (mut change, mut dot, mut at, mut boot, mut monotonic_ms, mut event_ms) = Default::default();
            let (mut actor, mut action, mut kind, mut record, mut saw) = Default::default();
            let (mut names, mut correlation) = (Vec::new(), None);
            let unknown = r.map(|key, r| {
                match key {
                    1 => change = Some(r.id()?),
                    2 => dot = Some(read_dot(r)?),
                    3 => at = Some(read_time(r)?),
                    4 => boot = Some(r.id()?),
                    5 => monotonic_ms = Some(r.u64()?),
                    6 => event_ms = Some(r.i64()?),
                    7 => actor = Some(read_actor(r)?),
                    8 => action = Some(r.u16()?),
                    9 => kind = Some(r.u16()?),
                    10 => record = Some(r.id()?),
                    11 => saw = Some(read_vector(r)?),
                    12 => {
                        names = r.list(LIST_MAX, |r| {
                            r.exactly(2)?;
                            let field = r.u16()?;
                            let ids = r.list(LIST_MAX, In::id)?;
                            Ok(Names { field, ids })
                        })?;
                    }
                    13 => correlation = Some(r.id()?),
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            let change = change.ok_or(Refusal::Missing)?;
            Ok(Header {
                change,
                dot: dot.ok_or(Refusal::Missing)?,
                at: at.ok_or(Refusal::Missing)?,
                boot: boot.ok_or(Refusal::Missing)?,
                monotonic_ms: monotonic_ms.ok_or(Refusal::Missing)?,
                event_ms: event_ms.ok_or(Refusal::Missing)?,
                actor: actor.ok_or(Refusal::Missing)?,
                action: action.ok_or(Refusal::Missing)?,
                kind: kind.ok_or(Refusal::Missing)?,
                record: record.ok_or(Refusal::Missing)?,
                saw: saw.ok_or(Refusal::Missing)?,
                names,
                correlation: correlation.filter(|correlation| *correlation != change),
                unknown,
            })
        })
    }
}

impl Payload {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut map = Map::new(&self.unknown);
        if !self.fields.is_empty() {
            map.put(1, |out| {
                put_list(out, self.fields.iter(), |out, write| {
                    out.array(if write.seen.is_some() { 3 } else { 2 }).unwrap();
                    put_int(out, write.field);
                    put_raw(out, &write.value);
                    write.seen.iter().for_each(|seen| put_raw(out, seen));
                });
            });
        }
        if !self.elements.is_empty() {
            map.put(2, |out| {
                put_list(out, self.elements.iter(), |out, write| {
                    out.array(3).unwrap();
                    put_int(out, write.field);
                    put_int(out, write.act as u64);
                    put_raw(out, &write.value);
                });
            });
        }
        map.bytes()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Read<Payload> {
        In::whole(bytes, |r| {
            let (mut fields, mut elements) = (Vec::new(), Vec::new());
            let unknown = r.map(|key, r| {
                match key {
                    1 => fields = r.list(LIST_MAX, read_field_write)?,
                    2 => {
                        elements = r.list(LIST_MAX, |r| {
                            r.exactly(3)?;
                            let (field, act, value) = (r.u16()?, read_act(r)?, r.raw()?);
                            Ok(ElementWrite { field, act, value })
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

fn read_field_write(r: &mut In<'_>) -> Read<FieldWrite> {
    let parts = r.length()?;
    if !(2..=3).contains(&parts) {
        return Err(Refusal::Form);
    }
    let (field, value) = (r.u16()?, r.raw()?);
    let seen = if parts == 3 { Some(r.raw()?) } else { None };
    Ok(FieldWrite { field, value, seen })
}

impl State {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut map = Map::new(&self.unknown);
        map.put(1, |out| put_int(out, self.kind));
        map.put(2, |out| put_bytes(out, &self.record.0));
        map.put(3, |out| put_vector(out, &self.vector));
        map.put(4, |out| {
            out.map(self.registers.len() as u64).unwrap();
            for (field, register) in &self.registers {
                put_int(out, *field);
                put_register(out, register);
            }
        });
        map.put(5, |out| {
            out.map(self.elements.len() as u64).unwrap();
            for (field, elements) in &self.elements {
                put_int(out, *field);
                put_list(out, elements.iter(), put_element);
            }
        });
        map.bytes()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Read<State> {
        In::whole(bytes, |r| {
            let (mut kind, mut record, mut vector) = (None, None, None);
            let (mut registers, mut elements) = (BTreeMap::new(), BTreeMap::new());
            let unknown = r.map(|key, r| {
                match key {
                    1 => kind = Some(r.u16()?),
                    2 => record = Some(r.id()?),
                    3 => vector = Some(read_vector(r)?),
                    4 => registers = read_fields(r, read_register)?,
                    5 => elements = read_fields(r, |r| Ok(r.list(LIST_MAX, read_element)?.into_iter().collect()))?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            Ok(State {
                kind: kind.ok_or(Refusal::Missing)?,
                record: record.ok_or(Refusal::Missing)?,
                vector: vector.ok_or(Refusal::Missing)?,
                registers,
                elements,
                unknown,
            })
        })
    }
}

fn read_fields<'b, T>(r: &mut In<'b>, mut read: impl FnMut(&mut In<'b>) -> Read<T>) -> Read<BTreeMap<u16, T>> {
    let mut fields = BTreeMap::new();
    r.map(|key, r| {
        fields.insert(u16::try_from(key).map_err(|_| Refusal::Form)?, read(r)?);
        Ok(true)
    })?;
    Ok(fields)
}

fn put_register(out: &mut Out, register: &Register) {
    out.array(2).unwrap();
    put_list(out, register.values.iter(), |out, (id, live)| {
        out.array(if live.seen.is_some() { 4 } else { 3 }).unwrap();
        put_bytes(out, &id.0);
        put_origin(out, &live.origin);
        put_raw(out, &live.value);
        live.seen.iter().for_each(|seen| put_raw(out, seen));
    });
    put_list(out, register.unseen.iter(), |out, id| put_bytes(out, &id.0));
}

fn read_register(r: &mut In<'_>) -> Read<Register> {
    r.exactly(2)?;
    let values = r.list(LIST_MAX, |r| {
        let parts = r.length()?;
        if !(3..=4).contains(&parts) {
            return Err(Refusal::Form);
        }
        let (id, origin, value) = (r.id()?, read_origin(r)?, r.raw()?);
        let seen = if parts == 4 { Some(r.raw()?) } else { None };
        Ok((id, LiveValue { origin, value, seen }))
    })?;
    Ok(Register {
        values: values.into_iter().collect(),
        unseen: r.list(LIST_MAX, In::id)?.into_iter().collect(),
    })
}

fn put_element(out: &mut Out, (id, element): (&Id, &Element)) {
    out.array(5).unwrap();
    put_bytes(out, &id.0);
    put_origin(out, &element.origin);
    put_int(out, element.act as u64);
    put_raw(out, &element.value);
    put_list(out, element.names.iter(), |out, id| put_bytes(out, &id.0));
}

fn read_element(r: &mut In<'_>) -> Read<(Id, Element)> {
    r.exactly(5)?;
    let (id, origin, act, value) = (r.id()?, read_origin(r)?, read_act(r)?, r.raw()?);
    let names = r.list(LIST_MAX, In::id)?.into_iter().collect();
    let element = Element {
        origin,
        act,
        value,
        names,
    };
    Ok((id, element))
}

fn put_signed(out: &mut Out, value: i64) {
    out.i64(value).unwrap();
}

fn put_dot(out: &mut Out, dot: Dot) {
    out.array(2).unwrap();
    put_bytes(out, &dot.replica.0);
    put_int(out, dot.counter);
}

fn read_dot(r: &mut In<'_>) -> Read<Dot> {
    r.exactly(2)?;
    let (replica, counter) = (r.id()?, r.u64()?);
    Ok(Dot { replica, counter })
}

fn put_time(out: &mut Out, at: Time) {
    out.array(2).unwrap();
    put_int(out, at.wall_ms);
    put_int(out, at.logical);
}

fn read_time(r: &mut In<'_>) -> Read<Time> {
    r.exactly(2)?;
    let (wall_ms, logical) = (r.u64()?, r.u32()?);
    Ok(Time { wall_ms, logical })
}

fn put_actor(out: &mut Out, actor: Actor) {
    out.array(2).unwrap();
    put_bytes(out, &actor.who.0);
    put_int(out, actor.channel);
}

fn read_actor(r: &mut In<'_>) -> Read<Actor> {
    r.exactly(2)?;
    let (who, channel) = (r.id()?, r.u8()?);
    Ok(Actor { who, channel })
}

fn read_act(r: &mut In<'_>) -> Read<Act> {
    let number = usize::from(r.u8()?);
    Act::ALL.get(number).copied().ok_or(Refusal::Form)
}

fn put_origin(out: &mut Out, origin: &Origin) {
    out.array(4).unwrap();
    put_dot(out, origin.dot);
    put_time(out, origin.at);
    put_signed(out, origin.event_ms);
    put_actor(out, origin.actor);
}

fn read_origin(r: &mut In<'_>) -> Read<Origin> {
    r.exactly(4)?;
    let (dot, at, event_ms, actor) = (read_dot(r)?, read_time(r)?, r.i64()?, read_actor(r)?);
    Ok(Origin {
        dot,
        at,
        event_ms,
        actor,
    })
}

pub(crate) fn put_vector(out: &mut Out, vector: &Vector) {
    out.array(2).unwrap();
    put_list(out, vector.entries.iter(), |out, (replica, entry)| {
        out.array(2 + entry.except.len() as u64).unwrap();
        put_bytes(out, &replica.0);
        put_int(out, entry.upto);
        entry.except.iter().for_each(|counter| put_int(out, *counter));
    });
    put_list(out, vector.aliases.iter(), |out, alias| {
        out.array(2).unwrap();
        put_dot(out, alias.dot);
        put_bytes(out, &alias.change.0);
    });
}

pub(crate) fn read_vector(r: &mut In<'_>) -> Read<Vector> {
    r.exactly(2)?;
    let entries = r.list(LIST_MAX, |r| {
        let parts = r.length()?;
        if parts < 2 {
            return Err(Refusal::Form);
        }
        let (replica, upto) = (r.id()?, r.u64()?);
        let except = (2..parts).map(|_| r.u64()).collect::<Read<_>>()?;
        Ok((replica, Entry { upto, except }))
    })?;
    let aliases: BTreeMap<Dot, Id> = r
        .list(LIST_MAX, |r| {
            r.exactly(2)?;
            Ok((read_dot(r)?, r.id()?))
        })?
        .into_iter()
        .collect();
    let aliases = aliases.into_iter().map(|(dot, change)| Alias { dot, change });
    Ok(Vector {
        entries: entries.into_iter().collect(),
        aliases: aliases.collect(),
    })
}
