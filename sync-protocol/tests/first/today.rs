//! What the engine of today read, in the words of the first format, so that the two can be compared. The only file here
//! that follows the engine.

use std::collections::BTreeMap;

use sync_protocol::cbor::{CborError, Raw};
use sync_protocol::wire::{self, Told, WireError};
use sync_protocol::{self as engine, HybridTime, VersionVector};

use super::cbor::{Refusal, Unknown};
use super::messages::{Cursor, Page, PullReply, PullRequest, PushReply, PushRequest, Row, Sent, Willing};
use super::model::{
    Act, Actor, Alias, Dot, Element, ElementWrite, Entry, FieldWrite, Hash, Header, Hex, Id, LiveValue, Names, Origin,
    Payload, Register, State, Time, Vector,
};

pub(crate) fn raw(raw: &Raw) -> Hex {
    Hex(raw.as_bytes().to_vec())
}

fn unknown(unknown: &engine::cbor::Unknown) -> Unknown {
    unknown.0.iter().map(|(key, value)| (*key, raw(value))).collect()
}

pub(crate) fn dot(dot: engine::Dot) -> Dot {
    Dot {
        replica: Id(dot.replica.0),
        counter: dot.counter,
    }
}

pub(crate) fn time(at: HybridTime) -> Time {
    Time {
        wall_ms: at.wall_ms,
        logical: at.logical,
    }
}

fn actor(actor: engine::Actor) -> Actor {
    Actor {
        who: Id(actor.who.0),
        channel: actor.channel,
    }
}

fn act(act: engine::Act) -> Act {
    match act {
        engine::Act::Assert => Act::Assert,
        engine::Act::Withdraw => Act::Withdraw,
        engine::Act::Refute => Act::Refute,
        engine::Act::Retract => Act::Retract,
    }
}

pub(crate) fn vector(vector: &VersionVector) -> Vector {
    let entries = vector.entries.iter().map(|(replica, entry)| {
        let (upto, except) = (entry.upto, entry.except.clone());
        (Id(replica.0), Entry { upto, except })
    });
    let aliases = vector.aliases.iter().map(|(of, change)| Alias {
        dot: dot(*of),
        change: Id(change.0),
    });
    Vector {
        entries: entries.collect(),
        aliases: aliases.collect(),
    }
}

pub(crate) fn header(header: &engine::Header) -> Header {
    let names = header.names.iter().map(|names| Names {
        field: names.field.0,
        ids: names.ids.iter().map(|id| Id(id.0)).collect(),
    });
    Header {
        change: Id(header.change.0),
        dot: dot(header.dot),
        at: time(header.at),
        boot: Id(header.boot.0),
        monotonic_ms: header.monotonic_ms,
        event_ms: header.event_ms,
        actor: actor(header.actor),
        action: header.action,
        kind: header.kind.0,
        record: Id(header.record.0),
        saw: vector(&header.saw),
        names: names.collect(),
        correlation: Some(Id(header.correlation.0)).filter(|_| header.correlation != header.change),
        unknown: unknown(&header.unknown),
    }
}

pub(crate) fn payload(payload: &engine::Payload) -> Payload {
    let fields = payload.fields.iter().map(|write| FieldWrite {
        field: write.field.0,
        value: raw(&write.value),
        seen: write.seen.as_ref().map(raw),
    });
    let elements = payload.elements.iter().map(|write| ElementWrite {
        field: write.field.0,
        act: act(write.act),
        value: raw(&write.value),
    });
    Payload {
        fields: fields.collect(),
        elements: elements.collect(),
        unknown: unknown(&payload.unknown),
    }
}

pub(crate) fn state(state: &engine::RecordState) -> State {
    let registers = state.registers.iter().map(|(field, register)| {
        let values = register.values.iter().map(|(id, live)| {
            let live = LiveValue {
                origin: origin(&live.origin),
                value: raw(&live.value),
                seen: live.seen.as_ref().map(raw),
            };
            (Id(id.0), live)
        });
        let register = Register {
            values: values.collect(),
            unseen: register.unseen.iter().map(|id| Id(id.0)).collect(),
        };
        (field.0, register)
    });
    let elements = state.elements.iter().map(|(field, elements)| {
        let elements = elements.iter().map(|(id, element)| {
            let element = Element {
                origin: origin(&element.origin),
                act: act(element.act),
                value: raw(&element.value),
                names: element.names.iter().map(|id| Id(id.0)).collect(),
            };
            (Id(id.0), element)
        });
        (field.0, elements.collect())
    });
    State {
        kind: state.kind.0,
        record: Id(state.record.0),
        vector: vector(&state.vector),
        registers: registers.collect(),
        elements: elements.collect(),
        unknown: unknown(&with_clocks(state)),
    }
}

