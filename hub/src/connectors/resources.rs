//! Between the clinic's records and FHIR R4, for the two kinds of work. Pure.
//!
//! What is ours at a partner is named by identifiers of our own: `urn:mainstay:patient` and `urn:mainstay:visit`, each
//! with the record's id in hexadecimal. That id is random and says nothing of the person. A number of an assigning
//! authority that is no URI is put under `urn:mainstay:authority:`. An encounter of a visit that is registered, for which
//! R4 has no status, carries the extension [`VISIT_STATE_EXTENSION`] with the code `registered`; every other status says
//! all there is.

use clinic::flow::{self, EncounterStatus, VisitState};
use clinic::matching::{Candidate, Identity, fold};
use clinic::numbering::TEMP_SYSTEM;
use clinic::rules::EHR_SYSTEM;
use clinic::value::Sex;
use clinic::{BirthDate, PersonName, patient, visit};
use formats::date::PartialDate;
use formats::fhir::{
    Address, CodeableConcept, Coding, ContactPoint, ContactPointSystem, Encounter, EncounterLocation,
    EncounterLocationStatus, EncounterStatus as FhirStatus, Extension, Gender, HumanName, Identifier, IdentifierUse,
    NameUse, Patient, Period, Reference,
};
use sync_protocol::{RecordId, RecordState};

pub(super) const PATIENT_SYSTEM: &str = "urn:mainstay:patient";
pub(super) const VISIT_SYSTEM: &str = "urn:mainstay:visit";
/// Value: code `registered`. On an Encounter whose status is `arrived`: the desk has finished registering the patient.
pub(super) const VISIT_STATE_EXTENSION: &str = "urn:mainstay:fhir:visit-state";

const ACT_CODES: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const IDENTIFIER_TYPES: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
/// Social security numbers are nobody's business in a registration by another system.
const NEVER_SENT: &str = "SS";

/// A patient as we register one: what a desk asks and nothing else.
pub(super) fn patient_resource(record: &RecordState) -> Patient {
    let name = patient::NAME
        .ask(record)
        .standing()
        .map(|name| name.expose().clone())
        .unwrap_or_default();
    let point = |system, value: String| ContactPoint {
        system: Some(system),
        value: Some(value),
        used_for: None,
    };
    let phone = patient::PHONE
        .value(record)
        .map(|phone| point(ContactPointSystem::Phone, phone.into_exposed()));
    let email = patient::EMAIL
        .value(record)
        .map(|email| point(ContactPointSystem::Email, email.into_exposed()));
    let address = patient::ADDRESS.value(record).map(|address| address.into_exposed());
    let mut identifier = vec![own_identifier(PATIENT_SYSTEM, record.record)];
    identifier.extend(numbers(record).iter().map(identifier_resource));
    Patient {
        identifier,
        active: Some(true),
        name: (!name.is_empty()).then(|| name_resource(&name)).into_iter().collect(),
        telecom: phone
            .into_iter()
            .chain(email)
            .filter(|point| point.value.as_ref().is_some_and(|v| !v.trim().is_empty()))
            .collect(),
        gender: patient::SEX.ask(record).standing().map(|sex| match sex {
            Sex::Female => Gender::Female,
            Sex::Male => Gender::Male,
            Sex::Other => Gender::Other,
            Sex::Unknown => Gender::Unknown,
        }),
        birth_date: patient::BIRTH_DATE
            .ask(record)
            .standing()
            .and_then(|date| PartialDate::parse_fhir(&date.expose().iso())),
        address: address
            .map(|address| Address {
                line: vec![address.line],
                city: Some(address.city),
                state: Some(address.state),
                postal_code: Some(address.postal_code),
                ..Address::default()
            })
            .into_iter()
            .collect(),
        ..Patient::default()
    }
}

/// The numbers of a patient that a partner may hear: not its own, not social security's.
fn numbers(record: &RecordState) -> Vec<clinic::Identifier> {
    let standing = patient::IDENTIFIER
        .standing(record)
        .into_iter()
        .map(|said| said.value.into_exposed());
    standing
        .filter(|id| id.system != EHR_SYSTEM && id.kind != NEVER_SENT && !id.value.trim().is_empty())
        .collect()
}

fn own_identifier(system: &str, record: RecordId) -> Identifier {
    Identifier {
        used_as: Some(IdentifierUse::Secondary),
        system: Some(system.to_owned()),
        value: Some(record.to_string()),
        ..Identifier::default()
    }
}

