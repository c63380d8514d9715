//! Any bytes as the state of a record: read, written, shown by every rule, joined with itself, and written on.

use std::collections::BTreeSet;

use sync_protocol::cbor::Raw;
use sync_protocol::change::Act;
use sync_protocol::proof::{ProofKey, Sum};
use sync_protocol::{FieldId, RecordState, rules};

use crate::first::model;
use crate::first::today;

pub(crate) fn run(input: &[u8]) {
    let first = model::State::parse(input);
    let Ok(state) = RecordState::parse(input) else {
        assert!(first.is_err(), "the first reader took a state that today's refuses");
        return;
    };

    let canonical = state.to_bytes();
    assert_eq!(RecordState::parse(&canonical).as_ref(), Ok(&state));
    assert_eq!(first, Ok(today::state(&state)));
    assert_eq!(today::state(&state).to_bytes(), canonical);
    show(&state);
    join_with_itself(&state);
    let leaf = ProofKey::new(&[7; 32]).leaf(&state);
    assert_eq!(leaf.plus(leaf).minus(leaf), leaf);
    assert_eq!(Sum::from_bytes(&leaf.to_bytes()), leaf);
}

fn show(state: &RecordState) {
    for register in state.registers.values() {
        let live = register.values.len();
        assert_eq!(rules::latest(register).is_some(), live > 0);
        assert_eq!(rules::earliest(register, Raw::to_int).is_some(), live > 0);
        assert_eq!(rules::worst(register, Raw::to_text).is_some(), live > 0);
        let owned = rules::owner(register, |origin| origin.actor.channel == 0);
        assert!(owned.proposals.len() <= live);
        let _ = (rules::ask(register), rules::agreed(register));
    }
    for field in state.elements.keys().chain(state.registers.keys()) {
        let furthest = rules::furthest(state, *field, |a, b| a.to_int() < b.to_int());
        assert!(furthest.ends.len() <= furthest.transitions.len());
        assert!(rules::unnamed(state, *field, Act::Withdraw).len() <= state.elements(*field).count());
        let said = rules::assertions(state, *field);
        assert!(!said.active || !said.asserted.is_empty());
        let _ = (rules::retracted(state, *field), state.shown(*field));
    }
    let _ = rules::retracted(state, FieldId(0));
}

/// Whatever a state holds, joining it with itself twice is joining it once.
fn join_with_itself(state: &RecordState) {
    let live: BTreeSet<_> = state
        .registers
        .values()
        .flat_map(|r| r.values.keys().copied())
        .collect();
    let mut joined = state.clone();
    joined.join(state, |id| live.contains(id));
    let once = joined.clone();
    joined.join(state, |id| live.contains(id));
    assert_eq!(joined, once);
}
