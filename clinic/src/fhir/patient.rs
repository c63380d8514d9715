//! Patient and Coverage.

use formats::fhir::{
    AddressUse, ContactPointSystem, ContactPointUse, Coverage, Gender, HumanName, Identifier as FhirIdentifier,
    NameUse, Patient,
};
use formats::hl7::Sent;
use sync_protocol::Phi;
use sync_protocol::rules::Rule;
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, FieldId};

use super::{NUMBER_MAX_BYTES, PART_MAX_BYTES, clipped};
use crate::catalogue::{Field, coverage, patient};
use crate::following::{Alike, LastWords, Noted, follow_copy};
use crate::matching::{fold, phone_key};
use crate::numbering::{self, TEMP_SYSTEM};
use crate::rules::EHR_SYSTEM;
use crate::value::{Address, BirthDate, Identifier, PersonName, Sex, Value};
use crate::write::Writing;

/// Numbers of one person that are kept from one resource.
const NUMBERS_MAX: usize = 20;
/// Ways to reach one person that are looked at.
const REACHED_MAX: usize = 20;
/// Social security numbers are nobody's business here.
const NEVER_KEPT: &str = "SS";
const SOCIAL_SECURITY: &str = "http://hl7.org/fhir/sid/us-ssn";
/// Under this the hub tells partners which record of ours a patient is.
const OWN_SYSTEMS: &str = "urn:mainstay:patient";
const OWN_AUTHORITIES: &str = "urn:mainstay:authority:";

/// What the EHR holds of a person.
#[derive(Clone, Debug)]
pub struct PatientCopy {
    pub name: Sent<Phi<PersonName>>,
    pub birth_date: Sent<Phi<BirthDate>>,
    pub sex: Sent<Sex>,
    /// All that are in use; of several the one is followed that agrees with what is known here.
    phones: Vec<Phi<String>>,
    emails: Vec<Phi<String>>,
    pub address: Sent<Phi<Address>>,
    pub identifiers: Vec<Identifier>,
    /// The record of ours that the EHR's was made from.
    pub own_record: Option<String>,
    /// The EHR's ids of those that it says are the same person.
    pub same_person: Vec<String>,
}

impl PatientCopy {
    pub fn read(resource: &Patient) -> PatientCopy {
        let reached = |wanted: fn(Option<ContactPointSystem>) -> bool| {
            let points = resource.telecom.iter().filter(|point| wanted(point.system));
            let in_use = points.filter(|point| point.used_for != Some(ContactPointUse::Old));
            let values = in_use.filter_map(|point| clipped(point.value.as_deref()?, PART_MAX_BYTES));
            values.take(REACHED_MAX).map(Phi::new).collect()
        };
        let links = resource
            .link
            .iter()
            .filter(|link| matches!(link.kind.as_deref(), Some("replaced-by" | "replaces")));
        PatientCopy {
            name: name(resource).map_or(Sent::Nothing, |name| Sent::Value(Phi::new(name))),
            birth_date: resource
                .birth_date
                .and_then(|date| BirthDate::parse(&date.to_fhir()))
                .map_or(Sent::Nothing, |date| Sent::Value(Phi::new(date))),
            sex: match resource.gender {
                Some(Gender::Female) => Sent::Value(Sex::Female),
                Some(Gender::Male) => Sent::Value(Sex::Male),
                Some(Gender::Other) => Sent::Value(Sex::Other),
                // Nothing that could stand against what somebody knows.
                Some(Gender::Unknown) | None => Sent::Nothing,
            },
            phones: reached(|system| matches!(system, Some(ContactPointSystem::Phone | ContactPointSystem::Sms))),
            emails: reached(|system| system == Some(ContactPointSystem::Email)),
            address: address(resource).map_or(Sent::Null, |address| Sent::Value(Phi::new(address))),
            identifiers: identifiers(&resource.identifier),
            own_record: resource.identifier_of(OWN_SYSTEMS).map(str::to_owned),
            same_person: links
                .filter_map(|link| link.other.id_of("Patient"))
                .map(str::to_owned)
                .collect(),
        }
    }

