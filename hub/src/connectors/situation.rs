//! Reading a patient's situation from the store, inside whatever transaction asks.

use clinic::index::{Wanted, identifier_term};
use clinic::numbering::TEMP_SYSTEM;
use clinic::rules::EHR_SYSTEM;
use clinic::task::{Delivery, DeliveryState, ErrorClass, Intent, TaskKind};
use clinic::value::Target;
use clinic::{patient, task_record as task};
use sync_protocol::hub::HubLedger;
use sync_protocol::{ChangeId, RecordId, RecordState};

use super::plan::{Situation, Task};
use crate::db::{DbError, Txn};

/// `None` when the hub has no such patient.
pub(super) fn load(txn: &mut Txn<'_>, id: RecordId) -> Result<Option<Situation>, DbError> {
    let Some(record) = txn.state(id)?.filter(|record| record.kind == patient::KIND) else {
        return Ok(None);
    };
    let mut tasks = Vec::new();
    for state in txn.linked_to(id, task::KIND)? {
        tasks.extend(read_task(txn, &state)?);
    }
    tasks.sort_by_key(|task| (task.kind != TaskKind::RegisterPatient, task.entered));
    Ok(Some(Situation {
        patient: id,
        partner_id: partner_id(&record),
        undecided: patient::NAME.ask(&record).is_open() || patient::BIRTH_DATE.ask(&record).is_open(),
        temp_shared: temp_shared(txn, &record)?,
        tasks,
    }))
}

/// The kind under which the EHR's own resource id is kept. A number that a person typed in is a chart number and of another
/// kind: as a resource id it might be somebody else's.
pub(super) const RESOURCE_ID: &str = "PI";

/// The patient's id at the EHR: the one that was found last, where there are several.
fn partner_id(record: &RecordState) -> Option<String> {
    let identifiers = patient::IDENTIFIER.standing(record);
    let of_ehr = identifiers
        .iter()
        .rev()
        .map(|said| said.value.expose())
        .find(|id| id.system == EHR_SYSTEM && id.kind == RESOURCE_ID);
    of_ehr.map(|id| id.value.clone())
}

fn temp_shared(txn: &mut Txn<'_>, record: &RecordState) -> Result<bool, DbError> {
    let temps = |record: &RecordState| -> Vec<String> {
        let identifiers = patient::IDENTIFIER
            .standing(record)
            .into_iter()
            .map(|said| said.value.into_exposed());
        identifiers
            .filter(|id| id.system == TEMP_SYSTEM)
            .map(|id| id.value)
            .collect()
    };
    for number in temps(record) {
        let words = [vec![Wanted::Exactly(identifier_term(&number))]];
        let bearers = txn.search(patient::KIND, &words)?;
        if bearers
            .iter()
            .any(|other| other.record != record.record && temps(other).contains(&number))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `None` for a task of another target, or one that is not whole.
fn read_task(txn: &mut Txn<'_>, state: &RecordState) -> Result<Option<Task>, DbError> {
    let Some(kind) = task::KIND_OF_WORK.latest(state) else {
        return Ok(None);
    };
    if task::TARGET.value(state).unwrap_or(Target::Machine) != Target::Machine {
        return Ok(None);
    }
    let entered_at = state
        .register(task::KIND_OF_WORK.id)
        .and_then(|register| register.values.get(&kind.change));
    let correlation = txn
        .find(kind.change)?
        .and_then(|kept| kept.header)
        .map(|header| header.correlation);
    let intent = task::INTENT.latest(state);
    let delivery = task::DELIVERY.value(state);
    let offered = task::CANDIDATES
        .value(state)
        .map(|candidates| candidates.into_exposed().0)
        .unwrap_or_default();
    Ok(Some(Task {
        id: state.record,
        kind: kind.value,
        visit: task::VISIT.value(state),
        tells: task::STATE.value(state),
        entered: (entered_at.map(|live| live.origin.at).unwrap_or_default(), kind.change),
        correlation: correlation.unwrap_or(kind.change),
        deadline_ms: task::DEADLINE_MS.value(state).unwrap_or(i64::MAX),
        intent: intent.as_ref().map_or(Intent::Wanted, |said| said.value),
        intent_change: intent.map_or(ChangeId::NIL, |said| said.change),
        delivery: delivery.unwrap_or_else(not_begun),
        by_hand: task::ENTERED.value(state).map(|entered| entered.into_exposed().number),
        answer: task::ANSWER.value(state),
        offered: offered.into_iter().map(|candidate| candidate.partner_id).collect(),
    }))
}

/// What a task without a delivery stands for.
pub(super) fn not_begun() -> Delivery {
    Delivery {
        state: DeliveryState::Waiting,
        attempts: 0,
        class: ErrorClass::None,
        at_ms: 0,
        heeded: ChangeId::NIL,
        note: String::new(),
    }
}
