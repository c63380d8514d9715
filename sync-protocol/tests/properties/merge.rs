//! The merge of records: any two states of one history join to the state of both, whatever the order.

use proptest::prelude::*;
use sync_protocol::cbor::{Raw, Unknown};
use sync_protocol::{ChangeId, Dot, Header, Payload, RecordState, ReplicaId};

use crate::generate::{build, clocks, history, state_of, unknown, with_clocks, within};

fn cut() -> impl Strategy<Value = [usize; 3]> {
    prop::array::uniform3(0_usize..8)
}

fn join(one: &RecordState, two: &RecordState, applied: impl Fn(&ChangeId) -> bool) -> RecordState {
    let mut joined = one.clone();
    joined.join(two, applied);
    joined
}

fn applied<'a>(history: &'a [(Header, Payload)], cuts: &'a [[usize; 3]]) -> impl Fn(&ChangeId) -> bool {
    |id| {
        history
            .iter()
            .any(|(header, _)| header.change == *id && cuts.iter().any(|cut| within(header, cut)))
    }
}

proptest! {
    #[test]
    fn two_states_join_to_the_state_of_both(history in history(), one in cut(), two in cut()) {
        let both = [one[0].max(two[0]), one[1].max(two[1]), one[2].max(two[2])];

        let joined = join(&state_of(&history, &one), &state_of(&history, &two), applied(&history, &[one, two]));

        prop_assert_eq!(joined.to_bytes(), state_of(&history, &both).to_bytes());
    }

    #[test]
    fn join_is_commutative_associative_and_idempotent(
        history in history(),
        cuts in prop::array::uniform3(cut()),
        unknown in prop::array::uniform3(unknown()),
        clocks in prop::array::uniform3(clocks()),
    ) {
        let states: Vec<_> = cuts.iter().zip(unknown).zip(clocks).map(|((cut, unknown), clocks)| RecordState {
            unknown, ..with_clocks(state_of(&history, cut), clocks)
        }).collect();
        let [one, two, three] = [&states[0], &states[1], &states[2]];
        let (first, last) = (applied(&history, &cuts[..2]), applied(&history, &cuts[1..]));
        let all = applied(&history, &cuts);

        let (left, right) = (join(one, two, &first), join(two, three, &last));

        prop_assert_eq!(&left, &join(two, one, &first));
        prop_assert_eq!(join(&left, three, &all), join(one, &right, &all));
        prop_assert_eq!(join(one, one, applied(&history, &cuts[..1])), one.clone());
    }

    #[test]
    fn the_order_in_which_replicas_arrive_does_not_matter(history in history(), order in Just([2, 0, 1_u8]).prop_shuffle()) {
        let in_turn = order.iter().flat_map(|replica| history.iter().filter(|(h, _)| h.dot.replica.0[0] == *replica));

        prop_assert_eq!(build(in_turn).to_bytes(), build(history.iter()).to_bytes());
    }

    #[test]
    fn a_value_is_live_if_and_only_if_nothing_names_it(history in history()) {
        let state = build(history.iter());

        for (header, payload) in &history {
            for write in &payload.fields {
                let named = history.iter().any(|(other, said)| {
                    said.fields.iter().any(|w| w.field == write.field) && other.named(write.field).contains(&header.change)
                });
                let live = state.register(write.field).unwrap().values.contains_key(&header.change);
                prop_assert_eq!(live, !named);
            }
        }
    }
}

/// The dots of what one side released are released in the join under every name that the other side knows.
#[test]
fn a_change_released_on_one_side_is_no_exception_under_the_name_that_the_other_side_gave_it() {
    let alias = Dot {
        replica: ReplicaId([2; 16]),
        counter: 1,
    };
    let (header, payload) = one_write();
    let mut waiting = RecordState::new(header.kind, header.record);
    waiting.vector.add_exception(header.dot);
    waiting.vector.add_alias(alias, header.change, true);
    let mut released = RecordState::new(header.kind, header.record);
    released.apply(&header, &payload, |_| false);

    let joined = join(&waiting, &released, |id| *id == header.change);

    assert!(joined.vector.contains(alias) && joined.vector.contains(header.dot));
    assert_eq!(joined, join(&released, &waiting, |id| *id == header.change));
}

#[test]
fn states_that_disagree_on_a_key_of_a_newer_version_join_to_the_same_from_both_sides() {
    let of = |value| {
        let (header, payload) = one_write();
        let mut state = RecordState::new(header.kind, header.record);
        state.apply(&header, &payload, |_| false);
        RecordState {
            unknown: Unknown([(100, Raw::int(value))].into()),
            ..state
        }
    };

    assert_eq!(join(&of(1), &of(2), |_| true), join(&of(2), &of(1), |_| true));
}

fn one_write() -> (Header, Payload) {
    use crate::generate::{KIND, RECORD};
    use sync_protocol::ids::BootId;
    use sync_protocol::{Actor, FieldId, FieldWrite, HybridTime, RecordId, VersionVector};

    let change = ChangeId([1; 16]);
    let header = Header {
        change,
        dot: Dot {
            replica: ReplicaId([1; 16]),
            counter: 1,
        },
        at: HybridTime::default(),
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
        names: Vec::new(),
        correlation: change,
        unknown: Unknown::default(),
    };
    let fields = vec![FieldWrite {
        field: FieldId(1),
        value: Raw::text("a"),
        seen: None,
    }];
    (
        header,
        Payload {
            fields,
            ..Payload::default()
        },
    )
}
