//! The types that fields hold, and their one form as CBOR. A value that does not parse is refused at the door and
//! quarantined at the hub, never guessed at.

use std::fmt;

use minicbor::Decoder;
use sync_protocol::cbor::Raw;
use sync_protocol::{Phi, RecordId};

/// A type that a field can hold.
pub trait Value: Sized {
    fn to_raw(&self) -> Raw;
    /// `None` when the bytes are not of this type.
    fn from_raw(raw: &Raw) -> Option<Self>;
}

impl<T: Value> Value for Phi<T> {
    fn to_raw(&self) -> Raw {
        self.expose().to_raw()
    }

    fn from_raw(raw: &Raw) -> Option<Phi<T>> {
        T::from_raw(raw).map(Phi::new)
    }
}

/// Longest text of one field, in bytes.
pub const TEXT_MAX_BYTES: usize = 2_000;

impl Value for String {
    fn to_raw(&self) -> Raw {
        Raw::text(self)
    }

    fn from_raw(raw: &Raw) -> Option<String> {
        raw.to_text().filter(|text| text.len() <= TEXT_MAX_BYTES)
    }
}

/// Longest text that may be a whole report's, in bytes; with its header it still is one change.
pub const REPORT_MAX_BYTES: usize = 12 * 1024;

/// The lines of a report.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ReportText(pub String);

impl fmt::Debug for ReportText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReportText")
    }
}

impl std::ops::Deref for ReportText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Value for ReportText {
    fn to_raw(&self) -> Raw {
        Raw::text(&self.0)
    }

    fn from_raw(raw: &Raw) -> Option<ReportText> {
        raw.to_text()
            .filter(|text| text.len() <= REPORT_MAX_BYTES)
            .map(ReportText)
    }
}

impl Value for i64 {
    fn to_raw(&self) -> Raw {
        Raw::int(*self)
    }

    fn from_raw(raw: &Raw) -> Option<i64> {
        raw.to_int()
    }
}

/// A reference to another record.
impl Value for RecordId {
    fn to_raw(&self) -> Raw {
        Raw::bytes(&self.0)
    }

    fn from_raw(raw: &Raw) -> Option<RecordId> {
        Some(RecordId(raw.to_bytes()?.try_into().ok()?))
    }
}

/// The SHA-256 of a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BlobDigest(pub [u8; 32]);

impl Value for BlobDigest {
    fn to_raw(&self) -> Raw {
        Raw::bytes(&self.0)
    }

    fn from_raw(raw: &Raw) -> Option<BlobDigest> {
        Some(BlobDigest(raw.to_bytes()?.try_into().ok()?))
    }
}

