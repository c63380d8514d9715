//! Finding a patient by anything that is known. What is searched for travels in the body of the form, never in an address.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::Response;
use clinic::catalogue::{patient, visit};
use clinic::flow;
use clinic::index;
use clinic::linking::primary;
use sync_protocol::{Phi, RecordState};

use super::arrivals::last_visit;
use super::desk::Desk;
use super::flow::shown_state;
use super::frame::shell;
use super::names::{is_temporary, numbers};
use super::reading::Reading;
use super::remarks::disputed;
use super::sent::Sent;
use super::views::{FindHit, FindView, Found, Mark, Tab};
use crate::access::links;
use crate::store::{Stored, TxError};

/// Patients shown of one search; more ask for a better question.
const HITS_MAX: u32 = 50;

pub(super) async fn ask(desk: Desk) -> Response {
    let built = desk
        .page(StatusCode::OK, |reading| Ok(view(reading, String::new(), None)?))
        .await;
    desk.answer(built).await
}

pub(super) async fn find(mut sent: Sent) -> Response {
    // The answer stands under an address of its own; going back from an act on it leads to the empty search.
    sent.desk.back = "/find".to_owned();
    let query = sent.fields.text("q");
    let built = sent.desk.page(StatusCode::OK, move |reading| {
        let found = if query.is_empty() {
            None
        } else {
            Some(found(reading, &query)?)
        };
        Ok(view(reading, query, found)?)
    });
    let built = built.await;
    sent.desk.answer(built).await
}

fn view(reading: &Reading<'_, '_>, query: String, found: Option<Found>) -> Result<FindView, TxError> {
    Ok(FindView {
        shell: shell(reading, Some(Tab::Find))?,
        query,
        as_of: format!("patients on this PC as of {}", reading.clock.now()),
        found,
    })
}

fn found(reading: &Reading<'_, '_>, query: &str) -> Result<Found, TxError> {
    let mut stored = reading.tx.search(&index::search(query), patient::KIND, HITS_MAX + 1)?;
    let more = stored.len() > HITS_MAX as usize;
    stored.truncate(HITS_MAX as usize);
    let mut hits = Vec::new();
    let mut shown = BTreeSet::new();
    for one in &stored {
        // Records that are one person's are one line, under the record that stands for them.
        let members = links::records(reading.tx, one.state.record)?;
        let standing = primary(&members);
        let state = members
            .iter()
            .find(|state| Some(state.record) == standing)
            .unwrap_or(&one.state);
        if shown.insert(state.record) {
            hits.push(hit(reading, state, &members)?);
        }
    }
    // Whoever is here now is most likely meant.
    hits.sort_by_key(|hit| hit.here.is_none_or(|state| state.has_ended()));
    Ok(Found { hits, more })
}

/// When a visit began, to have the newest first.
fn began_ms(visit: &Stored) -> i64 {
    let standing = flow::standing(&visit.state);
    standing.map_or(i64::MIN, |standing| {
        standing.steps.first().map_or(standing.since_ms, |step| step.event_ms)
    })
}

fn hit(reading: &Reading<'_, '_>, state: &RecordState, members: &[RecordState]) -> Result<FindHit, TxError> {
    let mut visits: Vec<Stored> = Vec::new();
    for member in members {
        visits.extend(reading.tx.linked(member.record, visit::KIND)?);
    }
    visits.sort_by_key(|stored| std::cmp::Reverse(began_ms(stored)));
    let latest = visits.first().and_then(|stored| flow::standing(&stored.state));
    let here = latest.filter(|standing| !standing.state.is_end() || reading.clock.is_today(standing.since_ms));
    let mut marks: Vec<Mark> = disputed(state).map(Mark::two_values).collect();
    if is_temporary(state) {
        marks.push(Mark::temp());
    }
    Ok(FindHit {
        patient: reading.name_of(state),
        numbers: numbers(state),
        phone: patient::PHONE.value(state).map(Phi::into_exposed).unwrap_or_default(),
        remark: last_visit(reading, &visits),
        here: here.map(|standing| shown_state(standing.state)),
        marks,
    })
}