fn identifier_resource(id: &clinic::Identifier) -> Identifier {
    let is_code = (1..=8).contains(&id.kind.len()) && id.kind.bytes().all(|b| b.is_ascii_alphanumeric());
    Identifier {
        used_as: (id.system == TEMP_SYSTEM).then_some(IdentifierUse::Temp),
        kind: is_code.then(|| CodeableConcept {
            coding: vec![Coding::new(IDENTIFIER_TYPES, &id.kind)],
            text: None,
        }),
        system: system_uri(&id.system),
        value: Some(id.value.clone()),
    }
}

/// An assigning authority as R4 wants it, a URI; `None` when there is none.
pub(super) fn system_uri(authority: &str) -> Option<String> {
    let authority = authority.trim();
    let scheme = authority.split_once(':').map(|(scheme, _)| scheme);
    let is_uri = scheme.is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    }) && authority.bytes().all(|b| b.is_ascii_graphic());
    if authority.is_empty() {
        return None;
    }
    if is_uri {
        return Some(authority.to_owned());
    }
    let mut uri = String::from("urn:mainstay:authority:");
    for byte in authority.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    Some(uri)
}

fn name_resource(name: &PersonName) -> HumanName {
    HumanName {
        used_as: Some(NameUse::Official),
        family: Some(name.family.clone()),
        given: vec![name.given.clone(), name.middle.clone()],
        suffix: vec![name.suffix.clone()],
        ..HumanName::default()
    }
}

/// Our patient as it is compared with the partner's: with the systems under which we send its numbers, and every given
/// name, since twins often share the first one.
pub(super) fn identity(record: &RecordState) -> Identity {
    let of_record = Identity::of_patient(record);
    let own = clinic::Identifier {
        system: PATIENT_SYSTEM.to_owned(),
        value: record.record.to_string(),
        kind: String::new(),
    };
    let sent = numbers(record).into_iter().filter_map(|id| {
        Some(clinic::Identifier {
            system: system_uri(&id.system)?,
            ..id
        })
    });
    Identity {
        name: whole_given(&of_record.name),
        identifiers: std::iter::once(own).chain(sent).collect(),
        ..of_record
    }
}

fn whole_given(name: &PersonName) -> PersonName {
    let given = format!("{} {}", name.given, name.middle);
    PersonName {
        given: given.trim().to_owned(),
        middle: String::new(),
        ..name.clone()
    }
}

/// A patient of the partner's as one of ours may be. Of several names the one that is ours, if there is one. `None` for
/// one that is no longer in use there, or that has no id.
pub(super) fn candidate(theirs: &Patient, ours: &[Identity]) -> Option<Candidate> {
    let partner_id = theirs.id.clone().filter(|id| super::partner::is_id(id))?;
    if theirs.active == Some(false) {
        return None;
    }
    let names: Vec<PersonName> = theirs.name.iter().map(read_name).collect();
    let same = |name: &&PersonName| {
        ours.iter()
            .any(|one| fold(&name.family) == fold(&one.name.family) && fold(&name.given) == fold(&one.name.given))
    };
    let in_use = || {
        let at = theirs
            .name
            .iter()
            .position(|name| !matches!(name.used_as, Some(NameUse::Old | NameUse::Maiden)));
        names.get(at.unwrap_or(0))
    };
    let phones = theirs.telecom.iter().filter(|point| {
        matches!(
            point.system,
            Some(ContactPointSystem::Phone | ContactPointSystem::Sms) | None
        )
    });
    let emails = theirs
        .telecom
        .iter()
        .filter(|point| point.system == Some(ContactPointSystem::Email));
    let addresses = theirs.address.iter().map(|address| clinic::value::Address {
        line: address.line.join(" "),
        city: address.city.clone().unwrap_or_default(),
        state: address.state.clone().unwrap_or_default(),
        postal_code: address.postal_code.clone().unwrap_or_default(),
    });
    // The number of another record of ours says nothing for or against: one person may have come as two.
    let telling = |id: &&Identifier| {
        id.system.as_deref() != Some(PATIENT_SYSTEM)
            || ours
                .iter()
                .flat_map(|one| &one.identifiers)
                .any(|own| id.value.as_ref() == Some(&own.value))
    };
    let identifiers = theirs.identifier.iter().filter(telling).filter_map(|id| {
        Some(clinic::Identifier {
            system: id.system.clone()?,
            value: id.value.clone()?,
            kind: id
                .kind
                .as_ref()
                .and_then(|kind| kind.coding.first()?.code.clone())
                .unwrap_or_default(),
        })
    });
    Some(Candidate {
        partner_id,
        identity: Identity {
            name: names.iter().find(same).or_else(in_use).cloned().unwrap_or_default(),
            birth_date: theirs.birth_date.and_then(|date| BirthDate::parse(&date.to_fhir())),
            phones: phones.filter_map(|point| point.value.clone()).collect(),
            identifiers: identifiers.collect(),
            sex: theirs.gender.map(|gender| match gender {
                Gender::Female => Sex::Female,
                Gender::Male => Sex::Male,
                Gender::Other => Sex::Other,
                Gender::Unknown => Sex::Unknown,
            }),
            emails: emails.filter_map(|point| point.value.clone()).collect(),
            addresses: addresses.collect(),
            member_ids: Vec::new(),
        },
    })
}

