//! Records: changes applied by name, states joined, what each rule shows, and what a draft becomes.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use sync_protocol::author::compose as compose_change;
use sync_protocol::cbor::Raw;
use sync_protocol::ids::BootId;
use sync_protocol::rules::{self, Ask, Named};
use sync_protocol::{
    Actor, ChangeId, Draft, ElementDraft, FieldDraft, FieldId, Header, HybridTime, KindId, LiveValue, Payload,
    RecordId, RecordState, Register, Stamp,
};

use super::times::engine_dot;
use super::{give, take};
use crate::first::model::{self, Dot, Hex, Id, State, Time};
use crate::first::today;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    changes: Vec<Said>,
    /// Other orders in which the same changes give the same state.
    #[serde(default)]
    also_in_order: Vec<Vec<usize>>,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    header: model::Header,
    payload: model::Payload,
}

/// A rule of a field, with what the catalogue adds to it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Rule {
    Latest {
        field: u16,
    },
    /// By the integer that the value is.
    Earliest {
        field: u16,
    },
    /// By the integer that the value is.
    Worst {
        field: u16,
    },
    /// The owner is whoever writes through this channel.
    Owner {
        field: u16,
        channel: u8,
    },
    Ask {
        field: u16,
    },
    Assert {
        field: u16,
    },
    /// Every pair of states of which the first is left behind once the second is reached.
    Furthest {
        field: u16,
        passed_by: Vec<(i64, i64)>,
    },
    Retract {
        field: u16,
    },
}

pub(super) fn merge(given: &Value) -> Result<Value> {
    let given: Merge = take(given)?;
    let changes: Vec<(Header, Payload)> = given
        .changes
        .iter()
        .map(|said| {
            Ok((
                Header::parse(&said.header.to_bytes())?,
                Payload::parse(&said.payload.to_bytes())?,
            ))
        })
        .collect::<Result<_>>()?;
    let written: Vec<usize> = (0..changes.len()).collect();
    let state = apply(&changes, &written)?;
    for order in &given.also_in_order {
        let again = apply(&changes, order)?;
        ensure!(
            again.to_bytes() == state.to_bytes(),
            "another order gives another state"
        );
    }
    let shown: Vec<Value> = given
        .rules
        .iter()
        .map(|rule| show(&state, rule))
        .collect::<Result<_>>()?;
    give(json!({"state": Hex(state.to_bytes()), "says": today::state(&state), "shown": shown}))
}

fn apply(changes: &[(Header, Payload)], order: &[usize]) -> Result<RecordState> {
    let (first, _) = changes.first().context("no change")?;
    let mut state = RecordState::new(first.kind, first.record);
    let mut applied = BTreeSet::new();
    for place in order {
        let (header, payload) = changes.get(*place).context("no such change")?;
        state.apply(header, payload, |id| applied.contains(id));
        applied.insert(header.change);
    }
    Ok(state)
}

fn id<T>((id, _): &Named<'_, T>) -> Id {
    Id(id.0)
}

