//! ADT A40: the record of the patient who goes on and that of the number that was merged away are linked. Nothing is moved,
//! both numbers go on being found, and the link can be taken back.

use formats::hl7::Sent;
use sync_protocol::state::RecordState;
use sync_protocol::{Phi, RecordId};

use super::patients::{carriers, cluster_of, find, keep};
use super::{Following, Found, SourceLedger};
use crate::catalogue::{link, patient};
use crate::hl7::{MergeSaid, same_number};
use crate::linking::{link_id, sides, standing};
use crate::value::{Identifier, LinkStanding};
use crate::write::{Action, Channel, Writing};

/// What became of one pair of a merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// Both numbers are of one person now; the record is the survivor's.
    Joined(RecordId),
    /// Somebody has to look, for this reason; no record was joined.
    Doubtful(Option<RecordId>, &'static str),
}

const SURVIVOR_IN_DOUBT: &str = "PID-3: the survivor's number is carried here by somebody with another name and birth date, \
                                 or by several; nothing was joined";
const MERGED_IN_DOUBT: &str = "MRG-1: several people here carry a number that is merged away; nothing was joined";
const TOLD_APART: &str = "MRG-1: somebody has said that these are two people; both stand until a person decides";

/// Joins one pair. A survivor who is not known is made from PID; a number that nobody carries becomes the survivor's.
pub fn merge<L: SourceLedger>(ledger: &mut L, said: &MergeSaid, event_ms: i64) -> Result<Merged, L::Error> {
    let found = find(ledger, &said.person.identity(), &said.person.wanted_numbers())?;
    if matches!(found, Found::SomebodyElse | Found::Several) {
        return Ok(Merged::Doubtful(None, SURVIVOR_IN_DOUBT));
    }
    let survivor = keep(ledger, &said.person, event_ms)?.id;
    let mut known = cluster_of(ledger, survivor)?;
    let mut others = Vec::new();
    for state in carriers(ledger, &said.wanted_numbers())? {
        if !known.contains(&state.record) {
            others.push(state.record);
            known.extend(cluster_of(ledger, state.record)?);
        }
    }
    let numbers = uncarried(ledger, said)?;
    match others.as_slice() {
        [] => {}
        [other] => {
            if !join(ledger, survivor, *other, event_ms)? {
                return Ok(Merged::Doubtful(Some(survivor), TOLD_APART));
            }
        }
        _ => return Ok(Merged::Doubtful(Some(survivor), MERGED_IN_DOUBT)),
    }
    for number in numbers {
        let change = Writing::new(
            patient::KIND,
            survivor,
            Action::Message,
            Channel::Hl7.program(),
            event_ms,
        );
        ledger.author(&change.assert(patient::IDENTIFIER, &Phi::new(number)).done())?;
    }
    Ok(Merged::Joined(survivor))
}

/// Merged numbers that no record carries.
fn uncarried<L: SourceLedger>(ledger: &mut L, said: &MergeSaid) -> Result<Vec<Identifier>, L::Error> {
    let mut numbers = Vec::new();
    for number in &said.merged {
        let wanted = crate::hl7::wanted_numbers(std::slice::from_ref(number));
        if carriers(ledger, &wanted)?.is_empty() && !numbers.iter().any(|known| same_number(known, number)) {
            numbers.push(number.clone());
        }
    }
    Ok(numbers)
}

/// Says that two records are one person's. False when somebody has said that they are not.
fn join<L: SourceLedger>(ledger: &mut L, survivor: RecordId, other: RecordId, event_ms: i64) -> Result<bool, L::Error> {
    let id = link_id(survivor, other);
    let (left, right) = sides(survivor, other);
    let state = ledger.state(id)?;
    let writing = Writing::new(link::KIND, id, Action::Message, Channel::Hl7.program(), event_ms);
    let writing = match state {
        Some(_) => writing,
        None => writing.set(link::LEFT, &left).set(link::RIGHT, &right),
    };
    let linked = LinkStanding::Linked;
    if state.as_ref().is_some_and(is_proposed) {
        let shown = state.map(|state| state.shown(link::STANDING.id)).unwrap_or_default();
        ledger.author(&writing.replace(link::STANDING, &linked, &shown).done())?;
        return Ok(true);
    }
    Following::new(id, state.as_ref(), writing)
        .say(ledger, link::STANDING, &Sent::Value(linked), |a, b| a == b)?
        .write(ledger)?;
    let stands = state.is_none_or(|state| standing(&state).standing() == Some(&linked));
    Ok(stands)
}

fn is_proposed(state: &RecordState) -> bool {
    let shown = standing(state);
    !shown.is_open() && shown.standing() == Some(&LinkStanding::Proposed)
}
