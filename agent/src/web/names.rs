//! How people, places and ways are named on a page. A patient is never named by one identifier, nor by one that is in
//! dispute.

use std::rc::Rc;

use clinic::catalogue::{colleague, patient, room, staff};
use clinic::colleagues::colleague_id;
use clinic::matching::Identity;
use clinic::numbering::{self, TEMP_SYSTEM};
use clinic::read::Shown;
use clinic::rules::EHR_SYSTEM;
use clinic::value::{BirthDate, Identifier, PersonName, Role};
use clinic::write::Channel;
use sync_protocol::change::Actor;
use sync_protocol::{Phi, RecordId, RecordState, ReplicaId};

use super::reading::Reading;
use super::views::{PatientName, SecondIdentifier};
use crate::access::tasks::EHR_NUMBER_SYSTEM;
use crate::store::TxError;

pub(super) fn role_word(role: Role) -> &'static str {
    match role {
        Role::FrontDesk => "Front desk",
        Role::Nurse => "Nurse",
        Role::Provider => "Provider",
        Role::Lead => "Lead",
    }
}

/// The name to be used for now. While two values are in dispute and nothing stands, both are named.
pub(super) fn listed_name(state: &RecordState) -> String {
    match patient::NAME.ask(state) {
        Shown::Nothing => "Name not known".to_owned(),
        Shown::One(said) => said.value.expose().listed(),
        Shown::Open {
            standing: Some(name), ..
        } => name.expose().listed(),
        Shown::Open { standing: None, values } => {
            let names: Vec<String> = values.iter().map(|said| said.value.expose().listed()).collect();
            names.join(" or ")
        }
    }
}

/// "TEMP", "EHR", "MRN": what kind of number it is.
pub(super) fn number_kind(identifier: &Identifier) -> &str {
    match (identifier.system.as_str(), identifier.kind.as_str()) {
        (TEMP_SYSTEM, _) => "TEMP",
        (EHR_SYSTEM | EHR_NUMBER_SYSTEM, _) => "EHR",
        (_, "MR" | "MRN" | "") => "MRN",
        (_, kind) => kind,
    }
}

pub(super) fn number_shown(identifier: &Identifier) -> String {
    if identifier.system == TEMP_SYSTEM {
        numbering::shown(&identifier.value)
    } else {
        identifier.value.clone()
    }
}

/// "MRN 104882", "TEMP T4K-0130-C".
pub(super) fn numbers(state: &RecordState) -> Vec<String> {
    let identifiers = Identity::of_patient(state).identifiers;
    let words = |id: &Identifier| format!("{} {}", number_kind(id), number_shown(id));
    identifiers.iter().map(words).collect()
}

/// The numbers that are not said beside the name already.
pub(super) fn further_numbers(state: &RecordState, second: &SecondIdentifier) -> Vec<String> {
    let said = second_words(second);
    numbers(state).into_iter().filter(|number| *number != said).collect()
}

/// Known by a TEMP number and not yet by one of the EHR.
pub(super) fn is_temporary(state: &RecordState) -> bool {
    let identifiers = patient::IDENTIFIER.standing(state);
    let has = |system: &str| identifiers.iter().any(|said| said.value.expose().system == system);
    has(TEMP_SYSTEM) && !has(EHR_SYSTEM) && !has(EHR_NUMBER_SYSTEM)
}

pub(super) fn record_path(patient: RecordId) -> String {
    format!("/patients/{patient}")
}

impl Reading<'_, '_> {
    pub(super) fn born(&self, date: &BirthDate) -> SecondIdentifier {
        let age = date.age_on(self.clock.today());
        SecondIdentifier::Born {
            iso: date.iso(),
            label: date.shown(),
            age: age.map(|years| format!("{years} y")).unwrap_or_default(),
        }
    }

