//! Appointment.

use formats::fhir::{Appointment, AppointmentStatus as FhirStatus};
use formats::hl7::Sent;
use sync_protocol::{Phi, RecordId};

use super::{NUMBER_MAX_BYTES, clipped, instant_ms};
use crate::booking::AppointmentSaid;
use crate::value::{AppointmentStatus, Identifier};

/// A reason is one line on the board.
const REASON_MAX_BYTES: usize = 500;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Longest time that a booking lasts, in minutes; what is said to last longer has no end.
const MINUTES_MAX: u32 = 7 * 24 * 60;

/// The assigner of bookings that the EHR gave no number but its own id of the resource.
const EHR_APPOINTMENTS: &str = "urn:mainstay:partner:ehr:appointment";

/// The records that a booking is about, as far as they were found. What was not found takes away what the EHR said before:
/// a booking that was moved to a place that is no site is no longer expected at the one where it was. One that was given to
/// somebody who is not known is at no site either; whom it was for stays, so that it leaves a site together with them.
#[derive(Clone, Copy, Default, Debug)]
pub struct BookingPlaces {
    pub patient: Option<RecordId>,
    pub site: Option<RecordId>,
    pub provider: Option<RecordId>,
}

/// The number by which a booking is known: of the system asked for, else the first that names its assigner, else the EHR's
/// own id of it.
pub fn appointment_number(resource: &Appointment, id: &str, system: Option<&str>) -> Identifier {
    let numbers = resource.identifier.iter().filter_map(|number| {
        let (system, value) = (number.system.as_deref()?.trim(), number.value.as_deref()?.trim());
        let fits = [system, value]
            .iter()
            .all(|part| (1..=NUMBER_MAX_BYTES).contains(&part.len()));
        fits.then(|| Identifier {
            system: system.to_owned(),
            value: value.to_owned(),
            kind: String::new(),
        })
    });
    let mut numbers = numbers.filter(|number| system.is_none_or(|wanted| wanted == number.system));
    numbers.next().unwrap_or_else(|| Identifier {
        system: EHR_APPOINTMENTS.to_owned(),
        value: id.to_owned(),
        kind: String::new(),
    })
}

/// Whether it is a booking, or was: what is proposed, pending or on a waiting list is not made yet.
pub fn appointment_is_made(resource: &Appointment) -> bool {
    match resource.status {
        Some(FhirStatus::Proposed | FhirStatus::Pending | FhirStatus::Waitlist) | None => false,
        Some(
            FhirStatus::Booked
            | FhirStatus::Arrived
            | FhirStatus::CheckedIn
            | FhirStatus::Fulfilled
            | FhirStatus::Cancelled
            | FhirStatus::NoShow
            | FhirStatus::EnteredInError,
        ) => true,
    }
}

/// From when on nobody is expected for it any more, milliseconds since 1970; `None` where it does not say when it is.
pub fn appointment_over_ms(resource: &Appointment) -> Option<i64> {
    let instants = [resource.end.as_deref(), resource.start.as_deref()];
    let at = instants.into_iter().flatten().filter_map(instant_ms).max();
    at.map(|at| at.saturating_add(DAY_MS))
}

/// What it says of the booking. One that was made and is only asked for again is booked no more. `None` when it does not say
/// how it stands.
pub fn appointment_said(resource: &Appointment, number: Identifier, places: BookingPlaces) -> Option<AppointmentSaid> {
    let status = match resource.status? {
        FhirStatus::Booked => AppointmentStatus::Booked,
        FhirStatus::Arrived => AppointmentStatus::Arrived,
        FhirStatus::CheckedIn => AppointmentStatus::CheckedIn,
        FhirStatus::Fulfilled => AppointmentStatus::Fulfilled,
        FhirStatus::Cancelled => AppointmentStatus::Cancelled,
        FhirStatus::NoShow => AppointmentStatus::NoShow,
        FhirStatus::EnteredInError => AppointmentStatus::EnteredInError,
        FhirStatus::Proposed | FhirStatus::Pending | FhirStatus::Waitlist => AppointmentStatus::Cancelled,
    };
    let starts = resource.start.as_deref().and_then(instant_ms);
    let lasts = resource.minutes_duration.filter(|minutes| *minutes <= MINUTES_MAX);
    let by_length = || Some(starts? + i64::from(lasts?) * MINUTE_MS);
    let ends = resource.end.as_deref().and_then(instant_ms).or_else(by_length);
    let reason = resource.reason_code.first().and_then(|reason| {
        let display = reason.coding.first().and_then(|coding| coding.display.as_deref());
        reason.text.as_deref().or(display)
    });
    let reason = reason
        .or(resource.description.as_deref())
        .and_then(|reason| clipped(reason, REASON_MAX_BYTES));
    fn sent<T>(value: Option<T>) -> Sent<T> {
        value.map_or(Sent::Null, Sent::Value)
    }
    Some(AppointmentSaid {
        patient: places.patient.map_or(Sent::Nothing, Sent::Value),
        site: sent(places.site.filter(|_| places.patient.is_some())),
        provider: sent(places.provider),
        starts: sent(starts),
        ends: sent(ends),
        reason: sent(reason.map(Phi::new)),
        status: Sent::Value(status),
        number: Sent::Value(Phi::new(number)),
    })
}

