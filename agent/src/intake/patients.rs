//! Whom a message is about. A patient is found by a number of the same assigning authority or a TEMP number, and only
//! when name or birth date agrees too; nobody is attached to a look-alike.

use clinic::catalogue::{allergy, coverage, patient};
use clinic::hl7::{self, CoverageSaid, PatientSaid};
use clinic::matching::{Identity, fold, phone_key};
use clinic::numbering::{self, TEMP_SYSTEM};
use clinic::value::{AllergyStatement, Identifier, PersonName, Value};
use clinic::write::{Action, Channel, Writing};
use sync_protocol::state::RecordState;
use sync_protocol::{Phi, RecordId};

use super::sources::{Following, last_said, remember};
use crate::access::ActError;
use crate::access::results::patients_by_number;
use crate::store::{ReadTx, TxError, WriteTx};

pub(super) enum Found {
    One(Box<RecordState>),
    /// Nobody here carries any of the numbers.
    Nobody,
    /// Whoever carries one is somebody else by name and birth date.
    SomebodyElse,
    /// Several are the same person by all that is said.
    Several,
}

/// Finds the one patient whom a message is about.
///
/// Among several, those who agree in both name and birth date go before those who agree in one; then the one whom this
/// source's messages have been about goes before the others.
pub(super) fn find(tx: &ReadTx<'_>, source: &str, said: &Identity, numbers: &[Identifier]) -> Result<Found, TxError> {
    let carriers = carriers(tx, numbers)?;
    if carriers.is_empty() {
        return Ok(Found::Nobody);
    }
    let mut agreeing = Vec::new();
    for state in carriers {
        let own = said_before(tx, source, &state, said)?;
        let agreement = hl7::agreement(&state, said).max(usize::from(own));
        if agreement > 0 {
            agreeing.push((agreement, state));
        }
    }
    let best = agreeing.iter().map(|(agreement, _)| *agreement).max().unwrap_or(0);
    let mut alike: Vec<RecordState> = agreeing
        .into_iter()
        .filter(|(agreement, _)| *agreement == best)
        .map(|(_, state)| state)
        .collect();
    if alike.len() > 1 {
        let mut followed = Vec::new();
        for state in &alike {
            if last_said(tx, source, state.record, patient::NAME.id)?.is_some() {
                followed.push(state.clone());
            }
        }
        if followed.len() == 1 {
            alike = followed;
        }
    }
    Ok(match (alike.pop(), alike.is_empty()) {
        (None, _) => Found::SomebodyElse,
        (Some(one), true) => Found::One(Box::new(one)),
        (Some(_), false) => Found::Several,
    })
}

fn carriers(tx: &ReadTx<'_>, numbers: &[Identifier]) -> Result<Vec<RecordState>, TxError> {
    let mut found: Vec<RecordState> = Vec::new();
    for number in numbers {
        for id in patients_by_number(tx, &number.value)? {
            if found.iter().any(|state| state.record == id) {
                continue;
            }
            found.extend(tx.state(id)?.filter(|state| hl7::carries(state, number)));
        }
    }
    Ok(found)
}

/// Whether this source has said the same name or birth date of this record before, so that a person's correction of both
/// does not make its next message one about a stranger.
fn said_before(tx: &ReadTx<'_>, source: &str, state: &RecordState, said: &Identity) -> Result<bool, TxError> {
    let name = last_said(tx, source, state.record, patient::NAME.id)?;
    let birth_date = last_said(tx, source, state.record, patient::BIRTH_DATE.id)?;
    let same_name = name.is_some_and(|last| last.value == said.name.to_raw());
    let same_date = birth_date.is_some_and(|last| said.birth_date.is_some_and(|date| last.value == date.to_raw()));
    Ok(same_name || same_date)
}

/// A patient as a message has left them.
pub(super) struct Kept {
    pub(super) id: RecordId,
    /// A number that the message gave them is carried by somebody else, or several were alike.
    pub(super) disputed: bool,
}

/// Finds the patient or makes a new one, with what the message says of them.
pub(super) fn keep(tx: &mut WriteTx<'_>, source: &str, said: &PatientSaid, event_ms: i64) -> Result<Kept, ActError> {
    let found = find(tx, source, &said.identity(), &said.wanted_numbers())?;
    let (state, several) = match found {
        Found::One(state) => (Some(state), false),
        Found::Nobody => (None, false),
        Found::SomebodyElse | Found::Several => (None, true),
    };
    let id = match &state {
        Some(state) => state.record,
        None => tx.new_record_id()?,
    };
    let numbers = new_numbers(state.as_deref(), said);
    let mut elsewhere = several;
    for number in &numbers {
        elsewhere |= carriers(tx, std::slice::from_ref(number))?
            .iter()
            .any(|other| other.record != id);
    }
    let change = |action| Writing::new(patient::KIND, id, action, Channel::Hl7.program(), event_ms);
    let mut numbers = numbers.into_iter().map(Phi::new);
    let first = numbers.next();
    let written = Following::new(source, id, state.as_deref(), change(Action::Message))
        .say(tx, patient::NAME, &said.name, same_name)?
        .say(tx, patient::BIRTH_DATE, &said.birth_date, same)?
        .say(tx, patient::SEX, &said.sex, same)?
        .say(tx, patient::PHONE, &said.phone, same_phone)?
        .say(tx, patient::EMAIL, &said.email, same_text)?
        .say(tx, patient::ADDRESS, &said.address, same)?
        .with(|writing| match &first {
            Some(number) => writing.assert(patient::IDENTIFIER, number),
            None => writing,
        })
        .write(tx)?;
    // A change holds one element of a field, so every further number is a change of its own.
    for number in numbers {
        let mut draft = change(Action::Message).assert(patient::IDENTIFIER, &number);
        if let Some(cause) = written {
            draft = draft.because(cause);
        }
        tx.author(&draft.done())?;
    }
    Ok(Kept {
        id,
        disputed: elsewhere,
    })
}