    /// The birth date, unless it is not known or in dispute: a number then.
    pub(super) fn second(&self, state: &RecordState) -> SecondIdentifier {
        if let Shown::One(said) = patient::BIRTH_DATE.ask(state) {
            return self.born(said.value.expose());
        }
        number_of(state)
    }

    pub(super) fn name_of(&self, state: &RecordState) -> PatientName {
        PatientName {
            name: listed_name(state),
            second: self.second(state),
            href: Some(record_path(state.record)),
        }
    }

    /// A patient by id; one whose record has not come yet is named by that.
    pub(super) fn patient(&self, id: RecordId) -> Result<PatientName, TxError> {
        let state = self.state(id)?.filter(|state| state.kind == patient::KIND);
        Ok(match state {
            Some(state) => self.name_of(&state),
            None => PatientName {
                name: "Patient not here yet".to_owned(),
                second: record_number(id),
                href: None,
            },
        })
    }

    /// Somebody whom a message or a partner describes.
    pub(super) fn described(
        &self,
        name: Option<&PersonName>,
        born: Option<&BirthDate>,
        number: Option<&Identifier>,
    ) -> PatientName {
        let name = name.map(PersonName::listed).filter(|name| !name.is_empty());
        let number = number.map(|id| SecondIdentifier::Number {
            kind: number_kind(id).to_owned(),
            value: number_shown(id),
        });
        let nothing = || SecondIdentifier::Number {
            kind: "Birth date".to_owned(),
            value: "not said".to_owned(),
        };
        PatientName {
            name: name.unwrap_or_else(|| "Name not said".to_owned()),
            second: born.map(|date| self.born(date)).or(number).unwrap_or_else(nothing),
            href: None,
        }
    }

    /// Somebody who works here, or at another site of the organisation.
    pub(super) fn staff_name(&self, id: RecordId) -> Result<Option<String>, TxError> {
        let state = self.state(id)?.filter(|state| state.kind == staff::KIND);
        if let Some(name) = state.and_then(|state| staff::NAME.value(&state)) {
            return Ok(Some(name));
        }
        Ok(self.colleague(id)?.and_then(|state| colleague::NAME.value(&state)))
    }

    fn colleague(&self, staff: RecordId) -> Result<Option<Rc<RecordState>>, TxError> {
        let state = self.state(colleague_id(staff))?;
        Ok(state.filter(|state| state.kind == colleague::KIND))
    }

    /// Who wrote: a person by name, a program by what it is.
    pub(super) fn who(&self, actor: Actor) -> Result<String, TxError> {
        if Channel::of(actor) == Some(Channel::Console) {
            return Ok("an administrator at the hub".to_owned());
        }
        if !actor.who.is_nil() {
            let name = self.staff_name(actor.who)?;
            return Ok(name.unwrap_or_else(|| "somebody who is not known here".to_owned()));
        }
        let program = match Channel::of(actor) {
            Some(Channel::Page) => "the page",
            Some(Channel::Hl7) => "an HL7 message",
            Some(Channel::Rule) => "a rule",
            Some(Channel::Hub) => "the hub",
            Some(Channel::Connector) => "the EHR",
            Some(Channel::Cli) => "the hub’s command line",
            Some(Channel::Console) => "the hub’s console",
            None => "a newer program",
        };
        Ok(program.to_owned())
    }

    /// Where it was written: this site, the hub, or the site of the person who wrote it.
    pub(super) fn place(&self, actor: Actor, replica: ReplicaId) -> Result<String, TxError> {
        match Channel::of(actor) {
            Some(Channel::Hub | Channel::Connector | Channel::Cli | Channel::Console) => {
                return Ok("At the hub".to_owned());
            }
            Some(Channel::Page | Channel::Hl7 | Channel::Rule) | None => {}
        }
        let staff = self.state(actor.who)?.filter(|state| state.kind == staff::KIND);
        let of_person = staff.and_then(|state| staff::SITE.value(&state));
        let here = of_person == Some(self.site.id) || replica == self.tx.head()?.replica;
        if here {
            return Ok(format!("Here, {}", self.site.name));
        }
        let name = self
            .colleague(actor.who)?
            .and_then(|state| colleague::SITE_NAME.value(&state));
        Ok(name.unwrap_or_else(|| "At another site".to_owned()))
    }

