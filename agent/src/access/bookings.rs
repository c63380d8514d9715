//! Who is expected today, and their arrival: the booking says who they are, so nobody types a name.

use clinic::booking::is_expected;
use clinic::catalogue::{appointment, patient};
use clinic::policy::Permission;
use clinic::value::AppointmentStatus;
use clinic::write::{Action, Writing};
use sync_protocol::{Phi, RecordId, RecordState};

use super::arrivals::{Arrived, start_visit};
use super::site::Site;
use super::{ActError, By, known, states, write};
use crate::store::{ReadTx, TxError, WriteTx};

/// More bookings of one day than this no site has.
const BOOKINGS_MAX: u32 = 1_000;

/// Bookings of this site from a time on for which somebody is still to come, the earliest first.
pub fn expected_from(tx: &ReadTx<'_>, from_ms: i64) -> Result<Vec<RecordState>, TxError> {
    let here = Site::id(tx)?;
    let all = states(tx.records_since(appointment::KIND, from_ms, BOOKINGS_MAX)?);
    let ours = |state: &RecordState| appointment::SITE.value(state) == here && is_expected(state);
    Ok(all.into_iter().filter(ours).collect())
}

/// Starts the visit of a booking and says that its patient is here.
pub fn arrive_expected(tx: &mut WriteTx<'_>, by: By<'_>, id: RecordId, event_ms: i64) -> Result<Arrived, ActError> {
    by.may(Permission::Arrive)?;
    let booking = known(tx, id, appointment::KIND, "appointment")?;
    let patient_id = appointment::PATIENT.value(&booking).filter(|_| is_expected(&booking));
    let patient_id = patient_id.ok_or(ActError::Conflict(
        "this appointment no longer expects anybody; look at the board again",
    ))?;
    known(tx, patient_id, patient::KIND, "patient")?;
    let site = Site::of(tx)?;
    let arrived = Writing::new(appointment::KIND, id, Action::Arrive, by.actor(), event_ms).replace(
        appointment::STATUS,
        &AppointmentStatus::Arrived,
        &booking.shown(appointment::STATUS.id),
    );
    write(tx, &arrived.done())?;
    let reason = appointment::REASON
        .value(&booking)
        .map_or_else(String::new, Phi::into_exposed);
    let reason = Phi::new(if reason.is_empty() {
        "Appointment".to_owned()
    } else {
        reason
    });
    let visit = start_visit(tx, by, &site, patient_id, &reason, event_ms)?;
    Ok(Arrived {
        visit,
        patient: patient_id,
        temp_number: None,
    })
}
