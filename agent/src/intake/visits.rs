//! Which visit of a patient a message is about: by the sender's visit number, else the one that is open here.

use std::collections::BTreeSet;

use clinic::catalogue::visit;
use clinic::flow;
use clinic::value::Identifier;
use sync_protocol::RecordId;
use sync_protocol::state::RecordState;

use crate::store::{ReadTx, TxError};

pub(super) enum FoundVisit {
    Open(Box<RecordState>),
    /// The visit of this number has ended.
    Ended(RecordId),
    None,
    /// Several are open and nothing tells which is meant.
    Several,
}

/// `patients` are all records of one person. An open visit that has another number of the same authority is another visit; one
/// without a number, which somebody started at the desk, or with another authority's, is the one that is meant.
pub(super) fn find(
    tx: &ReadTx<'_>,
    site: RecordId,
    patients: &BTreeSet<RecordId>,
    number: Option<&Identifier>,
) -> Result<FoundVisit, TxError> {
    let mut all = Vec::new();
    for patient in patients {
        all.extend(tx.linked(*patient, visit::KIND)?);
    }
    let here: Vec<RecordState> = all
        .into_iter()
        .map(|stored| stored.state)
        .filter(|state| visit::SITE.value(state) == Some(site))
        .collect();
    if let Some(number) = number
        && let Some(numbered) = here
            .iter()
            .find(|state| number_of(state).as_ref() == Some(&numbered_as(number)))
    {
        return Ok(if is_open(numbered) {
            FoundVisit::Open(Box::new(numbered.clone()))
        } else {
            FoundVisit::Ended(numbered.record)
        });
    }
    let mut open = here.into_iter().filter(is_open).filter(|state| {
        let other = number.zip(number_of(state));
        other.is_none_or(|(number, (system, _))| system != numbered_as(number).0)
    });
    Ok(match (open.next(), open.next()) {
        (None, _) => FoundVisit::None,
        (Some(one), None) => FoundVisit::Open(Box::new(one)),
        (Some(_), Some(_)) => FoundVisit::Several,
    })
}

fn is_open(state: &RecordState) -> bool {
    flow::standing(state).is_some_and(|standing| !standing.state.is_end())
}

/// Who assigned the number, and the number: its type does not make it another one.
fn numbered_as(number: &Identifier) -> (String, String) {
    (number.system.to_lowercase(), number.value.clone())
}

fn number_of(state: &RecordState) -> Option<(String, String)> {
    visit::NUMBER.value(state).map(|number| numbered_as(number.expose()))
}
