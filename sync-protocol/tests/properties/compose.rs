//! From a draft to a change: what says nothing is none, and what is named is what was shown.

use proptest::prelude::*;
use sync_protocol::author::compose;
use sync_protocol::cbor::Raw;
use sync_protocol::ids::BootId;
use sync_protocol::{
    Act, Actor, ChangeId, Dot, Draft, ElementDraft, FieldDraft, FieldId, Header, HybridTime, Payload, RecordId,
    RecordState, ReplicaId, Stamp,
};

use crate::generate::{ELEMENTS, KIND, RECORD, raw};

const PHONE: FieldId = FieldId(1);

fn stamp(n: u8) -> Stamp {
    Stamp {
        change: ChangeId([n; 16]),
        salt: [n; 16],
        at: HybridTime {
            wall_ms: u64::from(n),
            logical: 0,
        },
        boot: BootId([1; 16]),
        monotonic_ms: 0,
    }
}

fn dot(counter: u8) -> Dot {
    Dot {
        replica: ReplicaId([1; 16]),
        counter: u64::from(counter),
    }
}

fn draft(value: &Raw, shown: &[ChangeId], was: Option<&Raw>) -> Draft {
    Draft {
        kind: KIND,
        record: RECORD,
        action: 1,
        actor: Actor {
            who: RecordId::NIL,
            channel: 0,
        },
        event_ms: 0,
        correlation: None,
        fields: vec![FieldDraft {
            field: PHONE,
            value: value.clone(),
            shown: shown.to_vec(),
            was: was.cloned(),
            ask: false,
        }],
        elements: Vec::new(),
    }
}

fn state(changes: &[(Header, Payload)]) -> RecordState {
    let mut state = RecordState::new(KIND, RECORD);
    changes
        .iter()
        .for_each(|(header, payload)| state.apply(header, payload, |_| true));
    state
}

fn written(n: u8, value: &Raw, shown: &[ChangeId]) -> (Header, Payload) {
    let draft = draft(value, shown, Some(&Raw::text("another")));
    match compose(&draft, &stamp(n), dot(n), None, None) {
        Some(change) => change,
        None => panic!("{n} says nothing"),
    }
}

proptest! {
    #[test]
    fn a_write_that_repeats_the_one_value_it_names_says_nothing(value in raw()) {
        let first = written(1, &value, &[ChangeId([8; 16])]);
        let shown = state(std::slice::from_ref(&first));

        let again = draft(&value, &[first.0.change], None);

        prop_assert_eq!(compose(&again, &stamp(2), dot(2), Some(&shown), Some(&shown)), None);
    }

    #[test]
    fn a_message_that_repeats_its_own_last_one_says_nothing_whatever_a_person_did_since(old in raw(), new in raw()) {
        let first = written(1, &old, &[ChangeId([8; 16])]);
        let edit = written(2, &new, &[first.0.change]);
        let shown = state(&[first.clone(), edit]);

        let repeated = draft(&old, &[first.0.change], Some(&old));

        prop_assert_eq!(compose(&repeated, &stamp(3), dot(3), Some(&shown), Some(&shown)), None);
    }

    #[test]
    fn a_write_that_was_shown_siblings_is_a_change_even_if_it_repeats_one_of_them(value in raw(), other in raw()) {
        let (one, two) = (written(1, &value, &[ChangeId([8; 16])]), written(2, &other, &[ChangeId([8; 16])]));
        let shown = state(&[one.clone(), two.clone()]);

        let decided = draft(&value, &[one.0.change, two.0.change], None);
        let (header, payload) = compose(&decided, &stamp(3), dot(3), Some(&shown), Some(&shown)).unwrap();

        prop_assert_eq!(header.named(PHONE), &[one.0.change, two.0.change]);
        let mut after = shown;
        after.apply(&header, &payload, |_| true);
        prop_assert_eq!(after.shown(PHONE), vec![header.change]);
    }

    #[test]
    fn a_change_names_what_was_shown_and_no_more_however_long_its_writer_has_been_alone(length in 2_u8..200, value in raw()) {
        let mut last = written(1, &value, &[ChangeId([255; 16])]);
        for n in 2..=length {
            let shown = last.0.change;
            last = written(n, &value, &[shown]);

            prop_assert_eq!(last.0.named(PHONE), &[shown]);
        }
    }

    #[test]
    fn an_empty_field_left_empty_says_nothing_and_an_element_always_does(value in raw()) {
        let untouched = draft(&Raw::null(), &[], None);
        let element = ElementDraft { field: ELEMENTS, act: Act::Assert, value, names: Vec::new() };
        let asserting = Draft { elements: vec![element], ..untouched.clone() };

        prop_assert_eq!(compose(&untouched, &stamp(1), dot(1), None, None), None);
        let (header, payload) = compose(&asserting, &stamp(1), dot(1), None, None).unwrap();
        prop_assert!(payload.fields.is_empty() && payload.elements.len() == 1 && header.names.is_empty());
    }
}

#[test]
fn an_ask_write_keeps_what_its_base_agreed_on_and_not_what_was_pending() {
    let (agreed, pending) = (written(1, &Raw::text("1980-01-01"), &[]), Raw::text("1980-02-02"));
    let base = state(std::slice::from_ref(&agreed));
    let mine = written(2, &pending, &[agreed.0.change]);
    let shown = state(&[agreed, mine.clone()]);

    let mut third = draft(&Raw::text("1980-03-03"), &[mine.0.change], None);
    third.fields[0].ask = true;
    let (_, payload) = compose(&third, &stamp(3), dot(3), Some(&shown), Some(&base)).unwrap();

    assert_eq!(payload.fields[0].seen, Some(Raw::text("1980-01-01")));
}
