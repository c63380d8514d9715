//! What the rules choose, against what they say they choose.

use std::collections::BTreeSet;

use proptest::collection::btree_map;
use proptest::prelude::*;
use sync_protocol::cbor::Raw;
use sync_protocol::rules::{self, Ask};
use sync_protocol::{
    Act, Actor, ChangeId, ClockFact, Dot, Element, HybridTime, LiveValue, Origin, RecordId, RecordState, Register,
    ReplicaId,
};

use crate::generate::{ELEMENTS, KIND, RECORD};

fn origin(at: u8, replica: u8) -> Origin {
    Origin {
        dot: Dot {
            replica: ReplicaId([replica; 16]),
            counter: u64::from(at) + 1,
        },
        at: HybridTime {
            wall_ms: u64::from(at),
            logical: 0,
        },
        event_ms: i64::from(at),
        actor: Actor {
            who: RecordId::NIL,
            channel: 0,
        },
        clock: None,
    }
}

prop_compose! {
    fn live()(value in 0_i64..4, seen in proptest::option::of(0_i64..2), at in 0_u8..6, replica in 0_u8..3) -> LiveValue {
        LiveValue { origin: origin(at, replica), value: Raw::int(value), seen: seen.map(Raw::int) }
    }
}

fn register() -> impl Strategy<Value = Register> {
    btree_map((1_u8..20).prop_map(|n| ChangeId([n; 16])), live(), 0..5).prop_map(|values| Register {
        values,
        unseen: BTreeSet::new(),
    })
}

#[test]
fn a_corrected_time_counts_in_place_of_the_one_that_was_read_and_a_suspect_one_gives_way() {
    let value = |at: u8, clock| LiveValue {
        origin: Origin {
            clock,
            ..origin(at, at)
        },
        value: Raw::int(at.into()),
        seen: None,
    };
    let latest = |values: &[LiveValue]| {
        let values = values
            .iter()
            .enumerate()
            .map(|(n, live)| (ChangeId([n as u8; 16]), live.clone()));
        let register = Register {
            values: values.collect(),
            unseen: BTreeSet::new(),
        };
        rules::latest(&register).and_then(|(_, live)| live.value.to_int())
    };

    let right = value(5, None);
    assert_eq!(latest(&[right.clone(), value(9, None)]), Some(9));
    assert_eq!(
        latest(&[right.clone(), value(9, Some(ClockFact::Corrected(4)))]),
        Some(5)
    );
    assert_eq!(
        latest(&[right.clone(), value(2, Some(ClockFact::Corrected(6)))]),
        Some(2)
    );
    assert_eq!(latest(&[right, value(9, Some(ClockFact::Suspect))]), Some(5));
    let suspects = [value(9, Some(ClockFact::Suspect)), value(3, Some(ClockFact::Suspect))];
    assert_eq!(latest(&suspects), Some(9));
}

fn elements(acts: &'static [Act]) -> impl Strategy<Value = RecordState> {
    let one = (
        0..acts.len(),
        1_i64..5,
        0_u8..6,
        0_u8..3,
        prop::collection::btree_set(1_u8..8, 0..7),
    );
    btree_map(1_u8..8, one, 0..7).prop_map(|elements| {
        let mut state = RecordState::new(KIND, RECORD);
        let id = |n: u8| ChangeId([n; 16]);
        for (n, (act, value, at, replica, names)) in elements {
            let names = if acts[act] == Act::Assert {
                BTreeSet::new()
            } else {
                names.into_iter().map(id).collect()
            };
            let element = Element {
                origin: origin(at, replica),
                act: acts[act],
                value: Raw::int(value),
                names,
            };
            state.elements.entry(ELEMENTS).or_default().insert(id(n), element);
        }
        state
    })
}

/// 1 to 2 to 3, or aside to 4.
fn passed_by(from: &Raw, to: &Raw) -> bool {
    matches!(
        (from.to_int(), to.to_int()),
        (Some(1), Some(2..=4)) | (Some(2), Some(3))
    )
}

