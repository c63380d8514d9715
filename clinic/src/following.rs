//! How a source that repeats itself is followed: every word is compared with what the same source said before it, so
//! that an old value said again undoes nobody's correction, and a null empties only what the source itself had said.

use std::collections::BTreeMap;

use formats::hl7::Sent;
use sync_protocol::cbor::Raw;
use sync_protocol::rules::Rule;
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, FieldId};

use crate::catalogue::Field;
use crate::value::Value;
use crate::write::Writing;

/// What a source last said of one field of one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastSaid {
    /// The change that wrote it. When it agreed with what stood and wrote nothing: nil of a sender of messages, the change
    /// it agreed with of a partner that keeps a copy.
    pub change: ChangeId,
    pub value: Raw,
}

/// What is to be remembered of a source once the change is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Noted {
    pub field: FieldId,
    pub value: Raw,
    /// Whether the change writes it; else `agrees` is remembered as its change.
    pub written: bool,
    /// The change whose value it agrees with; nil when there is none, and always of a sender of messages.
    pub agrees: ChangeId,
}

impl Noted {
    /// What the source has said now, once the change is written.
    pub fn said(self, change: Option<ChangeId>) -> LastSaid {
        LastSaid {
            change: change.filter(|_| self.written).unwrap_or(self.agrees),
            value: self.value,
        }
    }
}

/// The last words of one source of one record, by field.
pub type LastWords = BTreeMap<FieldId, LastSaid>;

/// Adds to `writing` what a source says of a field, if it says anything new. `state` is the record as it is shown, and
/// `same` tells whether two values mean the same however they are written.
///
/// A source's first word that agrees with what stands writes nothing. A new word replaces the source's own last one and
/// stands beside what anybody else has said.
pub fn follow<T: Value>(
    writing: Writing,
    field: Field<T>,
    state: Option<&RecordState>,
    sent: &Sent<T>,
    last: Option<&LastSaid>,
    same: fn(&T, &T) -> bool,
) -> (Writing, Option<Noted>) {
    let value = match sent {
        Sent::Nothing => return (writing, None),
        Sent::Null => return empty(writing, field, state, last),
        Sent::Value(value) => value,
    };
    let noted = |written| {
        Some(Noted {
            field: field.id,
            value: value.to_raw(),
            written,
            agrees: ChangeId::NIL,
        })
    };
    match last {
        Some(last) if last.value == value.to_raw() => (writing, None),
        Some(last) if !last.change.is_nil() => {
            let before = Some((last.change, last.value.clone()));
            (writing.follow(field, value, before), noted(true))
        }
        Some(_) | None if stands(field, state, value, same) => (writing, noted(false)),
        Some(_) | None => (writing.set(field, value), noted(true)),
    }
}

/// How the values of a field are compared with one another.
pub struct Alike<T> {
    /// Whether a source that says the one after the other repeats itself.
    pub repeated: fn(&T, &T) -> bool,
    /// Whether the one agrees with the other, which somebody else has said: it may say less.
    pub agrees: fn(&T, &T) -> bool,
}

impl<T> Alike<T> {
    pub fn by(same: fn(&T, &T) -> bool) -> Alike<T> {
        Alike {
            repeated: same,
            agrees: same,
        }
    }
}

/// As [`follow`], for a partner that keeps a copy of the record and is asked for it again and again.
///
/// It may write a value in its own form, which is no new word. Where its copy agrees with what stands, it is taken to have
/// seen that value: its next word replaces it, and stands beside whatever a person has written since.
pub fn follow_copy<T: Value>(
    writing: Writing,
    field: Field<T>,
    state: Option<&RecordState>,
    sent: &Sent<T>,
    last: Option<&LastSaid>,
    alike: &Alike<T>,
) -> (Writing, Option<Noted>) {
    let value = match sent {
        Sent::Nothing => return (writing, None),
        Sent::Null => return empty(writing, field, state, last),
        Sent::Value(value) => value,
    };
    let before = last.and_then(|last| T::from_raw(&last.value));
    if before.is_some_and(|before| (alike.repeated)(&before, value)) {
        return (writing, None);
    }
    let noted = |written, agrees| {
        Some(Noted {
            field: field.id,
            value: value.to_raw(),
            written,
            agrees,
        })
    };
    let live = state
        .and_then(|state| state.register(field.id))
        .map(|register| &register.values);
    let own = last.and_then(|last| live?.get_key_value(&last.change));
    if own.is_none() && stands(field, state, value, alike.agrees) {
        let agreeing = live
            .into_iter()
            .flatten()
            .filter(|(_, one)| T::from_raw(&one.value).is_some_and(|one| (alike.agrees)(&one, value)));
        let newest = agreeing.max_by_key(|(_, one)| (one.origin.written(), one.origin.dot));
        return (writing, noted(false, newest.map_or(ChangeId::NIL, |(id, _)| *id)));
    }
    let before = match (own, last.filter(|last| !last.change.is_nil())) {
        (Some((id, one)), _) => Some((*id, one.value.clone())),
        (None, Some(last)) => Some((last.change, last.value.clone())),
        (None, None) => None,
    };
    (writing.follow(field, value, before), noted(true, ChangeId::NIL))
}

fn stands<T: Value>(field: Field<T>, state: Option<&RecordState>, value: &T, same: fn(&T, &T) -> bool) -> bool {
    let Some(state) = state else { return false };
    match field.rule {
        Rule::Ask => field.ask(state).standing().is_some_and(|shown| same(shown, value)),
        Rule::Owner | Rule::Latest | Rule::Earliest | Rule::Worst | Rule::Furthest | Rule::Assert => {
            field.value(state).is_some_and(|shown| same(&shown, value))
        }
    }
}

/// Takes the source's own value away. Where others have said something too, theirs is said in its place, since an empty
/// value beside theirs would hide it.
fn empty<T: Value>(
    writing: Writing,
    field: Field<T>,
    state: Option<&RecordState>,
    last: Option<&LastSaid>,
) -> (Writing, Option<Noted>) {
    let Some(last) = last.filter(|last| !last.value.is_null()) else {
        return (writing, None);
    };
    let noted = |written| {
        Some(Noted {
            field: field.id,
            value: Raw::null(),
            written,
            agrees: ChangeId::NIL,
        })
    };
    let live = state.and_then(|state| state.register(field.id));
    let Some(own) = live.and_then(|register| register.values.get(&last.change)) else {
        return (writing, noted(false));
    };
    let others = live.into_iter().flat_map(|register| &register.values);
    let other = others
        .filter(|(id, _)| **id != last.change)
        .max_by_key(|(_, live)| (live.origin.written(), live.origin.dot));
    match other {
        None => (writing.clear(field, &[last.change]), noted(true)),
        Some((_, other)) if other.value == own.value => (writing, noted(false)),
        Some((_, other)) => match T::from_raw(&other.value) {
            Some(value) => (writing.replace(field, &value, &[last.change]), noted(true)),
            None => (writing, noted(false)),
        },
    }
}
