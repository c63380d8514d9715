//! HL7 v2 messages in the clinic's words: which of them are taken, who sent them, what they say of a person, a visit or a
//! result, and when it happened. Pure: the program that received the message stores what is answered here.
//!
//! It refuses to guess: a number counts only together with who assigned it, an empty field says nothing, and a value
//! that the clinic has no word for is left in the original.

mod answer;
mod incoming;
mod merging;
mod person;
mod results;
mod scheduling;
mod when;

use formats::hl7::{Designator, ErrorCode, Header, Hl7Error, Message, SegmentId, Sent};
use sync_protocol::Phi;

pub use answer::{AnswerStamp, Answering};
pub use incoming::{Incoming, Outcome, Reading, Receiver, Taken};
pub use merging::MergeSaid;
pub(crate) use person::same_number;
pub use person::{CoverageSaid, PatientSaid, agreement, carries, identity_of, person_numbers, wanted_numbers};
pub use results::{PatientReports, ReportSaid};
pub use scheduling::{ProviderSaid, Scheduling};
pub use when::{EventTime, at_ms, event_time};

pub use crate::following::{LastSaid, Noted, follow};
use crate::value::{AllergyStatement, Identifier};

/// Longest list of one kind in one message; longer ones are refused, never cut, since what would be cut may be an allergy.
pub const LIST_MAX: usize = 200;

/// Longest number that is taken for one; what is longer is no number of a person or visit.
pub const NUMBER_MAX_BYTES: usize = 200;

/// What a visit's message says of the visit.
#[derive(Clone, Debug)]
pub struct VisitSaid {
    /// PV1-19.
    pub number: Option<Identifier>,
    /// PV2-3.
    pub reason: Sent<Phi<String>>,
}

/// Everything that an ADT message says, read before anything is written: one that cannot be read writes nothing.
#[derive(Clone, Debug)]
pub struct Admission {
    pub person: PatientSaid,
    pub visit: VisitSaid,
    pub allergies: Vec<AllergyStatement>,
    pub coverages: Vec<CoverageSaid>,
    /// When it happened, as far as the message says: EVN-6, EVN-2, MSH-7.
    pub times: Vec<formats::date::Moment>,
    /// By what the place may be known, nearest first: PV1-3 (facility, point of care), MSH-6.
    pub places: Vec<String>,
}

impl Admission {
    pub fn read(message: &Message) -> Result<Admission, Hl7Error> {
        let patient = message.patient()?;
        patient.require_identity()?;
        let allergies = message.allergies()?;
        within_limit(allergies.len(), SegmentId::AL1)?;
        let coverages = message.coverages()?;
        within_limit(coverages.len(), SegmentId::IN1)?;
        let header = message.header();
        let visit = message.visit()?;
        let place = visit.as_ref().and_then(|visit| visit.location.value());
        Ok(Admission {
            places: scheduling::places_of(place.as_slice(), header),
            person: PatientSaid::read(&patient, header),
            visit: read_visit(message)?,
            allergies: allergies.iter().filter_map(person::allergy).collect(),
            coverages: coverages.iter().filter_map(CoverageSaid::read).collect(),
            times: event_times(message)?,
        })
    }
}

/// EVN-6, EVN-2, MSH-7, as far as they are sent.
fn event_times(message: &Message) -> Result<Vec<formats::date::Moment>, Hl7Error> {
    let event = message.event()?;
    let times = [
        event.as_ref().and_then(|event| event.occurred.value().copied()),
        event.as_ref().and_then(|event| event.recorded.value().copied()),
        sent_at(message),
    ];
    Ok(times.into_iter().flatten().collect())
}

fn read_visit(message: &Message) -> Result<VisitSaid, Hl7Error> {
    let Some(visit) = message.visit()? else {
        return Ok(VisitSaid {
            number: None,
            reason: Sent::Nothing,
        });
    };
    let number = visit.visit_number.value();
    Ok(VisitSaid {
        number: number.and_then(|number| person::identifier(number, message.header())),
        reason: match visit.reason {
            Sent::Nothing => Sent::Nothing,
            Sent::Null => Sent::Null,
            Sent::Value(coded) => coded.display().map_or(Sent::Nothing, |text| {
                Sent::Value(Phi::new(clipped(text, REASON_MAX_BYTES)))
            }),
        },
    })
}

/// A reason is one line on the board.
const REASON_MAX_BYTES: usize = 500;

/// MSH-7; a time that cannot be read is none, since the message can be used without it.
pub fn sent_at(message: &Message) -> Option<formats::date::Moment> {
    let msh = message.segments("MSH").next()?;
    formats::date::Moment::parse_hl7(msh.field(7).text().trim())
}

/// By what name a sender's values are remembered: MSH-3 and MSH-4.
pub fn source(header: &Header) -> String {
    let (application, facility) = sender(header);
    format!("hl7:{application}|{facility}")
}

/// MSH-3 and MSH-4 as text.
pub fn sender(header: &Header) -> (String, String) {
    (
        designated(&header.sending_application),
        designated(&header.sending_facility),
    )
}

fn designated(designator: &Designator) -> String {
    let parts = [
        &designator.namespace,
        &designator.universal_id,
        &designator.universal_id_type,
    ];
    let parts: Vec<&str> = parts
        .into_iter()
        .map(|part| part.as_deref().unwrap_or_default())
        .collect();
    parts.join("^").trim_end_matches('^').to_owned()
}

/// An assigning authority as the `system` of an identifier: its universal id where it has one, as a URI where that is
/// an OID or UUID (so that it is the one FHIR partners use), else its namespace. `None` when it names nobody.
pub fn system_of(authority: &Designator) -> Option<String> {
    let Some(id) = &authority.universal_id else {
        return authority.namespace.clone();
    };
    let kind = authority.universal_id_type.as_deref().unwrap_or_default();
    Some(match kind.to_ascii_uppercase().as_str() {
        "ISO" => format!("urn:oid:{id}"),
        "UUID" | "GUID" => format!("urn:uuid:{}", id.to_ascii_lowercase()),
        "" if is_oid(id) => format!("urn:oid:{id}"),
        _ => id.clone(),
    })
}

fn is_oid(text: &str) -> bool {
    let arcs = text.split('.');
    text.contains('.')
        && arcs
            .into_iter()
            .all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()))
}

fn within_limit(count: usize, segment: SegmentId) -> Result<(), Hl7Error> {
    if count <= LIST_MAX {
        return Ok(());
    }
    let problem = "message holds more of these segments than the limit set here; split it";
    let occurrence = u16::try_from(LIST_MAX + 1).unwrap_or(u16::MAX);
    Err(Hl7Error::segment(ErrorCode::Internal, segment, occurrence, problem))
}

/// Text of at most so many bytes, cut between characters.
fn clipped(text: &str, max_bytes: usize) -> String {
    text[..text.floor_char_boundary(max_bytes)].to_owned()
}

#[cfg(test)]
mod tests;
