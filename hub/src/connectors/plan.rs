//! What is to be done next about a patient's tasks. Pure: everything it looks at is handed in.
//!
//! Order holds within a patient: while one task is under way or waits to be tried again, no later one is sent. What
//! needs a person holds nothing back but what depends on it: an encounter needs the patient's registration.
//! After an attempt has begun, neither a second attempt nor a confirmed withdrawal comes before a look-up at the partner;
//! nor does a first one of a task that an earlier life of the hub may have attempted.

use std::collections::{BTreeMap, BTreeSet};

use clinic::flow::VisitState;
use clinic::task::{Answer, Delivery, DeliveryState, ErrorClass, Intent, TaskKind};
use sync_protocol::{ChangeId, HybridTime, RecordId};

use super::failure::Failure;
use super::pace::backoff_ms;

/// A task for the EHR, as far as its delivery depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Task {
    pub(super) id: RecordId,
    /// The record that it was written for.
    pub(super) patient: RecordId,
    pub(super) kind: TaskKind,
    pub(super) visit: Option<RecordId>,
    /// For an encounter: what the partner is to hear.
    pub(super) tells: Option<VisitState>,
    /// When it was entered, and the change that did: the order of a patient's tasks.
    pub(super) entered: (HybridTime, ChangeId),
    /// Ties it to what caused it.
    pub(super) correlation: ChangeId,
    pub(super) deadline_ms: i64,
    pub(super) intent: Intent,
    /// The change that said so.
    pub(super) intent_change: ChangeId,
    pub(super) delivery: Delivery,
    /// Of its delivery nothing was written since the hub's store was put back to a copy: what the copy lacks may have been
    /// sent.
    pub(super) of_older_life: bool,
    /// The partner's id of what the task made, if it was delivered once.
    pub(super) delivered_as: Option<String>,
    /// Somebody typed it into the EHR: the number that the EHR gave, or nothing.
    pub(super) by_hand: Option<String>,
    pub(super) answer: Option<Answer>,
    /// The partner's ids of those who were offered as this patient.
    pub(super) offered: Vec<String>,
}

/// A person, as one record or several that are linked, and the tasks for the EHR that there are, registrations first, then
/// in the order they were entered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Situation {
    /// The record that stands for the person.
    pub(super) patient: RecordId,
    /// Every record of the person.
    pub(super) cluster: BTreeSet<RecordId>,
    /// The person's id at the EHR.
    pub(super) partner_id: Option<String>,
    /// What each of the records is known by there.
    pub(super) partner_ids: BTreeMap<RecordId, String>,
    /// The EHR's ids of people who were called somebody else.
    pub(super) somebody_else: BTreeSet<String>,
    /// Another record of ours waits for somebody to say whether it is this person's.
    pub(super) alike_here: bool,
    /// The name or the birth date waits for a person's decision.
    pub(super) undecided: bool,
    /// A TEMP number of this patient is on another record as well.
    pub(super) temp_shared: bool,
    pub(super) tasks: Vec<Task>,
}

/// The next thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// The delivery's state changes without asking the partner.
    Note(RecordId, Delivery),
    /// The EHR's id is known already, so there is nothing to register.
    Known(RecordId, String),
    /// Ask the partner whether an earlier attempt took effect.
    LookUp(RecordId),
    Deliver(RecordId),
    /// Nothing before this time, milliseconds since 1970.
    Wait(i64),
    /// Nothing until something changes.
    Rest,
}

pub(super) const NOTE_ASK: &str = "somebody at the EHR may be this patient";
pub(super) const NOTE_UNKNOWN_PATIENT: &str = "the EHR's number of this patient is not known";
pub(super) const NOTE_ALIKE_HERE: &str = "another patient of ours may be this one: see the possible duplicates";
const NOTE_TEMP: &str = "TEMP number on two records";
const NOTE_UNDECIDED: &str = "name or birth date waits for a decision";
const NOTE_REGISTRATION: &str = "waits for the patient's registration";
const NOTE_STOPPED: &str = "the hub stopped during the attempt";
const NOTE_OLDER_LIFE: &str = "the hub was put back to a copy: what became of it is looked up";

