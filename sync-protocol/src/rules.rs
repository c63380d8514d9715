//! The merge rules: pure functions of a record's facts that choose what is shown. They never change the facts, so a
//! change of policy is a recomputation.

use std::collections::BTreeSet;

use crate::cbor::Raw;
use crate::change::Act;
use crate::ids::{ChangeId, FieldId};
use crate::state::{Element, LiveValue, Origin, RecordState, Register};

pub type Named<'a, T> = (&'a ChangeId, &'a T);

/// How a field of the catalogue merges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The authoritative source's value; others stay beside it as proposals.
    Owner,
    /// The later value, by hybrid time, replica, counter.
    Latest,
    /// The minimum among live values, by the order of the field's type.
    Earliest,
    /// The worst among live values, by the order of the field's type.
    Worst,
    /// The furthest state on a declared graph among transitions not withdrawn.
    Furthest,
    /// Active unless one refutation names every assertion.
    Assert,
    /// A person decides between values that did not see each other.
    Ask,
}

/// Among live values, which are always concurrent, the later by the time it was entered, then replica, then counter. One of
/// which nobody knows when it was entered gives way to any of which it is known, and stays beside it.
pub fn latest(register: &Register) -> Option<Named<'_, LiveValue>> {
    register
        .values
        .iter()
        .max_by_key(|(_, live)| (!live.origin.is_suspect(), live.origin.written(), live.origin.dot))
}

/// The minimum by `key`; equal keys fall back to the earliest written, so that every replica picks the same one.
pub fn earliest<K: Ord>(register: &Register, key: impl Fn(&Raw) -> K) -> Option<Named<'_, LiveValue>> {
    register
        .values
        .iter()
        .min_by_key(|(_, live)| (key(&live.value), live.origin.written(), live.origin.dot))
}

/// The maximum by `severity`; equal severities fall back to the latest written.
pub fn worst<K: Ord>(register: &Register, severity: impl Fn(&Raw) -> K) -> Option<Named<'_, LiveValue>> {
    register
        .values
        .iter()
        .max_by_key(|(_, live)| (severity(&live.value), live.origin.written(), live.origin.dot))
}

/// The owner's value, and what others propose instead.
#[derive(Debug)]
pub struct Owned<'a> {
    pub shown: Option<Named<'a, LiveValue>>,
    pub proposals: Vec<Named<'a, LiveValue>>,
}

/// Where no value is the owner's, the latest proposal is shown, and all stay proposals.
pub fn owner(register: &Register, is_owner: impl Fn(&Origin) -> bool) -> Owned<'_> {
    let by_time = |a: &Named<'_, LiveValue>, b: &Named<'_, LiveValue>| {
        (a.1.origin.written(), a.1.origin.dot).cmp(&(b.1.origin.written(), b.1.origin.dot))
    };
    let owned = register
        .values
        .iter()
        .filter(|(_, live)| is_owner(&live.origin))
        .max_by(by_time);
    let shown = owned.or_else(|| register.values.iter().max_by(by_time));
    let proposals = register
        .values
        .iter()
        .filter(|(id, _)| owned.is_none_or(|(owned, _)| owned != *id))
        .collect();
    Owned { shown, proposals }
}

/// What an `ask` field shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    Nothing,
    Agreed(Named<'a, LiveValue>),
    /// A person must decide. `standing` goes on being shown, flagged, when all writers started from the same value.
    Open {
        standing: Option<&'a Raw>,
        values: Vec<Named<'a, LiveValue>>,
    },
}

pub fn ask(register: &Register) -> Ask<'_> {
    let mut values: Vec<_> = register.values.iter().collect();
    match values.as_slice() {
        [] => Ask::Nothing,
        [one] => Ask::Agreed(*one),
        [first, rest @ ..] if rest.iter().all(|(_, live)| live.value == first.1.value) => {
            // Writers that did not see each other and said the same thing agree.
            Ask::Agreed(*first)
        }
        [first, rest @ ..] => {
            let same = rest.iter().all(|(_, live)| live.seen == first.1.seen);
            let standing = first.1.seen.as_ref().filter(|_| same);
            values.sort_by_key(|(_, live)| (live.origin.written(), live.origin.dot));
            Ask::Open { standing, values }
        }
    }
}

