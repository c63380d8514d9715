//! What an EHR's resources say, in the clinic's words. Pure: the program that asked the EHR finds the records and stores
//! what is answered here.
//!
//! It refuses to guess: a code that the clinic has no word for says nothing, and a booking that is not made yet is none.

mod appointment;
mod patient;
mod reference;

pub use appointment::{BookingPlaces, appointment_is_made, appointment_number, appointment_over_ms, appointment_said};
pub use patient::{CoverageCopy, PatientCopy};
pub use reference::{LocationCopy, ProviderCopy};

use jiff::Timestamp;

/// Under what name the EHR's values are remembered.
pub const SOURCE: &str = "ehr";

/// Longest part of a name or address, longest phone number, name of a payer or place, in bytes.
const PART_MAX_BYTES: usize = 250;
/// Longest number that is taken for one.
const NUMBER_MAX_BYTES: usize = 200;

/// An R4 instant or dateTime with a time, in milliseconds since 1970.
pub fn instant_ms(text: &str) -> Option<i64> {
    text.trim().parse::<Timestamp>().ok().map(|at| at.as_millisecond())
}

/// Text without blanks around it, of at most so many bytes; `None` when nothing is left.
fn clipped(text: &str, max_bytes: usize) -> Option<String> {
    let text = text.trim();
    let text = &text[..text.floor_char_boundary(max_bytes)];
    (!text.is_empty()).then(|| text.to_owned())
}