/// After how long a patient whose TEMP number is on two records is looked at again: it is the other record that may have
/// been put right.
const TEMP_RECHECK_MS: i64 = 60_000;
/// How long an attempt without an answer is given to take effect before it is looked for.
const SETTLE_MS: i64 = 1_000;

impl Task {
    fn is_over(&self) -> bool {
        self.by_hand.is_some()
            || match self.delivery.state {
                DeliveryState::Delivered
                | DeliveryState::Withdrawn
                | DeliveryState::Superseded
                | DeliveryState::Expired => true,
                DeliveryState::Waiting
                | DeliveryState::BeingSent
                | DeliveryState::OutcomeUnknown
                | DeliveryState::Refused
                | DeliveryState::SetAside
                | DeliveryState::OnHold => false,
            }
    }

    fn needs_person(&self) -> bool {
        matches!(
            self.delivery.state,
            DeliveryState::Refused | DeliveryState::SetAside | DeliveryState::OnHold
        )
    }

    /// It was delivered, and nothing was sent since: all that is asked is whether it stands where it should.
    pub(super) fn was_delivered(&self) -> bool {
        self.delivered_as.is_some() && self.delivery.attempts == 0
    }

    /// Whether its deadline ends it: not when a person asked for it again, nor when it was delivered once and is only put
    /// right.
    fn expires(&self) -> bool {
        self.intent != Intent::Again && self.delivered_as.is_none()
    }

    /// The answer, if it answers what is asked now.
    pub(super) fn valid_answer(&self) -> Option<&Answer> {
        self.answer.as_ref().filter(|answer| match answer {
            Answer::Create => true,
            Answer::Attach(id) => self.offered.contains(id),
        })
    }

    fn with(&self, state: DeliveryState, class: ErrorClass, note: &str, at_ms: i64) -> Delivery {
        Delivery {
            state,
            class,
            at_ms,
            note: note.to_owned(),
            ..self.delivery.clone()
        }
    }
}

