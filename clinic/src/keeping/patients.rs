//! Whom a message is about. A patient is found by a number of the same assigning authority or a TEMP number, and only
//! when name or birth date agrees too; nobody is attached to a look-alike.

use std::collections::BTreeSet;

use sync_protocol::state::RecordState;
use sync_protocol::{Phi, RecordId};

use super::{Following, SourceLedger};
use crate::catalogue::{allergy, coverage, link, patient};
use crate::following::LastSaid;
use crate::hl7::{self, CoverageSaid, PatientSaid};
use crate::index;
use crate::linking;
use crate::matching::{Identity, fold, phone_key};
use crate::numbering::{self, TEMP_SYSTEM};
use crate::value::{AllergyStatement, Identifier, PersonName, Value};
use crate::write::{Action, Channel, Writing};

pub enum Found {
    /// The record that stands for the person, and every record that is theirs, it among them.
    One(Box<RecordState>, BTreeSet<RecordId>),
    /// Nobody here carries any of the numbers.
    Nobody,
    /// Whoever carries one is somebody else by name and birth date.
    SomebodyElse,
    /// Several are the same person by all that is said.
    Several,
}

/// One person: every record that is theirs.
struct Carrier {
    members: Vec<RecordState>,
}

/// Finds the one patient whom a message is about. Records that are linked are one person, whichever of them carries the
/// number and whichever of them agrees.
///
/// Among several, those who agree in both name and birth date go before those who agree in one; then the one whom this
/// source's messages have been about goes before the others.
pub fn find<L: SourceLedger>(ledger: &mut L, said: &Identity, numbers: &[Identifier]) -> Result<Found, L::Error> {
    let people = people(ledger, numbers)?;
    if people.is_empty() {
        return Ok(Found::Nobody);
    }
    let mut agreeing = Vec::new();
    for person in people {
        let mut agreement = 0;
        for state in &person.members {
            let own = said_before(ledger, state, said)?;
            agreement = agreement.max(hl7::agreement(state, said)).max(usize::from(own));
        }
        if agreement > 0 {
            agreeing.push((agreement, person));
        }
    }
    let best = agreeing.iter().map(|(agreement, _)| *agreement).max().unwrap_or(0);
    agreeing.retain(|(agreement, _)| *agreement == best);
    let mut followed = Vec::new();
    for (_, person) in &agreeing {
        followed.push(is_followed(ledger, person)?);
    }
    if agreeing.len() > 1 && followed.iter().filter(|is| **is).count() == 1 {
        let mut followed = followed.into_iter();
        agreeing.retain(|_| followed.next().unwrap_or(false));
    }
    Ok(match (agreeing.pop(), agreeing.is_empty()) {
        (None, _) => Found::SomebodyElse,
        (Some((_, person)), true) => person.found(),
        (Some(_), false) => Found::Several,
    })
}

impl Carrier {
    fn found(self) -> Found {
        let ids: BTreeSet<RecordId> = self.members.iter().map(|state| state.record).collect();
        let primary = linking::primary(&self.members);
        let state = self.members.into_iter().find(|state| Some(state.record) == primary);
        state.map_or(Found::Nobody, |state| Found::One(Box::new(state), ids))
    }
}

