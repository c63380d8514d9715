//! ADT A40 in the clinic's words: who goes on, and the numbers that are theirs from now on.

use formats::date::Moment;
use formats::hl7::{ErrorCode, Hl7Error, Merge, Message, SegmentId};

use super::person::{PatientSaid, kept_numbers, same_number, wanted_numbers};
use super::{event_times, within_limit};
use crate::value::Identifier;

/// One pair of PID and MRG.
#[derive(Clone, Debug)]
pub struct MergeSaid {
    pub person: PatientSaid,
    /// MRG-1: never none, and none of PID-3.
    pub merged: Vec<Identifier>,
    /// When it happened, as far as the message says: EVN-6, EVN-2, MSH-7.
    pub times: Vec<Moment>,
}

impl MergeSaid {
    /// Merged numbers to look for their bearer by.
    pub fn wanted_numbers(&self) -> Vec<Identifier> {
        wanted_numbers(&self.merged)
    }
}

/// Every pair of the message. One that merges a number into itself is refused by MRG-1, and nothing of the message is done.
pub(super) fn read_all(message: &Message) -> Result<Vec<MergeSaid>, Hl7Error> {
    let merges = message.merges()?;
    within_limit(merges.len(), SegmentId::MRG)?;
    merges.iter().map(|merge| read(message, merge)).collect()
}

fn read(message: &Message, merge: &Merge) -> Result<MergeSaid, Hl7Error> {
    merge.survivor.require_identity()?;
    let person = PatientSaid::read(&merge.survivor, message.header());
    let said = kept_numbers(&merge.merged, message.header());
    if said.is_empty() {
        let problem = "none of the numbers is a person's; send the number that is merged away";
        return Err(merge.refusal(ErrorCode::RequiredFieldMissing, problem));
    }
    let is_survivors = |number: &Identifier| person.identifiers.iter().any(|own| same_number(own, number));
    let merged: Vec<Identifier> = said.into_iter().filter(|number| !is_survivors(number)).collect();
    if merged.is_empty() {
        let problem = "the number is the survivor's own (PID-3); send the number that is merged away";
        return Err(merge.refusal(ErrorCode::DuplicateKey, problem));
    }
    let times = event_times(message)?;
    Ok(MergeSaid { person, merged, times })
}
