//! What is known of a patient: edits, allergies, and the decisions that only a person makes.

use clinic::catalogue::{Field, allergy, patient};
use clinic::policy::Permission;
use clinic::value::{AllergyStatement, BirthDate, PersonName, Sex, Value};
use clinic::write::{Action, Writing};
use sync_protocol::{ChangeId, Phi, RecordId};

use super::{ActError, By, known, write};
use crate::store::WriteTx;

/// A field that was on the form: its new value, `None` when it was emptied, and the ids that were shown with it.
#[derive(Clone, Debug)]
pub struct Edited<T> {
    pub value: Option<T>,
    pub shown: Vec<ChangeId>,
}

/// A form about a patient. Fields that were not on it are `None`.
#[derive(Clone, Debug, Default)]
pub struct PatientEdit {
    pub name: Option<Edited<Phi<PersonName>>>,
    pub birth_date: Option<Edited<Phi<BirthDate>>>,
    pub sex: Option<Edited<Sex>>,
    pub phone: Option<Edited<Phi<String>>>,
    pub email: Option<Edited<Phi<String>>>,
}

/// Writes what differs from what was shown. Says whether anything did.
pub fn edit(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    id: RecordId,
    edit: &PatientEdit,
    event_ms: i64,
) -> Result<bool, ActError> {
    by.may(Permission::EditPatient)?;
    known(tx, id, patient::KIND, "patient")?;
    if edit
        .name
        .as_ref()
        .is_some_and(|name| name.value.as_ref().is_none_or(|name| name.expose().is_empty()))
    {
        return Err(ActError::Invalid {
            field: "name",
            remedy: "a patient needs a name",
        });
    }
    let mut writing = Writing::new(patient::KIND, id, Action::Edit, by.actor(), event_ms);
    writing = apply(writing, patient::NAME, edit.name.as_ref());
    writing = apply(writing, patient::BIRTH_DATE, edit.birth_date.as_ref());
    writing = apply(writing, patient::SEX, edit.sex.as_ref());
    writing = apply(writing, patient::PHONE, edit.phone.as_ref());
    writing = apply(writing, patient::EMAIL, edit.email.as_ref());
    if writing.is_empty() {
        return Ok(false);
    }
    Ok(write(tx, &writing.done())?.is_some())
}

fn apply<T: Value>(writing: Writing, field: Field<T>, edited: Option<&Edited<T>>) -> Writing {
    match edited {
        None => writing,
        Some(Edited {
            value: Some(value),
            shown,
        }) => writing.replace(field, value, shown),
        Some(Edited { value: None, shown }) if shown.is_empty() => writing,
        Some(Edited { value: None, shown }) => writing.clear(field, shown),
    }
}

pub fn add_allergy(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    patient_id: RecordId,
    statement: &Phi<AllergyStatement>,
    event_ms: i64,
) -> Result<RecordId, ActError> {
    by.may(Permission::AddAllergy)?;
    known(tx, patient_id, patient::KIND, "patient")?;
    if statement.expose().substance.trim().is_empty() {
        return Err(ActError::Invalid {
            field: "substance",
            remedy: "write what the patient is allergic to",
        });
    }
    let id = tx.new_record_id()?;
    let draft = Writing::new(allergy::KIND, id, Action::AddAllergy, by.actor(), event_ms)
        .set(allergy::PATIENT, &patient_id)
        .assert(allergy::STATEMENT, statement)
        .done();
    write(tx, &draft)?;
    Ok(id)
}

/// Says that an allergy, as shown, is wrong. What was said of it meanwhile keeps it active.
pub fn refute_allergy(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    id: RecordId,
    shown: &[ChangeId],
    why: &str,
    event_ms: i64,
) -> Result<(), ActError> {
    by.may(Permission::RefuteAllergy)?;
    let state = known(tx, id, allergy::KIND, "allergy")?;
    if why.trim().is_empty() {
        return Err(ActError::Invalid {
            field: "why",
            remedy: "write how it was found to be wrong",
        });
    }
    let asserted = allergy::STATEMENT.asserted(&state);
    let shown: Vec<ChangeId> = shown.iter().copied().filter(|id| asserted.contains_key(id)).collect();
    if shown.is_empty() {
        return Err(ActError::Conflict(
            "the allergy has changed since the page was shown; look at it again",
        ));
    }
    let draft = Writing::new(allergy::KIND, id, Action::RefuteAllergy, by.actor(), event_ms)
        .refute(allergy::STATEMENT, &shown, why.trim())
        .done();
    write(tx, &draft).map(|_| ())
}

/// The fields that a person decides between values of.
#[derive(Clone, Debug)]
pub enum Decision {
    Name(Phi<PersonName>),
    BirthDate(Phi<BirthDate>),
    Sex(Sex),
}

/// Decides an open question. The decision names what the person was shown and nothing else.
pub fn decide(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    id: RecordId,
    decision: &Decision,
    shown: &[ChangeId],
    event_ms: i64,
) -> Result<(), ActError> {
    by.may(Permission::DecideConflict)?;
    known(tx, id, patient::KIND, "patient")?;
    if shown.len() < 2 {
        return Err(ActError::Conflict(
            "there is nothing to decide; look at the patient again",
        ));
    }
    let writing = Writing::new(patient::KIND, id, Action::Decide, by.actor(), event_ms);
    let writing = match decision {
        Decision::Name(name) => writing.replace(patient::NAME, name, shown),
        Decision::BirthDate(date) => writing.replace(patient::BIRTH_DATE, date, shown),
        Decision::Sex(sex) => writing.replace(patient::SEX, sex, shown),
    };
    write(tx, &writing.done()).map(|_| ())
}