/// To the first reader what is known of clocks is a key that it does not understand.
fn with_clocks(state: &engine::RecordState) -> engine::cbor::Unknown {
    let values = state.registers.values().flat_map(|register| &register.values);
    let elements = state.elements.values().flatten();
    let clocks: BTreeMap<_, _> = values
        .map(|(id, live)| (*id, live.origin.clock))
        .chain(elements.map(|(id, element)| (*id, element.origin.clock)))
        .filter_map(|(id, clock)| Some((id, clock?)))
        .collect();
    let mut unknown = state.unknown.clone();
    if !clocks.is_empty() {
        let said = Raw::build(|w| {
            w.array(clocks.len() as u64).unwrap();
            for (id, clock) in &clocks {
                match clock {
                    engine::ClockFact::Corrected(ms) => {
                        w.array(2).unwrap().bytes(&id.0).unwrap().u64(*ms).unwrap();
                    }
                    engine::ClockFact::Suspect => {
                        w.array(1).unwrap().bytes(&id.0).unwrap();
                    }
                }
            }
        });
        unknown.0.entry(6).or_insert(said);
    }
    unknown
}

fn origin(origin: &engine::Origin) -> Origin {
    Origin {
        dot: dot(origin.dot),
        at: time(origin.at),
        event_ms: origin.event_ms,
        actor: actor(origin.actor),
    }
}

pub(crate) fn push_request(request: &wire::PushRequest) -> PushRequest {
    let changes = request.changes.iter().map(|change| Sent {
        header: Hex(change.header.clone()),
        salt: Id(change.salt),
        payload: Hex(change.payload.clone()),
    });
    PushRequest {
        epoch: Id(request.epoch.0),
        replica: Id(request.replica.0),
        after: request.after,
        previous: Hash(request.previous.0),
        changes: changes.collect(),
        last: Hash(request.last.0),
    }
}

pub(crate) fn push_reply(reply: &wire::PushReply) -> PushReply {
    PushReply {
        epoch: Id(reply.epoch.0),
        replica: Id(reply.replica.0),
        accepted: reply.accepted,
        hash: Hash(reply.hash.0),
        quarantined: reply.quarantined.clone(),
    }
}

pub(crate) fn pull_request(request: &wire::PullRequest) -> PullRequest {
    let cursors = request.cursors.iter().map(|cursor| Cursor {
        scope: Id(cursor.scope.0),
        lane: cursor.lane as u8,
        generation: cursor.generation,
        sequence: cursor.sequence,
    });
    let willing = request.willing.iter().map(|willing| Willing {
        scope: Id(willing.scope.0),
        lane: willing.lane as u8,
        record: Id(willing.record.0),
        sequence: willing.sequence,
    });
    PullRequest {
        epoch: Id(request.epoch.0),
        replica: Id(request.replica.0),
        cursors: cursors.collect(),
        bytes_max: request.bytes_max,
        wait_ms: request.wait_ms,
        willing: willing.collect(),
    }
}

pub(crate) fn pull_reply(reply: &wire::PullReply) -> PullReply {
    let follows = reply.follows.iter().map(|(scope, lane)| (Id(scope.0), *lane as u8));
    PullReply {
        pages: reply.pages.iter().map(page).collect(),
        hub_ms: reply.hub_ms,
        series: reply.series,
        ehr_reached: reply.ehr_reached,
        ehr_polled_ms: reply.ehr_polled_ms,
        follows: follows.collect(),
    }
}

fn page(page: &wire::Page) -> Page {
    Page {
        epoch: Id(page.epoch.0),
        replica: Id(page.replica.0),
        accepted: page.accepted,
        hash: Hash(page.hash.0),
        scope: Id(page.scope.0),
        lane: page.lane as u8,
        generation: page.generation,
        from: page.from,
        to: page.to,
        head: page.head,
        rows: page.rows.iter().map(row).collect(),
        root: page.root.map(|root| Hash(root.0)),
    }
}

fn row(row: &wire::Row) -> Row {
    match &row.told {
        Told::State { state: told, offered } => Row::State {
            sequence: row.sequence,
            state: state(told),
            offered: *offered,
        },
        Told::Gone { record, vector: told } => Row::Gone {
            sequence: row.sequence,
            record: Id(record.0),
            vector: vector(told),
        },
    }
}

pub(crate) fn refusal(error: &CborError) -> Refusal {
    match error {
        CborError::Malformed(_) => Refusal::Malformed,
        CborError::Missing { .. } => Refusal::Missing,
        CborError::Form { .. } => Refusal::Form,
        CborError::TooLarge { .. } => Refusal::TooLarge,
        CborError::Trailing => Refusal::Trailing,
    }
}

pub(crate) fn wire_refusal(error: &WireError) -> Refusal {
    match error {
        WireError::Frame => Refusal::Frame,
        WireError::Body(error) => refusal(error),
        WireError::Protocol { theirs } => Refusal::Protocol(*theirs),
    }
}