/// Numbers that the record was never given. One that somebody refuted is not given again, and a TEMP number that it has
/// is not another one because a sender names another authority for it.
fn new_numbers(state: Option<&RecordState>, said: &PatientSaid) -> Vec<Identifier> {
    let Some(state) = state else {
        return said.identifiers.clone();
    };
    let ever = patient::IDENTIFIER.asserted(state);
    let known = |number: &Identifier| {
        ever.values().any(|one| {
            let one = one.value.expose();
            (one.system.eq_ignore_ascii_case(&number.system) && one.value == number.value)
                || (one.system == TEMP_SYSTEM && numbering::parse(&number.value).as_ref() == Some(&one.value))
        })
    };
    said.identifiers
        .iter()
        .filter(|number| !known(number))
        .cloned()
        .collect()
}

fn same<T: PartialEq>(a: &T, b: &T) -> bool {
    a == b
}

/// A name without a middle one, or in capitals, contradicts nobody.
fn same_name(a: &Phi<PersonName>, b: &Phi<PersonName>) -> bool {
    let (a, b) = (a.expose(), b.expose());
    fold(&a.family) == fold(&b.family) && fold(&a.given) == fold(&b.given)
}

fn same_phone(a: &Phi<String>, b: &Phi<String>) -> bool {
    let (a, b) = (a.expose(), b.expose());
    a == b || phone_key(a).is_some_and(|key| Some(key) == phone_key(b))
}

fn same_text(a: &Phi<String>, b: &Phi<String>) -> bool {
    a.expose().trim().eq_ignore_ascii_case(b.expose().trim())
}

/// Adds allergies that this source has not said before of this patient. What it said before and says differently now is
/// said of the same record; nothing that anybody said is taken back.
pub(super) fn keep_allergies(
    tx: &mut WriteTx<'_>,
    source: &str,
    patient_id: RecordId,
    said: &[AllergyStatement],
    event_ms: i64,
) -> Result<(), ActError> {
    for statement in said {
        let mut known = None;
        for stored in tx.linked(patient_id, allergy::KIND)? {
            let last = last_said(tx, source, stored.state.record, allergy::STATEMENT.id)?;
            let before = last.and_then(|last| AllergyStatement::from_raw(&last.value));
            if let Some(before) = before.filter(|before| fold(&before.substance) == fold(&statement.substance)) {
                known = Some((stored.state.record, before));
                break;
            }
        }
        let (id, is_new) = match known {
            Some((_, before)) if same_statement(&before, statement) => continue,
            Some((id, _)) => (id, false),
            None => (tx.new_record_id()?, true),
        };
        let mut writing = Writing::new(allergy::KIND, id, Action::AddAllergy, Channel::Hl7.program(), event_ms)
            .assert(allergy::STATEMENT, &Phi::new(statement.clone()));
        if is_new {
            writing = writing.set(allergy::PATIENT, &patient_id);
        }
        if let Some(written) = tx.author(&writing.done())? {
            remember(
                tx,
                source,
                id,
                allergy::STATEMENT.id,
                written.change,
                statement.to_raw(),
            )?;
        }
    }
    Ok(())
}

/// However it is written: an allergy in capitals is not another one, and re-opens nothing that was refuted.
fn same_statement(a: &AllergyStatement, b: &AllergyStatement) -> bool {
    let parts =
        |said: &AllergyStatement| [&said.substance, &said.code, &said.reaction, &said.severity].map(|part| fold(part));
    parts(a) == parts(b)
}

/// One record for each payer and member id, whoever named it first.
pub(super) fn keep_coverages(
    tx: &mut WriteTx<'_>,
    source: &str,
    patient_id: RecordId,
    said: &[CoverageSaid],
    event_ms: i64,
) -> Result<(), ActError> {
    for coverage in said {
        let all = tx.linked(patient_id, coverage::KIND)?;
        let known = all.into_iter().map(|stored| stored.state).find(|state| {
            let payer = coverage::PAYER.value(state).map(Phi::into_exposed);
            let member_id = coverage::MEMBER_ID.value(state).map(Phi::into_exposed);
            coverage.is_same(payer.as_deref(), member_id.as_deref())
        });
        let id = match &known {
            Some(state) => state.record,
            None => tx.new_record_id()?,
        };
        let is_new = known.is_none();
        let writing = Writing::new(coverage::KIND, id, Action::Message, Channel::Hl7.program(), event_ms);
        Following::new(source, id, known.as_ref(), writing)
            .say(tx, coverage::PLAN, &coverage.plan, same_text)?
            .with(|writing| match is_new {
                true => writing
                    .set(coverage::PATIENT, &patient_id)
                    .set(coverage::PAYER, &coverage.payer)
                    .set_if(coverage::MEMBER_ID, coverage.member_id.as_ref()),
                false => writing,
            })
            .write(tx)?;
    }
    Ok(())
}
