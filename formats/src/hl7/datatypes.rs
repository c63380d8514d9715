//! The data types that people and places are sent in: CX, XPN, XAD, XTN, XCN, HD, PL, CWE. Read narrowly, trimmed, and with
//! what older versions put elsewhere.

use std::borrow::Cow;
use std::fmt;

use super::error::{ErrorCode, Hl7Error};
use super::segments::{Component, Field, Repetition, Segment};
use crate::date::Moment;

/// What a sender says about a field. Nothing is not the same as null: null asks to delete.
#[derive(Clone, PartialEq, Eq)]
pub enum Sent<T> {
    Nothing,
    Null,
    Value(T),
}

impl<T> Sent<T> {
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Null => None,
        }
    }

    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Null => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl<T> Sent<Vec<T>> {
    /// The values; none when nothing or null was sent.
    pub fn values(&self) -> &[T] {
        self.value().map(Vec::as_slice).unwrap_or_default()
    }
}

impl<T> fmt::Debug for Sent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Null => "Null",
            Self::Value(_) => "Value(..)",
        })
    }
}

/// HD: who assigns identifiers, or which system this is. Every part is optional; all empty means none was named.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Designator {
    pub namespace: Option<String>,
    pub universal_id: Option<String>,
    pub universal_id_type: Option<String>,
}

/// CX: an identifier and who assigned it.
#[derive(Clone, PartialEq, Eq)]
pub struct PatientIdentifier {
    pub value: String,
    pub authority: Option<Designator>,
    /// HL7 table 0203: MR, SS, PI, VN, …
    pub type_code: Option<String>,
}

/// XPN: a person's name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PersonName {
    pub family: Option<String>,
    pub given: Option<String>,
    /// Second and further given names.
    pub middle: Option<String>,
    pub suffix: Option<String>,
    pub prefix: Option<String>,
    /// HL7 table 0200: L legal, M maiden, N nickname, …
    pub type_code: Option<String>,
}

/// XAD: an address.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Address {
    pub line: Option<String>,
    pub line_2: Option<String>,
    pub city: Option<String>,
    pub state: Option<String>,
    pub postal_code: Option<String>,
    pub country: Option<String>,
    /// HL7 table 0190: H home, B business, M mailing, …
    pub type_code: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelecomSystem {
    Phone,
    Fax,
    Pager,
    Email,
    /// A modem, a network address that is no e-mail.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelecomUse {
    Home,
    Work,
    Mobile,
    /// Neither the field nor XTN says.
    Unstated,
}

/// XTN: one number or address to reach somebody at. One XTN that holds a number and an e-mail address is read as two.
#[derive(Clone, PartialEq, Eq)]
pub struct Telecom {
    pub system: TelecomSystem,
    pub used_for: TelecomUse,
    /// As the sender writes it; a number sent in parts is `+1 555 5550123 x12`.
    pub value: String,
}

/// XCN: a clinician.
#[derive(Clone, PartialEq, Eq)]
pub struct Clinician {
    pub id: Option<String>,
    pub family: Option<String>,
    pub given: Option<String>,
    pub authority: Option<Designator>,
}

/// PL: where a patient is.
#[derive(Clone, PartialEq, Eq)]
pub struct PatientLocation {
    pub point_of_care: Option<String>,
    pub room: Option<String>,
    pub bed: Option<String>,
    pub facility: Option<String>,
}

/// CE, CWE: a code, its text and its coding system, and the same once more in another system.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Coded {
    pub code: Option<String>,
    pub text: Option<String>,
    pub system: Option<String>,
    pub alternate_code: Option<String>,
    pub alternate_text: Option<String>,
    pub alternate_system: Option<String>,
    /// CWE.9: what the person wrote who chose the code.
    pub original_text: Option<String>,
}

conceal_debug!(Designator, PatientIdentifier, PersonName, Address, Telecom, Clinician, PatientLocation, Coded);

impl Designator {
    pub(super) fn of_field(field: &Field<'_>) -> Self {
        let part = |n| tidy(field.component(n).text());
        Self { namespace: part(1), universal_id: part(2), universal_id_type: part(3) }
    }

