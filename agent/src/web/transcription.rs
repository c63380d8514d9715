//! The transcription screen: a task that a person types into the EHR, in its order and spelling, and the number it gave.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use clinic::catalogue::{patient, task, visit};
use clinic::flow;
use clinic::index::Facet;
use clinic::task::TaskKind;
use clinic::value::{BirthDate, Sex, Target};
use sync_protocol::{Phi, RecordId, RecordState};

use super::desk::{Acted, Desk};
use super::frame::shell;
use super::reading::{Reading, ids};
use super::refusal::{Built, Refusal, sentence};
use super::sent::Sent;
use super::task_rows::{TASKS_MAX, due, kind_word, shown_task, visit_of};
use super::tasks::said;
use super::views::{CopyLine, CopySection, Entered, QueueEntry, Tab, TranscriptionView};
use super::visits::record_id;
use crate::access::tasks;
use crate::store::TxError;

/// Others to enter by hand that are listed beside one.
const QUEUE_MAX: usize = 30;

pub(super) async fn show(Path(id): Path<String>, desk: Desk) -> Response {
    let built = screen(&desk, &id, StatusCode::OK, String::new(), None).await;
    desk.answer(built).await
}

async fn screen(desk: &Desk, id: &str, status: StatusCode, number: String, wrong: Option<String>) -> Built<Response> {
    let id = record_id(id)?;
    desk.page(status, move |reading| {
        let state = reading.tx.state(id)?.filter(|state| state.kind == task::KIND);
        let state = state.ok_or(Refusal::NotFound)?;
        if task::TARGET.value(&state) != Some(Target::Person) {
            return Err(Refusal::NotFound);
        }
        Ok(TranscriptionView {
            number,
            wrong,
            ..view(reading, &state)?
        })
    })
    .await
}

fn view(reading: &Reading<'_, '_>, state: &RecordState) -> Result<TranscriptionView, TxError> {
    let patient_id = task::PATIENT.value(state).unwrap_or(RecordId::NIL);
    Ok(TranscriptionView {
        shell: shell(reading, Some(Tab::Work))?,
        task: state.record.to_string(),
        kind: match task::KIND_OF_WORK.value(state) {
            Some(TaskKind::RegisterPatient) => "New patient".to_owned(),
            Some(TaskKind::Encounter) | None => kind_word(state),
        },
        partner: "the EHR".to_owned(),
        patient: reading.patient(patient_id)?,
        state: shown_task(state),
        sections: sections(reading, state, patient_id)?,
        queue: queue(reading, state.record)?,
        number_hint: match task::KIND_OF_WORK.value(state) {
            Some(TaskKind::RegisterPatient) => {
                "As the EHR shows it. Checked against every other patient before it is kept.".to_owned()
            }
            Some(TaskKind::Encounter) | None => "As the EHR shows it.".to_owned(),
        },
        number: String::new(),
        wrong: None,
        entered: match task::ENTERED.latest(state) {
            Some(said) => Some(Entered {
                number: said.value.expose().number.clone(),
                by: reading.who(said.actor)?,
                at: reading.clock.at(said.event_ms),
            }),
            None => None,
        },
        shown: ids(&state.shown(task::ENTERED.id)),
    })
}

