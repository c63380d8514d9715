//! Of the engine alone, on one core, without store or line: changes applied and states joined per second, and how that
//! grows with the live values of a field and with the replicas that wrote a record.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use sync_protocol::cbor::{Raw, Unknown};
use sync_protocol::change::genesis;
use sync_protocol::ids::BootId;
use sync_protocol::wire::PushRequest;
use sync_protocol::{
    Actor, ChangeId, Dot, FieldId, FieldWrite, Header, HybridTime, KindId, Names, Payload, RecordId, RecordState,
    ReplicaId, VersionVector,
};

use crate::desk::{Desk, random};
use crate::report::{Form, Report};

const FIELD: FieldId = FieldId(4);

#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// Records of the ordinary day's work.
    #[arg(long, default_value_t = 2_000)]
    records: usize,
    /// How long each step is repeated, milliseconds.
    #[arg(long, default_value_t = 1_000)]
    each_ms: u64,
    #[command(flatten)]
    form: Form,
}

pub(crate) fn measure(wanted: &Wanted) -> Result<()> {
    let each = Duration::from_millis(wanted.each_ms);
    let mut report = Report::new("the engine on one core");
    ordinary(&mut report, wanted.records, each)?;
    for siblings in [1, 4, 16, 64] {
        let (one, other) = siblings_of(siblings);
        let rate = per_second(each, 1, || {
            let mut joined = one.clone();
            joined.join(black_box(&other), |_| true);
            black_box(joined);
        });
        report.add(format!("join, {siblings} live values on either side"), rate, "joins/s");
    }
    for replicas in [1, 8, 64, 512] {
        let record = written_by(replicas);
        let next = next_of(&record);
        let rate = per_second(each, 1, || {
            let mut state = record.clone();
            state.apply(black_box(&next.0), &next.1, |_| true);
            black_box(state);
        });
        report.add(
            format!("apply, a record that {replicas} replicas wrote"),
            rate,
            "changes/s",
        );
    }
    report.print(&wanted.form);
    Ok(())
}

/// A push of registrations and edits, through everything that happens to it between the line and the store.
fn ordinary(report: &mut Report, records: usize, each: Duration) -> Result<()> {
    let mut desk = Desk::new();
    for number in 0..records {
        let patient = desk.register(number)?;
        desk.edit_phone(patient)?;
    }
    let push = desk.push();
    let count = push.changes.len();
    report.add(
        "changes read, chained and applied",
        per_second(each, count, || black_box(take_in(&push))),
        "changes/s",
    );
    let parts: Vec<PushRequest> = push
        .changes
        .chunks(200)
        .zip(0u64..)
        .map(|(changes, part)| PushRequest {
            after: push.after + part * 200,
            changes: changes.to_vec(),
            ..push.clone()
        })
        .collect();
    report.add(
        "changes packed for the line",
        per_second(each, count, || {
            parts.iter().for_each(|part| {
                black_box(part.encode_compact());
            })
        }),
        "changes/s",
    );
    let bodies: Vec<Vec<u8>> = parts.iter().map(PushRequest::encode_compact).collect();
    report.add(
        "changes unpacked from the line",
        per_second(each, count, || {
            bodies.iter().for_each(|body| {
                black_box(PushRequest::decode(body).is_ok());
            })
        }),
        "changes/s",
    );
    Ok(())
}

/// Answers how many changes took effect.
fn take_in(push: &PushRequest) -> usize {
    let mut states = std::collections::BTreeMap::<RecordId, RecordState>::new();
    let (mut hash, mut applied) = (genesis(push.replica), 0);
    for change in &push.changes {
        hash = change.link(hash);
        if let (Ok(header), Ok(payload)) = (change.parse_header(), change.parse_payload()) {
            let state = states.entry(header.record);
            let state = state.or_insert_with(|| RecordState::new(header.kind, header.record));
            state.apply(&header, &payload, |_| true);
            applied += 1;
        }
    }
    black_box(hash);
    applied
}

/// How many a second when `step` does so many at once.
fn per_second<T>(each: Duration, many: usize, mut step: impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    let mut times = 0;
    while begun.elapsed() < each {
        black_box(step());
        times += 1;
    }
    (times * many) as f64 / begun.elapsed().as_secs_f64()
}

fn write_of(replica: u64, counter: u64, replaced: Vec<ChangeId>) -> (Header, Payload) {
    let change = ChangeId(random());
    let mut name = [0; 16];
    name[..8].copy_from_slice(&replica.to_be_bytes());
    let header = Header {
        change,
        dot: Dot {
            replica: ReplicaId(name),
            counter,
        },
        at: HybridTime {
            wall_ms: 1_776_178_800_000 + counter,
            logical: 0,
        },
        boot: BootId([1; 16]),
        monotonic_ms: counter,
        event_ms: 1_776_178_800_000,
        actor: Actor {
            who: RecordId::NIL,
            channel: 1,
        },
        action: 2,
        kind: KindId(1),
        record: RecordId([9; 16]),
        saw: VersionVector::default(),
        names: vec![Names {
            field: FIELD,
            ids: replaced,
        }],
        correlation: change,
        unknown: Unknown::default(),
    };
    let payload = Payload {
        fields: vec![FieldWrite {
            field: FIELD,
            value: Raw::text("(602) 555-0142"),
            seen: None,
        }],
        ..Payload::default()
    };
    (header, payload)
}

fn build(writes: impl Iterator<Item = (Header, Payload)>) -> RecordState {
    let mut state = RecordState::new(KindId(1), RecordId([9; 16]));
    writes.for_each(|(header, payload)| state.apply(&header, &payload, |_| true));
    state
}

/// Two states with so many live values each, half of them the same.
fn siblings_of(count: u64) -> (RecordState, RecordState) {
    let writes: Vec<_> = (0..count * 2).map(|replica| write_of(replica, 1, Vec::new())).collect();
    let from = |start: u64| {
        let part = writes.iter().skip(start as usize).take(count as usize);
        build(part.cloned())
    };
    (from(0), from(count / 2))
}

/// A record that so many replicas wrote one after another, each in place of the one before.
fn written_by(replicas: u64) -> RecordState {
    let mut last = Vec::new();
    let writes = (0..replicas).map(|replica| {
        let write = write_of(replica, 1, std::mem::take(&mut last));
        last = vec![write.0.change];
        write
    });
    build(writes)
}

fn next_of(state: &RecordState) -> (Header, Payload) {
    write_of(0, 2, state.shown(FIELD))
}

/// What the figures are made of has to be what it is called.
#[cfg(test)]
mod tests {
    use sync_protocol::Change;

    use super::*;

    #[test]
    fn the_states_measured_have_the_live_values_and_replicas_they_are_named_for() {
        let (one, other) = siblings_of(4);
        assert_eq!((one.shown(FIELD).len(), other.shown(FIELD).len()), (4, 4));
        assert_eq!(written_by(8).vector.entries.len(), 8);
        assert_eq!(written_by(8).shown(FIELD).len(), 1);
    }

    #[test]
    fn a_push_is_taken_in_whole() {
        let mut desk = Desk::new();
        let patient = desk.register(1).unwrap();
        desk.edit_phone(patient).unwrap();

        let push = desk.push();

        assert_eq!(take_in(&push), 2);
        assert_eq!(
            push.changes
                .iter()
                .fold(genesis(push.replica), |hash, change| Change::link(change, hash)),
            push.last
        );
    }
}