    pub(super) fn of_component(component: &Component<'_>) -> Option<Self> {
        let part = |n| tidy(component.subcomponent(n));
        Self { namespace: part(1), universal_id: part(2), universal_id_type: part(3) }.named()
    }

    fn named(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl PatientIdentifier {
    pub(super) fn read(cx: &Repetition<'_>) -> Option<Self> {
        Some(Self {
            value: text(cx, 1)?,
            authority: Designator::of_component(&cx.component(4)),
            type_code: text(cx, 5),
        })
    }
}

impl PersonName {
    pub(super) fn read(xpn: &Repetition<'_>) -> Option<Self> {
        let name = Self {
            family: tidy(xpn.component(1).subcomponent(1)),
            given: text(xpn, 2),
            middle: text(xpn, 3),
            suffix: text(xpn, 4),
            prefix: text(xpn, 5),
            type_code: text(xpn, 7),
        };
        (name.family.is_some() || name.given.is_some() || name.middle.is_some()).then_some(name)
    }
}

impl Address {
    pub(super) fn read(xad: &Repetition<'_>) -> Option<Self> {
        let address = Self {
            line: street(&xad.component(1)),
            line_2: text(xad, 2),
            city: text(xad, 3),
            state: text(xad, 4),
            postal_code: text(xad, 5),
            country: text(xad, 6),
            type_code: text(xad, 7),
        };
        let stated = Self { type_code: None, ..address.clone() };
        (stated != Self::default()).then_some(address)
    }
}

/// SAD: the line, or a street name and dwelling number apart from it. Some senders put the house number in the first part.
fn street(sad: &Component<'_>) -> Option<String> {
    let part = |n| tidy(sad.subcomponent(n));
    match (part(1), part(2), part(3)) {
        (Some(line), Some(name), _) if line.bytes().all(|b| b.is_ascii_digit()) => Some(format!("{line} {name}")),
        (Some(line), _, _) => Some(line),
        (None, Some(name), Some(number)) => Some(format!("{number} {name}")),
        (None, name, number) => name.or(number),
    }
}

impl Telecom {
    /// What one XTN says, for a field whose numbers are `usually` for that use.
    pub(super) fn read(xtn: &Repetition<'_>, usually: TelecomUse) -> Vec<Self> {
        let (use_code, equipment) = (upper(xtn, 2), upper(xtn, 3));
        let system = match equipment.as_str() {
            "FX" => TelecomSystem::Fax,
            "BP" => TelecomSystem::Pager,
            "MD" | "SAT" => TelecomSystem::Other,
            _ => TelecomSystem::Phone,
        };
        let used_for = match use_code.as_str() {
            _ if equipment == "CP" => TelecomUse::Mobile,
            "PRN" | "ORN" | "VHN" | "HOME" => TelecomUse::Home,
            "WPN" => TelecomUse::Work,
            "PRS" | "CELL" => TelecomUse::Mobile,
            _ => usually,
        };
        let email = [4, 1].into_iter().filter_map(|n| text(xtn, n)).find(|text| text.contains('@'));
        let networked = use_code == "NET" || matches!(equipment.as_str(), "INTERNET" | "X.400");
        let number_system = if networked && email.is_none() && number(xtn).is_none() { TelecomSystem::Other } else { system };
        let address = (number_system == TelecomSystem::Other).then(|| text(xtn, 4)).flatten();
        let email_use = if used_for == TelecomUse::Mobile { usually } else { used_for };
        let email = email.map(|value| Self { system: TelecomSystem::Email, used_for: email_use, value });
        let number = number(xtn).or(address).map(|value| Self { system: number_system, used_for, value });
        number.into_iter().chain(email).collect()
    }
}

/// The number as one text (XTN.1, before v2.7), in parts (XTN.5 to XTN.8), or unformatted (XTN.12, from v2.7).
fn number(xtn: &Repetition<'_>) -> Option<String> {
    let as_text = |n| text(xtn, n).filter(|text| !text.contains('@') && text.bytes().any(|b| b.is_ascii_digit()));
    let in_parts = || {
        let local = text(xtn, 7)?;
        let country = text(xtn, 5).map(|code| format!("+{} ", code.trim_start_matches('+')));
        let area = text(xtn, 6).map(|code| format!("{code} "));
        let extension = text(xtn, 8).map(|digits| format!(" x{digits}"));
        let around = |part: Option<String>| part.unwrap_or_default();
        Some(format!("{}{}{local}{}", around(country), around(area), around(extension)))
    };
    as_text(1).or_else(in_parts).or_else(|| as_text(12))
}

impl Clinician {
    pub(super) fn read(xcn: &Repetition<'_>) -> Option<Self> {
        let clinician = Self {
            id: text(xcn, 1),
            family: tidy(xcn.component(2).subcomponent(1)),
            given: text(xcn, 3),
            authority: Designator::of_component(&xcn.component(9)),
        };
        (clinician.id.is_some() || clinician.family.is_some()).then_some(clinician)
    }
}

impl PatientLocation {
    pub(super) fn read(pl: &Repetition<'_>) -> Option<Self> {
        let part = |n| tidy(pl.component(n).subcomponent(1));
        let location = Self { point_of_care: part(1), room: part(2), bed: part(3), facility: part(4) };
        let stated = location.point_of_care.is_some() || location.room.is_some() || location.bed.is_some();
        (stated || location.facility.is_some()).then_some(location)
    }
}

impl Coded {
    pub(super) fn read(cwe: &Repetition<'_>) -> Option<Self> {
        let coded = Self {
            code: text(cwe, 1),
            text: text(cwe, 2),
            system: text(cwe, 3),
            alternate_code: text(cwe, 4),
            alternate_text: text(cwe, 5),
            alternate_system: text(cwe, 6),
            original_text: text(cwe, 9),
        };
        (coded != Self::default()).then_some(coded)
    }

    /// What to show: the text, the other system's text, what was written, or the bare code.
    pub fn display(&self) -> Option<&str> {
        let texts = [&self.text, &self.alternate_text, &self.original_text, &self.code, &self.alternate_code];
        texts.into_iter().find_map(|text| text.as_deref())
    }
}

/// Text without blanks around it; none for blank text.
pub(super) fn tidy(text: Cow<'_, str>) -> Option<String> {
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

fn text(repetition: &Repetition<'_>, n: usize) -> Option<String> {
    tidy(repetition.component(n).text())
}

fn upper(repetition: &Repetition<'_>, n: usize) -> String {
    text(repetition, n).unwrap_or_default().to_ascii_uppercase()
}

/// What a field says of one thing.
pub(super) fn sent<T>(field: &Field<'_>, read: impl Fn(&Repetition<'_>) -> Option<T>) -> Sent<T> {
    match read(&field.repetition()) {
        _ if field.is_null() => Sent::Null,
        Some(value) => Sent::Value(value),
        None => Sent::Nothing,
    }
}

/// What a repeating field says; repetitions that say nothing are passed over.
pub(super) fn sent_all<T>(field: &Field<'_>, read: impl Fn(&Repetition<'_>) -> Vec<T>) -> Sent<Vec<T>> {
    if field.is_null() {
        return Sent::Null;
    }
    let values: Vec<T> = field.repetitions().flat_map(|repetition| read(&repetition)).collect();
    if values.is_empty() { Sent::Nothing } else { Sent::Value(values) }
}

pub(super) fn sent_text(field: &Field<'_>) -> Sent<String> {
    sent(field, |repetition| text(repetition, 1))
}

/// A point in time in field `n`, refused by name when it is none.
pub(super) fn sent_moment(segment: &Segment<'_>, n: u16) -> Result<Sent<Moment>, Hl7Error> {
    let problem = "not a date or time; send YYYY[MM[DD[HHMM[SS]]]] with an optional offset such as -0500";
    match sent_text(&segment.field(n)) {
        Sent::Nothing => Ok(Sent::Nothing),
        Sent::Null => Ok(Sent::Null),
        Sent::Value(text) => Moment::parse_hl7(&text)
            .map(Sent::Value)
            .ok_or_else(|| segment.error(ErrorCode::DataType, n, problem)),
    }
}
