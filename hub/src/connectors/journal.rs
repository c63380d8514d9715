//! Writing down how a delivery goes: every step is a change of the hub's own on the task's record, and so reaches the
//! site. Before an attempt the plan is made again in the transaction that commits the attempt, so that a withdrawal that
//! came meanwhile is heeded.

use clinic::linking::EHR_ID_KIND;
use clinic::matching::Candidate;
use clinic::rules::EHR_SYSTEM;
use clinic::task::{CANDIDATES_MAX, Candidates, Delivery, DeliveryState, ErrorClass, TaskKind};
use clinic::write::{Action, Channel};
use clinic::{Identifier, Value, Writing, patient, task_record};
use sync_protocol::hub::{HubError, HubLedger};
use sync_protocol::{Phi, RecordId, RecordState};

use super::delivery::Desk;
use super::plan::{NOTE_ASK, Next, Situation, Task, next};
use super::situation;
use crate::db::{DbError, Txn};
use crate::matching::{Matcher, cluster_of};

pub(super) type StoreError = HubError<DbError>;

/// What is offered to a person has to fit into one change.
const OFFER_MAX_BYTES: usize = 12 * 1024;
const CANDIDATE_MAX_BYTES: usize = 1_500;
/// Of one candidate only so much is offered.
const CANDIDATE_PHONES_MAX: usize = 4;
const CANDIDATE_IDENTIFIERS_MAX: usize = 6;

const NOTE_NO_ROOM: &str = "the patient's record has no room for the EHR's number: enter the visit there by hand";

/// The plan in one transaction cannot need more steps than this: every note ends a task's stay in a state.
const NOTES_MAX: usize = 1_000;

/// What there is to do, or that somebody else is at it.
pub(super) enum Caught {
    Busy,
    Up(Next, Option<Box<Situation>>),
}

/// Notes everything about the person's tasks that needs no word with the partner; answers what comes then, and the
/// situation in which it does. Whatever is to be done is done under the leases of all the person's records.
pub(super) async fn catch_up(desk: &Desk, patient: RecordId) -> Result<Caught, StoreError> {
    let quiet = desk
        .db
        .read(move |txn| {
            let situation = situation::load(txn, patient)?;
            Ok::<_, StoreError>((plan(txn, situation.as_ref()), situation))
        })
        .await?;
    if matches!(quiet.0, Next::Wait(_) | Next::Rest) {
        return Ok(Caught::Up(quiet.0, quiet.1.map(Box::new)));
    }
    let (turn, matcher) = (desk.turn, desk.matcher.clone());
    desk.db
        .write(move |txn| {
            if !turn.take(txn, patient)? {
                return Ok(Caught::Busy);
            }
            for _ in 0..NOTES_MAX {
                let situation = situation::load(txn, patient)?;
                match (plan(txn, situation.as_ref()), &situation) {
                    (Next::Note(id, delivery), Some(now)) => note(txn, now, id, &delivery)?,
                    (Next::Known(id, partner_id), Some(now)) => deliver(txn, &matcher, now, id, &partner_id)?,
                    (settled, _) => return Ok(Caught::Up(settled, situation.map(Box::new))),
                }
            }
            Err(HubError::Ledger(DbError::Damaged {
                what: "a patient's tasks in a state",
            }))
        })
        .await
}

fn plan(txn: &Txn<'_>, situation: Option<&Situation>) -> Next {
    situation.map_or(Next::Rest, |situation| next(situation, now_ms(txn)))
}

/// Commits that an attempt begins, if it still is what comes next and the leases are still ours. Nothing may be sent
/// before this has returned the task, nor after the time that comes with it. A patient who is to be created is compared
/// once more with all of ours, in this very transaction: whoever else is in the store by now is seen.
pub(super) async fn begin(desk: &Desk, task: &Task) -> Result<Option<(Task, i64)>, StoreError> {
    let (turn, matcher) = (desk.turn, desk.matcher.clone());
    let (task, patient, kind) = (task.id, task.patient, task.kind);
    desk.db
        .write(move |txn| {
            if !turn.take(txn, patient)? {
                return Ok(None);
            }
            if kind == TaskKind::RegisterPatient {
                for record in cluster_of(txn, patient)? {
                    matcher.propose(txn, record)?;
                }
                // Whoever was found to be the same person meanwhile may be somebody else's work.
                if !turn.take(txn, patient)? {
                    return Ok(None);
                }
            }
            let Some(mut now) = situation::load(txn, patient)? else {
                return Ok(None);
            };
            if next(&now, now_ms(txn)) != Next::Deliver(task) {
                return Ok(None);
            }
            let Some(found) = now.tasks.iter_mut().find(|one| one.id == task) else {
                return Ok(None);
            };
            found.delivery = Delivery {
                state: DeliveryState::BeingSent,
                attempts: found.delivery.attempts.saturating_add(1),
                class: ErrorClass::None,
                at_ms: now_ms(txn),
                note: String::new(),
                ..found.delivery.clone()
            };
            let begun = found.clone();
            note(txn, &now, task, &begun.delivery)?;
            Ok(Some((begun, turn.begin_before_ms(now_ms(txn)))))
        })
        .await
}

