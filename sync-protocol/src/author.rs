//! From what a writer wants and was shown to a change: which writes are changes at all, which ids they name.

use crate::cbor::{Raw, Unknown};
use crate::change::{Act, Actor, ElementWrite, FieldWrite, Header, Names, Payload};
use crate::ids::{BootId, ChangeId, Dot, FieldId, KindId, RecordId};
use crate::rules;
use crate::state::RecordState;
use crate::time::HybridTime;
use crate::vector::VersionVector;

/// What a writer wants of one record.
#[derive(Clone, Debug)]
pub struct Draft {
    pub kind: KindId,
    pub record: RecordId,
    pub action: u16,
    pub actor: Actor,
    pub event_ms: i64,
    pub correlation: Option<ChangeId>,
    pub fields: Vec<FieldDraft>,
    pub elements: Vec<ElementDraft>,
}

/// A write of a register. `shown` are the ids that were on the form, in the ETag, in the source's last message; not
/// those present when it is committed.
#[derive(Clone, Debug)]
pub struct FieldDraft {
    pub field: FieldId,
    pub value: Raw,
    pub shown: Vec<ChangeId>,
    /// The value that was shown, when the writer knows it better than the store (a message's own predecessor).
    pub was: Option<Raw>,
    /// The field merges by `ask`, so the write keeps what its base agreed on.
    pub ask: bool,
}

#[derive(Clone, Debug)]
pub struct ElementDraft {
    pub field: FieldId,
    pub act: Act,
    pub value: Raw,
    /// What a withdrawal, refutation or retraction names: what its writer was shown.
    pub names: Vec<ChangeId>,
}

/// Everything of a change that comes from outside the engine: random bytes and time.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub change: ChangeId,
    pub salt: [u8; 16],
    pub at: HybridTime,
    pub boot: BootId,
    pub monotonic_ms: u64,
}

/// Composes the change of `draft` under `dot`, or nothing when it says nothing new. It names what was shown and no more; what
/// an own change among that had named, and could not be used, the hub follows. (Listing it here would let a register that is
/// written every quarter of an hour outgrow a change within a long outage.)
pub fn compose(
    draft: &Draft,
    stamp: &Stamp,
    dot: Dot,
    shown: Option<&RecordState>,
    base: Option<&RecordState>,
) -> Option<(Header, Payload)> {
    let fields: Vec<&FieldDraft> = draft.fields.iter().filter(|write| differs(write, shown)).collect();
    if fields.is_empty() && draft.elements.is_empty() {
        return None;
    }

    let mut names = Vec::new();
    for write in &fields {
        names.push(Names {
            field: write.field,
            ids: write.shown.clone(),
        });
    }
    for element in &draft.elements {
        names.push(Names {
            field: element.field,
            ids: element.names.clone(),
        });
    }
    for names in &mut names {
        names.ids.sort();
        names.ids.dedup();
    }
    names.retain(|names| !names.ids.is_empty());
    names.sort_by_key(|names| names.field);

    let payload = Payload {
        fields: fields.iter().map(|write| write_of(write, base)).collect(),
        elements: draft
            .elements
            .iter()
            .map(|e| ElementWrite {
                field: e.field,
                act: e.act,
                value: e.value.clone(),
            })
            .collect(),
        unknown: Unknown::default(),
    };
    let header = Header {
        change: stamp.change,
        dot,
        at: stamp.at,
        boot: stamp.boot,
        monotonic_ms: stamp.monotonic_ms,
        event_ms: draft.event_ms,
        actor: draft.actor,
        action: draft.action,
        kind: draft.kind,
        record: draft.record,
        saw: version_shown(&names, shown),
        names,
        correlation: draft.correlation.unwrap_or(stamp.change),
        unknown: Unknown::default(),
    };
    Some((header, payload))
}

/// A write is compared with the version it names: it is a change when it differs from it, or when that held siblings.
fn differs(write: &FieldDraft, shown: Option<&RecordState>) -> bool {
    match write.shown.as_slice() {
        [] => !write.value.is_null() || write.was.as_ref().is_some_and(|was| !was.is_null()),
        [one] => {
            let stored = || shown?.register(write.field)?.values.get(one).map(|live| &live.value);
            write.was.as_ref().or_else(stored) != Some(&write.value)
        }
        _ => true,
    }
}

fn write_of(write: &FieldDraft, base: Option<&RecordState>) -> FieldWrite {
    let agreed = || rules::agreed(base?.register(write.field)?).cloned();
    FieldWrite {
        field: write.field,
        value: write.value.clone(),
        seen: if write.ask { agreed() } else { None },
    }
}

/// The dots of what was shown, as this store knows them; ids alone live outside the store, since a dot means something
/// else after a rebirth.
fn version_shown(names: &[Names], shown: Option<&RecordState>) -> VersionVector {
    let mut saw = VersionVector::default();
    let Some(state) = shown else { return saw };
    for names in names {
        let register = state
            .register(names.field)
            .into_iter()
            .flat_map(|r| &r.values)
            .map(|(id, v)| (id, v.origin.dot));
        let elements = state.elements(names.field).map(|(id, e)| (id, e.origin.dot));
        register
            .chain(elements)
            .filter(|(id, _)| names.ids.contains(id))
            .for_each(|(_, dot)| saw.add(dot));
    }
    saw
}
