//! One patient: what is known, who said it when, and what is on its way. Nothing stands above the allergies, no losing
//! value is hidden, no old coverage is called active.

use clinic::catalogue::{Field, allergy, coverage, patient, result, task, visit};
use clinic::flow::{self, Standing};
use clinic::matching::Identity;
use clinic::policy::Permission;
use clinic::read::Said;
use clinic::task::state_of;
use clinic::value::{AllergyStatement, Sex, Value};
use sync_protocol::{ChangeId, Phi, RecordId, RecordState, rules};

use super::conflicts;
use super::flow::shown_state;
use super::frame::shell;
use super::names::{number_kind, number_shown};
use super::reading::{Reading, ids};
use super::refusal::{Built, Refusal};
use super::site_clock::MINUTE_MS;
use super::task_rows::task_row;
use super::transcription::sex_label;
use super::views::{
    AllergyEntry, AllergyPanel, CoverageEntry, EarlierVisit, Fact, FieldKind, Mark, PatientBody, PatientField,
    PatientHead, PatientNumber, PatientView, ResultEntry, ResultLine, TaskRow, Tone, Undo, VisitStep, VisitStory,
};
use crate::store::TxError;

/// Results and tasks on one page; older ones are at the hub as well.
const RESULTS_MAX: usize = 50;
const TASKS_MAX: usize = 50;
const EARLIER_MAX: usize = 50;
/// An event entered later than this was not entered as it happened.
const ENTERED_LATER_MS: i64 = 5 * MINUTE_MS;

pub(super) fn patient_view(reading: &Reading<'_, '_>, id: RecordId) -> Built<PatientView> {
    let state = reading.tx.state(id)?.filter(|state| state.kind == patient::KIND);
    let state = state.ok_or(Refusal::NotFound)?;
    Ok(PatientView {
        shell: shell(reading, None)?,
        head: head(reading, &state),
        body: body(reading, &state)?,
    })
}

pub(super) fn patient_body(reading: &Reading<'_, '_>, id: RecordId) -> Built<PatientBody> {
    let state = reading.tx.state(id)?.filter(|state| state.kind == patient::KIND);
    Ok(body(reading, &state.ok_or(Refusal::NotFound)?)?)
}

pub(super) fn patient_head(reading: &Reading<'_, '_>, id: RecordId) -> Built<PatientHead> {
    let state = reading.tx.state(id)?.filter(|state| state.kind == patient::KIND);
    Ok(head(reading, &state.ok_or(Refusal::NotFound)?))
}

fn head(reading: &Reading<'_, '_>, state: &RecordState) -> PatientHead {
    let named = reading.name_of(state);
    let sex = patient::SEX.ask(state).standing().map(|sex| sex.word().to_owned());
    let number = |id: &clinic::value::Identifier| PatientNumber {
        kind: number_kind(id).to_owned(),
        value: number_shown(id),
        assigner: if id.system.starts_with("urn:mainstay:") {
            String::new()
        } else {
            id.system.clone()
        },
    };
    PatientHead {
        patient: state.record.to_string(),
        name: named.name,
        second: named.second,
        numbers: Identity::of_patient(state).identifiers.iter().map(number).collect(),
        remarks: sex.into_iter().collect(),
    }
}

fn body(reading: &Reading<'_, '_>, state: &RecordState) -> Result<PatientBody, TxError> {
    let visits = reading.tx.linked(state.record, visit::KIND)?;
    let (visit, earlier) = visit_stories(reading, visits.into_iter().map(|stored| stored.state).collect())?;
    Ok(PatientBody {
        keys: reading.keys.clone(),
        patient: state.record.to_string(),
        notice: None,
        allergies: allergies(reading, state.record)?,
        conflicts: conflicts::of_patient(reading, state)?,
        visit,
        earlier,
        results: results(reading, state.record)?,
        tasks: tasks(reading, state.record)?,
        fields: fields(reading, state)?,
        fields_as_of: as_of(reading),
        coverage: coverages(reading, state.record)?,
        may_edit: reading.may(Permission::EditPatient),
    })
}

/// How old what came from elsewhere may be; what was written here is always of now.
pub(super) fn as_of(reading: &Reading<'_, '_>) -> String {
    match reading.line.exchanged_ms {
        Some(ms) => format!(
            "hub as of {}, this site as of {}",
            reading.clock.at(ms),
            reading.clock.now()
        ),
        None => format!("this site as of {}; the hub not reached yet", reading.clock.now()),
    }
}