/// What came of talking to the partner about a task.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The partner has it, under this id.
    Delivered(String),
    Changed(Delivery),
    /// A person is to say which of these it is.
    Ask(Vec<Candidate>),
    /// The patient that the task is about was found at the partner; the task itself goes on.
    PatientFound(String),
}

/// Writes down what came of a task, unless the work is somebody else's by now: they look it up.
pub(super) async fn settle(desk: &Desk, task: &Task, outcome: Outcome) -> Result<(), StoreError> {
    let (state, class, attempts) = match &outcome {
        Outcome::Delivered(_) => (DeliveryState::Delivered.word(), "none", None),
        Outcome::Changed(delivery) => (delivery.state.word(), delivery.class.word(), Some(delivery.attempts)),
        Outcome::Ask(_) => (DeliveryState::OnHold.word(), ErrorClass::Conflict.word(), None),
        Outcome::PatientFound(_) => ("patient found", "none", None),
    };
    let (turn, matcher) = (desk.turn, desk.matcher.clone());
    let (task, patient) = (task.id, task.patient);
    let written = desk
        .db
        .write(move |txn| {
            if !turn.take(txn, patient)? {
                return Ok(false);
            }
            let Some(now) = situation::load(txn, patient)? else {
                return Ok(true);
            };
            match &outcome {
                Outcome::Delivered(partner_id) => deliver(txn, &matcher, &now, task, partner_id)?,
                Outcome::Changed(delivery) => note(txn, &now, task, delivery)?,
                Outcome::Ask(candidates) => ask(txn, &now, task, candidates.clone())?,
                Outcome::PatientFound(partner_id) => found(txn, &matcher, &now, task, partner_id)?,
            }
            Ok::<_, StoreError>(true)
        })
        .await?;
    match written {
        true => tracing::info!(%task, state, class, attempts, "a task went on"),
        false => tracing::warn!(%task, "this process was held up: another goes on with the task"),
    }
    Ok(())
}

fn note(txn: &mut Txn<'_>, now: &Situation, task: RecordId, delivery: &Delivery) -> Result<(), StoreError> {
    change(txn, now, task, |writing, record| {
        writing.replace(task_record::DELIVERY, delivery, &record.shown(task_record::DELIVERY.id))
    })
}

fn deliver(
    txn: &mut Txn<'_>,
    matcher: &Matcher,
    now: &Situation,
    id: RecordId,
    partner_id: &str,
) -> Result<(), StoreError> {
    let Some(task) = now.task(id) else { return Ok(()) };
    let delivery = Delivery {
        state: DeliveryState::Delivered,
        class: ErrorClass::None,
        at_ms: now_ms(txn),
        note: String::new(),
        ..task.delivery.clone()
    };
    change(txn, now, id, |writing, record| {
        writing
            .replace(
                task_record::DELIVERY,
                &delivery,
                &record.shown(task_record::DELIVERY.id),
            )
            .replace(
                task_record::PARTNER_ID,
                &partner_id.to_owned(),
                &record.shown(task_record::PARTNER_ID.id),
            )
    })?;
    match task.kind {
        TaskKind::RegisterPatient => know_patient(txn, matcher, now, task, partner_id).map(|_| ()),
        TaskKind::Encounter => Ok(()),
    }
}

/// The patient that a task is about was found. Where that cannot be written down the task would be found again and again, so
/// it is a person's.
fn found(
    txn: &mut Txn<'_>,
    matcher: &Matcher,
    now: &Situation,
    id: RecordId,
    partner_id: &str,
) -> Result<(), StoreError> {
    let Some(task) = now.task(id) else { return Ok(()) };
    if know_patient(txn, matcher, now, task, partner_id)? {
        return Ok(());
    }
    let delivery = Delivery {
        state: DeliveryState::SetAside,
        class: ErrorClass::Conflict,
        at_ms: now_ms(txn),
        note: NOTE_NO_ROOM.to_owned(),
        ..task.delivery.clone()
    };
    note(txn, now, id, &delivery)
}

