//! SIU in the clinic's words: a booking, whose it is, and how it stands after the event. Where it is and with whom are names
//! that the receiver looks up; what it does not know is not said.

use formats::date::Moment;
use formats::hl7::{
    Booking, Clinician, EntityIdentifier, ErrorCode, Header, Hl7Error, Message, PatientLocation, SegmentId, Sent,
    Timing,
};
use jiff::tz::TimeZone;
use sync_protocol::Phi;

use super::incoming::Taken;
use super::person::{PatientSaid, senders_own};
use super::{NUMBER_MAX_BYTES, REASON_MAX_BYTES, at_ms, clipped, sent_at, system_of, within_limit};
use crate::booking::AppointmentSaid;
use crate::value::{AppointmentStatus, Identifier};

/// A clinician as a sender names one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderSaid {
    pub id: String,
    /// The id is a National Provider Identifier, by its type, its assigner or its form.
    pub is_npi: bool,
}

/// Everything that an SIU says.
#[derive(Clone, Debug)]
pub struct Scheduling {
    pub person: PatientSaid,
    /// SCH-2, else SCH-1, with who assigned it.
    pub number: Identifier,
    pub status: AppointmentStatus,
    pub reason: Sent<Phi<String>>,
    pub provider: Option<ProviderSaid>,
    /// By what the place may be known, nearest first: AIL-3 and PV1-3 (facility, point of care), MSH-6.
    pub places: Vec<String>,
    /// MSH-7.
    pub sent: Option<Moment>,
    timings: Vec<Timing>,
}

/// OID of the National Provider Identifier.
const NPI_OID: &str = "urn:oid:2.16.840.1.113883.4.6";

impl Scheduling {
    pub(super) fn read(message: &Message, taken: Taken) -> Result<Scheduling, Hl7Error> {
        let patient = message.patient()?;
        patient.require_identity()?;
        let booking = message.booking()?;
        for (count, segment) in [
            (booking.services.len(), SegmentId::AIS),
            (booking.people.len(), SegmentId::AIP),
            (booking.places.len(), SegmentId::AIL),
        ] {
            within_limit(count, segment)?;
        }
        let timings = booking.timings();
        if timings.is_empty() && matches!(taken, Taken::Book | Taken::Reschedule) {
            let problem = "no start is sent; send it in TQ1-7, AIS-4 or, before v2.5, SCH-11";
            return Err(Hl7Error::field(
                ErrorCode::RequiredFieldMissing,
                SegmentId::SCH,
                11,
                problem,
            ));
        }
        let number = [(&booking.filler_number, 2), (&booking.placer_number, 1)];
        let number = number
            .into_iter()
            .find_map(|(number, field)| Some((number.as_ref()?, field)));
        let Some((number, field)) = number else {
            return Err(Hl7Error::missing(SegmentId::SCH, 1));
        };
        Ok(Scheduling {
            person: PatientSaid::read(&patient, message.header()),
            number: numbered(number, field, message.header())?,
            status: status(&booking, taken),
            reason: reason(&booking, taken),
            provider: booking
                .people
                .iter()
                .filter_map(|one| one.person.as_ref())
                .find_map(provider),
            places: places(message, &booking)?,
            sent: sent_at(message),
            timings,
        })
    }

    /// When the message was sent, in milliseconds since 1970.
    pub fn sent_ms(&self, zone: &TimeZone) -> Option<i64> {
        self.sent.and_then(|moment| at_ms(&moment, zone))
    }

    /// What is said of the booking itself. Whose it is, where and with whom the receiver adds.
    pub fn said(&self, zone: &TimeZone) -> AppointmentSaid {
        let starts = self.timings.iter().filter_map(|timing| start_ms(timing, zone)).min();
        let ends = self.timings.iter().filter_map(|timing| end_ms(timing, zone)).max();
        let ends = ends.filter(|ends| starts.is_some_and(|starts| starts < *ends));
        AppointmentSaid {
            starts: starts.map_or(Sent::Nothing, Sent::Value),
            // A new start makes an end that is not said again a wrong one.
            ends: match (starts, ends) {
                (None, _) => Sent::Nothing,
                (Some(_), None) => Sent::Null,
                (Some(_), Some(ends)) => Sent::Value(ends),
            },
            reason: self.reason.clone(),
            status: Sent::Value(self.status),
            number: Sent::Value(Phi::new(self.number.clone())),
            ..AppointmentSaid::default()
        }
    }
}

fn start_ms(timing: &Timing, zone: &TimeZone) -> Option<i64> {
    at_ms(&timing.start?, zone)
}

fn end_ms(timing: &Timing, zone: &TimeZone) -> Option<i64> {
    let stated = timing.end.and_then(|end| at_ms(&end, zone));
    let lasts = || Some(start_ms(timing, zone)? + i64::from(timing.duration_secs?) * 1_000);
    stated.or_else(lasts)
}

