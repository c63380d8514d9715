//! What a message says of a person, their allergies and their insurance, and whom of those known here it may be about.

use formats::hl7::{self, Designator, Header, PatientIdentifier, PatientSegment, Sent, Telecom, TelecomSystem};
use sync_protocol::Phi;
use sync_protocol::state::RecordState;

use super::{NUMBER_MAX_BYTES, clipped, system_of};
use crate::catalogue::{Field, patient};
use crate::matching::{self, Identity, fold};
use crate::numbering::{self, TEMP_SYSTEM};
use crate::value::{Address, AllergyStatement, BirthDate, Identifier, PersonName, Sex, Value};

/// Longest part of a name or address, and longest phone number or e-mail address, in bytes.
const PART_MAX_BYTES: usize = 250;

/// PID, in the clinic's words.
#[derive(Clone, Debug)]
pub struct PatientSaid {
    /// Never null: a patient has a name.
    pub name: Sent<Phi<PersonName>>,
    pub birth_date: Sent<Phi<BirthDate>>,
    pub sex: Sent<Sex>,
    pub phone: Sent<Phi<String>>,
    pub email: Sent<Phi<String>>,
    pub address: Sent<Phi<Address>>,
    /// Numbers of the person, each with who assigned it.
    pub identifiers: Vec<Identifier>,
}

/// IN1, in the clinic's words. Two that agree in payer and member id are the same coverage.
#[derive(Clone, Debug)]
pub struct CoverageSaid {
    pub payer: Phi<String>,
    pub member_id: Option<Phi<String>>,
    pub plan: Sent<Phi<String>>,
}

impl PatientSaid {
    pub fn read(patient: &PatientSegment, header: &Header) -> PatientSaid {
        PatientSaid {
            name: patient
                .name()
                .map_or(Sent::Nothing, |name| Sent::Value(Phi::new(person_name(name)))),
            birth_date: mapped(&patient.birth_date, |date| {
                let part = |part: Option<u8>| part.map(u8::cast_signed);
                BirthDate::new(date.year().cast_signed(), part(date.month()), part(date.day())).map(Phi::new)
            }),
            sex: mapped(&patient.sex, |code| sex(code)),
            phone: reached_by(patient, TelecomSystem::Phone),
            email: reached_by(patient, TelecomSystem::Email),
            address: mapped(&patient.addresses, |all| home_address(all).map(Phi::new)),
            identifiers: person_numbers(patient, header),
        }
    }

    /// What the person is known by, to look for them.
    pub fn identity(&self) -> Identity {
        identity_of(&self.name, &self.birth_date, &self.identifiers)
    }

    /// Numbers to look for the person by: those of a known authority, and TEMP numbers whoever is said to have assigned
    /// them, since a label's number is typed into fields of every kind.
    pub fn wanted_numbers(&self) -> Vec<Identifier> {
        wanted_numbers(&self.identifiers)
    }
}

pub fn identity_of(
    name: &Sent<Phi<PersonName>>,
    birth_date: &Sent<Phi<BirthDate>>,
    identifiers: &[Identifier],
) -> Identity {
    Identity {
        name: name.value().map(|name| name.expose().clone()).unwrap_or_default(),
        birth_date: birth_date.value().map(|date| *date.expose()),
        identifiers: identifiers.to_vec(),
        ..Identity::default()
    }
}

/// As [`PatientSaid::wanted_numbers`].
pub fn wanted_numbers(identifiers: &[Identifier]) -> Vec<Identifier> {
    let known = identifiers.iter().filter(|id| !id.system.is_empty()).cloned();
    let temp = identifiers.iter().filter_map(|id| {
        Some(Identifier {
            system: TEMP_SYSTEM.to_owned(),
            value: numbering::parse(&id.value)?,
            kind: "TEMP".to_owned(),
        })
    });
    temp.chain(known).collect()
}

