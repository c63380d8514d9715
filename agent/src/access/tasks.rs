//! What people do about tasks: withdraw, try again, answer, type in by hand. The delivery itself is the hub's.

use clinic::catalogue::{patient, task};
use clinic::index;
use clinic::policy::Permission;
use clinic::task::{Answer, Entered, Intent, TaskKind, TaskState, state_of};
use clinic::value::{Identifier, Target};
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
    let state = open_task(tx, by, id)?;
    if task::TARGET.value(&state) != Some(Target::Person) {
        return Err(ActError::Conflict("the hub delivers this task; nobody types it in"));
    }
    let number = number.trim();
    if number.is_empty() {
        return Err(ActError::Invalid {
            field: "number",
            remedy: "write the number that the EHR gave back",
        });
    }
    let registered = (task::KIND_OF_WORK.value(&state) == Some(TaskKind::RegisterPatient))
        .then(|| task::PATIENT.value(&state))
        .flatten();
    if let Some(patient_id) = registered
        && has_another_owner(tx, number, patient_id)?
    {
        return Err(ActError::Invalid {
            field: "number",
            remedy: "this number belongs to another patient here; look at it again in the EHR",
        });
    }
    let entered = Phi::new(Entered {
        number: number.to_owned(),
    });
    let draft = Writing::new(task::KIND, id, Action::ChangeTask, by.actor(), event_ms)
        .replace(task::ENTERED, &entered, shown)
        .done();
    match (write(tx, &draft)?, registered) {
        (Some(cause), Some(patient_id)) => give_number(tx, by, patient_id, number, cause, event_ms),
        (Some(_) | None, _) => Ok(()),
    }
}

/// The system of numbers that the EHR shows and people type in. They are not the ids by which a connector addresses it.
pub const EHR_NUMBER_SYSTEM: &str = "urn:mainstay:partner:ehr:number";

/// Whether the EHR's number stands on somebody else here.
fn has_another_owner(tx: &WriteTx<'_>, number: &str, patient_id: RecordId) -> Result<bool, ActError> {
    let exactly = index::Wanted::Exactly(index::identifier_term(number));
    let found = tx.search(&[vec![exactly]], patient::KIND, OWNERS_MAX)?;
    Ok(found.iter().any(|stored| {
        let numbers = patient::IDENTIFIER.standing(&stored.state);
        let same = |id: &Identifier| id.system == EHR_NUMBER_SYSTEM && id.value == number;
        stored.state.record != patient_id && numbers.iter().any(|said| same(said.value.expose()))
    }))
}

/// More than one is a fault already; a few show it.
const OWNERS_MAX: u32 = 10;

/// From now on the patient is known at the EHR under this number.
fn give_number(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    patient_id: RecordId,
    number: &str,
    cause: ChangeId,
    event_ms: i64,
) -> Result<(), ActError> {
    let state = known(tx, patient_id, patient::KIND, "patient")?;
    let number = Identifier {
        system: EHR_NUMBER_SYSTEM.to_owned(),
        value: number.to_owned(),
        kind: "MR".to_owned(),
    };
    let standing = patient::IDENTIFIER.standing(&state);
    if standing.iter().any(|said| *said.value.expose() == number) {
        return Ok(());
    }
    let draft = Writing::new(patient::KIND, patient_id, Action::Edit, by.actor(), event_ms)
        .because(cause)
        .assert(patient::IDENTIFIER, &Phi::new(number))
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