fn read_name(name: &HumanName) -> PersonName {
    let read = PersonName {
        family: name.family.clone().unwrap_or_default(),
        given: name.given.join(" "),
        middle: String::new(),
        suffix: name.suffix.join(" "),
    };
    match &name.text {
        // Some servers keep a name as one text only.
        Some(text) if read.is_empty() => PersonName::parse(text),
        Some(_) | None => read,
    }
}

/// What the partner is to hear of a visit.
pub(super) struct Telling<'a> {
    pub(super) visit: &'a RecordState,
    pub(super) state: VisitState,
    /// The patient's id at the partner.
    pub(super) patient: &'a str,
    pub(super) room: Option<String>,
}

pub(super) fn encounter_resource(telling: &Telling<'_>) -> Encounter {
    let steps = flow::standing(telling.visit)
        .map(|standing| standing.steps)
        .unwrap_or_default();
    let start_ms = steps
        .iter()
        .filter(|step| step.to != VisitState::Expected)
        .map(|step| step.event_ms)
        .min();
    let ended = steps
        .iter()
        .filter(|step| step.to == telling.state)
        .map(|step| step.event_ms)
        .max();
    // R4 invariant per-1: an end is never before its start.
    let end_ms = ended
        .filter(|_| telling.state.is_end())
        .map(|end| end.max(start_ms.unwrap_or(end)));
    let reason = visit::REASON.value(telling.visit).map(|reason| reason.into_exposed());
    let room = telling.room.as_ref().filter(|_| telling.state == VisitState::Roomed);
    let class = Coding {
        display: Some("ambulatory".to_owned()),
        ..Coding::new(ACT_CODES, "AMB")
    };
    Encounter {
        extension: (telling.state == VisitState::Registered)
            .then(registered)
            .into_iter()
            .collect(),
        identifier: vec![own_identifier(VISIT_SYSTEM, telling.visit.record)],
        period: Some(Period {
            start: start_ms.and_then(date_time),
            end: end_ms.and_then(date_time),
        }),
        reason_code: reason
            .map(|text| CodeableConcept {
                coding: Vec::new(),
                text: Some(text),
            })
            .into_iter()
            .collect(),
        location: room
            .map(|room| EncounterLocation {
                location: Reference {
                    display: Some(room.clone()),
                    ..Reference::default()
                },
                status: Some(EncounterLocationStatus::Active),
                period: None,
            })
            .into_iter()
            .collect(),
        ..Encounter::new(
            status(telling.state.encounter_status()),
            class,
            Reference::to("Patient", telling.patient),
        )
    }
}

fn registered() -> Extension {
    Extension {
        url: VISIT_STATE_EXTENSION.to_owned(),
        value_code: Some(VisitState::Registered.word().to_owned()),
        ..Extension::default()
    }
}

fn status(status: EncounterStatus) -> FhirStatus {
    match status {
        EncounterStatus::Planned => FhirStatus::Planned,
        EncounterStatus::Arrived => FhirStatus::Arrived,
        EncounterStatus::Triaged => FhirStatus::Triaged,
        EncounterStatus::InProgress => FhirStatus::InProgress,
        EncounterStatus::Finished => FhirStatus::Finished,
        EncounterStatus::Cancelled => FhirStatus::Cancelled,
    }
}

/// R4 dateTime, in UTC, to the second.
fn date_time(ms: i64) -> Option<String> {
    jiff::Timestamp::from_second(ms.div_euclid(1_000))
        .ok()
        .map(|at| at.to_string())
}

#[cfg(test)]
#[path = "resources/tests.rs"]
mod tests;