/// Writes the EHR's id of the patient beside the patient's other numbers, unless a record that is linked has it. False where
/// the record has no room for it.
fn know_patient(
    txn: &mut Txn<'_>,
    matcher: &Matcher,
    now: &Situation,
    task: &Task,
    partner_id: &str,
) -> Result<bool, StoreError> {
    if now.partner_ids.values().any(|known| known == partner_id) {
        return Ok(true);
    }
    let identifier = Identifier {
        system: EHR_SYSTEM.to_owned(),
        value: partner_id.to_owned(),
        kind: EHR_ID_KIND.to_owned(),
    };
    let draft = Writing::new(
        patient::KIND,
        task.patient,
        Action::Deliver,
        Channel::Connector.program(),
        now_ms(txn),
    )
    .because(task.correlation)
    .assert(patient::IDENTIFIER, &Phi::new(identifier))
    .done();
    let scope = txn.scopes_of(task.id)?.first().copied();
    let written = txn.author_if_room(&draft, scope)?;
    // Another record of ours may have this number already.
    matcher.propose(txn, task.patient)?;
    Ok(written.is_some())
}

/// Puts the question to the site. An answer to an earlier question is taken back: it was not about these.
fn ask(txn: &mut Txn<'_>, now: &Situation, id: RecordId, candidates: Vec<Candidate>) -> Result<(), StoreError> {
    let Some(task) = now.task(id) else { return Ok(()) };
    let delivery = Delivery {
        state: DeliveryState::OnHold,
        class: ErrorClass::Conflict,
        at_ms: now_ms(txn),
        note: NOTE_ASK.to_owned(),
        ..task.delivery.clone()
    };
    let offer = Phi::new(Candidates(fitting(candidates)));
    change(txn, now, id, |writing, record| {
        let answered = record.shown(task_record::ANSWER.id);
        let writing = if answered.is_empty() {
            writing
        } else {
            writing.clear(task_record::ANSWER, &answered)
        };
        writing
            .replace(
                task_record::DELIVERY,
                &delivery,
                &record.shown(task_record::DELIVERY.id),
            )
            .replace(
                task_record::CANDIDATES,
                &offer,
                &record.shown(task_record::CANDIDATES.id),
            )
    })
}

/// As many candidates, and as much of each, as fit into a change.
fn fitting(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut left = OFFER_MAX_BYTES;
    let mut offered = Vec::new();
    for mut candidate in candidates.into_iter().take(CANDIDATES_MAX) {
        candidate.identity.phones.truncate(CANDIDATE_PHONES_MAX);
        candidate.identity.identifiers.truncate(CANDIDATE_IDENTIFIERS_MAX);
        if candidate.to_raw().as_bytes().len() > CANDIDATE_MAX_BYTES {
            candidate.identity.identifiers.clear();
            candidate.identity.phones.clear();
        }
        let bytes = candidate.to_raw().as_bytes().len();
        if bytes > CANDIDATE_MAX_BYTES {
            continue;
        }
        if bytes > left {
            break;
        }
        left -= bytes;
        offered.push(candidate);
    }
    offered
}

/// Writes a change of the task, into the scope of the site whose task it is.
fn change(
    txn: &mut Txn<'_>,
    now: &Situation,
    id: RecordId,
    fill: impl FnOnce(Writing, &RecordState) -> Writing,
) -> Result<(), StoreError> {
    let (Some(task), Some(record)) = (now.task(id), txn.state(id)?) else {
        return Ok(());
    };
    let writing = Writing::new(
        task_record::KIND,
        id,
        Action::Deliver,
        Channel::Connector.program(),
        now_ms(txn),
    )
    .because(task.correlation);
    let draft = fill(writing, &record).done();
    let scope = txn.scopes_of(id)?.first().copied();
    txn.author(&draft, scope)?;
    Ok(())
}

fn now_ms(txn: &Txn<'_>) -> i64 {
    i64::try_from(txn.now_ms()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use clinic::PersonName;
    use clinic::matching::Identity;

    use super::*;

    #[test]
    fn an_offer_fits_into_one_change_however_much_the_partner_knows() {
        let number = |at: usize| Identifier {
            system: "urn:example:".repeat(20),
            value: at.to_string(),
            kind: "MR".to_owned(),
        };
        let candidate = |at: usize| Candidate {
            partner_id: format!("p{at}"),
            identity: Identity {
                name: PersonName::new("Whitehorse", "Jolene"),
                birth_date: None,
                phones: vec!["+1 602 555 0100".to_owned(); 40],
                identifiers: (0..40).map(number).collect(),
                ..Identity::default()
            },
        };

        let offered = fitting((0..60).map(candidate).collect());

        assert_eq!(offered.len(), CANDIDATES_MAX);
        assert!(Candidates(offered).to_raw().as_bytes().len() <= OFFER_MAX_BYTES + 16);
    }
}
