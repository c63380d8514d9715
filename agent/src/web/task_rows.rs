//! A task on its way to a partner, as a row says it: its state, what happened, what is to be done and by whom.

use clinic::catalogue::{task, visit};
use clinic::index::Facet;
use clinic::policy::Permission;
use clinic::task::{Answer, Delivery, ErrorClass, Intent, TaskKind, TaskState, state_of};
use clinic::value::Target;
use sync_protocol::{RecordId, RecordState};

use super::flow::shown_state;
use super::reading::{Reading, ids};
use super::views::{self, TaskOffers, TaskRow, Timer, Tone};
use crate::clock::MINUTE_MS;
use crate::store::{Stored, TxError};

/// Tasks that are read for one list.
pub(super) const TASKS_MAX: u32 = 300;
/// A deadline nearer than this is worth a word.
const DUE_SOON_MS: i64 = 24 * 60 * MINUTE_MS;

/// The state as people see it: a person's tasks are theirs to enter, and an asked withdrawal is not yet a done one.
pub(super) fn shown_task(state: &RecordState) -> views::TaskState {
    use views::TaskState as Shown;
    let asked_back = task::INTENT.value(state) == Some(Intent::Withdraw);
    let by_person = task::TARGET.value(state) == Some(Target::Person);
    match state_of(state) {
        TaskState::Waiting if asked_back => Shown::WithdrawalAsked,
        TaskState::Waiting if by_person => Shown::ToEnterByHand,
        TaskState::OnHold | TaskState::BeingSent | TaskState::OutcomeUnknown if asked_back => Shown::WithdrawalAsked,
        TaskState::Waiting => Shown::Waiting,
        TaskState::OnHold => Shown::OnHold,
        TaskState::BeingSent => Shown::BeingSent,
        TaskState::OutcomeUnknown => Shown::OutcomeUnknown,
        TaskState::Refused => Shown::Refused,
        TaskState::SetAside => Shown::SetAside,
        TaskState::Delivered => Shown::Delivered,
        TaskState::EnteredByHand => Shown::EnteredByHand,
        TaskState::Withdrawn => Shown::Withdrawn,
        TaskState::Expired => Shown::Expired,
        TaskState::Superseded => Shown::Superseded,
    }
}

pub(super) fn kind_word(state: &RecordState) -> String {
    match task::KIND_OF_WORK.value(state) {
        Some(TaskKind::RegisterPatient) => "Registration".to_owned(),
        Some(TaskKind::Encounter) => match task::STATE.value(state) {
            Some(told) => format!("Visit: {}", shown_state(told).label().to_lowercase()),
            None => "Visit".to_owned(),
        },
        None => "A task of a newer version".to_owned(),
    }
}

/// Tasks that wait because somebody at the partner may be their patient, and that nobody has answered.
pub(super) fn open_questions(reading: &Reading<'_, '_>) -> Result<Vec<Stored>, TxError> {
    let held = reading.tx.with_facet(Facet::task(TaskState::OnHold), TASKS_MAX)?;
    Ok(held.into_iter().filter(|stored| is_question(&stored.state)).collect())
}

pub(super) fn is_question(state: &RecordState) -> bool {
    let Some(offered) = task::CANDIDATES.value(state) else {
        return false;
    };
    let offered = &offered.expose().0;
    let is_offered = |id: &str| offered.iter().any(|one| one.partner_id == id);
    let answered = match task::ANSWER.value(state) {
        Some(Answer::Create) => true,
        Some(Answer::Attach(id)) => is_offered(&id),
        None => false,
    };
    state_of(state) == TaskState::OnHold && !offered.is_empty() && !answered
}

pub(super) fn due(reading: &Reading<'_, '_>, deadline_ms: Option<i64>) -> Option<Timer> {
    let left_ms = deadline_ms? - reading.clock.now_ms;
    if left_ms < 0 {
        return Some(Timer {
            label: format!("overdue since {}", reading.clock.at(deadline_ms?)),
            limit: None,
            tone: Tone::Act,
        });
    }
    let tone = if left_ms < DUE_SOON_MS {
        Tone::Watch
    } else {
        Tone::Plain
    };
    let label = format!("due {}", reading.clock.at(deadline_ms?));
    Some(Timer {
        label,
        limit: None,
        tone,
    })
}