fn allergies(reading: &Reading<'_, '_>, patient: RecordId) -> Result<AllergyPanel, TxError> {
    let (mut active, mut refuted) = (Vec::new(), Vec::new());
    for stored in reading.tx.linked(patient, allergy::KIND)? {
        let state = &stored.state;
        if !rules::assertions(state, allergy::STATEMENT.id).asserted.is_empty() {
            let is_active = rules::assertions(state, allergy::STATEMENT.id).active;
            let group = if is_active { &mut active } else { &mut refuted };
            group.push(allergy_entry(reading, state, is_active)?);
        }
    }
    active.sort_by_key(|entry: &AllergyEntry| entry.substance.to_lowercase());
    Ok(AllergyPanel {
        active,
        refuted,
        none_known: false,
        may_refute: reading.may(Permission::RefuteAllergy),
        as_of: as_of(reading),
    })
}

fn allergy_entry(reading: &Reading<'_, '_>, state: &RecordState, is_active: bool) -> Result<AllergyEntry, TxError> {
    let asserted = allergy::STATEMENT.asserted(state);
    let mut said: Vec<&Said<_>> = asserted.values().collect();
    said.sort_by_key(|said| (said.event_ms, said.entered_ms, said.change));
    let latest = said.last().map(|said| said.value.expose().clone()).unwrap_or_default();
    let told = match said.first() {
        Some(first) => format!(
            "{}, {}",
            reading.clock.spoken(first.event_ms),
            reading.who(first.actor)?
        ),
        None => String::new(),
    };
    let refutations = rules::assertions(state, allergy::STATEMENT.id).refuted_by;
    let refuted = match refutations.last() {
        Some((_, element)) => {
            let why = element.value.to_text().unwrap_or_default();
            let who = reading.who(element.origin.actor)?;
            let when = reading.clock.spoken(element.origin.event_ms);
            Some(format!("refuted {when} by {who}: “{why}”"))
        }
        None => None,
    };
    Ok(AllergyEntry {
        allergy: state.record.to_string(),
        substance: latest.substance.clone(),
        reaction: reactions(&said),
        reopened: refuted
            .as_ref()
            .filter(|_| is_active)
            .map(|refuted| format!("Said {told}; {refuted}, without seeing all that was said of it.")),
        story: match (is_active, refuted) {
            (false, Some(refuted)) => refuted,
            (true, _) | (false, None) => told,
        },
        marks: Vec::new(),
        shown: ids(asserted.keys()),
    })
}

/// Every reaction that was ever said, each once: no later statement hides an earlier one.
fn reactions(said: &[&Said<Phi<AllergyStatement>>]) -> String {
    let mut all: Vec<&str> = Vec::new();
    for statement in said {
        let statement = statement.value.expose();
        for part in [statement.reaction.as_str(), &statement.severity] {
            if !part.is_empty() && !all.contains(&part) {
                all.push(part);
            }
        }
    }
    all.join(", ")
}

fn visit_stories(
    reading: &Reading<'_, '_>,
    visits: Vec<RecordState>,
) -> Result<(Option<VisitStory>, Vec<EarlierVisit>), TxError> {
    let (mut now, mut earlier) = (None, Vec::new());
    for state in visits {
        let Some(standing) = flow::standing(&state) else {
            continue;
        };
        let is_of_now =
            !standing.state.is_end() || standing.ends.len() > 1 || reading.clock.is_today(standing.since_ms);
        if now.is_none() && is_of_now {
            now = Some(visit_story(reading, &state, &standing)?);
            continue;
        }
        let reason = visit::REASON.value(&state).map(Phi::into_exposed).unwrap_or_default();
        let began = standing.steps.first().map_or(standing.since_ms, |step| step.event_ms);
        earlier.push(EarlierVisit {
            date: reading.clock.day(began),
            what: format!("{reason} · {}", shown_state(standing.state).label()),
        });
    }
    earlier.truncate(EARLIER_MAX);
    Ok((now, earlier))
}

