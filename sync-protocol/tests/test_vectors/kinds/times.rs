//! Version vectors and hybrid time.

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use sync_protocol::{ChangeId, Comparison, HybridClock, HybridTime, ReplicaId, VersionVector};

use super::{give, take};
use crate::first::model::{Dot, Id, State, Time, Vector};
use crate::first::today;

pub(super) fn engine_dot(dot: Dot) -> sync_protocol::Dot {
    sync_protocol::Dot {
        replica: ReplicaId(dot.replica.0),
        counter: dot.counter,
    }
}

/// The engine reads vectors as parts of other things only.
pub(super) fn engine_vector(vector: &Vector) -> Result<VersionVector> {
    let around = State {
        kind: 0,
        record: Id([0; 16]),
        vector: vector.clone(),
        registers: Default::default(),
        elements: Default::default(),
        unknown: Default::default(),
    };
    Ok(sync_protocol::RecordState::parse(&around.to_bytes())?.vector)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Two {
    left: Vector,
    right: Vector,
}

pub(super) fn comparison(given: &Value) -> Result<Value> {
    let given: Two = take(given)?;
    let (left, right) = (engine_vector(&given.left)?, engine_vector(&given.right)?);
    let (mut joined, mut other_way) = (left.clone(), right.clone());
    joined.join(&right);
    other_way.join(&left);
    ensure!(joined == other_way, "the join depends on the order");
    let said = match left.compare(&right) {
        Comparison::Same => "same",
        Comparison::Before => "before",
        Comparison::After => "after",
        Comparison::Concurrent => "concurrent",
    };
    give(json!({"left_is": said, "joined": today::vector(&joined)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counting {
    steps: Vec<Step>,
    ask: Vec<Dot>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Step {
    Apply(Dot),
    SetApart(Dot),
    Alias { dot: Dot, of: Id, set_apart: bool },
}

pub(super) fn counting(given: &Value) -> Result<Value> {
    let given: Counting = take(given)?;
    let mut vector = VersionVector::default();
    for step in given.steps {
        match step {
            Step::Apply(dot) => vector.add(engine_dot(dot)),
            Step::SetApart(dot) => vector.add_exception(engine_dot(dot)),
            Step::Alias { dot, of, set_apart } => vector.add_alias(engine_dot(dot), ChangeId(of.0), set_apart),
        }
    }
    let answers: Vec<Value> = given
        .ask
        .into_iter()
        .map(|dot| {
            let dot = engine_dot(dot);
            json!({"contained": vector.contains(dot), "counted": vector.counted(dot), "exception": vector.is_exception(dot)})
        })
        .collect();
    give(json!({"vector": today::vector(&vector), "answers": answers}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    steps: Vec<Tick>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Tick {
    /// A write while the wall clock says so.
    Write { now_ms: u64 },
    /// A time from elsewhere is seen while the wall clock says so.
    Observe { now_ms: u64, remote: Time },
}

pub(super) fn clock(given: &Value) -> Result<Value> {
    let given: Clock = take(given)?;
    let mut clock = HybridClock::default();
    let mut after = Vec::<Time>::new();
    for step in given.steps {
        match step {
            Tick::Write { now_ms } => {
                clock.tick(now_ms);
            }
            Tick::Observe { now_ms, remote } => clock.observe(
                HybridTime {
                    wall_ms: remote.wall_ms,
                    logical: remote.logical,
                },
                now_ms,
            ),
        }
        after.push(today::time(clock.last));
    }
    give(json!({"after_each": after}))
}
