//! Which tasks an event at the site causes. Pure: the store writes what it answers in the transaction of the event.
//!
//! A task's id is derived from the rule, the change and the target, so that a second firing is the same record.

use sync_protocol::author::Draft;
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, RecordId};

use crate::catalogue::{patient, task, visit};
use crate::flow::{self, VisitState};
use crate::task::{Intent, TaskKind, TaskState, state_of, task_id};
use crate::value::Target;
use crate::write::{Action, Channel, Writing};

/// How long a task may wait before it counts as late: a day's work must be out within three days of an outage's end, and
/// the longest outage that is planned for is thirty days.
pub const TASK_DEADLINE_MS: i64 = 33 * 24 * 60 * 60 * 1000;

/// The system under which the hub writes the EHR's id of a patient.
pub const EHR_SYSTEM: &str = "urn:mainstay:partner:ehr";

/// What the rules look at after a visit has changed.
pub struct VisitEvent<'a> {
    /// The change that moved the visit or took a move back.
    pub cause: ChangeId,
    pub event_ms: i64,
    pub before: Option<VisitState>,
    pub visit: &'a RecordState,
    pub patient: &'a RecordState,
    /// The tasks of this patient that there are.
    pub tasks: &'a [RecordState],
    pub target: Target,
}

/// The tasks that a moved visit causes: registering a patient whom the EHR does not know yet, and telling it of the
/// encounter whenever what it would be told changes. An encounter task that is still waiting gives way to the newer one.
pub fn after_visit(event: &VisitEvent<'_>) -> Vec<Draft> {
    let Some(standing) = flow::standing(event.visit) else {
        return Vec::new();
    };
    if standing.state == VisitState::Expected {
        return Vec::new();
    }
    let mut drafts = Vec::new();
    drafts.extend(register(event));
    let told = event
        .before
        .filter(|before| *before != VisitState::Expected)
        .map(VisitState::encounter_status);
    if told != Some(standing.state.encounter_status()) {
        drafts.extend(superseded(event));
        drafts.push(encounter(event, standing.state));
    }
    drafts
}

fn register(event: &VisitEvent<'_>) -> Option<Draft> {
    let known = patient::IDENTIFIER
        .standing(event.patient)
        .iter()
        .any(|id| id.value.expose().system == EHR_SYSTEM);
    let underway = event.tasks.iter().any(|record| {
        task::KIND_OF_WORK.value(record) == Some(TaskKind::RegisterPatient)
            && !matches!(state_of(record), TaskState::Withdrawn | TaskState::Expired)
    });
    if known || underway {
        return None;
    }
    Some(new_task(event, "register", TaskKind::RegisterPatient).done())
}

fn encounter(event: &VisitEvent<'_>, state: VisitState) -> Draft {
    new_task(event, "encounter", TaskKind::Encounter)
        .set(task::VISIT, &event.visit.record)
        .set(task::STATE, &state)
        .done()
}

fn new_task(event: &VisitEvent<'_>, rule: &str, kind: TaskKind) -> Writing {
    let id = task_id(rule, event.cause, event.target);
    Writing::new(
        task::KIND,
        id,
        Action::CreateTask,
        Channel::Rule.program(),
        event.event_ms,
    )
    .because(event.cause)
    .set(task::KIND_OF_WORK, &kind)
    .set(task::TARGET, &event.target)
    .set(task::PATIENT, &event.patient.record)
    .set(task::DEADLINE_MS, &(event.event_ms + TASK_DEADLINE_MS))
    .set(task::INTENT, &Intent::Wanted)
}

fn superseded(event: &VisitEvent<'_>) -> Vec<Draft> {
    let waiting = event.tasks.iter().filter(|record| {
        task::KIND_OF_WORK.value(record) == Some(TaskKind::Encounter)
            && task::VISIT.value(record) == Some(event.visit.record)
            && state_of(record) == TaskState::Waiting
            && task::INTENT.value(record) == Some(Intent::Wanted)
    });
    waiting
        .map(|record| {
            Writing::new(
                task::KIND,
                record.record,
                Action::ChangeTask,
                Channel::Rule.program(),
                event.event_ms,
            )
            .because(event.cause)
            .replace(task::INTENT, &Intent::Superseded, &record.shown(task::INTENT.id))
            .done()
        })
        .collect()
}

/// What a new arrival writes of the visit.
pub fn arrive(id: RecordId, patient: RecordId, site: RecordId, actor: sync_protocol::Actor, event_ms: i64) -> Writing {
    Writing::new(visit::KIND, id, Action::Arrive, actor, event_ms)
        .set(visit::PATIENT, &patient)
        .set(visit::SITE, &site)
        .assert(visit::TRANSITION, &VisitState::Arrived)
}