/// Whether this source's messages have been about one of the person's records.
fn is_followed<L: SourceLedger>(ledger: &mut L, person: &Carrier) -> Result<bool, L::Error> {
    for state in &person.members {
        if ledger.last_said(state.record, patient::NAME.id)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn people<L: SourceLedger>(ledger: &mut L, numbers: &[Identifier]) -> Result<Vec<Carrier>, L::Error> {
    let mut people: Vec<Carrier> = Vec::new();
    for state in carriers(ledger, numbers)? {
        let is_known = |person: &Carrier| person.members.iter().any(|member| member.record == state.record);
        if people.iter().any(is_known) {
            continue;
        }
        let mut members = Vec::new();
        for id in cluster_of(ledger, state.record)? {
            members.extend(ledger.state(id)?.filter(|state| state.kind == patient::KIND));
        }
        people.push(Carrier { members });
    }
    Ok(people)
}

/// Every record that is one person's with this one.
pub(super) fn cluster_of<L: SourceLedger>(ledger: &mut L, record: RecordId) -> Result<BTreeSet<RecordId>, L::Error> {
    linking::cluster_in(record, |id| ledger.linked(id, link::KIND))
}

/// The records that carry one of the numbers themselves.
pub(super) fn carriers<L: SourceLedger>(ledger: &mut L, numbers: &[Identifier]) -> Result<Vec<RecordState>, L::Error> {
    let mut found: Vec<RecordState> = Vec::new();
    for number in numbers {
        let bare = numbering::parse(&number.value).unwrap_or_else(|| number.value.trim().to_owned());
        for state in ledger.with_term(patient::KIND, &index::identifier_term(&bare))? {
            if hl7::carries(&state, number) && !found.iter().any(|known| known.record == state.record) {
                found.push(state);
            }
        }
    }
    Ok(found)
}

/// Whether this source has said the same name or birth date of this record before, so that a person's correction of both
/// does not make its next message one about a stranger.
fn said_before<L: SourceLedger>(ledger: &mut L, state: &RecordState, said: &Identity) -> Result<bool, L::Error> {
    let name = ledger.last_said(state.record, patient::NAME.id)?;
    let birth_date = ledger.last_said(state.record, patient::BIRTH_DATE.id)?;
    let same_name = name.is_some_and(|last| last.value == said.name.to_raw());
    let same_date = birth_date.is_some_and(|last| said.birth_date.is_some_and(|date| last.value == date.to_raw()));
    Ok(same_name || same_date)
}

/// A patient as a message has left them.
pub struct Kept {
    /// The record that was written.
    pub id: RecordId,
    /// Every record that is theirs, this one among them.
    pub members: BTreeSet<RecordId>,
    /// It was made for this message.
    pub is_new: bool,
    /// A number that the message gave them is carried by somebody else, or several were alike.
    pub disputed: bool,
}

/// Finds the patient or makes a new one, with what the message says of them.
pub fn keep<L: SourceLedger>(ledger: &mut L, said: &PatientSaid, event_ms: i64) -> Result<Kept, L::Error> {
    let found = find(ledger, &said.identity(), &said.wanted_numbers())?;
    let (state, members, several) = match found {
        Found::One(state, members) => (Some(state), members, false),
        Found::Nobody => (None, BTreeSet::new(), false),
        Found::SomebodyElse | Found::Several => (None, BTreeSet::new(), true),
    };
    let id = match &state {
        Some(state) => state.record,
        None => ledger.new_record()?,
    };
    let mut known = Vec::new();
    for member in &members {
        known.extend(ledger.state(*member)?);
    }
    let numbers = new_numbers(&known, said);
    let mut elsewhere = several;
    for number in &numbers {
        elsewhere |= carriers(ledger, std::slice::from_ref(number))?
            .iter()
            .any(|other| other.record != id && !members.contains(&other.record));
    }
    let change = |action| Writing::new(patient::KIND, id, action, Channel::Hl7.program(), event_ms);
    let mut numbers = numbers.into_iter().map(Phi::new);
    let first = numbers.next();
    let written = Following::new(id, state.as_deref(), change(Action::Message))
        .say(ledger, patient::NAME, &said.name, same_name)?
        .say(ledger, patient::BIRTH_DATE, &said.birth_date, same)?
        .say(ledger, patient::SEX, &said.sex, same)?
        .say(ledger, patient::PHONE, &said.phone, same_phone)?
        .say(ledger, patient::EMAIL, &said.email, same_text)?
        .say(ledger, patient::ADDRESS, &said.address, same)?
        .with(|writing| match &first {
            Some(number) => writing.assert(patient::IDENTIFIER, number),
            None => writing,
        })
        .write(ledger)?;
    // A change holds one element of a field, so every further number is a change of its own.
    for number in numbers {
        let mut draft = change(Action::Message).assert(patient::IDENTIFIER, &number);
        if let Some(cause) = written {
            draft = draft.because(cause);
        }
        ledger.author(&draft.done())?;
    }
    let is_new = members.is_empty();
    Ok(Kept {
        id,
        members: if is_new { BTreeSet::from([id]) } else { members },
        is_new,
        disputed: elsewhere,
    })
}

/// Numbers that none of the person's records was ever given. One that somebody refuted is not given again, and a TEMP
/// number that they have is not another one because a sender names another authority for it.
fn new_numbers(members: &[RecordState], said: &PatientSaid) -> Vec<Identifier> {
    let ever: Vec<Identifier> = members
        .iter()
        .flat_map(|state| patient::IDENTIFIER.asserted(state).into_values())
        .map(|one| one.value.into_exposed())
        .collect();
    let known = |number: &Identifier| {
        ever.iter().any(|one| {
            (one.system.eq_ignore_ascii_case(&number.system) && one.value == number.value)
                || (one.system == TEMP_SYSTEM && numbering::parse(&number.value).as_ref() == Some(&one.value))
        })
    };
    let new = said.identifiers.iter().filter(|number| !known(number));
    new.cloned().collect()
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
pub fn keep_allergies<L: SourceLedger>(
    ledger: &mut L,
    patient_id: RecordId,
    said: &[AllergyStatement],
    event_ms: i64,
) -> Result<(), L::Error> {
    for statement in said {
        let mut known = None;
        for state in ledger.linked(patient_id, allergy::KIND)? {
            let last = ledger.last_said(state.record, allergy::STATEMENT.id)?;
            let before = last.and_then(|last| AllergyStatement::from_raw(&last.value));
            if let Some(before) = before.filter(|before| fold(&before.substance) == fold(&statement.substance)) {
                known = Some((state.record, before));
                break;
            }
        }
        let (id, is_new) = match known {
            Some((_, before)) if same_statement(&before, statement) => continue,
            Some((id, _)) => (id, false),
            None => (ledger.new_record()?, true),
        };
        let mut writing = Writing::new(allergy::KIND, id, Action::AddAllergy, Channel::Hl7.program(), event_ms)
            .assert(allergy::STATEMENT, &Phi::new(statement.clone()));
        if is_new {
            writing = writing.set(allergy::PATIENT, &patient_id);
        }
        if let Some(change) = ledger.author(&writing.done())? {
            let value = statement.to_raw();
            ledger.remember(id, allergy::STATEMENT.id, LastSaid { change, value })?;
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
pub fn keep_coverages<L: SourceLedger>(
    ledger: &mut L,
    patient_id: RecordId,
    said: &[CoverageSaid],
    event_ms: i64,
) -> Result<(), L::Error> {
    for coverage in said {
        let all = ledger.linked(patient_id, coverage::KIND)?;
        let known = all.into_iter().find(|state| {
            let payer = coverage::PAYER.value(state).map(Phi::into_exposed);
            let member_id = coverage::MEMBER_ID.value(state).map(Phi::into_exposed);
            coverage.is_same(payer.as_deref(), member_id.as_deref())
        });
        let id = match &known {
            Some(state) => state.record,
            None => ledger.new_record()?,
        };
        let is_new = known.is_none();
        let writing = Writing::new(coverage::KIND, id, Action::Message, Channel::Hl7.program(), event_ms);
        Following::new(id, known.as_ref(), writing)
            .say(ledger, coverage::PLAN, &coverage.plan, same_text)?
            .with(|writing| match is_new {
                true => writing
                    .set(coverage::PATIENT, &patient_id)
                    .set(coverage::PAYER, &coverage.payer)
                    .set_if(coverage::MEMBER_ID, coverage.member_id.as_ref()),
                false => writing,
            })
            .write(ledger)?;
    }
    Ok(())
}