    pub(super) fn room_name(&self, id: RecordId) -> Result<Option<String>, TxError> {
        let state = self.state(id)?.filter(|state| state.kind == room::KIND);
        Ok(state
            .and_then(|state| room::NAME.value(&state))
            .map(|name| bare_room(&name)))
    }
}

/// "Room 4" is "4": the page says the word itself.
pub(super) fn bare_room(name: &str) -> String {
    let bare = name.strip_prefix("Room ").or_else(|| name.strip_prefix("room "));
    bare.unwrap_or(name).to_owned()
}

/// The TEMP number where there is one, else any other, else the record's own.
fn number_of(state: &RecordState) -> SecondIdentifier {
    let identifiers = patient::IDENTIFIER.standing(state);
    let temp = identifiers
        .iter()
        .find(|said| said.value.expose().system == TEMP_SYSTEM);
    match temp.or(identifiers.first()).map(|said| said.value.expose()) {
        Some(identifier) => SecondIdentifier::Number {
            kind: number_kind(identifier).to_owned(),
            value: number_shown(identifier),
        },
        None => record_number(state.record),
    }
}

fn record_number(id: RecordId) -> SecondIdentifier {
    SecondIdentifier::Number {
        kind: "Record".to_owned(),
        value: id.to_string().chars().take(8).collect(),
    }
}

/// Two people who are easily taken for one another: told apart by no more than one of name, birth date and phone, or
/// called the same.
pub(super) fn are_mistakable(a: &Identity, b: &Identity) -> bool {
    let folded = |who: &Identity| {
        (
            clinic::matching::fold(&who.name.family),
            clinic::matching::fold(&who.name.given),
        )
    };
    let same_name = !a.name.is_empty() && folded(a) == folded(b);
    same_name || clinic::matching::alike(a, b)
}

/// What was typed in place of a name that was shown: where it still ends in its suffix or middle name, they stay what
/// they were.
pub(super) fn typed_over(text: &str, shown: &PersonName) -> PersonName {
    let typed = PersonName::parse(text);
    let (family, suffix) = without_end(&typed.family, &shown.suffix);
    let (given, middle) = without_end(&typed.given, &shown.middle);
    PersonName {
        family,
        given,
        middle,
        suffix,
    }
}

fn without_end(text: &str, end: &str) -> (String, String) {
    let bare = text.strip_suffix(end).and_then(|bare| bare.strip_suffix(' '));
    match bare.filter(|_| !end.is_empty()) {
        Some(bare) => (bare.to_owned(), end.to_owned()),
        None => (text.to_owned(), String::new()),
    }
}

/// What was typed as a name.
pub(super) fn typed_name(text: &str) -> Phi<PersonName> {
    Phi::new(PersonName::parse(text))
}

pub(super) fn second_words(second: &SecondIdentifier) -> String {
    match second {
        SecondIdentifier::Born { label, .. } => label.clone(),
        SecondIdentifier::Number { kind, value } => format!("{kind} {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correcting_a_letter_leaves_middle_name_and_suffix_where_they_were() {
        let shown = PersonName {
            family: "Smith".to_owned(),
            given: "John".to_owned(),
            middle: "Q".to_owned(),
            suffix: "Jr".to_owned(),
        };

        assert_eq!(typed_over(&shown.listed(), &shown), shown);
        let corrected = typed_over("Smyth Jr, John Q", &shown);
        assert_eq!((corrected.family.as_str(), corrected.suffix.as_str()), ("Smyth", "Jr"));
        let other = typed_over("Smith, Joan", &shown);
        assert_eq!((other.given.as_str(), other.middle.as_str()), ("Joan", ""));
    }
}
