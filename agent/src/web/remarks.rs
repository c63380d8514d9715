//! What the board marks beside a patient: questions, look-alikes, allergies, a TEMP number.

use std::collections::BTreeSet;

use clinic::catalogue::{allergy, patient, task};
use clinic::matching::Identity;
use sync_protocol::{RecordId, RecordState, rules};

use super::names::{are_mistakable, is_temporary};
use super::reading::Reading;
use super::task_rows::open_questions;
use super::views::Mark;
use crate::store::TxError;

/// Marks in one row: the two most urgent.
const MARKS_MAX: usize = 2;

/// What is to be marked beside a patient, by what was read once for all of them.
pub(super) struct Remarks {
    asked_about: BTreeSet<RecordId>,
    mistakable: BTreeSet<RecordId>,
}

impl Remarks {
    /// `here` are the patients who are here now.
    pub(super) fn of(reading: &Reading<'_, '_>, here: &[(RecordId, Identity)]) -> Result<Remarks, TxError> {
        let asked = open_questions(reading)?;
        let asked_about = asked.iter().filter_map(|stored| task::PATIENT.value(&stored.state));
        let mut mistakable = BTreeSet::new();
        for (nth, (one, identity)) in here.iter().enumerate() {
            for (other, theirs) in &here[nth + 1..] {
                if one != other && are_mistakable(identity, theirs) {
                    mistakable.extend([*one, *other]);
                }
            }
        }
        Ok(Remarks {
            asked_about: asked_about.collect(),
            mistakable,
        })
    }

    /// The most urgent first.
    pub(super) fn marks(
        &self,
        reading: &Reading<'_, '_>,
        id: RecordId,
        patient: Option<&RecordState>,
    ) -> Result<Vec<Mark>, TxError> {
        let mut marks = Vec::new();
        if let Some(patient) = patient {
            marks.extend(disputed(patient).map(Mark::two_values));
        }
        if self.asked_about.contains(&id) {
            marks.push(Mark::unmatched());
        }
        if self.mistakable.contains(&id) {
            marks.push(Mark::look_alike());
        }
        let allergies = active_allergies(reading, id)?;
        if allergies > 0 {
            marks.push(Mark::allergies(allergies));
        }
        if patient.is_some_and(is_temporary) {
            marks.push(Mark::temp());
        }
        marks.truncate(MARKS_MAX);
        Ok(marks)
    }
}

/// Labels of the fields that wait for a person's decision.
pub(super) fn disputed(patient: &RecordState) -> impl Iterator<Item = &'static str> {
    let open = [
        (patient::NAME.ask(patient).is_open(), "Name"),
        (patient::BIRTH_DATE.ask(patient).is_open(), "Birth date"),
        (patient::SEX.ask(patient).is_open(), "Sex"),
    ];
    open.into_iter().filter(|(open, _)| *open).map(|(_, label)| label)
}

fn active_allergies(reading: &Reading<'_, '_>, patient: RecordId) -> Result<usize, TxError> {
    if reading.tx.count_linked(patient, allergy::KIND)? == 0 {
        return Ok(0);
    }
    let all = reading.tx.linked(patient, allergy::KIND)?;
    let active = |state: &RecordState| rules::assertions(state, allergy::STATEMENT.id).active;
    Ok(all.iter().filter(|stored| active(&stored.state)).count())
}