impl Situation {
    pub(super) fn task(&self, id: RecordId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// The patient's id at the EHR as a task of one of the records needs it: that record's own, else the person's.
    pub(super) fn partner_id_for(&self, task: &Task) -> Option<&String> {
        self.partner_ids.get(&task.patient).or(self.partner_id.as_ref())
    }

    /// The number that the EHR gave to somebody who registered the patient by hand.
    pub(super) fn number_by_hand(&self) -> Option<&str> {
        let registrations = self.tasks.iter().filter(|task| task.kind == TaskKind::RegisterPatient);
        let mut numbers = registrations.filter_map(|task| task.by_hand.as_deref().map(str::trim));
        numbers.find(|number| !number.is_empty())
    }

    fn registration(&self) -> Option<&Task> {
        self.tasks
            .iter()
            .find(|task| task.kind == TaskKind::RegisterPatient && !task.is_over())
    }

    /// A later task tells the partner what this one would have told, and more.
    fn overtaken(&self, task: &Task) -> bool {
        task.kind == TaskKind::Encounter
            && self.tasks.iter().any(|other| {
                let counts = other.by_hand.is_some()
                    || other.delivery.state == DeliveryState::Delivered
                    || (!other.is_over() && matches!(other.intent, Intent::Wanted | Intent::Again));
                other.kind == TaskKind::Encounter && other.visit == task.visit && other.entered > task.entered && counts
            })
    }

    /// Why this task may not be sent now, though nothing is wrong with the partner.
    fn hold(&self, task: &Task) -> Option<(ErrorClass, &'static str)> {
        if self.temp_shared {
            return Some((ErrorClass::Conflict, NOTE_TEMP));
        }
        let held_for = |note| task.delivery.state == DeliveryState::OnHold && task.delivery.note == note;
        match task.kind {
            TaskKind::RegisterPatient if self.partner_id.is_some() => None,
            TaskKind::RegisterPatient if self.undecided => Some((ErrorClass::Conflict, NOTE_UNDECIDED)),
            TaskKind::RegisterPatient if self.alike_here => Some((ErrorClass::Conflict, NOTE_ALIKE_HERE)),
            TaskKind::RegisterPatient if held_for(NOTE_ASK) && task.valid_answer().is_none() => {
                Some((ErrorClass::Conflict, NOTE_ASK))
            }
            TaskKind::RegisterPatient => None,
            TaskKind::Encounter if self.partner_id.is_some() => None,
            TaskKind::Encounter => match self.registration() {
                Some(registration) if registration.needs_person() => Some((ErrorClass::None, NOTE_REGISTRATION)),
                None if held_for(NOTE_ASK) && task.valid_answer().is_none() => Some((ErrorClass::Conflict, NOTE_ASK)),
                None if held_for(NOTE_UNKNOWN_PATIENT) => Some((ErrorClass::None, NOTE_UNKNOWN_PATIENT)),
                Some(_) | None => None,
            },
        }
    }
}

/// What to do next about this patient's tasks.
pub(super) fn next(situation: &Situation, now_ms: i64) -> Next {
    for task in situation.tasks.iter().filter(|task| !task.is_over()) {
        if let Some(delivery) = note(situation, task, now_ms) {
            return Next::Note(task.id, delivery);
        }
    }
    let due = |task: &Task, then: Next| {
        if task.delivery.at_ms <= now_ms {
            then
        } else {
            Next::Wait(task.delivery.at_ms)
        }
    };
    for task in situation.tasks.iter().filter(|task| !task.is_over()) {
        match (task.delivery.state, task.kind, situation.partner_id_for(task)) {
            (DeliveryState::OutcomeUnknown, _, _) => return due(task, Next::LookUp(task.id)),
            (DeliveryState::Waiting, TaskKind::RegisterPatient, Some(id)) => return Next::Known(task.id, id.clone()),
            (DeliveryState::Waiting, TaskKind::Encounter, None) if situation.registration().is_some() => {}
            (DeliveryState::Waiting, TaskKind::RegisterPatient | TaskKind::Encounter, _) => {
                return due(task, Next::Deliver(task.id));
            }
            (DeliveryState::OnHold | DeliveryState::Refused | DeliveryState::SetAside, _, _) => {}
            (
                DeliveryState::BeingSent
                | DeliveryState::Delivered
                | DeliveryState::Withdrawn
                | DeliveryState::Superseded
                | DeliveryState::Expired,
                _,
                _,
            ) => {}
        }
    }
    let held = situation.tasks.iter().any(|task| !task.is_over());
    if situation.temp_shared && held {
        Next::Wait(now_ms + TEMP_RECHECK_MS)
    } else {
        Next::Rest
    }
}

/// The delivery that a task gets without asking the partner, if it is another than it has. One of an older life is looked up
/// before anything is made of it.
fn note(situation: &Situation, task: &Task, now_ms: i64) -> Option<Delivery> {
    let noted = note_of_this_life(situation, task, now_ms);
    let moves = match task.delivery.state {
        DeliveryState::Waiting => true,
        DeliveryState::OnHold | DeliveryState::Refused | DeliveryState::SetAside => noted.is_some(),
        DeliveryState::BeingSent
        | DeliveryState::OutcomeUnknown
        | DeliveryState::Delivered
        | DeliveryState::Withdrawn
        | DeliveryState::Superseded
        | DeliveryState::Expired => false,
    };
    if task.of_older_life && moves {
        return Some(task.with(DeliveryState::OutcomeUnknown, ErrorClass::None, NOTE_OLDER_LIFE, now_ms));
    }
    noted
}

fn note_of_this_life(situation: &Situation, task: &Task, now_ms: i64) -> Option<Delivery> {
    let heeding = |state| {
        Some(Delivery {
            heeded: task.intent_change,
            ..task.with(state, ErrorClass::None, "", now_ms)
        })
    };
    match task.delivery.state {
        // Whoever plans holds the lease, so nobody is sending: the attempt was cut short.
        DeliveryState::BeingSent => {
            return Some(task.with(DeliveryState::OutcomeUnknown, ErrorClass::None, NOTE_STOPPED, now_ms));
        }
        DeliveryState::OutcomeUnknown => return None,
        DeliveryState::Waiting | DeliveryState::OnHold | DeliveryState::Refused | DeliveryState::SetAside => {}
        DeliveryState::Delivered | DeliveryState::Withdrawn | DeliveryState::Superseded | DeliveryState::Expired => {
            return None;
        }
    }
    match task.intent {
        Intent::Withdraw => return heeding(DeliveryState::Withdrawn),
        Intent::Superseded => return heeding(DeliveryState::Superseded),
        Intent::Again if task.delivery.heeded != task.intent_change => {
            return heeding(DeliveryState::Waiting).map(|delivery| Delivery {
                attempts: 0,
                ..delivery
            });
        }
        Intent::Again | Intent::Wanted => {}
    }
    if !matches!(task.delivery.state, DeliveryState::Waiting | DeliveryState::OnHold) {
        return None;
    }
    if task.deadline_ms <= now_ms && task.expires() {
        return Some(task.with(DeliveryState::Expired, task.delivery.class, "", now_ms));
    }
    if situation.overtaken(task) {
        return Some(task.with(DeliveryState::Superseded, ErrorClass::None, "", now_ms));
    }
    match situation.hold(task) {
        Some((_, note)) if task.delivery.state == DeliveryState::OnHold && task.delivery.note == note => None,
        Some((class, note)) => Some(task.with(DeliveryState::OnHold, class, note, now_ms)),
        None if task.delivery.state == DeliveryState::OnHold => {
            Some(task.with(DeliveryState::Waiting, ErrorClass::None, "", now_ms))
        }
        None => None,
    }
}

/// How long and how often a task is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) attempts_max: u32,
    pub(super) backoff_max_ms: u64,
}

