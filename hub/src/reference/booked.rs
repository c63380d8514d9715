//! A schedule as a list: one booking a row. The patient is found by an identifier, never by name; the booking's record
//! follows from its number, so that a feed that tells of the same booking writes the same record.

use std::collections::BTreeMap;

use clinic::value::AppointmentStatus;
use jiff::civil::DateTime;
use jiff::{Timestamp, tz::TimeZone};

use super::finding::Findings;
use super::{rows, table};

const NEEDED: [&str; 6] = ["site", "system", "number", "patient_system", "patient_number", "starts"];
const OPTIONAL: [&str; 4] = ["ends", "npi", "reason", "status"];

/// No `Debug`: a row says who comes and why.
#[derive(Clone)]
pub(crate) struct Booking {
    pub(crate) line: u64,
    pub(crate) site: String,
    pub(crate) system: String,
    pub(crate) number: String,
    pub(crate) patient_system: String,
    pub(crate) patient_number: String,
    pub(crate) starts: When,
    pub(crate) ends: Option<When>,
    pub(crate) npi: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) status: AppointmentStatus,
}

/// A moment, or a time on the site's clock.
#[derive(Clone, Copy)]
pub(crate) enum When {
    At(Timestamp),
    Here(DateTime),
}

impl When {
    fn parse(text: &str) -> Option<When> {
        let at = text.parse().map(When::At);
        at.or_else(|_| text.parse().map(When::Here)).ok()
    }

    pub(crate) fn ms(self, zone: &TimeZone) -> Option<i64> {
        match self {
            When::At(at) => Some(at.as_millisecond()),
            When::Here(here) => Some(here.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond()),
        }
    }
}

pub(super) fn read(bytes: &[u8], findings: &mut Findings) -> Vec<Booking> {
    let rows = table::read(bytes, &NEEDED, &OPTIONAL, findings);
    let mut seen = BTreeMap::new();
    let mut all = Vec::new();
    for row in &rows {
        let needed = NEEDED.map(|column| row.needed(column, findings));
        let [site, system, number, patient_system, patient_number, starts] = needed;
        let mut time = |column: &str, text: &str| {
            let when = When::parse(text);
            if when.is_none() {
                findings.add(
                    row.line,
                    column,
                    "is no date and time: write 2026-11-21T09:30, or with an offset",
                );
            }
            when
        };
        let starts = time("starts", &starts);
        let ends = row.optional("ends").and_then(|text| time("ends", &text));
        let status = match row.cell("status") {
            "" => Some(AppointmentStatus::Booked),
            word => AppointmentStatus::parse(word),
        };
        if status.is_none() {
            findings.add(
                row.line,
                "status",
                "is none that FHIR gives an appointment, such as booked or cancelled",
            );
        }
        let npi = row.optional("npi");
        if npi.as_deref().is_some_and(|npi| !rows::is_npi(npi)) {
            findings.add(row.line, "npi", "is not ten digits with a right check digit");
        }
        findings.unique(&mut seen, format!("{system}\n{number}"), row.line, "number");
        let (Some(starts), Some(status)) = (starts, status) else {
            continue;
        };
        all.push(Booking {
            line: row.line,
            site,
            system,
            number,
            patient_system,
            patient_number,
            starts,
            ends,
            npi,
            reason: row.optional("reason"),
            status,
        });
    }
    all
}
