//! ORU R01: a record for each report, on the patient it is surely about, else in the list of those that wait for a
//! person to find theirs.

use clinic::catalogue::result;
use clinic::hl7::{PatientReports, ReportSaid, at_ms, event_time};
use clinic::keeping::{self, Found};
use clinic::value::BlobDigest;
use clinic::write::{Action, Channel, Writing};
use jiff::tz::TimeZone;
use sync_protocol::state::RecordState;
use sync_protocol::{Phi, RecordId};

use super::receipt::{Effect, Received};
use crate::access::ActError;
use crate::access::site::Site;
use crate::store::{ReadTx, TxError, WriteTx};

/// Until when somebody should have found the patient of a result.
const MATCHED_WITHIN_MS: i64 = 4 * 60 * 60 * 1000;
/// Results without a patient that a repeated one is looked for among.
pub(super) const UNMATCHED_MAX: u32 = 500;

const NO_PATIENT: &str = "PID-3: no patient here carries one of these numbers with this name or birth date; \
                          the result waits for a person";
const NO_RESULT: &str = "OBR: the message holds no result";

pub(super) fn take(tx: &mut WriteTx<'_>, received: &Received, patients: &[PatientReports]) -> Result<Effect, ActError> {
    let site = Site::of(tx)?;
    let zone = TimeZone::get(&site.zone).unwrap_or(TimeZone::UTC);
    let mut first = None;
    let mut waits = false;
    for said in patients {
        let found = keeping::find(&mut received.words(tx), &said.identity(), &said.wanted_numbers())?;
        let patient = match found {
            Found::One(state, _) => Some(state.record),
            Found::Nobody | Found::SomebodyElse | Found::Several => None,
        };
        for report in &said.reports {
            let received = ForPatient {
                message: received,
                site: site.id,
                zone: &zone,
                patient,
            };
            let id = keep(tx, &received, said, report)?;
            first = first.or(Some(id));
            waits |= patient.is_none();
        }
    }
    Ok(match (first, waits) {
        (Some(id), true) => Effect::unmatched(Some(id), NO_PATIENT),
        (Some(id), false) => Effect::accepted(Some(id), None),
        (None, _) => Effect::accepted(None, Some(NO_RESULT)),
    })
}

struct ForPatient<'a> {
    message: &'a Received,
    site: RecordId,
    zone: &'a TimeZone,
    patient: Option<RecordId>,
}

fn keep(
    tx: &mut WriteTx<'_>,
    received: &ForPatient<'_>,
    said: &PatientReports,
    report: &ReportSaid,
) -> Result<RecordId, ActError> {
    let received_ms = received.message.received_ms;
    let stated = report.times.iter().find_map(|moment| at_ms(moment, received.zone));
    let observed_ms = stated.unwrap_or(received_ms);
    if let Some(earlier) = repeated(tx, received.patient, said, report, observed_ms)? {
        return Ok(earlier);
    }
    let id = tx.new_record_id()?;
    let event = event_time(&report.times, received.zone, received_ms);
    let person = &said.person;
    let number = said.kept_number().cloned().map(Phi::new);
    let deadline = received_ms + MATCHED_WITHIN_MS;
    let draft = Writing::new(
        result::KIND,
        id,
        Action::ReceiveResult,
        Channel::Hl7.program(),
        event.ms,
    )
    .set_if(result::PATIENT, received.patient.as_ref())
    .set(result::SITE, &received.site)
    .set(result::SERVICE, &report.service)
    .set(result::OBSERVATIONS, &report.observations)
    .set(result::OBSERVED_MS, &observed_ms)
    .set(result::ORIGINAL, &BlobDigest(received.message.digest.0))
    .set_if(result::SAID_NAME, person.name.value())
    .set_if(result::SAID_BIRTH_DATE, person.birth_date.value())
    .set_if(result::SAID_IDENTIFIER, number.as_ref())
    .set_if(result::DEADLINE_MS, received.patient.is_none().then_some(&deadline))
    .done();
    tx.author(&draft)?;
    Ok(id)
}

/// The same report of the same patient, sent before in another message.
fn repeated(
    tx: &ReadTx<'_>,
    patient: Option<RecordId>,
    said: &PatientReports,
    report: &ReportSaid,
    observed_ms: i64,
) -> Result<Option<RecordId>, TxError> {
    let known = match patient {
        Some(patient) => tx.linked(patient, result::KIND)?,
        // Also one that a person has put on a patient meanwhile: it must not wait again.
        None => tx.records_since(result::KIND, observed_ms, UNMATCHED_MAX)?,
    };
    let person = &said.person;
    let same = |state: &RecordState| {
        result::SERVICE.value(state).as_ref() == Some(&report.service)
            && result::OBSERVATIONS.value(state).as_ref() == Some(&report.observations)
            && result::OBSERVED_MS.value(state) == Some(observed_ms)
            && result::SAID_NAME.value(state).as_ref() == person.name.value()
            && result::SAID_BIRTH_DATE.value(state).as_ref() == person.birth_date.value()
            && result::SAID_IDENTIFIER.value(state).map(Phi::into_exposed).as_ref() == said.kept_number()
    };
    Ok(known
        .into_iter()
        .map(|stored| stored.state)
        .find(same)
        .map(|state| state.record))
}
