//! Reading a patient's situation from the store, inside whatever transaction asks.

use std::collections::{BTreeMap, BTreeSet};

use clinic::index::{Wanted, identifier_term};
use clinic::linking::{ehr_id, other_end, primary, standing, temp_numbers};
use clinic::task::{Delivery, DeliveryState, ErrorClass, Intent, TaskKind};
use clinic::value::{LinkStanding, Target};
use clinic::{link, patient, task_record as task};
use sync_protocol::hub::HubLedger;
use sync_protocol::{ChangeId, RecordId, RecordState, ReplicaId};

use super::plan::{Situation, Task};
use crate::db::{DbError, Txn};
use crate::matching::cluster_of;

/// The situation of everybody who is one person with this patient. `None` when the hub has no such patient.
pub(super) fn load(txn: &mut Txn<'_>, id: RecordId) -> Result<Option<Situation>, DbError> {
    if txn.state(id)?.is_none_or(|record| record.kind != patient::KIND) {
        return Ok(None);
    }
    let cluster = cluster_of(txn, id)?;
    let mut members = Vec::new();
    for member in &cluster {
        members.extend(txn.state(*member)?.filter(|record| record.kind == patient::KIND));
    }
    let Some(patient) = primary(&members) else {
        return Ok(None);
    };
    let life = Life::present(txn)?;
    let mut tasks = Vec::new();
    let mut temp_shared = false;
    for member in &members {
        for state in txn.linked_to(member.record, task::KIND)? {
            tasks.extend(read_task(txn, &state, member.record, life)?);
        }
        temp_shared = temp_shared || shares_temp(txn, member, &cluster)?;
    }
    tasks.sort_by_key(|task| (task.kind != TaskKind::RegisterPatient, task.entered));
    let own_ids: BTreeMap<_, _> = members
        .iter()
        .filter_map(|member| Some((member.record, ehr_id(member)?)))
        .collect();
    let others = others(txn, &cluster)?;
    Ok(Some(Situation {
        patient,
        partner_id: own_ids.get(&patient).cloned(),
        partner_ids: own_ids,
        undecided: members
            .iter()
            .any(|record| patient::NAME.ask(record).is_open() || patient::BIRTH_DATE.ask(record).is_open()),
        temp_shared,
        alike_here: others.alike,
        somebody_else: others.ids,
        cluster,
        tasks,
    }))
}

/// What is known of others who might be, or are not, this person.
#[derive(Default)]
struct Others {
    /// A person is to say of somebody whether they are.
    alike: bool,
    /// The EHR's ids of those who are not.
    ids: BTreeSet<String>,
}

fn others(txn: &mut Txn<'_>, cluster: &BTreeSet<RecordId>) -> Result<Others, DbError> {
    let mut others = Others::default();
    for member in cluster {
        for state in txn.linked_to(*member, link::KIND)? {
            let Some(other) = other_end(&state, *member).filter(|other| !cluster.contains(other)) else {
                continue;
            };
            let said = standing(&state);
            match said.standing() {
                _ if said.is_open() => others.alike = true,
                Some(LinkStanding::Proposed) => others.alike = true,
                Some(LinkStanding::Distinct) => {
                    for one in cluster_of(txn, other)? {
                        others.ids.extend(txn.state(one)?.as_deref().and_then(ehr_id));
                    }
                }
                Some(LinkStanding::Linked) | None => {}
            }
        }
    }
    Ok(others)
}

/// Whether somebody else carries one of the patient's TEMP numbers.
fn shares_temp(txn: &mut Txn<'_>, record: &RecordState, cluster: &BTreeSet<RecordId>) -> Result<bool, DbError> {
    for number in temp_numbers(record) {
        let words = [vec![Wanted::Exactly(identifier_term(&number))]];
        let bearers = txn.search(patient::KIND, &words)?;
        if bearers
            .iter()
            .any(|other| !cluster.contains(&other.record) && temp_numbers(other).contains(&number))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether this id at the EHR is that of a record of ours which is not one of these.
pub(super) fn is_known_outside(
    txn: &mut Txn<'_>,
    cluster: &BTreeSet<RecordId>,
    partner_id: &str,
) -> Result<bool, DbError> {
    let bearers = txn.search(patient::KIND, &[vec![Wanted::Exactly(identifier_term(partner_id))]])?;
    let of_another = bearers.iter().filter(|other| !cluster.contains(&other.record));
    Ok(of_another.filter_map(ehr_id).any(|known| known == partner_id))
}

/// The life of the hub's store, as tasks are told by it: a store that was put back to a copy may lack what was sent.
#[derive(Clone, Copy)]
struct Life {
    /// What the hub writes as in it.
    hub_replica: ReplicaId,
    is_first: bool,
}

impl Life {
    fn present(txn: &mut Txn<'_>) -> Result<Life, DbError> {
        Ok(Life {
            hub_replica: txn.present()?.1,
            is_first: txn.epochs()?.len() <= 1,
        })
    }

    /// Whether nothing was written of the task's delivery in this life of the hub, and there was another one.
    fn is_older(self, state: &RecordState) -> bool {
        let said = task::DELIVERY.latest(state);
        let register = state.register(task::DELIVERY.id);
        let live = said.and_then(|said| register?.values.get(&said.change));
        !self.is_first && live.is_none_or(|live| live.origin.dot.replica != self.hub_replica)
    }
}

/// `None` for a task of another target, or one that is not whole.
fn read_task(txn: &mut Txn<'_>, state: &RecordState, patient: RecordId, life: Life) -> Result<Option<Task>, DbError> {
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
        patient,
        kind: kind.value,
        visit: task::VISIT.value(state),
        tells: task::STATE.value(state),
        entered: (entered_at.map(|live| live.origin.at).unwrap_or_default(), kind.change),
        correlation: correlation.unwrap_or(kind.change),
        deadline_ms: task::DEADLINE_MS.value(state).unwrap_or(i64::MAX),
        intent: intent.as_ref().map_or(Intent::Wanted, |said| said.value),
        intent_change: intent.map_or(ChangeId::NIL, |said| said.change),
        delivery: delivery.unwrap_or_else(not_begun),
        of_older_life: life.is_older(state),
        delivered_as: task::PARTNER_ID.value(state),
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