proptest! {
    #[test]
    fn latest_shows_the_last_written_and_nothing_only_when_there_is_nothing(register in register()) {
        let shown = rules::latest(&register);

        prop_assert_eq!(shown.is_none(), register.values.is_empty());
        for live in register.values.values() {
            let (_, shown) = shown.unwrap();
            prop_assert!((shown.origin.at, shown.origin.dot) >= (live.origin.at, live.origin.dot));
        }
    }

    #[test]
    fn earliest_shows_the_least_and_worst_the_greatest(register in register()) {
        let key = |raw: &Raw| raw.to_int().unwrap();
        let values: Vec<i64> = register.values.values().map(|live| key(&live.value)).collect();

        let earliest = rules::earliest(&register, key).map(|(_, live)| key(&live.value));
        let worst = rules::worst(&register, key).map(|(_, live)| key(&live.value));

        prop_assert_eq!(earliest, values.iter().min().copied());
        prop_assert_eq!(worst, values.iter().max().copied());
    }

    #[test]
    fn the_owner_is_shown_and_every_other_value_stays_a_proposal(register in register(), owner in 0_u8..3) {
        let is_owner = |origin: &Origin| origin.dot.replica.0[0] == owner;

        let owned = rules::owner(&register, is_owner);

        let by_owner = register.values.values().any(|live| is_owner(&live.origin));
        prop_assert_eq!(owned.shown.is_some(), !register.values.is_empty());
        prop_assert_eq!(owned.shown.is_some_and(|(_, live)| is_owner(&live.origin)), by_owner);
        prop_assert_eq!(owned.proposals.len(), register.values.len() - usize::from(by_owner));
    }

    #[test]
    fn ask_lists_every_value_until_all_say_the_same(register in register()) {
        let distinct: BTreeSet<_> = register.values.values().map(|live| &live.value).collect();
        let seen: BTreeSet<_> = register.values.values().map(|live| live.seen.as_ref()).collect();

        match rules::ask(&register) {
            Ask::Nothing => prop_assert!(distinct.is_empty()),
            Ask::Agreed((_, live)) => prop_assert!(distinct.len() == 1 && distinct.contains(&live.value)),
            Ask::Open { standing, values } => {
                prop_assert!(distinct.len() > 1);
                let listed: BTreeSet<_> = values.iter().map(|(id, _)| **id).collect();
                prop_assert_eq!(listed, register.values.keys().copied().collect());
                prop_assert_eq!(standing, if seen.len() == 1 { seen.into_iter().flatten().next() } else { None });
            }
        }
    }

    #[test]
    fn an_allergy_is_active_until_one_refutation_names_every_assertion(state in elements(&[Act::Assert, Act::Refute])) {
        let said: Vec<_> = state.elements(ELEMENTS).collect();
        let asserted: BTreeSet<_> = said.iter().filter(|(_, e)| e.act == Act::Assert).map(|(id, _)| **id).collect();
        let refuted = said.iter().any(|(_, e)| e.act == Act::Refute && asserted.is_subset(&e.names));

        let shown = rules::assertions(&state, ELEMENTS);

        prop_assert_eq!(shown.active, !asserted.is_empty() && !refuted);
        prop_assert_eq!(shown.asserted.len(), asserted.len());
    }

    #[test]
    fn the_furthest_state_is_one_that_stands_and_is_passed_by_none(state in elements(&[Act::Assert, Act::Withdraw])) {
        let said: Vec<_> = state.elements(ELEMENTS).collect();
        let withdrawn: BTreeSet<_> =
            said.iter().filter(|(_, e)| e.act == Act::Withdraw).flat_map(|(_, e)| e.names.iter()).collect();
        let standing: Vec<_> = said.iter().filter(|(id, e)| e.act == Act::Assert && !withdrawn.contains(id)).collect();

        let furthest = rules::furthest(&state, ELEMENTS, passed_by);

        let unpassed = |raw: &Raw| !standing.iter().any(|(_, other)| passed_by(raw, &other.value));
        let expected: BTreeSet<_> = standing.iter().map(|(_, e)| &e.value).filter(|raw| unpassed(raw)).collect();
        let ends: Vec<_> = furthest.ends.iter().map(|(_, e)| &e.value).collect();
        prop_assert_eq!(ends.iter().copied().collect::<BTreeSet<_>>(), expected);
        prop_assert_eq!(ends.len(), ends.iter().collect::<BTreeSet<_>>().len());
        prop_assert_eq!(furthest.transitions.len(), standing.len());
    }
}