/// A number without an assigner is the sender's own.
fn numbered(number: &EntityIdentifier, field: u16, header: &Header) -> Result<Identifier, Hl7Error> {
    let system = number.authority.as_ref().and_then(system_of);
    let number = Identifier {
        system: system.or_else(|| senders_own(header)).unwrap_or_default(),
        value: number.value.clone(),
        kind: String::new(),
    };
    if number.system.is_empty() {
        let problem = "nobody is named who assigned the number; send its assigner, or MSH-3 or MSH-4";
        return Err(Hl7Error::field(
            ErrorCode::RequiredFieldMissing,
            SegmentId::SCH,
            field,
            problem,
        ));
    }
    if number.system.len() > NUMBER_MAX_BYTES || number.value.len() > NUMBER_MAX_BYTES {
        let problem = "number is longer than the limit set here";
        return Err(Hl7Error::field(ErrorCode::DataType, SegmentId::SCH, field, problem));
    }
    Ok(number)
}

/// By the event; within a booking, rescheduling or modification SCH-25 (HL7 table 0278) may say more.
fn status(booking: &Booking, taken: Taken) -> AppointmentStatus {
    let stated = booking.status.as_ref();
    let stated = stated.and_then(|status| status.code.as_deref().or(status.text.as_deref()));
    match taken {
        Taken::Cancel => AppointmentStatus::Cancelled,
        Taken::NoShow => AppointmentStatus::NoShow,
        Taken::Register
        | Taken::Update
        | Taken::Person
        | Taken::Discharge
        | Taken::Merge
        | Taken::Results
        | Taken::Book
        | Taken::Reschedule
        | Taken::Modify => match stated.unwrap_or_default().to_ascii_lowercase().as_str() {
            "started" | "arrived" => AppointmentStatus::Arrived,
            "checkedin" | "checked-in" => AppointmentStatus::CheckedIn,
            "complete" | "completed" | "fulfilled" => AppointmentStatus::Fulfilled,
            "cancelled" | "canceled" | "dc" | "discontinued" => AppointmentStatus::Cancelled,
            "deleted" => AppointmentStatus::EnteredInError,
            "noshow" | "no show" | "no-show" => AppointmentStatus::NoShow,
            _ => AppointmentStatus::Booked,
        },
    }
}

/// SCH-7, else what is to be done, else the booking's notes. Notes to a cancellation tell why it was cancelled.
fn reason(booking: &Booking, taken: Taken) -> Sent<Phi<String>> {
    let text = |text: &str| Sent::Value(Phi::new(clipped(text, REASON_MAX_BYTES)));
    match &booking.reason {
        Sent::Value(coded) => return coded.display().map_or(Sent::Nothing, text),
        Sent::Null => return Sent::Null,
        Sent::Nothing if matches!(taken, Taken::Cancel | Taken::NoShow) => return Sent::Nothing,
        Sent::Nothing => {}
    }
    let services = booking.services.iter().filter_map(|one| one.service.as_ref());
    let services: Vec<&str> = services.filter_map(|service| service.display()).collect();
    match (services.as_slice(), booking.notes.as_slice()) {
        ([], []) => Sent::Nothing,
        ([], notes) => text(&notes.join(" ")),
        (services, _) => text(&services.join(", ")),
    }
}

fn provider(person: &Clinician) -> Option<ProviderSaid> {
    let id = person.id.clone().filter(|id| id.len() <= NUMBER_MAX_BYTES)?;
    let by_type = person.type_code.as_deref() == Some("NPI");
    let assigner = person.authority.as_ref().and_then(system_of);
    let by_assigner = assigner.is_some_and(|system| system == NPI_OID || system.eq_ignore_ascii_case("NPI"));
    let by_form = id.len() == 10 && id.bytes().all(|b| b.is_ascii_digit());
    Some(ProviderSaid {
        is_npi: by_type || by_assigner || by_form,
        id,
    })
}

fn places(message: &Message, booking: &Booking) -> Result<Vec<String>, Hl7Error> {
    let visit = message.visit()?;
    let booked = booking.places.iter().filter_map(|one| one.place.as_ref());
    let visited = visit.as_ref().and_then(|visit| visit.location.value());
    let named: Vec<&PatientLocation> = booked.chain(visited).collect();
    Ok(places_of(&named, message.header()))
}

/// Facilities before points of care, and where the message was sent to last.
pub(super) fn places_of(named: &[&PatientLocation], header: &Header) -> Vec<String> {
    let facilities = named.iter().filter_map(|place| place.facility.clone());
    let points = named.iter().filter_map(|place| place.point_of_care.clone());
    let receiver = &header.receiving_facility;
    let receiver = [receiver.namespace.clone(), receiver.universal_id.clone()];
    let mut places: Vec<String> = Vec::new();
    for place in facilities.chain(points).chain(receiver.into_iter().flatten()) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}