    /// The fields whose last words [`PatientCopy::follow`] looks at.
    pub const FIELDS: [FieldId; 6] = [
        patient::NAME.id,
        patient::BIRTH_DATE.id,
        patient::SEX.id,
        patient::PHONE.id,
        patient::EMAIL.id,
        patient::ADDRESS.id,
    ];

    /// Adds to `writing` what is new of it. `updated_ms` is when the EHR's copy last changed: what the EHR first says of a
    /// person who is known here goes behind a phone number or address that was written later than that.
    pub fn follow(
        &self,
        writing: Writing,
        state: Option<&RecordState>,
        last: &LastWords,
        updated_ms: i64,
    ) -> (Writing, Vec<Noted>) {
        let mut following = Following {
            writing,
            state,
            last,
            updated_ms,
            noted: Vec::new(),
        };
        let phone = one_of(&self.phones, patient::PHONE, state, last, same_phone);
        let email = one_of(&self.emails, patient::EMAIL, state, last, same_text);
        following.say(
            patient::NAME,
            &self.name,
            Alike {
                repeated: same_name,
                agrees: agreeing_name,
            },
        );
        following.say(patient::BIRTH_DATE, &self.birth_date, Alike::by(|a, b| a == b));
        following.say(patient::SEX, &self.sex, Alike::by(|a, b| a == b));
        following.say(patient::PHONE, &phone, Alike::by(same_phone));
        following.say(patient::EMAIL, &email, Alike::by(same_text));
        following.say(patient::ADDRESS, &self.address, Alike::by(same_address));
        (following.writing, following.noted)
    }

    /// Numbers that the record was never given. One that somebody refuted is not given again.
    pub fn new_numbers(&self, state: Option<&RecordState>, ehr_id: &str) -> Vec<Identifier> {
        let ever = state
            .map(|state| patient::IDENTIFIER.asserted(state))
            .unwrap_or_default();
        let known = |number: &Identifier| {
            ever.values().any(|one| {
                let one = one.value.expose();
                let same_system = one.system.eq_ignore_ascii_case(&number.system);
                (same_system && one.value == number.value && one.system != EHR_SYSTEM)
                    || (one == number)
                    || (one.system == TEMP_SYSTEM && numbering::parse(&number.value).as_ref() == Some(&one.value))
            })
        };
        let own = Identifier {
            system: EHR_SYSTEM.to_owned(),
            value: ehr_id.to_owned(),
            kind: "PI".to_owned(),
        };
        let all = std::iter::once(own).chain(self.identifiers.iter().cloned());
        all.filter(|number| !known(number)).collect()
    }
}

struct Following<'a> {
    writing: Writing,
    state: Option<&'a RecordState>,
    last: &'a LastWords,
    updated_ms: i64,
    noted: Vec<Noted>,
}

impl Following<'_> {
    fn say<T: Value>(&mut self, field: Field<T>, sent: &Sent<T>, alike: Alike<T>) {
        let last = self.last.get(&field.id);
        if let (Sent::Value(value), None, true) = (sent, last, self.is_older(field)) {
            let agrees = self.state.and_then(|state| field.latest(state));
            let agrees = agrees.filter(|said| (alike.agrees)(&said.value, value));
            self.noted.push(Noted {
                field: field.id,
                value: value.to_raw(),
                written: false,
                agrees: agrees.map_or(ChangeId::NIL, |said| said.change),
            });
            return;
        }
        let writing = self.writing.clone();
        let (writing, noted) = follow_copy(writing, field, self.state, sent, last, &alike);
        self.writing = writing;
        self.noted.extend(noted);
    }

    fn is_older<T: Value>(&self, field: Field<T>) -> bool {
        let stands = self.state.and_then(|state| field.latest(state));
        field.rule == Rule::Latest && stands.is_some_and(|said| said.entered_ms > self.updated_ms)
    }
}

/// Of several numbers or addresses: the one that the EHR said last, else the one that is known here, else its first.
fn one_of(
    all: &[Phi<String>],
    field: Field<Phi<String>>,
    state: Option<&RecordState>,
    last: &LastWords,
    same: fn(&Phi<String>, &Phi<String>) -> bool,
) -> Sent<Phi<String>> {
    let said = last
        .get(&field.id)
        .and_then(|last| Phi::<String>::from_raw(&last.value));
    let known = || state.and_then(|state| field.value(state));
    let of = |wanted: Phi<String>| all.iter().find(|one| same(one, &wanted));
    let chosen = match said {
        Some(said) => of(said),
        None => known().and_then(of),
    };
    match chosen.or(all.first()) {
        Some(value) => Sent::Value(value.clone()),
        None => Sent::Null,
    }
}

