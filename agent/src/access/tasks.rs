//! What people do about tasks: withdraw, try again, answer, type in by hand. The delivery itself is the hub's.

use clinic::catalogue::task;
use clinic::policy::Permission;
use clinic::task::{Answer, Entered, Intent, TaskState, state_of};
use clinic::write::{Action, Writing};
use sync_protocol::{ChangeId, Phi, RecordId, RecordState};

use super::{ActError, By, known, write};
use crate::store::WriteTx;

/// Asks for a task not to be done. For a machine it is a request until the hub confirms it.
pub fn withdraw(tx: &mut WriteTx<'_>, by: By<'_>, id: RecordId, event_ms: i64) -> Result<(), ActError> {
    let state = open_task(tx, by, id)?;
    intend(tx, by, &state, Intent::Withdraw, event_ms)
}

/// Asks for a task that was refused or set aside to be tried again.
pub fn try_again(tx: &mut WriteTx<'_>, by: By<'_>, id: RecordId, event_ms: i64) -> Result<(), ActError> {
    let state = open_task(tx, by, id)?;
    match state_of(&state) {
        TaskState::Refused | TaskState::SetAside => intend(tx, by, &state, Intent::Again, event_ms),
        TaskState::Waiting
        | TaskState::OnHold
        | TaskState::BeingSent
        | TaskState::OutcomeUnknown
        | TaskState::Delivered
        | TaskState::EnteredByHand
        | TaskState::Withdrawn
        | TaskState::Expired
        | TaskState::Superseded => Err(ActError::Conflict(
            "the task is on its way; there is nothing to try again",
        )),
    }
}

fn intend(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    state: &RecordState,
    intent: Intent,
    event_ms: i64,
) -> Result<(), ActError> {
    let draft = Writing::new(task::KIND, state.record, Action::ChangeTask, by.actor(), event_ms)
        .restate(task::INTENT, &intent, &state.shown(task::INTENT.id))
        .done();
    write(tx, &draft).map(|_| ())
}

/// Notes that a person typed the task in at the partner, and the number that the partner gave.
pub fn enter_by_hand(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    id: RecordId,
    number: &str,
    shown: &[ChangeId],
    event_ms: i64,
) -> Result<(), ActError> {
    open_task(tx, by, id)?;
    if number.trim().is_empty() {
        return Err(ActError::Invalid {
            field: "number",
            remedy: "write the number that the EHR gave back",
        });
    }
    let entered = Phi::new(Entered {
        number: number.trim().to_owned(),
    });
    let draft = Writing::new(task::KIND, id, Action::ChangeTask, by.actor(), event_ms)
        .replace(task::ENTERED, &entered, shown)
        .done();
    write(tx, &draft).map(|_| ())
}

/// Answers whether somebody at the partner is this patient.
pub fn answer(tx: &mut WriteTx<'_>, by: By<'_>, id: RecordId, answer: &Answer, event_ms: i64) -> Result<(), ActError> {
    let state = open_task(tx, by, id)?;
    if let Answer::Attach(partner_id) = answer {
        let offered = task::CANDIDATES.value(&state);
        let known = offered.is_some_and(|all| all.expose().0.iter().any(|one| one.partner_id == *partner_id));
        if !known {
            return Err(ActError::Conflict(
                "that person is no longer offered; look at the question again",
            ));
        }
    }
    let draft = Writing::new(task::KIND, id, Action::ChangeTask, by.actor(), event_ms)
        .replace(task::ANSWER, answer, &state.shown(task::ANSWER.id))
        .done();
    write(tx, &draft).map(|_| ())
}

fn open_task(tx: &WriteTx<'_>, by: By<'_>, id: RecordId) -> Result<RecordState, ActError> {
    by.may(Permission::WorkTasks)?;
    let state = known(tx, id, task::KIND, "task")?;
    if state_of(&state).is_final() {
        return Err(ActError::Conflict("the task is done with; look at the list again"));
    }
    Ok(state)
}