fn sections(reading: &Reading<'_, '_>, state: &RecordState, patient_id: RecordId) -> Result<Vec<CopySection>, TxError> {
    let line = |label: &str, value: String| CopyLine {
        label: label.to_owned(),
        value,
    };
    let section = |title: &str, lines| CopySection {
        title: title.to_owned(),
        lines,
    };
    let mut all = Vec::new();
    if let Some(patient) = reading.state(patient_id)? {
        let name = patient::NAME.ask(&patient).standing().map(|name| name.expose().clone());
        let name = name.unwrap_or_default();
        let born = patient::BIRTH_DATE
            .ask(&patient)
            .standing()
            .map(|date| for_the_ehr(date.expose()));
        let first = [name.given.as_str(), &name.middle].join(" ");
        all.push(section(
            "Patient search",
            vec![
                line(
                    "Last name",
                    [name.family.as_str(), &name.suffix].join(" ").trim().to_owned(),
                ),
                line("First name", first.trim().to_owned()),
                line("Birth date", born.unwrap_or_default()),
            ],
        ));
        let sex = patient::SEX.ask(&patient).standing().copied();
        let exposed = |value: Option<Phi<String>>| value.map(Phi::into_exposed).unwrap_or_default();
        if task::KIND_OF_WORK.value(state) == Some(TaskKind::RegisterPatient) {
            all.push(section(
                "Demographics",
                vec![
                    line("Sex", sex.map(sex_label).unwrap_or_default().to_owned()),
                    line("Phone", exposed(patient::PHONE.value(&patient))),
                    line("E-mail", exposed(patient::EMAIL.value(&patient))),
                ],
            ));
        }
    }
    if let Some(visit) = visit_of(reading, state)? {
        let arrived = flow::standing(&visit).and_then(|standing| standing.steps.first().copied());
        let told = task::STATE
            .value(state)
            .map(|told| super::flow::shown_state(told).label().to_owned());
        let mut lines = vec![
            line(
                "Arrival time",
                arrived
                    .map(|step| reading.clock.for_the_ehr(step.event_ms))
                    .unwrap_or_default(),
            ),
            line(
                "Reason",
                visit::REASON.value(&visit).map(Phi::into_exposed).unwrap_or_default(),
            ),
        ];
        lines.extend(told.map(|told| line("State", told)));
        all.push(section("Visit", lines));
    }
    Ok(all)
}

/// "08/19/1990": the one place where a date is written as American EHRs take it.
fn for_the_ehr(date: &BirthDate) -> String {
    let iso = date.iso();
    match iso.split('-').collect::<Vec<_>>().as_slice() {
        [year, month, day] => format!("{month}/{day}/{year}"),
        _ => iso,
    }
}

pub(super) fn sex_label(sex: Sex) -> &'static str {
    match sex {
        Sex::Female => "Female",
        Sex::Male => "Male",
        Sex::Other => "Other",
        Sex::Unknown => "Unknown",
    }
}

fn queue(reading: &Reading<'_, '_>, current: RecordId) -> Result<Vec<QueueEntry>, TxError> {
    let tasks = reading.tx.with_facet(Facet::TASK_TO_ENTER, TASKS_MAX)?;
    let mut queue = Vec::new();
    for stored in tasks.into_iter().take(QUEUE_MAX) {
        let patient = task::PATIENT.value(&stored.state).unwrap_or(RecordId::NIL);
        queue.push(QueueEntry {
            task: stored.state.record.to_string(),
            patient: reading.patient(patient)?,
            due: due(reading, task::DEADLINE_MS.value(&stored.state)),
            current: stored.state.record == current,
        });
    }
    Ok(queue)
}

pub(super) async fn entered(Path(id): Path<String>, sent: Sent) -> Response {
    let done = match enter(&id, &sent).await {
        Err(Refusal::Wrong(why)) => {
            let number = sent.fields.text("number");
            screen(&sent.desk, &id, StatusCode::UNPROCESSABLE_ENTITY, number, Some(why)).await
        }
        done => done,
    };
    sent.desk.answer(done).await
}

async fn enter(id: &str, sent: &Sent) -> Built<Response> {
    let task_id = record_id(id)?;
    let number = sent.fields.text("number");
    if !matches!(sent.fields.text("already").as_str(), "yes" | "no") {
        return Err(Refusal::Wrong(sentence("say whether the patient was already there")));
    }
    let shown = sent.fields.changes("shown");
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            tasks::enter_by_hand(tx, by, task_id, &number, &shown, now_ms)?;
            Ok(Acted {
                to: Some(format!("/tasks/{task_id}")),
                said: Some(said(tx, task_id, "entered by hand", now_ms)?),
            })
        })
        .await
}
