//! Results that found no patient by themselves: who the message says it is for, who it may be, and the person's answer.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use clinic::catalogue::{patient, result};
use clinic::index::{self, Facet};
use clinic::matching::Identity;
use clinic::policy::Permission;
use clinic::value::{BirthDate, Identifier, PersonName};
use sync_protocol::{Phi, RecordId, RecordState};

use super::desk::Acted;
use super::last_act::{About, LastAct};
use super::names::{further_numbers, is_temporary, listed_name, number_kind, number_shown};
use super::reading::{Reading, ids};
use super::refusal::{Built, Refusal};
use super::results::result_name;
use super::sent::Sent;
use super::task_rows::due;
use super::views::{Mark, Marked, MatchCandidate, UnmatchedResult};
use super::visits::record_id;
use super::work;
use crate::access::results::{patients_by_number, put_on_patient};
use crate::store::TxError;

const LISTED_MAX: u32 = 100;
/// Patients offered for one result.
const OFFERED_MAX: usize = 5;
const SEARCHED_MAX: u32 = 20;

pub(super) fn all(reading: &Reading<'_, '_>) -> Result<Vec<UnmatchedResult>, TxError> {
    let found = reading.tx.with_facet(Facet::RESULT_UNMATCHED, LISTED_MAX)?;
    found.iter().map(|stored| unmatched(reading, &stored.state)).collect()
}

fn unmatched(reading: &Reading<'_, '_>, state: &RecordState) -> Result<UnmatchedResult, TxError> {
    let name = result::SAID_NAME.value(state).map(Phi::into_exposed);
    let born = result::SAID_BIRTH_DATE.value(state).map(Phi::into_exposed);
    let number = result::SAID_IDENTIFIER.value(state).map(Phi::into_exposed);
    let received = result::SERVICE.latest(state).map(|said| said.entered_ms);
    let same_number = match &number {
        Some(number) => patients_by_number(reading.tx, &number.value)?,
        None => Vec::new(),
    };
    Ok(UnmatchedResult {
        result: state.record.to_string(),
        name: result_name(state).0,
        received: received.map(|ms| reading.clock.at(ms)).unwrap_or_default(),
        said: reading.described(name.as_ref(), born.as_ref(), number.as_ref()),
        said_numbers: number.iter().map(said_number).collect(),
        why: why(number.as_ref(), !same_number.is_empty()).to_owned(),
        owner: "a nurse".to_owned(),
        due: due(reading, result::DEADLINE_MS.value(state)),
        candidates: candidates(reading, name.as_ref(), born.as_ref(), &same_number)?,
        may_match: reading.may(Permission::MatchResult),
        wrong: None,
        shown: ids(&state.shown(result::PATIENT.id)),
    })
}

/// "MRN 104882 of Cascade Laboratory".
fn said_number(number: &Identifier) -> String {
    let shown = format!("{} {}", number_kind(number), number_shown(number));
    if number.system.is_empty() || number.system.starts_with("urn:mainstay:") {
        shown
    } else {
        format!("{shown} of {}", number.system)
    }
}

fn why(number: Option<&Identifier>, is_here: bool) -> &'static str {
    match (number, is_here) {
        (None, _) => "The message names no number.",
        (Some(_), true) => {
            "The number stands on a patient here, but is of another authority, or neither name nor birth date agrees."
        }
        (Some(_), false) => "Nobody here has this number.",
    }
}

/// Whoever has the number, the name or the birth date; offered, not chosen.
fn candidates(
    reading: &Reading<'_, '_>,
    name: Option<&PersonName>,
    born: Option<&BirthDate>,
    same_number: &[RecordId],
) -> Result<Vec<MatchCandidate>, TxError> {
    let mut found: Vec<RecordId> = same_number.to_vec();
    let queries = [
        name.map(|name| format!("{} {}", name.family, name.given)),
        born.map(BirthDate::iso),
    ];
    for query in queries.into_iter().flatten() {
        let hits = reading.tx.search(&index::search(&query), patient::KIND, SEARCHED_MAX)?;
        found.extend(hits.iter().map(|stored| stored.state.record));
    }
    let mut offered: Vec<RecordId> = Vec::new();
    for id in found {
        if !offered.contains(&id) {
            offered.push(id);
        }
    }
    offered.truncate(OFFERED_MAX);
    let mut states = Vec::new();
    for id in offered {
        states.extend(reading.state(id)?);
    }
    let mut names = vec![name.map(PersonName::listed).unwrap_or_default()];
    names.extend(states.iter().map(|state| listed_name(state)));
    let marked = Marked::compare(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let candidate = |(state, name): (&std::rc::Rc<RecordState>, Marked)| MatchCandidate {
        patient: state.record.to_string(),
        name,
        second: reading.second(state),
        numbers: further_numbers(state, &reading.second(state)),
        marks: marks(state, born),
    };
    Ok(states.iter().zip(marked.into_iter().skip(1)).map(candidate).collect())
}

fn marks(state: &RecordState, born: Option<&BirthDate>) -> Vec<Mark> {
    let mut marks = Vec::new();
    let known = Identity::of_patient(state).birth_date;
    if born.is_some() && known.is_some() && known.as_ref() != born {
        marks.push(Mark::new("alert", "Other birth date", super::views::Tone::Watch));
    }
    if is_temporary(state) {
        marks.push(Mark::temp());
    }
    marks
}

pub(super) async fn match_result(Path(id): Path<String>, sent: Sent) -> Response {
    let done = match matched(&id, &sent).await {
        Err(Refusal::Wrong(why)) => work::with_wrong_number(&sent.desk, id, why).await,
        done => done,
    };
    sent.desk.answer(done).await
}

async fn matched(id: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(id)?;
    let patient = match sent.fields.text("patient").as_str() {
        "" => by_number(sent).await?,
        chosen => record_id(chosen)?,
    };
    let shown = sent.fields.changes("shown");
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            put_on_patient(tx, by, id, patient, &shown, now_ms)?;
            Ok(Acted::saying(LastAct {
                about: About::Patient(patient),
                what: "result matched".to_owned(),
                at_ms: now_ms,
                undo: None,
            }))
        })
        .await
}

async fn by_number(sent: &Sent) -> Built<RecordId> {
    let number = sent.fields.text("number");
    if number.is_empty() {
        return Err(Refusal::Wrong(
            "Write the number, or choose a patient below.".to_owned(),
        ));
    }
    let found = sent
        .desk
        .read(move |reading| Ok(patients_by_number(reading.tx, &number)?))
        .await?;
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Refusal::Wrong(
            "Nobody here has this number. Look at it again, or find the patient first.".to_owned(),
        )),
        _ => Err(Refusal::Wrong(
            "More than one patient here has this number. Choose the patient instead.".to_owned(),
        )),
    }
}

/// The list as it is answered to a request that could not be carried out.
pub(super) fn mark_wrong(list: &mut [UnmatchedResult], id: &str, why: &str) {
    for one in list.iter_mut().filter(|one| one.result == id) {
        one.wrong = Some(why.to_owned());
    }
}

/// Answered with the list itself.
pub(super) const WRONG_STATUS: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