/// Text that is one of a list of parts; absent parts are empty.
macro_rules! parts {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
        pub struct $name { $($(#[$fdoc])* pub $field: String),+ }

        impl Value for $name {
            fn to_raw(&self) -> Raw {
                let parts = [$(&self.$field),+];
                Raw::build(|w| {
                    w.array(parts.len() as u64).ok();
                    parts.iter().for_each(|part| { w.str(part).ok(); });
                })
            }

            fn from_raw(raw: &Raw) -> Option<$name> {
                if raw.as_bytes().len() > TEXT_MAX_BYTES {
                    return None;
                }
                let mut decoder = Decoder::new(raw.as_bytes());
                let mut left = decoder.array().ok()??;
                let mut part = || -> Option<String> {
                    if left == 0 {
                        return Some(String::new());
                    }
                    left -= 1;
                    decoder.str().ok().map(str::to_owned)
                };
                Some($name { $($field: part()?),+ })
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}
pub(crate) use parts;

parts! {
    /// A person's name, as FHIR HumanName and HL7 XPN have it.
    PersonName { family, given, middle, suffix }
}

parts! {
    /// A postal address.
    Address { line, city, state, postal_code }
}

parts! {
    /// A number that somebody assigned: HL7 CX, FHIR Identifier. `system` names the assigning authority.
    Identifier { system, value, kind }
}

parts! {
    /// What an allergy says.
    AllergyStatement { substance, code, reaction, severity }
}

impl PersonName {
    pub fn new(family: &str, given: &str) -> PersonName {
        PersonName {
            family: family.trim().to_owned(),
            given: given.trim().to_owned(),
            ..PersonName::default()
        }
    }

    /// Reads "Family, Given Middle" or "Given Family", as people type names at a desk.
    pub fn parse(text: &str) -> PersonName {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match text.split_once(',') {
            Some((family, given)) => PersonName::new(family, given),
            None => match text.rsplit_once(' ') {
                Some((given, family)) => PersonName::new(family, given),
                None => PersonName::new(&text, ""),
            },
        }
    }

    /// "Family, Given Middle", as lists show it.
    pub fn listed(&self) -> String {
        let given = [self.given.as_str(), &self.middle]
            .iter()
            .filter(|p| !p.is_empty())
            .copied()
            .collect::<Vec<_>>();
        let family = [self.family.as_str(), &self.suffix]
            .iter()
            .filter(|p| !p.is_empty())
            .copied()
            .collect::<Vec<_>>();
        match (family.is_empty(), given.is_empty()) {
            (false, false) => format!("{}, {}", family.join(" "), given.join(" ")),
            (false, true) => family.join(" "),
            (true, _) => given.join(" "),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.family.is_empty() && self.given.is_empty()
    }
}

/// A birth date that may be known only to the month or the year.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BirthDate {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
}

impl fmt::Debug for BirthDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BirthDate")
    }
}

impl BirthDate {
    pub fn new(year: i16, month: Option<i8>, day: Option<i8>) -> Option<BirthDate> {
        if !(1850..=2200).contains(&year) || (day.is_some() && month.is_none()) {
            return None;
        }
        jiff::civil::Date::new(year, month.unwrap_or(1), day.unwrap_or(1)).ok()?;
        Some(BirthDate { year, month, day })
    }

    /// Reads what people and systems write: `1988-06-16`, `1988-06`, `1988`, `19880616`, `06/16/1988`, `16 Jun 1988`.
    pub fn parse(text: &str) -> Option<BirthDate> {
        let text = text.trim();
        if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
            return BirthDate::new(
                text[..4].parse().ok()?,
                Some(text[4..6].parse().ok()?),
                Some(text[6..].parse().ok()?),
            );
        }
        let parts: Vec<&str> = text
            .split(['-', '/', '.', ' ', ','])
            .filter(|part| !part.is_empty())
            .collect();
        let is_year = |part: &str| part.len() == 4 && part.bytes().all(|b| b.is_ascii_digit());
        match parts.as_slice() {
            [year] if is_year(year) => BirthDate::new(year.parse().ok()?, None, None),
            [year, month] if is_year(year) => BirthDate::new(year.parse().ok()?, Some(month_of(month)?), None),
            [year, month, day] if is_year(year) => {
                BirthDate::new(year.parse().ok()?, Some(month_of(month)?), Some(day.parse().ok()?))
            }
            [day, month, year] if is_year(year) && month.parse::<i8>().is_err() => {
                BirthDate::new(year.parse().ok()?, Some(month_of(month)?), Some(day.parse().ok()?))
            }
            [month, day, year] if is_year(year) => {
                BirthDate::new(year.parse().ok()?, Some(month_of(month)?), Some(day.parse().ok()?))
            }
            _ => None,
        }
    }

    /// ISO 8601, as precise as it is known: FHIR `date`.
    pub fn iso(&self) -> String {
        match (self.month, self.day) {
            (Some(month), Some(day)) => format!("{:04}-{month:02}-{day:02}", self.year),
            (Some(month), None) => format!("{:04}-{month:02}", self.year),
            (None, _) => format!("{:04}", self.year),
        }
    }

    /// "16 Jun 1988": no reader takes the month for the day.
    pub fn shown(&self) -> String {
        let month = |month: i8| MONTHS.get(month as usize - 1).copied().unwrap_or_default();
        match (self.month, self.day) {
            (Some(m), Some(day)) => format!("{day:02} {} {}", month(m), self.year),
            (Some(m), None) => format!("{} {}", month(m), self.year),
            (None, _) => self.year.to_string(),
        }
    }

    pub fn is_whole(&self) -> bool {
        self.day.is_some()
    }

    pub fn year(&self) -> i16 {
        self.year
    }

    pub fn month(&self) -> Option<i8> {
        self.month
    }

    pub fn day(&self) -> Option<i8> {
        self.day
    }

    /// Whole years on a date; `None` when the date is not known to the day.
    pub fn age_on(&self, today: jiff::civil::Date) -> Option<i16> {
        let (month, day) = (self.month?, self.day?);
        let before_birthday = (today.month(), today.day()) < (month, day);
        Some((today.year() - self.year - i16::from(before_birthday)).max(0))
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn month_of(text: &str) -> Option<i8> {
    let by_name = MONTHS
        .iter()
        .position(|month| text.len() >= 3 && text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(month)));
    by_name.map(|at| at as i8 + 1).or_else(|| text.parse().ok())
}

impl Value for BirthDate {
    fn to_raw(&self) -> Raw {
        Raw::text(&self.iso())
    }

    fn from_raw(raw: &Raw) -> Option<BirthDate> {
        let text = raw.to_text()?;
        BirthDate::parse(&text).filter(|date| date.iso() == text)
    }
}

/// An enum that is stored as a small number, with the word people use for it.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal, $word:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant = $code),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            pub fn parse(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|one| one.word() == word)
            }

            pub fn code(self) -> u16 {
                self as u16
            }
        }

        impl $crate::value::Value for $name {
            fn to_raw(&self) -> sync_protocol::cbor::Raw {
                sync_protocol::cbor::Raw::int(i64::from(self.code()))
            }

            fn from_raw(raw: &sync_protocol::cbor::Raw) -> Option<$name> {
                let code = raw.to_int()?;
                $name::ALL.iter().copied().find(|one| i64::from(one.code()) == code)
            }
        }
    };
}
pub(crate) use coded;