/// The numbers of a person in PID-3; those of a visit or an account name nobody.
pub fn person_numbers(patient: &PatientSegment, header: &Header) -> Vec<Identifier> {
    kept_numbers(&patient.identifiers, header)
}

pub(super) fn kept_numbers(identifiers: &[PatientIdentifier], header: &Header) -> Vec<Identifier> {
    let of_person = |id: &&PatientIdentifier| !matches!(id.type_code.as_deref(), Some("VN" | "AN"));
    let mut numbers: Vec<Identifier> = Vec::new();
    for id in identifiers.iter().filter(of_person) {
        if let Some(number) = identifier(id, header)
            && !numbers.contains(&number)
            && numbers.len() < NUMBERS_MAX
        {
            numbers.push(number);
        }
    }
    numbers
}

/// Numbers of one person that are kept from one message; the rest stay in the original.
const NUMBERS_MAX: usize = 20;

/// A number and who assigned it. One without an assigning authority is the sender's own: MSH-4, else MSH-3.
pub(super) fn identifier(id: &PatientIdentifier, header: &Header) -> Option<Identifier> {
    let system = id.authority.as_ref().and_then(system_of);
    let system = system.or_else(|| senders_own(header));
    let number = Identifier {
        system: system.unwrap_or_default(),
        value: id.value.clone(),
        kind: id.type_code.clone().unwrap_or_default(),
    };
    let fits = [&number.system, &number.value, &number.kind]
        .iter()
        .all(|part| part.len() <= NUMBER_MAX_BYTES);
    fits.then_some(number)
}

/// Whose a number is that nobody is named for.
pub(super) fn senders_own(header: &Header) -> Option<String> {
    let named = |designator: &Designator| (!designator.is_empty()).then(|| system_of(designator)).flatten();
    named(&header.sending_facility).or_else(|| named(&header.sending_application))
}

/// Whether a record carries a number of the same authority. The same number of another one is another number.
pub fn carries(record: &RecordState, number: &Identifier) -> bool {
    let standing = patient::IDENTIFIER.standing(record);
    standing.iter().any(|said| same_number(said.value.expose(), number))
}

pub(crate) fn same_number(a: &Identifier, b: &Identifier) -> bool {
    !a.system.is_empty() && a.system.eq_ignore_ascii_case(&b.system) && a.value == b.value
}

/// In how many of name and birth date a record agrees with what is said, 0 to 2. Every value that is live counts, also
/// one that waits for a person's decision.
pub fn agreement(record: &RecordState, said: &Identity) -> usize {
    let name = live(record, patient::NAME).into_iter().any(|name| {
        let known = Identity {
            name: name.into_exposed(),
            ..Identity::default()
        };
        matching::confirmed(&known, said)
    });
    let birth_date = live(record, patient::BIRTH_DATE).into_iter().any(|date| {
        let known = Identity {
            birth_date: Some(date.into_exposed()),
            ..Identity::default()
        };
        matching::confirmed(&known, said)
    });
    usize::from(name) + usize::from(birth_date)
}

fn live<T: Value>(record: &RecordState, field: Field<T>) -> Vec<T> {
    let register = record.register(field.id);
    let values = register.into_iter().flat_map(|register| register.values.values());
    values.filter_map(|live| T::from_raw(&live.value)).collect()
}

pub(super) fn person_name(name: &hl7::PersonName) -> PersonName {
    let part = |part: &Option<String>| clipped(part.as_deref().unwrap_or_default(), PART_MAX_BYTES);
    PersonName {
        family: part(&name.family),
        given: part(&name.given),
        middle: part(&name.middle),
        suffix: part(&name.suffix),
    }
}

/// HL7 table 0001. "Unknown" says nothing that could stand against what somebody knows.
fn sex(code: &str) -> Option<Sex> {
    match code.to_ascii_uppercase().as_str() {
        "F" => Some(Sex::Female),
        "M" => Some(Sex::Male),
        "O" | "A" | "N" | "X" => Some(Sex::Other),
        _ => None,
    }
}

