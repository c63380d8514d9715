//! Values, changes and whole histories of one record.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use sync_protocol::cbor::{Raw, Unknown};
use sync_protocol::ids::BootId;
use sync_protocol::vector::Entry;
use sync_protocol::{
    Act, Actor, ChangeId, ClockFact, Dot, ElementWrite, FieldId, FieldWrite, Header, HybridTime, KindId, Names,
    Payload, RecordId, RecordState, ReplicaId, VersionVector,
};

pub(crate) const RECORD: RecordId = RecordId([9; 16]);
pub(crate) const KIND: KindId = KindId(1);
pub(crate) const ELEMENTS: FieldId = FieldId(7);

pub(crate) fn raw() -> impl Strategy<Value = Raw> {
    prop_oneof![
        any::<i64>().prop_map(Raw::int),
        "[a-zé ]{0,20}".prop_map(|text| Raw::text(&text)),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Raw::bytes(&bytes)),
        Just(Raw::null()),
        vec(any::<u32>(), 0..4).prop_map(|numbers| Raw::build(|w| {
            w.array(numbers.len() as u64).ok();
            numbers.iter().for_each(|n| {
                w.u32(*n).ok();
            });
        })),
    ]
}

/// Keys of a version that is still to be written.
pub(crate) fn unknown() -> impl Strategy<Value = Unknown> {
    btree_map(100_u64.., raw(), 0..4).prop_map(Unknown)
}

pub(crate) fn id16() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>()
}

pub(crate) fn change_id() -> impl Strategy<Value = ChangeId> {
    id16().prop_map(ChangeId)
}

pub(crate) fn dot() -> impl Strategy<Value = Dot> {
    (0_u8..4, 1_u64..12).prop_map(|(replica, counter)| Dot {
        replica: ReplicaId([replica; 16]),
        counter,
    })
}

/// A vector as histories make it: exceptions lie at or below the counter they are exceptions of.
pub(crate) fn vector() -> impl Strategy<Value = VersionVector> {
    let entry = (1_u64..12, btree_set(1_u64..12, 0..3)).prop_map(|(upto, except)| Entry {
        upto,
        except: except.into_iter().filter(|counter| *counter <= upto).collect(),
    });
    let entries = btree_map((0_u8..4).prop_map(|replica| ReplicaId([replica; 16])), entry, 0..4);
    (entries, btree_map(dot(), change_id(), 0..2)).prop_map(|(entries, aliases)| VersionVector { entries, aliases })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Assert),
        Just(Act::Withdraw),
        Just(Act::Refute),
        Just(Act::Retract)
    ]
}

prop_compose! {
    pub(crate) fn header()(
        (change, correlation, record, who) in (change_id(), change_id(), id16(), id16()),
        dot in dot(),
        (wall_ms, logical, boot, monotonic_ms, event_ms) in (any::<u64>(), any::<u32>(), id16(), any::<u64>(), any::<i64>()),
        (channel, action, kind) in (any::<u8>(), any::<u16>(), any::<u16>()),
        saw in vector(),
        names in btree_map(any::<u16>(), vec(change_id(), 1..4), 0..3),
        unknown in unknown(),
    ) -> Header {
        Header {
            change, dot, at: HybridTime { wall_ms, logical }, boot: BootId(boot), monotonic_ms, event_ms,
            actor: Actor { who: RecordId(who), channel }, action, kind: KindId(kind), record: RecordId(record), saw,
            names: names.into_iter().map(|(field, ids)| Names { field: FieldId(field), ids }).collect(),
            correlation, unknown,
        }
    }
}

prop_compose! {
    pub(crate) fn payload()(
        fields in vec((any::<u16>(), raw(), proptest::option::of(raw())), 0..4),
        elements in vec((any::<u16>(), act(), raw()), 0..3),
        unknown in unknown(),
    ) -> Payload {
        Payload {
            fields: fields.into_iter().map(|(field, value, seen)| FieldWrite { field: FieldId(field), value, seen }).collect(),
            elements: elements.into_iter().map(|(field, act, value)| ElementWrite { field: FieldId(field), act, value }).collect(),
            unknown,
        }
    }
}

pub(crate) fn clock() -> impl Strategy<Value = ClockFact> {
    prop_oneof![
        Just(ClockFact::Suspect),
        (0_u64..1 << 45).prop_map(ClockFact::Corrected)
    ]
}