coded! {
    /// FHIR administrative-gender.
    Sex {
        Female = 1, "female";
        Male = 2, "male";
        Other = 3, "other";
        Unknown = 4, "unknown";
    }
}

coded! {
    /// The state of a room.
    RoomState {
        Clean = 1, "clean";
        Occupied = 2, "occupied";
        Dirty = 3, "dirty";
    }
}

coded! {
    /// What a person may do at a site.
    Role {
        FrontDesk = 1, "front-desk";
        Nurse = 2, "nurse";
        Provider = 3, "provider";
        Lead = 4, "lead";
    }
}

coded! {
    /// By what means a site's EHR takes tasks.
    Target {
        /// A FHIR server, delivered to by the hub.
        Machine = 1, "machine";
        /// The transcription screen.
        Person = 2, "person";
    }
}

coded! {
    /// How a booking stands (FHIR R4 Appointment.status, the part that a site acts on).
    AppointmentStatus {
        Booked = 1, "booked";
        Arrived = 2, "arrived";
        CheckedIn = 3, "checked-in";
        Fulfilled = 4, "fulfilled";
        Cancelled = 5, "cancelled";
        NoShow = 6, "noshow";
        EnteredInError = 7, "entered-in-error";
    }
}

coded! {
    /// What is known of two patient records that may be of one person.
    LinkStanding {
        /// Alike; waits for a person.
        Proposed = 1, "proposed";
        /// One person.
        Linked = 2, "linked";
        /// Two people; not proposed again.
        Distinct = 3, "distinct";
    }
}

/// A signature of the hub's authority: ECDSA on P-256 with SHA-256, r and s (FIPS 186-5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature(pub [u8; 64]);

impl Value for Signature {
    fn to_raw(&self) -> Raw {
        Raw::bytes(&self.0)
    }

    fn from_raw(raw: &Raw) -> Option<Signature> {
        Some(Signature(raw.to_bytes()?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn birth_dates_are_read_as_people_write_them() {
        for text in [
            "1988-06-16",
            "19880616",
            "06/16/1988",
            "6/16/1988",
            "16 Jun 1988",
            "June 16, 1988",
        ] {
            assert_eq!(
                BirthDate::parse(text).map(|d| d.iso()),
                Some("1988-06-16".to_owned()),
                "{text}"
            );
        }
        assert_eq!(BirthDate::parse("1988-13-01"), None);
        assert_eq!(BirthDate::parse("02/30/1988"), None);
    }

    #[test]
    fn a_birth_date_keeps_its_precision_through_storage() {
        for text in ["1948", "1948-11", "1948-11-30"] {
            let date = BirthDate::parse(text).unwrap();
            assert_eq!(BirthDate::from_raw(&date.to_raw()), Some(date));
            assert_eq!(date.iso(), text);
        }
    }

    #[test]
    fn names_are_read_in_either_order() {
        assert_eq!(
            PersonName::parse("de la Cruz, María Guadalupe"),
            PersonName::new("de la Cruz", "María Guadalupe")
        );
        assert_eq!(
            PersonName::parse("Jolene  Whitehorse"),
            PersonName::new("Whitehorse", "Jolene")
        );
    }

    #[test]
    fn nothing_of_a_person_is_printed() {
        let name = PersonName::new("Whitehorse", "Jolene");
        assert_eq!(format!("{name:?}"), "PersonName");
    }
}