/// What a writer that reads this register is said to have `seen`: the value its base agrees on.
pub fn agreed(register: &Register) -> Option<&Raw> {
    match ask(register) {
        Ask::Nothing => None,
        Ask::Agreed((_, live)) => Some(&live.value),
        Ask::Open { standing, .. } => standing,
    }
}

/// Elements that no element of `act` names.
pub fn unnamed(state: &RecordState, field: FieldId, act: Act) -> Vec<Named<'_, Element>> {
    let named: BTreeSet<_> = state
        .elements(field)
        .filter(|(_, e)| e.act == act)
        .flat_map(|(_, e)| e.names.iter())
        .collect();
    state
        .elements(field)
        .filter(|(id, e)| e.act == Act::Assert && !named.contains(id))
        .collect()
}

/// A safety fact.
#[derive(Debug)]
pub struct Assertions<'a> {
    pub active: bool,
    pub asserted: Vec<Named<'a, Element>>,
    pub refuted_by: Vec<Named<'a, Element>>,
}

/// Active unless one refutation names every assertion and edit: whatever it did not name re-opens it.
pub fn assertions(state: &RecordState, field: FieldId) -> Assertions<'_> {
    let asserted: Vec<_> = state.elements(field).filter(|(_, e)| e.act == Act::Assert).collect();
    let refuted_by: Vec<_> = state.elements(field).filter(|(_, e)| e.act == Act::Refute).collect();
    let refuted = refuted_by
        .iter()
        .any(|(_, refutation)| asserted.iter().all(|(id, _)| refutation.names.contains(id)));
    Assertions {
        active: !asserted.is_empty() && !refuted,
        asserted,
        refuted_by,
    }
}

/// Where a visit stands.
#[derive(Debug)]
pub struct Furthest<'a> {
    /// The furthest states; more than one when they are incompatible ends, all shown, with a task for a person.
    pub ends: Vec<Named<'a, Element>>,
    /// Transitions not withdrawn, in order of event, then entry.
    pub transitions: Vec<Named<'a, Element>>,
}

/// `passed_by(a, b)` says that the graph leads from a on to b. Where two transitions lead to the same state the one with
/// the earlier event stands: that is when the state was reached.
pub fn furthest<'a>(state: &'a RecordState, field: FieldId, passed_by: impl Fn(&Raw, &Raw) -> bool) -> Furthest<'a> {
    let mut transitions = unnamed(state, field, Act::Withdraw);
    transitions.sort_by_key(|(_, e)| (e.origin.happened_ms(), e.origin.written(), e.origin.dot));
    let mut ends: Vec<Named<'a, Element>> = Vec::new();
    for (id, element) in &transitions {
        let passed = transitions
            .iter()
            .any(|(_, other)| passed_by(&element.value, &other.value));
        let repeated = ends.iter().any(|(_, end)| end.value == element.value);
        if !passed && !repeated {
            ends.push((id, element));
        }
    }
    Furthest { ends, transitions }
}

/// Whether the record was taken back as a whole: by a retraction that names everything live. An edit that it did not
/// name wins and re-opens the record.
pub fn retracted(state: &RecordState, field: FieldId) -> bool {
    let values = state.registers.values().flat_map(|r| r.values.keys());
    let elements = state
        .elements
        .values()
        .flatten()
        .filter(|(_, e)| e.act != Act::Retract)
        .map(|(id, _)| id);
    let live: BTreeSet<&ChangeId> = values.chain(elements).collect();
    state
        .elements(field)
        .filter(|(_, e)| e.act == Act::Retract)
        .any(|(_, e)| live.iter().all(|id| e.names.contains(*id)))
}