/// The official name, else the usual one, else the first that is in use.
fn name(resource: &Patient) -> Option<PersonName> {
    let of_use = |wanted: NameUse| resource.name.iter().find(|name| name.used_as == Some(wanted));
    let in_use = || {
        let mut names = resource.name.iter();
        names.find(|name| !matches!(name.used_as, Some(NameUse::Old | NameUse::Maiden | NameUse::Nickname)))
    };
    let name = of_use(NameUse::Official)
        .or_else(|| of_use(NameUse::Usual))
        .or_else(in_use)?;
    Some(person_name(name)).filter(|name| !name.is_empty())
}

pub(super) fn person_name(name: &HumanName) -> PersonName {
    let part = |text: &str| clipped(text, PART_MAX_BYTES).unwrap_or_default();
    let given: Vec<&str> = name
        .given
        .iter()
        .map(|given| given.trim())
        .filter(|given| !given.is_empty())
        .collect();
    let read = PersonName {
        family: part(name.family.as_deref().unwrap_or_default()),
        given: part(given.first().copied().unwrap_or_default()),
        middle: part(&given.get(1..).unwrap_or_default().join(" ")),
        suffix: part(&name.suffix.join(" ")),
    };
    match &name.text {
        // Some servers keep a name as one text only.
        Some(text) if read.is_empty() => PersonName::parse(&part(text)),
        Some(_) | None => read,
    }
}

fn address(resource: &Patient) -> Option<Address> {
    let of_use = |wanted: Option<AddressUse>| resource.address.iter().find(|address| address.used_for == wanted);
    let in_use = || {
        resource
            .address
            .iter()
            .find(|address| address.used_for != Some(AddressUse::Old))
    };
    let address = of_use(Some(AddressUse::Home))
        .or_else(|| of_use(None))
        .or_else(in_use)?;
    let part = |part: Option<&str>| part.and_then(|part| clipped(part, PART_MAX_BYTES)).unwrap_or_default();
    let lines: Vec<&str> = address
        .line
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
        .collect();
    let read = Address {
        line: part(Some(&lines.join(", "))),
        city: part(address.city.as_deref()),
        state: part(address.state.as_deref()),
        postal_code: part(address.postal_code.as_deref()),
    };
    (read != Address::default()).then_some(read)
}

fn identifiers(all: &[FhirIdentifier]) -> Vec<Identifier> {
    let mut read: Vec<Identifier> = Vec::new();
    for id in all {
        let (Some(system), Some(value)) = (&id.system, &id.value) else {
            continue;
        };
        let (system, value) = (system.trim(), value.trim());
        let kind = id.kind.as_ref().and_then(|kind| kind.coding.first()?.code.clone());
        let number = Identifier {
            system: system.to_owned(),
            value: value.to_owned(),
            kind: kind.unwrap_or_default(),
        };
        let ours = system == OWN_SYSTEMS || system == EHR_SYSTEM || system.starts_with(OWN_AUTHORITIES);
        let secret = number.kind == NEVER_KEPT || system == SOCIAL_SECURITY;
        let fits = [&number.system, &number.value, &number.kind]
            .iter()
            .all(|part| part.len() <= NUMBER_MAX_BYTES);
        let more = read.len() < NUMBERS_MAX && !read.contains(&number);
        if !ours && !secret && fits && more && !value.is_empty() && !system.is_empty() {
            read.push(number);
        }
    }
    read
}

/// Whatever its case, marks and hyphens, and wherever the first given name ends.
fn same_name(a: &Phi<PersonName>, b: &Phi<PersonName>) -> bool {
    let whole = |name: &PersonName| {
        (
            fold(&name.family),
            fold(&format!("{}{}", name.given, name.middle)),
            fold(&name.suffix),
        )
    };
    whole(a.expose()) == whole(b.expose())
}