fn visit_story(reading: &Reading<'_, '_>, state: &RecordState, standing: &Standing) -> Result<VisitStory, TxError> {
    let room = match visit::ROOM.value(state) {
        Some(id) => reading.room_name(id)?.map(|name| format!("Room {name}")),
        None => None,
    };
    let provider = match visit::PROVIDER.value(state) {
        Some(id) => reading.staff_name(id)?,
        None => None,
    };
    let lasting = (!standing.state.is_end()).then(|| reading.clock.since(standing.since_ms));
    let reason = visit::REASON.value(state).map(Phi::into_exposed);
    let place: Vec<String> = [reason, room, provider, lasting]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    let undone = flow::undo_names(state);
    let mut steps = Vec::new();
    for step in &standing.steps {
        let later = step.entered_ms - step.event_ms > ENTERED_LATER_MS;
        let contradicts = standing.ends.len() > 1 && step.to.is_end();
        let is_last = undone.contains(&step.change);
        let names: Vec<ChangeId> = if contradicts { vec![step.change] } else { undone.clone() };
        steps.push(VisitStep {
            at: reading.clock.at(step.event_ms),
            state: shown_state(step.to),
            detail: place_of_step(reading, state, step.change)?,
            by: by_whom(reading, state, step.change)?,
            entered: if later {
                format!("entered {}", reading.clock.at(step.entered_ms))
            } else {
                String::new()
            },
            undo: (reading.may(Permission::MoveVisit) && (contradicts || is_last)).then(|| Undo {
                action: format!("/visits/{}/undo", state.record),
                shown: ids(&names),
            }),
        });
    }
    Ok(VisitStory {
        state: shown_state(standing.state),
        place: place.join(" · "),
        as_of: format!("live, as of {}", reading.clock.now()),
        steps,
    })
}

/// The room or provider that came with a step.
fn place_of_step(reading: &Reading<'_, '_>, state: &RecordState, change: ChangeId) -> Result<String, TxError> {
    if let Some(said) = visit::ROOM.latest(state).filter(|said| said.change == change) {
        return Ok(reading
            .room_name(said.value)?
            .map(|name| format!("Room {name}"))
            .unwrap_or_default());
    }
    if let Some(said) = visit::PROVIDER.latest(state).filter(|said| said.change == change) {
        return Ok(reading.staff_name(said.value)?.unwrap_or_default());
    }
    Ok(String::new())
}

fn by_whom(reading: &Reading<'_, '_>, state: &RecordState, change: ChangeId) -> Result<String, TxError> {
    let mut steps = state.elements(visit::TRANSITION.id).filter(|(id, _)| **id == change);
    match steps.next() {
        Some((_, element)) => reading.who(element.origin.actor),
        None => Ok(String::new()),
    }
}

fn results(reading: &Reading<'_, '_>, patient: RecordId) -> Result<Vec<ResultEntry>, TxError> {
    let found = reading.tx.linked(patient, result::KIND)?;
    Ok(found
        .iter()
        .take(RESULTS_MAX)
        .map(|stored| result_entry(reading, &stored.state))
        .collect())
}