/// The first number or address of that sort, at home before at work.
fn reached_by(patient: &PatientSegment, system: TelecomSystem) -> Sent<Phi<String>> {
    let said = |telecoms: &Sent<Vec<Telecom>>| {
        let mut all = telecoms.values().iter();
        all.find(|telecom| telecom.system == system)
            .map(|telecom| clipped(&telecom.value, PART_MAX_BYTES))
    };
    match said(&patient.home_telecoms).or_else(|| said(&patient.work_telecoms)) {
        Some(value) => Sent::Value(Phi::new(value)),
        None if patient.home_telecoms.is_null() => Sent::Null,
        None => Sent::Nothing,
    }
}

/// The home address (H), else one without a type, else the first.
fn home_address(all: &[hl7::Address]) -> Option<Address> {
    let of_type = |code: Option<&str>| all.iter().find(|address| address.type_code.as_deref() == code);
    let address = of_type(Some("H")).or_else(|| of_type(None)).or_else(|| all.first())?;
    let part = |part: &Option<String>| clipped(part.as_deref().unwrap_or_default(), PART_MAX_BYTES);
    let lines: Vec<String> = [part(&address.line), part(&address.line_2)]
        .into_iter()
        .filter(|line| !line.is_empty())
        .collect();
    Some(Address {
        line: lines.join(", "),
        city: part(&address.city),
        state: part(&address.state),
        postal_code: part(&address.postal_code),
    })
}

/// AL1. `None` when nothing says what the allergy is to.
pub(super) fn allergy(allergy: &hl7::Allergy) -> Option<AllergyStatement> {
    let allergen = &allergy.allergen;
    let substance = clipped(allergen.display()?, PART_MAX_BYTES);
    let code = match (&allergen.system, &allergen.code) {
        (Some(system), Some(code)) => format!("{system}|{code}"),
        (None, Some(code)) => code.clone(),
        (_, None) => String::new(),
    };
    let severity = match allergy.severity.as_deref().unwrap_or_default() {
        "MI" => "mild",
        "MO" => "moderate",
        "SV" => "severe",
        "U" => "",
        other => other,
    };
    (!fold(&substance).is_empty()).then(|| AllergyStatement {
        substance,
        code: clipped(&code, PART_MAX_BYTES),
        reaction: clipped(&allergy.reactions.join("; "), 2 * PART_MAX_BYTES),
        severity: clipped(severity, PART_MAX_BYTES),
    })
}

impl CoverageSaid {
    /// `None` when nothing names the payer.
    pub(super) fn read(coverage: &hl7::Coverage) -> Option<CoverageSaid> {
        let text = |text: &str| Phi::new(clipped(text, PART_MAX_BYTES));
        let plan = coverage.plan.as_ref().and_then(|plan| plan.display());
        let payer_id = coverage.payer_id.as_ref().map(|id| id.value.as_str());
        let payer = coverage.payer_name.as_deref().or(payer_id).or(plan)?;
        Some(CoverageSaid {
            payer: text(payer),
            member_id: coverage.member_id.value().map(|id| text(id)),
            plan: plan.map_or(Sent::Nothing, |plan| Sent::Value(text(plan))),
        })
    }

    pub fn is_same(&self, payer: Option<&str>, member_id: Option<&str>) -> bool {
        let own = self.member_id.as_ref().map(|id| id.expose().as_str());
        fold(self.payer.expose()) == fold(payer.unwrap_or_default())
            && fold(own.unwrap_or_default()) == fold(member_id.unwrap_or_default())
    }
}

/// A value that there is no word for says nothing.
fn mapped<T, U>(sent: &Sent<T>, map: impl FnOnce(&T) -> Option<U>) -> Sent<U> {
    match sent {
        Sent::Nothing => Sent::Nothing,
        Sent::Null => Sent::Null,
        Sent::Value(value) => map(value).map_or(Sent::Nothing, Sent::Value),
    }
}
