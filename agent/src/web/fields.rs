//! The fields of a patient's form, each with its source and with what stands beside it.

use clinic::catalogue::{Field, patient};
use clinic::read::{Said, Shown};
use clinic::value::{Sex, Value};
use sync_protocol::{ClockFact, Phi, RecordState};

use super::conflicts;
use super::reading::{Reading, ids};
use super::transcription::sex_label;
use super::views::{FieldKind, PatientField};
use crate::store::TxError;

/// The fields of the form, in its order.
pub(super) fn fields(reading: &Reading<'_, '_>, state: &RecordState) -> Result<Vec<PatientField>, TxError> {
    let sexes = Sex::ALL
        .iter()
        .map(|sex| (sex.word().to_owned(), sex_label(*sex).to_owned()))
        .collect();
    let text = |text: &Phi<String>| text.expose().clone();
    Ok(vec![
        asked_field(reading, state, patient::NAME, "name", FieldKind::Text, |name| {
            let name = name.expose().listed();
            (name.clone(), name)
        })?,
        asked_field(
            reading,
            state,
            patient::BIRTH_DATE,
            "birth_date",
            FieldKind::Date,
            |date| (date.expose().shown(), date.expose().shown()),
        )?,
        asked_field(reading, state, patient::SEX, "sex", FieldKind::OneOf(sexes), |sex| {
            (sex_label(*sex).to_owned(), sex.word().to_owned())
        })?,
        latest_field(reading, state, patient::PHONE, "phone", FieldKind::Phone, text)?,
        latest_field(reading, state, patient::EMAIL, "email", FieldKind::Email, text)?,
    ])
}

/// A field that a person decides: while it is open it is decided, not edited. `words` gives the value as it is shown and as
/// it is typed.
fn asked_field<T: Value>(
    reading: &Reading<'_, '_>,
    state: &RecordState,
    field: Field<T>,
    name: &str,
    kind: FieldKind,
    words: impl Fn(&T) -> (String, String),
) -> Result<PatientField, TxError> {
    let shown = field.ask(state);
    let (value, input) = shown.standing().map(words).unwrap_or_default();
    let source = match &shown {
        Shown::One(said) => source(reading, said)?,
        Shown::Nothing | Shown::Open { .. } => String::new(),
    };
    Ok(PatientField {
        source,
        disputed: shown.is_open(),
        ..plain_field(state, field, name, kind, value, input)
    })
}

/// A field of which the latest value is shown; others that live are named beside it.
fn latest_field<T: Value>(
    reading: &Reading<'_, '_>,
    state: &RecordState,
    field: Field<T>,
    name: &str,
    kind: FieldKind,
    words: impl Fn(&T) -> String,
) -> Result<PatientField, TxError> {
    let latest = field.latest(state);
    let value = latest.as_ref().map(|said| words(&said.value)).unwrap_or_default();
    let mut beside = Vec::new();
    for (change, live) in state
        .register(field.id)
        .into_iter()
        .flat_map(|register| &register.values)
    {
        if latest.as_ref().is_some_and(|said| said.change == *change) {
            continue;
        }
        if let Some(other) = T::from_raw(&live.value) {
            let place = reading.place(live.origin.actor, live.origin.dot.replica)?;
            let when = reading
                .clock
                .at(i64::try_from(live.origin.written().wall_ms).unwrap_or(i64::MAX));
            let (who, clock) = (reading.who(live.origin.actor)?, clock_words(live.origin.clock));
            beside.push(format!("{} · {place} {when}{clock}, {who}", words(&other)));
        }
    }
    Ok(PatientField {
        source: match &latest {
            Some(said) => source(reading, said)?,
            None => String::new(),
        },
        beside,
        ..plain_field(state, field, name, kind, value.clone(), value)
    })
}

fn plain_field<T>(
    state: &RecordState,
    field: Field<T>,
    name: &str,
    kind: FieldKind,
    value: String,
    input: String,
) -> PatientField {
    PatientField {
        name: name.to_owned(),
        label: conflicts::field_label(name).to_owned(),
        value,
        was: input.clone(),
        input,
        kind,
        source: String::new(),
        beside: Vec::new(),
        shown: ids(&state.shown(field.id)),
        disputed: false,
        wrong: None,
    }
}

fn source<T>(reading: &Reading<'_, '_>, said: &Said<T>) -> Result<String, TxError> {
    Ok(format!(
        "{}{}, {}",
        reading.clock.spoken(said.event_ms),
        clock_words(said.clock),
        reading.who(said.actor)?
    ))
}

/// What is to be said of a time that was read from a clock that was wrong.
fn clock_words(clock: Option<ClockFact>) -> &'static str {
    match clock {
        Some(ClockFact::Corrected(_)) => " (corrected: that machine’s clock was wrong)",
        Some(ClockFact::Suspect) => " (not certain: that machine’s clock was wrong)",
        None => "",
    }
}