fn result_entry(reading: &Reading<'_, '_>, state: &RecordState) -> ResultEntry {
    let (name, status) = result_name(state);
    let observed = result::OBSERVED_MS.value(state);
    let received = result::SERVICE.latest(state).map(|said| said.entered_ms);
    let times: Vec<String> = [
        observed.map(|ms| format!("observed {}", reading.clock.at(ms))),
        received.map(|ms| format!("received {}", reading.clock.at(ms))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let lines = result::OBSERVATIONS
        .value(state)
        .map(Phi::into_exposed)
        .unwrap_or_default();
    ResultEntry {
        result: state.record.to_string(),
        name,
        received: times.join(", "),
        status,
        lines: lines
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(result_line)
            .collect(),
    }
}

/// The service and, where it is not final, its status.
pub(super) fn result_name(state: &RecordState) -> (String, String) {
    let service = result::SERVICE.value(state).map(Phi::into_exposed).unwrap_or_default();
    match service.strip_suffix(')').and_then(|bare| bare.rsplit_once(" (")) {
        Some((name, status)) if STATUSES.contains(&status) => (name.to_owned(), status.to_owned()),
        Some(_) | None => (service, String::new()),
    }
}

/// As `clinic` writes them behind a service that is not final.
const STATUSES: [&str; 6] = [
    "preliminary",
    "corrected",
    "the earlier value was wrong",
    "deleted",
    "could not be obtained",
    "pending",
];

/// A line "name: value units (flags)"; one that continues another is its own.
fn result_line(line: &str) -> ResultLine {
    let plain = |name: &str, value: &str| ResultLine {
        name: name.to_owned(),
        value: value.to_owned(),
        unit: String::new(),
        range: String::new(),
        flag: None,
    };
    let Some((name, said)) = line.split_once(": ").filter(|_| !line.starts_with(' ')) else {
        return plain("Note", line.trim());
    };
    let (said, flags) = match said.strip_suffix(')').and_then(|bare| bare.rsplit_once(" (")) {
        Some((said, flags)) => (said, Some(flags)),
        None => (said, None),
    };
    let measured = said.starts_with(|c: char| c.is_ascii_digit() || "<>+-.".contains(c));
    let (value, unit) = match said.split_once(' ') {
        Some((value, unit)) if measured => (value, unit),
        Some(_) | None => (said, ""),
    };
    ResultLine {
        unit: unit.to_owned(),
        flag: flags.map(flag),
        ..plain(name, value)
    }
}

/// HL7 table 0078 in words; anything else as it was sent.
fn flag(flags: &str) -> Mark {
    let known = match flags {
        "H" => Some(("High", Tone::Watch)),
        "HH" => Some(("Critical high", Tone::Act)),
        "L" => Some(("Low", Tone::Watch)),
        "LL" => Some(("Critical low", Tone::Act)),
        "A" => Some(("Abnormal", Tone::Watch)),
        "AA" => Some(("Critical", Tone::Act)),
        _ => None,
    };
    let (label, tone) = known.unwrap_or((flags, Tone::Watch));
    Mark::new("alert", label, tone)
}

fn tasks(reading: &Reading<'_, '_>, patient: RecordId) -> Result<Vec<TaskRow>, TxError> {
    let mut found = reading.tx.linked(patient, task::KIND)?;
    // What is open first, the latest first among equals.
    found.sort_by_key(|stored| state_of(&stored.state).is_final());
    found
        .iter()
        .take(TASKS_MAX)
        .map(|stored| task_row(reading, &stored.state))
        .collect()
}

fn coverages(reading: &Reading<'_, '_>, patient: RecordId) -> Result<Vec<CoverageEntry>, TxError> {
    let mut all = Vec::new();
    for stored in reading.tx.linked(patient, coverage::KIND)? {
        let state = &stored.state;
        let known = |field: Field<Phi<String>>| field.latest(state);
        let parts = [
            known(coverage::PAYER),
            known(coverage::PLAN),
            known(coverage::MEMBER_ID),
        ];
        let Some(last) = parts.iter().flatten().max_by_key(|said| said.entered_ms) else {
            continue;
        };
        let (last_ms, by) = (last.event_ms, reading.who(last.actor)?);
        let [payer, plan, member] = parts.map(|said| said.map(|said| said.value.into_exposed()).unwrap_or_default());
        let mut facts = Vec::new();
        if !plan.is_empty() && !payer.is_empty() {
            facts.push(Fact::new("Plan", plan.clone()));
        }
        if !member.is_empty() {
            facts.push(Fact::code("Member", member));
        }
        all.push(CoverageEntry {
            plan: if payer.is_empty() { plan } else { payer },
            facts,
            said: format!("by {by}; not checked since"),
            as_of: format!("as of {}", reading.clock.at(last_ms)),
        });
    }
    Ok(all)
}

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
        clinic::Shown::One(said) => source(reading, said)?,
        clinic::Shown::Nothing | clinic::Shown::Open { .. } => String::new(),
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
                .at(i64::try_from(live.origin.at.wall_ms).unwrap_or(i64::MAX));
            let who = reading.who(live.origin.actor)?;
            beside.push(format!("{} · {place} {when}, {who}", words(&other)));
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
        "{}, {}",
        reading.clock.spoken(said.event_ms),
        reading.who(said.actor)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_taken_apart_as_it_was_put_together() {
        let line = result_line("Glucose: 113 mg/dL (HH)");
        assert_eq!(
            (line.name.as_str(), line.value.as_str(), line.unit.as_str()),
            ("Glucose", "113", "mg/dL")
        );
        assert_eq!(line.flag.map(|mark| mark.label), Some("Critical high".to_owned()));

        let words = result_line("Influenza A: not detected");
        assert_eq!((words.value.as_str(), words.unit.as_str()), ("not detected", ""));

        let note = result_line("  specimen: haemolysed");
        assert_eq!(
            (note.name.as_str(), note.value.as_str()),
            ("Note", "specimen: haemolysed")
        );
    }
}