/// A name without a middle one contradicts nobody.
fn agreeing_name(a: &Phi<PersonName>, b: &Phi<PersonName>) -> bool {
    let (first, second) = (a.expose(), b.expose());
    let one_has_none = first.middle.is_empty() || second.middle.is_empty();
    same_name(a, b)
        || (one_has_none && fold(&first.family) == fold(&second.family) && fold(&first.given) == fold(&second.given))
}

fn same_phone(a: &Phi<String>, b: &Phi<String>) -> bool {
    let (a, b) = (a.expose(), b.expose());
    a == b || phone_key(a).is_some_and(|key| Some(key) == phone_key(b))
}

fn same_text(a: &Phi<String>, b: &Phi<String>) -> bool {
    a.expose().trim().eq_ignore_ascii_case(b.expose().trim())
}

fn same_address(a: &Phi<Address>, b: &Phi<Address>) -> bool {
    let parts =
        |address: &Address| [&address.line, &address.city, &address.state, &address.postal_code].map(|part| fold(part));
    parts(a.expose()) == parts(b.expose())
}

/// What the EHR holds of an insurance.
#[derive(Clone, Debug)]
pub struct CoverageCopy {
    /// The EHR's id of the person insured.
    pub patient: Option<String>,
    pub payer: Sent<Phi<String>>,
    pub member_id: Sent<Phi<String>>,
    pub plan: Sent<Phi<String>>,
    /// It was cancelled, or never should have been.
    pub void: bool,
}

impl CoverageCopy {
    pub fn read(resource: &Coverage) -> CoverageCopy {
        let text = |text: Option<&str>| text.and_then(|text| clipped(text, PART_MAX_BYTES)).map(Phi::new);
        let sent = |value: Option<Phi<String>>| value.map_or(Sent::Null, Sent::Value);
        let payor = resource.payor.iter().find_map(|payor| text(payor.display.as_deref()));
        let plan = resource.class.iter().find(|class| {
            let codes = class.kind.iter().flat_map(|kind| &kind.coding);
            codes.into_iter().any(|coding| coding.code.as_deref() == Some("plan"))
        });
        let plan = plan.and_then(|plan| text(plan.name.as_deref()).or_else(|| text(plan.value.as_deref())));
        let kind = resource.kind.as_ref().and_then(|kind| {
            let display = kind.coding.first().and_then(|coding| coding.display.as_deref());
            text(kind.text.as_deref().or(display))
        });
        CoverageCopy {
            patient: resource
                .beneficiary
                .as_ref()
                .and_then(|of| of.id_of("Patient"))
                .map(str::to_owned),
            payer: payor.map_or(Sent::Nothing, Sent::Value),
            member_id: sent(text(resource.subscriber_id.as_deref())),
            plan: sent(plan.or(kind)),
            void: matches!(resource.status.as_deref(), Some("cancelled" | "entered-in-error")),
        }
    }

    /// The fields whose last words [`CoverageCopy::follow`] looks at.
    pub const FIELDS: [FieldId; 3] = [coverage::PAYER.id, coverage::MEMBER_ID.id, coverage::PLAN.id];

    pub fn follow(&self, writing: Writing, state: Option<&RecordState>, last: &LastWords) -> (Writing, Vec<Noted>) {
        let mut following = Following {
            writing,
            state,
            last,
            updated_ms: i64::MAX,
            noted: Vec::new(),
        };
        following.say(coverage::PAYER, &self.payer, Alike::by(same_words));
        following.say(coverage::MEMBER_ID, &self.member_id, Alike::by(same_words));
        following.say(coverage::PLAN, &self.plan, Alike::by(same_words));
        (following.writing, following.noted)
    }

    /// Whether a record here is of this insurance.
    pub fn is_of(&self, state: &RecordState) -> bool {
        let same = |field: Field<Phi<String>>, sent: &Sent<Phi<String>>| match (field.value(state), sent.value()) {
            (Some(known), Some(said)) => same_words(&known, said),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.payer.value().is_some() && same(coverage::PAYER, &self.payer) && same(coverage::MEMBER_ID, &self.member_id)
    }
}

fn same_words(a: &Phi<String>, b: &Phi<String>) -> bool {
    fold(a.expose()) == fold(b.expose())
}

#[cfg(test)]
mod tests;