#[cfg(test)]
mod tests {
    use formats::fhir::decode;

    use super::*;

    const PLACES: BookingPlaces = BookingPlaces {
        patient: Some(RecordId([1; 16])),
        site: Some(RecordId([2; 16])),
        provider: None,
    };

    fn read(json: &str) -> Appointment {
        decode(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_booking_is_read_with_its_time_and_number() {
        let resource = read(
            r#"{"resourceType":"Appointment","id":"a1","status":"booked","start":"2026-03-02T08:10:00-06:00",
            "minutesDuration":20,"identifier":[{"value":"9"},{"system":"urn:x","value":"B7"}],
            "reasonCode":[{"coding":[{"display":"Follow-up"}]}]}"#,
        );

        let number = appointment_number(&resource, "a1", None);
        let said = appointment_said(&resource, number.clone(), PLACES).unwrap();

        assert_eq!((number.system.as_str(), number.value.as_str()), ("urn:x", "B7"));
        assert_eq!(said.starts.value(), Some(&1_772_460_600_000));
        assert_eq!(said.ends.value(), Some(&1_772_461_800_000));
        assert_eq!(said.status.value(), Some(&AppointmentStatus::Booked));
        assert_eq!(said.reason.value().unwrap().expose(), "Follow-up");
        assert!(said.provider.is_null());
    }

    #[test]
    fn a_booking_without_a_number_is_known_by_the_ehrs_id() {
        let resource =
            read(r#"{"resourceType":"Appointment","id":"a1","identifier":[{"system":"urn:y","value":"B7"}]}"#);

        assert_eq!(appointment_number(&resource, "a1", Some("urn:y")).value, "B7");
        assert_eq!(appointment_number(&resource, "a1", Some("urn:x")).value, "a1");
    }

    #[test]
    fn what_is_not_booked_yet_is_no_booking_and_no_longer_one() {
        for status in ["proposed", "pending", "waitlist"] {
            let resource = read(&format!(r#"{{"resourceType":"Appointment","status":"{status}"}}"#));
            let said = appointment_said(&resource, appointment_number(&resource, "a1", None), PLACES).unwrap();

            assert!(!appointment_is_made(&resource));
            assert_eq!(said.status.value(), Some(&AppointmentStatus::Cancelled));
        }
        let resource = read(r#"{"resourceType":"Appointment","status":"whatever"}"#);
        assert!(appointment_said(&resource, appointment_number(&resource, "a1", None), PLACES).is_none());
    }

    #[test]
    fn a_booking_for_somebody_unknown_is_at_no_site_and_keeps_whom_it_was_for() {
        let resource = read(r#"{"resourceType":"Appointment","status":"booked"}"#);
        let places = BookingPlaces {
            patient: None,
            ..PLACES
        };

        let said = appointment_said(&resource, appointment_number(&resource, "a1", None), places).unwrap();

        assert!(matches!(said.patient, Sent::Nothing) && said.site.is_null());
    }

    #[test]
    fn nobody_is_expected_a_day_after_the_end() {
        let resource = read(
            r#"{"resourceType":"Appointment","status":"booked","start":"2026-03-02T08:10:00Z","end":"2026-03-02T08:30:00Z"}"#,
        );

        assert_eq!(appointment_over_ms(&resource), Some(1_772_440_200_000 + DAY_MS));
        assert_eq!(appointment_over_ms(&read(r#"{"resourceType":"Appointment"}"#)), None);
    }
}