fn ids<T>(named: &[Named<'_, T>]) -> Vec<Id> {
    named.iter().map(id).collect()
}

fn show(state: &RecordState, rule: &Rule) -> Result<Value> {
    let empty = Register::default();
    let register = |field: u16| state.register(FieldId(field)).unwrap_or(&empty);
    let one = |shown: Option<Named<'_, LiveValue>>| give(json!({"shown": shown.as_ref().map(id)}));
    match rule {
        Rule::Latest { field } => one(rules::latest(register(*field))),
        Rule::Earliest { field } => one(rules::earliest(register(*field), Raw::to_int)),
        Rule::Worst { field } => one(rules::worst(register(*field), Raw::to_int)),
        Rule::Owner { field, channel } => {
            let owned = rules::owner(register(*field), |origin| origin.actor.channel == *channel);
            give(json!({"shown": owned.shown.as_ref().map(id), "proposals": ids(&owned.proposals)}))
        }
        Rule::Ask { field } => match rules::ask(register(*field)) {
            Ask::Nothing => give(json!({"nothing": true})),
            Ask::Agreed(live) => give(json!({"agreed": id(&live)})),
            Ask::Open { standing, values } => {
                give(json!({"open": {"standing": standing.map(today::raw), "values": ids(&values)}}))
            }
        },
        Rule::Assert { field } => {
            let said = rules::assertions(state, FieldId(*field));
            give(json!({
                "active": said.active, "asserted": ids(&said.asserted), "refuted_by": ids(&said.refuted_by)
            }))
        }
        Rule::Furthest { field, passed_by } => {
            let passed = |a: &Raw, b: &Raw| {
                let pair = a.to_int().zip(b.to_int());
                pair.is_some_and(|pair| passed_by.contains(&pair))
            };
            let furthest = rules::furthest(state, FieldId(*field), passed);
            give(json!({"ends": ids(&furthest.ends), "transitions": ids(&furthest.transitions)}))
        }
        Rule::Retract { field } => give(json!({"retracted": rules::retracted(state, FieldId(*field))})),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    left: State,
    right: State,
    /// Changes that were applied on either side.
    applied: Vec<Id>,
}

pub(super) fn join(given: &Value) -> Result<Value> {
    let given: Join = take(given)?;
    let left = RecordState::parse(&given.left.to_bytes())?;
    let right = RecordState::parse(&given.right.to_bytes())?;
    let applied = |id: &ChangeId| given.applied.contains(&Id(id.0));
    let (mut joined, mut other_way) = (left.clone(), right.clone());
    joined.join(&right, applied);
    other_way.join(&left, applied);
    ensure!(joined == other_way, "the join depends on the order");
    other_way.join(&right, applied);
    ensure!(joined == other_way, "joining again changes something");
    give(json!({"state": Hex(joined.to_bytes()), "says": today::state(&joined)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compose {
    draft: Wanted,
    dot: Dot,
    change: Id,
    at: Time,
    boot: Id,
    monotonic_ms: u64,
    /// The record as the store has it, with what is pending.
    shown: Option<State>,
    /// The record as the hub last sent it.
    base: Option<State>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    kind: u16,
    record: Id,
    action: u16,
    actor: model::Actor,
    event_ms: i64,
    correlation: Option<Id>,
    #[serde(default)]
    fields: Vec<WantedField>,
    #[serde(default)]
    elements: Vec<WantedElement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedField {
    field: u16,
    value: Hex,
    shown: Vec<Id>,
    was: Option<Hex>,
    #[serde(default)]
    ask: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedElement {
    field: u16,
    act: u8,
    value: Hex,
    names: Vec<Id>,
}

fn engine_raw(hex: &Hex) -> Result<Raw> {
    Raw::from_bytes(hex.0.clone()).context("a value is not one CBOR item")
}

fn engine_ids(ids: &[Id]) -> Vec<ChangeId> {
    ids.iter().map(|id| ChangeId(id.0)).collect()
}

fn engine_state(state: Option<&State>) -> Result<Option<RecordState>> {
    let parsed = state.map(|state| RecordState::parse(&state.to_bytes()));
    Ok(parsed.transpose()?)
}

pub(super) fn compose(given: &Value) -> Result<Value> {
    let given: Compose = take(given)?;
    let wanted = &given.draft;
    let fields = wanted.fields.iter().map(|field| {
        Ok(FieldDraft {
            field: FieldId(field.field),
            value: engine_raw(&field.value)?,
            shown: engine_ids(&field.shown),
            was: field.was.as_ref().map(engine_raw).transpose()?,
            ask: field.ask,
        })
    });
    let elements = wanted.elements.iter().map(|element| {
        let acts = [
            sync_protocol::Act::Assert,
            sync_protocol::Act::Withdraw,
            sync_protocol::Act::Refute,
            sync_protocol::Act::Retract,
        ];
        Ok(ElementDraft {
            field: FieldId(element.field),
            act: *acts.get(usize::from(element.act)).context("there is no such act")?,
            value: engine_raw(&element.value)?,
            names: engine_ids(&element.names),
        })
    });
    let draft = Draft {
        kind: KindId(wanted.kind),
        record: RecordId(wanted.record.0),
        action: wanted.action,
        actor: Actor {
            who: RecordId(wanted.actor.who.0),
            channel: wanted.actor.channel,
        },
        event_ms: wanted.event_ms,
        correlation: wanted.correlation.map(|id| ChangeId(id.0)),
        fields: fields.collect::<Result<_>>()?,
        elements: elements.collect::<Result<_>>()?,
    };
    let stamp = Stamp {
        change: ChangeId(given.change.0),
        salt: [0; 16],
        at: HybridTime {
            wall_ms: given.at.wall_ms,
            logical: given.at.logical,
        },
        boot: BootId(given.boot.0),
        monotonic_ms: given.monotonic_ms,
    };
    let (shown, base) = (engine_state(given.shown.as_ref())?, engine_state(given.base.as_ref())?);
    match compose_change(&draft, &stamp, engine_dot(given.dot), shown.as_ref(), base.as_ref()) {
        None => give(json!({"nothing": true})),
        Some((header, payload)) => give(json!({
            "header": today::header(&header), "payload": today::payload(&payload)
        })),
    }
}
