//! What follows from how a link stands. TEMP numbers of the records that are one person's are on the record that stands
//! for the person as well, so that a label is found for ever; when the records are parted, exactly those copies are
//! refuted, a registration that was done under the other record's number at the EHR is to be done again, and encounters
//! that may have been delivered under it are looked at there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clinic::linking::{ehr_id, ends, other_end, primary, standing};
use clinic::numbering::TEMP_SYSTEM;
use clinic::task::{Delivery, DeliveryState, ErrorClass, TaskKind};
use clinic::value::LinkStanding;
use clinic::write::{Action, Channel};
use clinic::{Identifier, Shown, Value, Writing, link, patient, task_record};
use sync_protocol::hub::HubLedger;
use sync_protocol::{ChangeId, Phi, RecordId, RecordState};

use super::{Outcome, cluster_of};
use crate::db::{DbError, Txn};

const NOTE_PARTED: &str = "its record is no longer linked to the one that was registered";
const NOTE_WHOSE: &str = "its record was linked to another: whose encounter it is at the EHR is looked up";

/// Brings the records at a link's ends, and whoever is linked with them, to what the link now says.
pub(super) fn follow(txn: &mut Txn<'_>, link: &RecordState) -> Outcome<()> {
    let Some((left, right)) = ends(link) else { return Ok(()) };
    enter_where_the_ends_are(txn, link.record, (left, right))?;
    let cluster = cluster_of(txn, left)?;
    let parted = !cluster.contains(&right);
    let mut clusters = vec![cluster];
    if parted {
        clusters.push(cluster_of(txn, right)?);
    }
    for cluster in clusters {
        let members = states(txn, &cluster)?;
        keep_aliases(txn, &members)?;
        if parted {
            register_again(txn, &members)?;
        }
        if parted && was_parted_by_somebody(txn, link)? {
            look_up_encounters(txn, &members)?;
        }
    }
    Ok(())
}

/// Whether somebody has said that two who were linked are not, or not surely, one person; a proposal of the hub's parts
/// nobody, and two who were only proposed have nothing in common that could be parted.
fn was_parted_by_somebody(txn: &mut Txn<'_>, link: &RecordState) -> Result<bool, DbError> {
    let Shown::One(said) = standing(link) else {
        return Ok(false);
    };
    match said.value {
        LinkStanding::Linked => return Ok(false),
        LinkStanding::Proposed if said.actor == Channel::Hub.program() => return Ok(false),
        LinkStanding::Proposed | LinkStanding::Distinct => {}
    }
    were_linked(txn, said.change)
}

/// Whether the two were linked before people came to say this of them, by what each change says it replaced. Where that is
/// not here, as after the hub was put back to a copy, they may have been.
fn were_linked(txn: &mut Txn<'_>, said: ChangeId) -> Result<bool, DbError> {
    let (mut todo, mut seen) = (vec![said], BTreeSet::from([said]));
    while let Some(change) = todo.pop() {
        let kept = txn.find(change)?;
        let kept = kept.and_then(|kept| Some((kept.header?, kept.change.parse_payload().ok()?)));
        let Some((header, payload)) = kept else { return Ok(true) };
        let stood = payload.fields.iter().find(|one| one.field == link::STANDING.id);
        if stood.and_then(|stood| LinkStanding::from_raw(&stood.value)) == Some(LinkStanding::Linked) {
            return Ok(true);
        }
        // When the hub proposed something, it had followed what was said before.
        if header.actor != Channel::Hub.program() {
            let before = header.named(link::STANDING.id).iter();
            todo.extend(before.filter(|before| seen.insert(**before)));
        }
    }
    Ok(false)
}

/// Whoever has one of the patients must know of the link.
pub(super) fn enter_where_the_ends_are(
    txn: &mut Txn<'_>,
    link: RecordId,
    (left, right): (RecordId, RecordId),
) -> Outcome<()> {
    let mut scopes: BTreeSet<_> = txn.scopes_of(left)?.into_iter().collect();
    scopes.extend(txn.scopes_of(right)?);
    for scope in scopes {
        txn.enter(scope, link)?;
    }
    Ok(())
}

/// Everybody whom a person has called another person than one of these.
pub(super) fn distinct_from(txn: &mut Txn<'_>, cluster: &BTreeSet<RecordId>) -> Result<BTreeSet<RecordId>, DbError> {
    let mut distinct = BTreeSet::new();
    for member in cluster {
        let links = txn.linked_to(*member, link::KIND)?;
        let said = links
            .iter()
            .filter(|link| standing(link).standing() == Some(&LinkStanding::Distinct));
        distinct.extend(said.filter_map(|link| other_end(link, *member)));
    }
    Ok(distinct)
}

fn states(txn: &mut Txn<'_>, cluster: &BTreeSet<RecordId>) -> Result<Vec<Arc<RecordState>>, DbError> {
    txn.lock(&cluster.iter().map(|member| member.0).collect::<Vec<_>>())?;
    let mut members = Vec::new();
    for member in cluster {
        members.extend(txn.state(*member)?.filter(|state| state.kind == patient::KIND));
    }
    Ok(members)
}

/// TEMP numbers by what wrote them: minted on the record, or copied to it by a link.
struct Temps {
    minted: BTreeMap<String, Identifier>,
    copied: Vec<(ChangeId, String)>,
}

