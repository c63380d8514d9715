//! Who is expected today, on the board, and their arrival by one press.

use axum::extract::Path;
use axum::response::Response;
use clinic::catalogue::{appointment, patient, provider};
use clinic::flow::VisitState;
use sync_protocol::RecordState;

use super::desk::Acted;
use super::flow::shown_state;
use super::last_act::{About, LastAct};
use super::moves::next_act;
use super::places::Places;
use super::reading::Reading;
use super::refusal::Built;
use super::remarks::Remarks;
use super::sent::Sent;
use super::views::{BoardRow, Timer};
use super::visits::record_id;
use crate::access::bookings::{arrive_expected, expected_from};
use crate::store::TxError;

/// The bookings of today for which somebody is still to come, the earliest first.
pub(super) fn today(reading: &Reading<'_, '_>) -> Result<Vec<RecordState>, TxError> {
    let mut all = expected_from(reading.tx, reading.clock.midnight_ms())?;
    all.retain(|state| {
        appointment::STARTS_MS
            .value(state)
            .is_some_and(|at| reading.clock.is_today(at))
    });
    Ok(all)
}

/// "Next expected: 11:45.", or nothing when nobody is.
pub(super) fn next_of(reading: &Reading<'_, '_>, bookings: &[RecordState]) -> String {
    let mut times = bookings.iter().filter_map(|state| appointment::STARTS_MS.value(state));
    match times.find(|at| *at >= reading.clock.now_ms()) {
        Some(at) => format!("Next expected: {}.", reading.clock.at(at)),
        None => String::new(),
    }
}

/// "Schedule as of 07:40", once the hub has told how old it is.
pub(super) fn age(reading: &Reading<'_, '_>) -> String {
    match reading.line.ehr_polled_ms {
        Some(polled) => format!(". Schedule as of {}", reading.clock.at(polled)),
        None => String::new(),
    }
}

/// A booking among the visits of the board: the time is the one booked.
pub(super) fn row(
    reading: &Reading<'_, '_>,
    booking: &RecordState,
    places: &Places,
    remarks: &Remarks,
) -> Result<Option<BoardRow>, TxError> {
    let (Some(patient_id), Some(starts_ms)) = (
        appointment::PATIENT.value(booking),
        appointment::STARTS_MS.value(booking),
    ) else {
        return Ok(None);
    };
    let person = reading.state(patient_id)?.filter(|state| state.kind == patient::KIND);
    let with = match appointment::PROVIDER.value(booking) {
        Some(id) => reading.state(id)?.and_then(|state| provider::NAME.value(&state)),
        None => None,
    };
    Ok(Some(BoardRow {
        visit: booking.record.to_string(),
        action: format!("/appointments/{}/arrive", booking.record),
        patient: reading.patient(patient_id)?,
        state: shown_state(VisitState::Expected),
        state_label: None,
        timer: Some(Timer::plain(reading.clock.at(starts_ms))),
        room: None,
        provider: with,
        reason: appointment::REASON
            .value(booking)
            .map(|reason| reason.into_exposed())
            .unwrap_or_default(),
        marks: remarks.marks(reading, patient_id, person.as_deref())?,
        needs: false,
        next: next_act(VisitState::Expected, places),
        others: Vec::new(),
        shown: String::new(),
    }))
}

pub(super) async fn arrive(Path(id): Path<String>, sent: Sent) -> Response {
    let done = arrived(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn arrived(id: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(id)?;
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            let arrived = arrive_expected(tx, by, id, now_ms)?;
            Ok(Acted::saying(LastAct {
                about: About::Patient(arrived.patient),
                what: "arrived".to_owned(),
                at_ms: now_ms,
                undo: None,
            }))
        })
        .await
}