/// The delivery after an attempt that failed. `begun` tells whether the attempt was committed, so that something may have
/// been sent.
pub(super) fn after_failure(
    delivery: &Delivery,
    begun: bool,
    failure: &Failure,
    patience: Patience,
    now_ms: i64,
    random: u64,
) -> Delivery {
    let attempts = if begun {
        delivery.attempts
    } else {
        delivery.attempts.saturating_add(1)
    };
    let backoff = backoff_ms(attempts, patience.backoff_max_ms, random);
    let to = |state, class, note: &str, at_ms| Delivery {
        state,
        attempts,
        class,
        at_ms,
        note: note.to_owned(),
        ..delivery.clone()
    };
    let again = |class, note: &str, pause_ms: i64| match attempts >= patience.attempts_max {
        true => to(DeliveryState::SetAside, class, note, now_ms),
        false => to(DeliveryState::Waiting, class, note, now_ms + pause_ms),
    };
    match failure {
        Failure::Refused { class, note } => to(DeliveryState::Refused, *class, note, now_ms),
        Failure::Unavailable { class, note, pause_ms } => again(*class, note, backoff.max(pause_ms.unwrap_or(0))),
        Failure::Conflict { note } => again(ErrorClass::Conflict, note, backoff),
        Failure::Unknown { class, note } => to(DeliveryState::OutcomeUnknown, *class, note, now_ms + SETTLE_MS),
    }
}

/// The delivery after a look-up that failed itself: the outcome stays unknown, however often.
pub(super) fn after_failed_look_up(
    delivery: &Delivery,
    failure: &Failure,
    patience: Patience,
    now_ms: i64,
    random: u64,
) -> Delivery {
    let longest = i64::try_from(patience.backoff_max_ms).unwrap_or(i64::MAX);
    let backoff = backoff_ms(delivery.attempts.saturating_add(2), patience.backoff_max_ms, random);
    let (class, note, pause_ms) = match failure {
        // Only somebody's hand changes what the EHR allows us.
        Failure::Refused { class, note } => (*class, note, longest),
        Failure::Unknown { class, note } => (*class, note, backoff),
        Failure::Unavailable { class, note, pause_ms } => (*class, note, backoff.max(pause_ms.unwrap_or(0))),
        Failure::Conflict { note } => (ErrorClass::Conflict, note, backoff),
    };
    Delivery {
        class,
        note: note.clone(),
        at_ms: now_ms + pause_ms.max(SETTLE_MS),
        ..delivery.clone()
    }
}

/// The delivery after a look-up that found nothing: the attempt had no effect, so it may be made again.
pub(super) fn after_nothing_found(delivery: &Delivery, patience: Patience, now_ms: i64) -> Delivery {
    let spent = delivery.attempts >= patience.attempts_max;
    let state = if spent {
        DeliveryState::SetAside
    } else {
        DeliveryState::Waiting
    };
    Delivery {
        state,
        at_ms: now_ms,
        ..delivery.clone()
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