fn temps(txn: &mut Txn<'_>, state: &RecordState) -> Result<Temps, DbError> {
    let mut temps = Temps {
        minted: BTreeMap::new(),
        copied: Vec::new(),
    };
    for said in patient::IDENTIFIER.standing(state) {
        let number = said.value.into_exposed();
        if number.system != TEMP_SYSTEM {
            continue;
        }
        let header = txn.find(said.change)?.and_then(|kept| kept.header);
        if header.is_some_and(|header| header.action == Action::Link.code()) {
            temps.copied.push((said.change, number.value));
        } else {
            temps.minted.insert(number.value.clone(), number);
        }
    }
    Ok(temps)
}

fn keep_aliases(txn: &mut Txn<'_>, members: &[Arc<RecordState>]) -> Outcome<()> {
    let mut all = Vec::new();
    for state in members {
        all.push((state, temps(txn, state)?));
    }
    let minted: BTreeMap<String, Identifier> = all.iter().flat_map(|(_, temps)| temps.minted.clone()).collect();
    let stands_for_them = primary(members);
    for (state, temps) in &all {
        let stale: Vec<ChangeId> = temps
            .copied
            .iter()
            .filter(|(_, number)| !minted.contains_key(number))
            .map(|(change, _)| *change)
            .collect();
        if !stale.is_empty() {
            let draft = writing(txn, state.record, Action::Unlink)
                .refute(patient::IDENTIFIER, &stale, "the records were parted")
                .done();
            txn.author_if_room(&draft, None)?;
        }
        if stands_for_them != Some(state.record) {
            continue;
        }
        let has = |number: &String| {
            temps.minted.contains_key(number) || temps.copied.iter().any(|(_, copied)| copied == number)
        };
        // One change holds one element of a field.
        for number in minted
            .iter()
            .filter(|(number, _)| !has(number))
            .map(|(_, number)| number)
        {
            let draft = writing(txn, state.record, Action::Link)
                .assert(patient::IDENTIFIER, &Phi::new(number.clone()))
                .done();
            txn.author_if_room(&draft, None)?;
        }
    }
    Ok(())
}

fn writing(txn: &Txn<'_>, record: RecordId, action: Action) -> Writing {
    let now_ms = i64::try_from(txn.now_ms()).unwrap_or(i64::MAX);
    Writing::new(patient::KIND, record, action, Channel::Hub.program(), now_ms)
}

/// A registration that counted as done because another record's patient was known is open again once the records are
/// parted: this patient is not known at the EHR.
fn register_again(txn: &mut Txn<'_>, members: &[Arc<RecordState>]) -> Outcome<()> {
    if members.iter().any(|state| ehr_id(state).is_some()) {
        return Ok(());
    }
    for state in members {
        for task in txn.linked_to(state.record, task_record::KIND)? {
            let done_elsewhere = task_record::KIND_OF_WORK.value(&task) == Some(TaskKind::RegisterPatient)
                && task_record::PARTNER_ID.value(&task).is_some();
            let Some(delivery) = task_record::DELIVERY
                .value(&task)
                .filter(|delivery| done_elsewhere && delivery.state == DeliveryState::Delivered)
            else {
                continue;
            };
            let now_ms = i64::try_from(txn.now_ms()).unwrap_or(i64::MAX);
            let again = Delivery {
                state: DeliveryState::Waiting,
                attempts: 0,
                class: ErrorClass::None,
                at_ms: now_ms,
                note: NOTE_PARTED.to_owned(),
                ..delivery
            };
            let draft = open_again(&task, &again, now_ms)
                .clear(task_record::PARTNER_ID, &task.shown(task_record::PARTNER_ID.id))
                .done();
            txn.author_if_room(&draft, None)?;
        }
    }
    Ok(())
}

/// A task whose records were parted stands otherwise from now on.
fn open_again(task: &RecordState, delivery: &Delivery, now_ms: i64) -> Writing {
    let of_unlink = Writing::new(
        task_record::KIND,
        task.record,
        Action::Unlink,
        Channel::Hub.program(),
        now_ms,
    );
    of_unlink.replace(task_record::DELIVERY, delivery, &task.shown(task_record::DELIVERY.id))
}

/// The encounters of a record that the EHR does not know by itself were delivered under a number of another record of the
/// person. Which one that was is not written here, so the EHR is asked; of each visit the newest stands for all.
fn look_up_encounters(txn: &mut Txn<'_>, members: &[Arc<RecordState>]) -> Outcome<()> {
    let now_ms = i64::try_from(txn.now_ms()).unwrap_or(i64::MAX);
    for state in members.iter().filter(|state| ehr_id(state).is_none()) {
        let mut newest = BTreeMap::new();
        for task in txn.linked_to(state.record, task_record::KIND)? {
            let Some(kind) = task_record::KIND_OF_WORK.latest(&task) else {
                continue;
            };
            let delivery = task_record::DELIVERY.value(&task);
            let Some(delivery) = delivery
                .filter(|delivery| kind.value == TaskKind::Encounter && delivery.state == DeliveryState::Delivered)
            else {
                continue;
            };
            let entered = (kind.entered_ms, task.record);
            let visit =
                newest
                    .entry(task_record::VISIT.value(&task))
                    .or_insert((entered, task.clone(), delivery.clone()));
            if visit.0 < entered {
                *visit = (entered, task, delivery);
            }
        }
        for (_, task, delivery) in newest.into_values() {
            let whose = Delivery {
                state: DeliveryState::OutcomeUnknown,
                attempts: 0,
                class: ErrorClass::None,
                at_ms: now_ms,
                note: NOTE_WHOSE.to_owned(),
                ..delivery
            };
            txn.author_if_room(&open_again(&task, &whose, now_ms).done(), None)?;
        }
    }
    Ok(())
}
