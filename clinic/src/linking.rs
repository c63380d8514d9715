//! Patient records that are one person's. A link is a record of its own and moves nothing: both records go on, and while
//! the link stands they are shown and delivered as one. Taking the link away leaves both as they were.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use sync_protocol::RecordId;
use sync_protocol::state::RecordState;
use uuid::Uuid;

use crate::catalogue::{link, patient};
use crate::numbering::TEMP_SYSTEM;
use crate::read::{Said, Shown};
use crate::rules::EHR_SYSTEM;
use crate::value::{Identifier, LinkStanding};

/// The kind under which the EHR's own resource id of a patient is kept. A number that a person typed in is a chart number
/// and of another kind: as a resource id it might be somebody else's.
pub const EHR_ID_KIND: &str = "PI";

const LINKS: Uuid = Uuid::from_u128(0x6d61_696e_7374_6179_8000_6c69_6e6b_7301);

/// The id of the link between two records, whichever is named first: everybody who finds the two alike writes the same
/// record.
pub fn link_id(a: RecordId, b: RecordId) -> RecordId {
    let (left, right) = sides(a, b);
    let name = [left.0, right.0].concat();
    RecordId(Uuid::new_v5(&LINKS, &name).into_bytes())
}

/// The two sides of a link in the order in which they are written.
pub fn sides(a: RecordId, b: RecordId) -> (RecordId, RecordId) {
    (a.min(b), a.max(b))
}

/// The two records that a link is about; `None` when it does not name both, or its id is not theirs.
pub fn ends(state: &RecordState) -> Option<(RecordId, RecordId)> {
    let (left, right) = (link::LEFT.value(state)?, link::RIGHT.value(state)?);
    (left != right && state.record == link_id(left, right)).then_some((left, right))
}

/// How a link stands, and whether people have said different things that wait for a decision.
pub fn standing(state: &RecordState) -> Shown<LinkStanding> {
    link::STANDING.ask(state)
}

/// The two records of a link that stands as one person's.
pub fn joined(state: &RecordState) -> Option<(RecordId, RecordId)> {
    ends(state).filter(|_| standing(state).standing() == Some(&LinkStanding::Linked))
}

/// The record at the link's other end.
pub fn other_end(state: &RecordState, one: RecordId) -> Option<RecordId> {
    match ends(state)? {
        (left, right) if left == one => Some(right),
        (left, right) if right == one => Some(left),
        _ => None,
    }
}

/// Every record that is one person's with this one, itself among them, over links that stand.
pub fn cluster<'a>(patient: RecordId, links: impl IntoIterator<Item = &'a RecordState>) -> BTreeSet<RecordId> {
    let joined: Vec<_> = links.into_iter().filter_map(joined).collect();
    let mut members = BTreeSet::from([patient]);
    let mut fresh = vec![patient];
    while let Some(member) = fresh.pop() {
        for (left, right) in &joined {
            let other = match (*left == member, *right == member) {
                (true, _) => *right,
                (false, true) => *left,
                (false, false) => continue,
            };
            if members.insert(other) {
                fresh.push(other);
            }
        }
    }
    members
}

/// As [`cluster`], over a store that answers with the links of one record at a time.
pub fn cluster_in<S: Borrow<RecordState>, E>(
    patient: RecordId,
    mut links_of: impl FnMut(RecordId) -> Result<Vec<S>, E>,
) -> Result<BTreeSet<RecordId>, E> {
    let mut members = BTreeSet::from([patient]);
    let mut fresh = vec![patient];
    while let Some(member) = fresh.pop() {
        for link in links_of(member)? {
            let link = link.borrow();
            let other = joined(link).and_then(|_| other_end(link, member));
            if let Some(other) = other.filter(|other| members.insert(*other)) {
                fresh.push(other);
            }
        }
    }
    Ok(members)
}

/// The record that stands for the person: one that the EHR knows, else the one whose name was written first; where that
/// leaves several, the smallest id. `None` only of nobody.
pub fn primary<S: Borrow<RecordState>>(members: &[S]) -> Option<RecordId> {
    let rank = |state: &RecordState| (ehr_id(state).is_none(), named_first_ms(state), state.record);
    members
        .iter()
        .map(Borrow::borrow)
        .map(rank)
        .min()
        .map(|(_, _, record)| record)
}

/// When the oldest of the names that the record holds was entered; a record without one comes last.
fn named_first_ms(state: &RecordState) -> u64 {
    let names = state.register(patient::NAME.id).into_iter();
    let entered = names.flat_map(|register| register.values.values().map(|live| live.origin.written().wall_ms));
    entered.min().unwrap_or(u64::MAX)
}

/// The EHR's own id of this record's patient: the one that was found last, where there are several.
pub fn ehr_id(state: &RecordState) -> Option<String> {
    let identifiers = patient::IDENTIFIER.standing(state);
    let of_ehr = identifiers.iter().rev().map(|said| said.value.expose());
    let mut of_ehr = of_ehr.filter(|id| id.system == EHR_SYSTEM && id.kind == EHR_ID_KIND);
    of_ehr.next().map(|id| id.value.clone())
}

/// The TEMP numbers that the record carries.
pub fn temp_numbers(state: &RecordState) -> BTreeSet<String> {
    let identifiers = patient::IDENTIFIER.standing(state).into_iter();
    let identifiers = identifiers.map(|said| said.value.into_exposed());
    identifiers
        .filter(|id| id.system == TEMP_SYSTEM)
        .map(|id| id.value)
        .collect()
}

/// One number of a person, and the record it was written on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Numbered {
    pub record: RecordId,
    pub said: Said<sync_protocol::Phi<Identifier>>,
}

/// Every number of the person, each once: where several records carry it, as the first of them does.
pub fn identifiers(members: &[RecordState]) -> Vec<Numbered> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for state in members {
        for said in patient::IDENTIFIER.standing(state) {
            let id = said.value.expose();
            if seen.insert((id.system.clone(), id.value.clone(), id.kind.clone())) {
                all.push(Numbered {
                    record: state.record,
                    said,
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
