//! Questions that only a person can settle: every live value with who said it, where and when; and the decision, which
//! names what was seen.

use axum::extract::Path;
use axum::response::Response;
use clinic::catalogue::{Field, patient, task};
use clinic::policy::Permission;
use clinic::read::{Said, Shown};
use clinic::task::{TaskState, state_of};
use clinic::value::{BirthDate, PersonName, Sex, Value};
use sync_protocol::{ChangeId, Phi, RecordState, ReplicaId};

use super::desk::Acted;
use super::last_act::{About, LastAct};
use super::names::{listed_name, number_kind, number_shown, typed_name};
use super::reading::Reading;
use super::refusal::{Built, Refusal, sentence};
use super::sent::{Fields, Sent};
use super::task_rows::is_question;
use super::transcription::sex_label;
use super::views::{Conflict, Marked, OtherValue, PatientName, Side, Until};
use super::visits::record_id;
use crate::access::ActError;
use crate::access::patients::{Decision, decide as decided};
use crate::store::TxError;

/// The questions that are open about a patient.
pub(super) fn of_patient(reading: &Reading<'_, '_>, state: &RecordState) -> Result<Vec<Conflict>, TxError> {
    let mut all = Vec::new();
    all.extend(question(reading, state, patient::NAME, "name", |name| {
        name.expose().listed()
    })?);
    all.extend(question(reading, state, patient::BIRTH_DATE, "birth_date", |date| {
        date.expose().shown()
    })?);
    all.extend(question(reading, state, patient::SEX, "sex", |sex| {
        sex_label(*sex).to_owned()
    })?);
    Ok(all)
}

fn question<T: Value>(
    reading: &Reading<'_, '_>,
    state: &RecordState,
    field: Field<T>,
    name: &'static str,
    words: impl Fn(&T) -> String,
) -> Result<Option<Conflict>, TxError> {
    let Shown::Open { standing, values } = field.ask(state) else {
        return Ok(None);
    };
    let texts: Vec<String> = values.iter().map(|said| words(&said.value)).collect();
    let marked = Marked::compare(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut sides = Vec::new();
    for (said, value) in values.iter().zip(marked) {
        sides.push(side(reading, said, value, replica_of(state, field, said.change))?);
    }
    Ok(Some(Conflict {
        keys: reading.keys.clone(),
        record: state.record.to_string(),
        field: name.to_owned(),
        field_label: field_label(name).to_owned(),
        patient: without(reading, state, name),
        sides,
        until: standing.as_ref().map(|value| Until {
            value: Marked::plain(&words(value)),
            source: "What both started from.".to_owned(),
        }),
        tasks_waiting: tasks_waiting(reading, state, name)?,
        other: match name {
            "name" => OtherValue::Text,
            "birth_date" => OtherValue::Date,
            _ => OtherValue::No,
        },
        may_decide: reading.may(Permission::DecideConflict),
        wrong: None,
    }))
}

pub(super) fn field_label(name: &str) -> &'static str {
    match name {
        "name" => "Name",
        "birth_date" => "Birth date",
        "sex" => "Sex",
        "phone" => "Phone",
        _ => "E-mail",
    }
}

fn replica_of<T>(state: &RecordState, field: Field<T>, change: ChangeId) -> ReplicaId {
    let live = state
        .register(field.id)
        .and_then(|register| register.values.get(&change));
    live.map_or(ReplicaId::NIL, |live| live.origin.dot.replica)
}

fn side<T>(reading: &Reading<'_, '_>, said: &Said<T>, value: Marked, replica: ReplicaId) -> Result<Side, TxError> {
    let place = reading.place(said.actor, replica)?;
    Ok(Side {
        change: said.change.to_string(),
        value,
        where_when: format!("{place}, {}", reading.clock.spoken(said.entered_ms)),
        who: reading.who(said.actor)?,
        said: String::new(),
    })
}

