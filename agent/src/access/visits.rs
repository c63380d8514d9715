//! Patient flow: moving a visit on, taking a step back, rooms and providers.

use clinic::catalogue::{patient, room, staff, task, visit};
use clinic::flow::{self, VisitState};
use clinic::policy::Permission;
use clinic::rules::{VisitEvent, after_visit};
use clinic::value::RoomState;
use clinic::write::{Action, Writing};
use sync_protocol::{ChangeId, RecordId, RecordState};

use super::site::Site;
use super::{ActError, By, known, states, write};
use crate::store::WriteTx;

/// A step of a visit. Everything that is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Move {
    pub to: Option<VisitState>,
    pub room: Option<RecordId>,
    pub provider: Option<RecordId>,
    /// Ids that were on the page: the room and provider that are replaced are among them.
    pub shown: Vec<ChangeId>,
    pub event_ms: i64,
}

/// Moves a visit. A state that the graph does not lead to from where the visit stands is refused: going back is an undo.
/// Answers the change that an undo of this move names, or nothing when nothing was new.
pub fn move_visit(tx: &mut WriteTx<'_>, by: By<'_>, id: RecordId, step: &Move) -> Result<Option<ChangeId>, ActError> {
    by.may(Permission::MoveVisit)?;
    let before = known(tx, id, visit::KIND, "visit")?;
    let standing = flow::standing(&before);
    let from = standing.as_ref().map(|standing| standing.state);
    if let (Some(to), Some(from)) = (step.to, from)
        && !from.leads_to(to)
    {
        return Err(ActError::Conflict(
            "the visit has moved on since the page was shown; look at the board again",
        ));
    }
    if let Some(room) = step.room {
        known(tx, room, room::KIND, "room")?;
    }
    if let Some(provider) = step.provider {
        known(tx, provider, staff::KIND, "provider")?;
    }

    let mut writing = Writing::new(visit::KIND, id, Action::Move, by.actor(), step.event_ms);
    if let Some(to) = step.to {
        writing = writing.assert(visit::TRANSITION, &to);
    }
    if let Some(room) = step.room {
        writing = writing.replace(visit::ROOM, &room, &among(&before, visit::ROOM.id, &step.shown));
    }
    if let Some(provider) = step.provider {
        writing = writing.replace(
            visit::PROVIDER,
            &provider,
            &among(&before, visit::PROVIDER.id, &step.shown),
        );
    }
    let Some(cause) = write(tx, &writing.done())? else {
        return Ok(None);
    };
    follow_room(tx, by, &before, step, cause)?;
    cause_tasks(tx, cause, id, from, step.event_ms)?;
    Ok(Some(cause))
}

/// Of the ids on the page, those of one field.
fn among(state: &RecordState, field: sync_protocol::FieldId, shown: &[ChangeId]) -> Vec<ChangeId> {
    state.shown(field).into_iter().filter(|id| shown.contains(id)).collect()
}

/// A room that a visit enters is occupied; the one that it leaves, or that it ends in, is to be cleaned.
fn follow_room(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    before: &RecordState,
    step: &Move,
    cause: ChangeId,
) -> Result<(), ActError> {
    let left = visit::ROOM.value(before);
    let ended = step.to.is_some_and(VisitState::is_end);
    if let Some(left) = left.filter(|left| ended || step.room.is_some_and(|room| room != *left)) {
        note_room(tx, by, left, RoomState::Dirty, step.event_ms, cause)?;
    }
    if let Some(entered) = step.room.filter(|room| !ended && Some(*room) != left) {
        note_room(tx, by, entered, RoomState::Occupied, step.event_ms, cause)?;
    }
    Ok(())
}

fn note_room(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    id: RecordId,
    to: RoomState,
    event_ms: i64,
    cause: ChangeId,
) -> Result<(), ActError> {
    let Some(state) = tx.state(id)? else { return Ok(()) };
    let draft = Writing::new(room::KIND, id, Action::SetRoom, by.actor(), event_ms)
        .because(cause)
        .replace(room::STATE, &to, &state.shown(room::STATE.id))
        .done();
    write(tx, &draft).map(|_| ())
}

/// A person says that a room is clean, or is not.
pub fn set_room(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    id: RecordId,
    to: RoomState,
    shown: &[ChangeId],
    event_ms: i64,
) -> Result<(), ActError> {
    by.may(Permission::SetRoom)?;
    known(tx, id, room::KIND, "room")?;
    let draft = Writing::new(room::KIND, id, Action::SetRoom, by.actor(), event_ms)
        .replace(room::STATE, &to, shown)
        .done();
    write(tx, &draft).map(|_| ())
}

/// Takes back exactly the steps that were shown, and the room and provider that came with them. A step that somebody else
/// took meanwhile stands.
pub fn undo(tx: &mut WriteTx<'_>, by: By<'_>, id: RecordId, shown: &[ChangeId], event_ms: i64) -> Result<(), ActError> {
    by.may(Permission::MoveVisit)?;
    let before = known(tx, id, visit::KIND, "visit")?;
    let standing = flow::standing(&before).ok_or(ActError::NotFound("visit"))?;
    let steps: Vec<ChangeId> = standing
        .steps
        .iter()
        .map(|step| step.change)
        .filter(|id| shown.contains(id))
        .collect();
    if steps.is_empty() {
        return Err(ActError::Conflict("this step was taken back already"));
    }
    if steps.len() == standing.steps.len() {
        return Err(ActError::Conflict("an arrival is not undone; cancel the visit instead"));
    }
    let room = visit::ROOM.latest(&before).filter(|said| steps.contains(&said.change));
    let provider = visit::PROVIDER
        .latest(&before)
        .filter(|said| steps.contains(&said.change));
    let mut writing =
        Writing::new(visit::KIND, id, Action::Undo, by.actor(), event_ms).withdraw(visit::TRANSITION, &steps);
    if let Some(room) = &room {
        writing = writing.clear(visit::ROOM, &[room.change]);
    }
    if let Some(provider) = &provider {
        writing = writing.clear(visit::PROVIDER, &[provider.change]);
    }
    let Some(cause) = write(tx, &writing.done())? else {
        return Ok(());
    };
    if standing.state.is_end()
        && let Some(room) = visit::ROOM.value(&before).filter(|_| room.is_none())
    {
        // The patient is still in the room that the end gave up.
        note_room(tx, by, room, RoomState::Occupied, event_ms, cause)?;
    }
    if let Some(room) = room {
        // Nobody was in it: the step into it is what was taken back.
        note_room(tx, by, room.value, RoomState::Clean, event_ms, cause)?;
    }
    cause_tasks(tx, cause, id, Some(standing.state), event_ms)
}

/// Makes the tasks that a moved visit causes, in the transaction that moved it.
pub fn cause_tasks(
    tx: &mut WriteTx<'_>,
    cause: ChangeId,
    visit_id: RecordId,
    before: Option<VisitState>,
    event_ms: i64,
) -> Result<(), ActError> {
    let site = Site::of(tx)?;
    let visit_state = known(tx, visit_id, visit::KIND, "visit")?;
    let patient_id = visit::PATIENT
        .value(&visit_state)
        .ok_or(ActError::NotFound("patient"))?;
    let patient_state = known(tx, patient_id, patient::KIND, "patient")?;
    let tasks = states(tx.linked(patient_id, task::KIND)?);
    let drafts = after_visit(&VisitEvent {
        cause,
        event_ms,
        before,
        visit: &visit_state,
        patient: &patient_state,
        tasks: &tasks,
        target: site.ehr,
    });
    for draft in drafts {
        write(tx, &draft)?;
    }
    Ok(())
}
