//! The data types that people and places are sent in: CX, EI, XPN, XAD, XCN, HD, PL, CWE. Read narrowly, trimmed, and with
//! what older versions put elsewhere.

use std::borrow::Cow;
use std::fmt;

use super::error::{ErrorCode, Hl7Error};
use super::fields::{Component, Field, Repetition, Segment};
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

/// EI: the number of a booking or an order, and who assigned it.
#[derive(Clone, PartialEq, Eq)]
pub struct EntityIdentifier {
    pub value: String,
    pub authority: Option<Designator>,
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

/// XCN: a clinician.
#[derive(Clone, PartialEq, Eq)]
pub struct Clinician {
    pub id: Option<String>,
    pub family: Option<String>,
    pub given: Option<String>,
    pub authority: Option<Designator>,
    /// XCN.13, HL7 table 0203: NPI, DN, EI, …
    pub type_code: Option<String>,
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

conceal_debug!(
    Designator,
    PatientIdentifier,
    EntityIdentifier,
    PersonName,
    Address,
    Clinician,
    PatientLocation,
    Coded
);

impl Designator {
    pub(super) fn of_field(field: &Field<'_>) -> Self {
        let part = |n| tidy(field.component(n).text());
        Self {
            namespace: part(1),
            universal_id: part(2),
            universal_id_type: part(3),
        }
    }

    pub(super) fn of_component(component: &Component<'_>) -> Option<Self> {
        let part = |n| tidy(component.subcomponent(n));
        Self {
            namespace: part(1),
            universal_id: part(2),
            universal_id_type: part(3),
        }
        .named()
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

impl EntityIdentifier {
    pub(super) fn read(ei: &Repetition<'_>) -> Option<Self> {
        let authority = Designator {
            namespace: text(ei, 2),
            universal_id: text(ei, 3),
            universal_id_type: text(ei, 4),
        };
        Some(Self {
            value: text(ei, 1)?,
            authority: authority.named(),
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
        let stated = Self {
            type_code: None,
            ..address.clone()
        };
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

impl Clinician {
    pub(super) fn read(xcn: &Repetition<'_>) -> Option<Self> {
        let clinician = Self {
            id: text(xcn, 1),
            family: tidy(xcn.component(2).subcomponent(1)),
            given: text(xcn, 3),
            authority: Designator::of_component(&xcn.component(9)),
            type_code: text(xcn, 13),
        };
        (clinician.id.is_some() || clinician.family.is_some()).then_some(clinician)
    }
}

impl PatientLocation {
    pub(super) fn read(pl: &Repetition<'_>) -> Option<Self> {
        let part = |n| tidy(pl.component(n).subcomponent(1));
        let location = Self {
            point_of_care: part(1),
            room: part(2),
            bed: part(3),
            facility: part(4),
        };
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
        let texts = [
            &self.text,
            &self.alternate_text,
            &self.original_text,
            &self.code,
            &self.alternate_code,
        ];
        texts.into_iter().find_map(|text| text.as_deref())
    }
}

/// Text without blanks around it; none for blank text.
pub(super) fn tidy(text: Cow<'_, str>) -> Option<String> {
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

pub(super) fn text(repetition: &Repetition<'_>, n: usize) -> Option<String> {
    tidy(repetition.component(n).text())
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
    if values.is_empty() {
        Sent::Nothing
    } else {
        Sent::Value(values)
    }
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