fn what_happened(
    reading: &Reading<'_, '_>,
    state: &RecordState,
    delivery: Option<&Delivery>,
) -> (String, &'static str) {
    let by_itself = "It leaves by itself.";
    let tries = delivery.map_or(0, |delivery| delivery.attempts);
    let said = delivery
        .map(|delivery| delivery.note.trim())
        .filter(|note| !note.is_empty());
    let because = said.map(super::refusal::sentence).unwrap_or_default();
    match shown_task(state) {
        views::TaskState::Waiting if tries > 0 => {
            let tried = format!("Tried {tries} time{}. {because}", if tries == 1 { "" } else { "s" });
            (tried.trim().to_owned(), "It is tried again by itself.")
        }
        views::TaskState::Waiting => (String::new(), by_itself),
        views::TaskState::OnHold if is_question(state) => (
            "Somebody at the EHR may be this patient.".to_owned(),
            "Answer the question above; then it leaves by itself.",
        ),
        views::TaskState::OnHold if task::ANSWER.value(state).is_some() => (
            "Answered here.".to_owned(),
            "It goes on as soon as the hub has the answer.",
        ),
        views::TaskState::OnHold => (because, "It goes on by itself when that is settled."),
        views::TaskState::BeingSent => (String::new(), "Its answer comes by itself."),
        views::TaskState::OutcomeUnknown => (
            "Sent, and no answer came.".to_owned(),
            "The hub looks it up at the EHR first; it is not sent twice.",
        ),
        views::TaskState::ToEnterByHand => (String::new(), "Open it and type it into the EHR."),
        views::TaskState::Refused => (
            format!("{} {because}", refused_by(delivery)).trim().to_owned(),
            "Put right what is wrong on the patient’s page, then send again; or withdraw it.",
        ),
        views::TaskState::SetAside => (
            format!("It could not be delivered. {because}").trim().to_owned(),
            "Somebody has to look at it: send again, or withdraw it and enter it by hand.",
        ),
        views::TaskState::WithdrawalAsked => (
            "Asked to be withdrawn.".to_owned(),
            "It is withdrawn once the hub says so; until then it may still be delivered.",
        ),
        views::TaskState::Delivered => {
            let number = task::PARTNER_ID.value(state).map(|id| format!("Number there: {id}."));
            (number.unwrap_or_default(), "")
        }
        views::TaskState::EnteredByHand => (entered_words(reading, state), ""),
        views::TaskState::Withdrawn => (String::new(), "The EHR does not get it."),
        views::TaskState::Expired => (
            "Its time ran out before it could be delivered.".to_owned(),
            "Enter it by hand if it still matters.",
        ),
        views::TaskState::Superseded => (String::new(), "A later task does its work."),
    }
}

fn refused_by(delivery: Option<&Delivery>) -> &'static str {
    match delivery.map(|delivery| delivery.class) {
        Some(ErrorClass::Validation) => "The EHR does not take what it says.",
        Some(ErrorClass::Authentication) => "The EHR does not let the hub in.",
        Some(ErrorClass::Conflict) => "It contradicts what the EHR has.",
        Some(ErrorClass::Timeout | ErrorClass::Unavailable) => "The EHR did not answer.",
        Some(ErrorClass::Refused | ErrorClass::None) | None => "The EHR refuses it.",
    }
}

fn entered_words(reading: &Reading<'_, '_>, state: &RecordState) -> String {
    let Some(said) = task::ENTERED.latest(state) else {
        return String::new();
    };
    let number = &said.value.expose().number;
    match reading.who(said.actor) {
        Ok(who) => format!("Entered by {who}, number {number}."),
        Err(_) => format!("Number {number}."),
    }
}

/// When it came into its state, as far as that is known.
fn since_ms(state: &RecordState, delivery: Option<&Delivery>) -> Option<i64> {
    let entered = task::ENTERED.latest(state).map(|said| said.entered_ms);
    let delivered = task::DELIVERY.latest(state).map(|said| said.entered_ms);
    let wanted = task::INTENT.latest(state).map(|said| said.entered_ms);
    entered.or(delivery.and(delivered)).or(wanted)
}

pub(super) fn task_row(reading: &Reading<'_, '_>, state: &RecordState) -> Result<TaskRow, TxError> {
    let delivery = task::DELIVERY.value(state);
    let shown = shown_task(state);
    let (happened, todo) = what_happened(reading, state, delivery.as_ref());
    let target = task::TARGET.value(state).unwrap_or(Target::Machine);
    let may = reading.may(Permission::WorkTasks);
    let is_open = !state_of(state).is_final();
    Ok(TaskRow {
        task: state.record.to_string(),
        state: shown,
        at: since_ms(state, delivery.as_ref())
            .map(|ms| reading.clock.at(ms))
            .unwrap_or_default(),
        kind: kind_word(state),
        target: match target {
            Target::Machine => "to the EHR".to_owned(),
            Target::Person => "EHR, by a person".to_owned(),
        },
        patient: reading.patient(task::PATIENT.value(state).unwrap_or(RecordId::NIL))?,
        happened,
        todo: todo.to_owned(),
        owner: if shown.needs_a_person() {
            "Owner: Front desk".to_owned()
        } else {
            String::new()
        },
        due: due(
            reading,
            task::DEADLINE_MS
                .value(state)
                .filter(|_| is_open && shown.needs_a_person()),
        ),
        offers: TaskOffers {
            withdraw: may,
            retry: may,
            transcribe: may && target == Target::Person,
        },
        shown: ids(&shown_ids(state)),
    })
}

/// What makes a task's state: what the site wants, what the hub has done, what was answered and entered.
pub(super) fn shown_ids(state: &RecordState) -> Vec<sync_protocol::ChangeId> {
    let fields = [task::INTENT.id, task::DELIVERY.id, task::ENTERED.id, task::ANSWER.id];
    fields.into_iter().flat_map(|field| state.shown(field)).collect()
}

/// The visit that a task is about: its own, or the latest of its patient.
pub(super) fn visit_of(reading: &Reading<'_, '_>, state: &RecordState) -> Result<Option<RecordState>, TxError> {
    if let Some(id) = task::VISIT.value(state) {
        return reading.tx.state(id);
    }
    let Some(patient) = task::PATIENT.value(state) else {
        return Ok(None);
    };
    let visits = reading.tx.linked(patient, visit::KIND)?;
    Ok(visits.into_iter().next().map(|stored| stored.state))
}