/// What is known of the clocks of some changes of a history.
pub(crate) fn clocks() -> impl Strategy<Value = BTreeMap<ChangeId, ClockFact>> {
    btree_map((1_u8..15).prop_map(|n| ChangeId([n; 16])), clock(), 0..5)
}

pub(crate) fn with_clocks(mut state: RecordState, clocks: BTreeMap<ChangeId, ClockFact>) -> RecordState {
    for (change, fact) in clocks {
        state.note_clock(change, fact);
    }
    state
}

/// One change of a history, before it has names and dots.
#[derive(Clone, Debug)]
struct Sketch {
    replica: u8,
    fields: BTreeSet<u16>,
    element: Option<Act>,
    value: u8,
    shown: Vec<prop::sample::Index>,
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let shown = vec(any::<prop::sample::Index>(), 0..4);
    (
        0_u8..3,
        btree_set(1_u16..3, 0..3),
        proptest::option::of(act()),
        any::<u8>(),
        shown,
    )
        .prop_map(|(replica, fields, element, value, shown)| Sketch {
            replica,
            fields,
            element,
            value,
            shown,
        })
}

/// What three replicas wrote on one record, each change naming whatever it was shown of those before it.
pub(crate) fn history() -> impl Strategy<Value = Vec<(Header, Payload)>> {
    vec(sketch(), 1..14).prop_map(|sketches| {
        let mut counters = BTreeMap::<u8, u64>::new();
        let mut written: Vec<ChangeId> = Vec::new();
        let changes = sketches.iter().enumerate().map(|(at, sketch)| {
            let counter = counters.entry(sketch.replica).or_default();
            *counter += 1;
            let change = ChangeId([at as u8 + 1; 16]);
            let dot = Dot {
                replica: ReplicaId([sketch.replica; 16]),
                counter: *counter,
            };
            let shown: BTreeSet<ChangeId> = sketch
                .shown
                .iter()
                .filter(|_| !written.is_empty())
                .map(|index| *index.get(&written))
                .collect();
            written.push(change);
            write(change, dot, sketch, &shown.into_iter().collect::<Vec<_>>())
        });
        changes.collect()
    })
}

fn write(change: ChangeId, dot: Dot, sketch: &Sketch, shown: &[ChangeId]) -> (Header, Payload) {
    let element = sketch.element.map(|act| ElementWrite {
        field: ELEMENTS,
        act,
        value: Raw::int(sketch.value.into()),
    });
    let written = sketch
        .fields
        .iter()
        .map(|field| FieldId(*field))
        .chain(element.iter().map(|element| element.field));
    let names = written.filter(|_| !shown.is_empty()).map(|field| Names {
        field,
        ids: shown.to_vec(),
    });
    let header = Header {
        change,
        dot,
        at: HybridTime {
            wall_ms: 1_000 + u64::from(sketch.value),
            logical: 0,
        },
        boot: BootId([1; 16]),
        monotonic_ms: 0,
        event_ms: 0,
        actor: Actor {
            who: RecordId::NIL,
            channel: 0,
        },
        action: 0,
        kind: KIND,
        record: RECORD,
        saw: VersionVector::default(),
        names: names.collect(),
        correlation: change,
        unknown: Unknown::default(),
    };
    let fields = sketch.fields.iter().map(|field| FieldWrite {
        field: FieldId(*field),
        value: Raw::int(sketch.value.into()),
        seen: None,
    });
    (
        header,
        Payload {
            fields: fields.collect(),
            elements: element.into_iter().collect(),
            unknown: Unknown::default(),
        },
    )
}

/// The state of those changes of a history that a cut takes: of each replica the first so many.
pub(crate) fn state_of(history: &[(Header, Payload)], cut: &[usize; 3]) -> RecordState {
    build(history.iter().filter(|(header, _)| within(header, cut)))
}

pub(crate) fn build<'a>(changes: impl Iterator<Item = &'a (Header, Payload)>) -> RecordState {
    let mut state = RecordState::new(KIND, RECORD);
    let mut applied = BTreeSet::new();
    for (header, payload) in changes {
        state.apply(header, payload, |id| applied.contains(id));
        applied.insert(header.change);
    }
    state
}

pub(crate) fn within(header: &Header, cut: &[usize; 3]) -> bool {
    header.dot.counter <= cut[usize::from(header.dot.replica.0[0])] as u64
}