/// The patient by identifiers that are not the question.
fn without(reading: &Reading<'_, '_>, state: &RecordState, field: &str) -> PatientName {
    let named = reading.name_of(state);
    if field != "name" {
        return named;
    }
    let numbers = patient::IDENTIFIER.standing(state);
    PatientName {
        name: match numbers.first().map(|said| said.value.expose()) {
            Some(number) => format!("{} {}", number_kind(number), number_shown(number)),
            None => listed_name(state),
        },
        ..named
    }
}

/// Tasks that the hub holds back until a name or a birth date is decided.
fn tasks_waiting(reading: &Reading<'_, '_>, state: &RecordState, field: &str) -> Result<u32, TxError> {
    if field == "sex" {
        return Ok(0);
    }
    let tasks = reading.tx.linked(state.record, task::KIND)?;
    let held = |state: &RecordState| state_of(state) == TaskState::OnHold && !is_question(state);
    let held = tasks.iter().filter(|stored| held(&stored.state)).count();
    Ok(u32::try_from(held).unwrap_or(u32::MAX))
}

pub(super) async fn decide(Path((record, field)): Path<(String, String)>, sent: Sent) -> Response {
    let done = decision(&record, &field, &sent).await;
    sent.desk.answer(done).await
}

async fn decision(record: &str, field: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(record)?;
    if !matches!(field, "name" | "birth_date" | "sex") {
        return Err(Refusal::NotFound);
    }
    let shown = sent.fields.changes("shown");
    let keep = Keep::read(field, &sent.fields)?;
    let field = field.to_owned();
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            let state = tx.state(id)?.filter(|state| state.kind == patient::KIND);
            let state = state.ok_or(ActError::NotFound("patient"))?;
            decided(tx, by, id, &keep.decision(&field, &state)?, &shown, now_ms)?;
            Ok(Acted::saying(LastAct {
                about: About::Patient(id),
                what: format!("{} decided", field_label(&field).to_lowercase()),
                at_ms: now_ms,
                undo: None,
            }))
        })
        .await
}

/// What a person chose: a side, or a value on neither.
enum Keep {
    Side(ChangeId),
    Name(Phi<PersonName>),
    BirthDate(Phi<BirthDate>),
}

impl Keep {
    fn read(field: &str, fields: &Fields) -> Built<Keep> {
        let keep = fields.text("keep");
        if keep != "other" {
            let side = ChangeId::parse(&keep).map(Keep::Side);
            return side.ok_or_else(|| Refusal::Wrong(sentence("choose which value is right")));
        }
        let typed = fields.text("value");
        match field {
            "name" if !typed.is_empty() => Ok(Keep::Name(typed_name(&typed))),
            "birth_date" => super::patients::typed_birth_date(&typed)
                .map(Keep::BirthDate)
                .map_err(Refusal::Wrong),
            _ => Err(Refusal::Wrong(sentence(
                "write the other value, or choose one of those shown",
            ))),
        }
    }

    fn decision(&self, field: &str, state: &RecordState) -> Result<Decision, ActError> {
        let gone = ActError::Conflict("the question has changed since the page was shown; look at it again");
        match (self, field) {
            (Keep::Name(name), _) => Ok(Decision::Name(name.clone())),
            (Keep::BirthDate(date), _) => Ok(Decision::BirthDate(date.clone())),
            (Keep::Side(change), "name") => live(state, patient::NAME, *change).map(Decision::Name).ok_or(gone),
            (Keep::Side(change), "birth_date") => live(state, patient::BIRTH_DATE, *change)
                .map(Decision::BirthDate)
                .ok_or(gone),
            (Keep::Side(change), _) => live::<Sex>(state, patient::SEX, *change).map(Decision::Sex).ok_or(gone),
        }
    }
}

fn live<T: Value>(state: &RecordState, field: Field<T>, change: ChangeId) -> Option<T> {
    let live = state.register(field.id)?.values.get(&change)?;
    T::from_raw(&live.value)
}
