//! Tasks for a partner: what the site wants, what the hub has done about it, and the state that follows from both.

use minicbor::Decoder;
use sync_protocol::cbor::Raw;
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, RecordId};
use uuid::Uuid;

use crate::catalogue::task;
use crate::matching::Candidate;
use crate::value::{TEXT_MAX_BYTES, Target, Value, coded, parts};

coded! {
    /// A kind of work.
    TaskKind {
        RegisterPatient = 1, "register patient";
        Encounter = 2, "create or update encounter";
    }
}

coded! {
    /// What the site wants of a task. All but `Wanted` are requests until the hub confirms them.
    Intent {
        Wanted = 1, "wanted";
        Withdraw = 2, "withdrawal asked";
        /// Try a refused or set-aside task again.
        Again = 3, "again";
        /// A later task does its work.
        Superseded = 4, "superseded";
    }
}

coded! {
    /// How far the hub's delivery is.
    DeliveryState {
        Waiting = 1, "waiting";
        BeingSent = 2, "being sent";
        OutcomeUnknown = 3, "outcome unknown";
        Delivered = 4, "delivered";
        Refused = 5, "refused";
        SetAside = 6, "set aside";
        OnHold = 7, "on hold";
        Withdrawn = 8, "withdrawn";
        Superseded = 9, "superseded";
        Expired = 10, "expired";
    }
}

coded! {
    /// Why an attempt failed.
    ErrorClass {
        None = 0, "none";
        Validation = 1, "validation";
        Authentication = 2, "authentication";
        Timeout = 3, "timeout";
        Unavailable = 4, "unavailable";
        Conflict = 5, "conflict";
        Refused = 6, "refused";
    }
}

/// The hub's side of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    pub state: DeliveryState,
    pub attempts: u32,
    pub class: ErrorClass,
    /// When the next attempt is due, or the last one ended.
    pub at_ms: i64,
    /// The intent that this answers, so that asking again is told from having asked.
    pub heeded: ChangeId,
    /// A short reason without any content, such as "HTTP 422".
    pub note: String,
}

impl Value for Delivery {
    fn to_raw(&self) -> Raw {
        Raw::build(|w| {
            w.array(6).ok();
            w.u16(self.state.code()).ok();
            w.u32(self.attempts).ok();
            w.u16(self.class.code()).ok();
            w.i64(self.at_ms).ok();
            w.bytes(&self.heeded.0).ok();
            w.str(&self.note).ok();
        })
    }

    fn from_raw(raw: &Raw) -> Option<Delivery> {
        let mut d = Decoder::new(raw.as_bytes());
        if d.array().ok()?? < 6 {
            return None;
        }
        let state = d.u16().ok()?;
        let attempts = d.u32().ok()?;
        let class = d.u16().ok()?;
        Some(Delivery {
            state: DeliveryState::ALL.iter().copied().find(|one| one.code() == state)?,
            attempts,
            class: ErrorClass::ALL.iter().copied().find(|one| one.code() == class)?,
            at_ms: d.i64().ok()?,
            heeded: ChangeId(d.bytes().ok()?.try_into().ok()?),
            note: d.str().ok()?.to_owned(),
        })
    }
}

parts! {
    /// The number that the partner gave, as somebody typed it in. Who and when are the change's.
    Entered { number }
}

/// People at the partner who may be the task's patient.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Candidates(pub Vec<Candidate>);

/// At most this many are offered; more say that the question is too wide.
pub const CANDIDATES_MAX: usize = 20;

impl Value for Candidates {
    fn to_raw(&self) -> Raw {
        Raw::build(|w| {
            w.array(self.0.len() as u64).ok();
            for candidate in &self.0 {
                w.writer_mut().extend_from_slice(candidate.to_raw().as_bytes());
            }
        })
    }

    fn from_raw(raw: &Raw) -> Option<Candidates> {
        let bytes = raw.as_bytes();
        let mut d = Decoder::new(bytes);
        let length = d.array().ok()??;
        if length > CANDIDATES_MAX as u64 || bytes.len() > CANDIDATES_MAX * TEXT_MAX_BYTES {
            return None;
        }
        let mut candidates = Vec::new();
        for _ in 0..length {
            let start = d.position();
            d.skip().ok()?;
            candidates.push(Candidate::from_raw(
                &Raw::from_bytes(bytes[start..d.position()].to_vec()).ok()?,
            )?);
        }
        Some(Candidates(candidates))
    }
}

/// A person's answer to an ambiguous match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is this one of the partner's.
    Attach(String),
    /// It is none of those shown.
    Create,
}

impl Value for Answer {
    fn to_raw(&self) -> Raw {
        match self {
            Answer::Attach(partner_id) => Raw::text(partner_id),
            Answer::Create => Raw::int(0),
        }
    }

    fn from_raw(raw: &Raw) -> Option<Answer> {
        match raw.to_text() {
            Some(partner_id) if !partner_id.is_empty() => Some(Answer::Attach(partner_id)),
            Some(_) => None,
            None => (raw.to_int()? == 0).then_some(Answer::Create),
        }
    }
}

coded! {
    /// The state of a task, as people see it.
    TaskState {
        Waiting = 1, "waiting";
        OnHold = 2, "on hold";
        BeingSent = 3, "being sent";
        OutcomeUnknown = 4, "outcome unknown";
        Refused = 5, "refused";
        SetAside = 6, "set aside";
        Delivered = 7, "delivered";
        EnteredByHand = 8, "entered by hand";
        Withdrawn = 9, "withdrawn";
        Expired = 10, "expired";
        Superseded = 11, "superseded";
    }
}

impl TaskState {
    pub fn is_final(self) -> bool {
        self >= TaskState::Delivered
    }

    /// Open tasks wait or are under way; what is refused or set aside needs a person.
    pub fn needs_person(self) -> bool {
        matches!(self, TaskState::Refused | TaskState::SetAside | TaskState::OnHold)
    }
}

/// The state of a task: a function of what the site wants and what the hub has done. Delivered wins over everything.
pub fn state_of(record: &RecordState) -> TaskState {
    let intent = task::INTENT.value(record).unwrap_or(Intent::Wanted);
    let delivery = task::DELIVERY.value(record);
    let target = task::TARGET.value(record).unwrap_or(Target::Machine);
    let entered = task::ENTERED.value(record).is_some();
    match delivery.as_ref().map(|delivery| delivery.state) {
        Some(DeliveryState::Delivered) => TaskState::Delivered,
        _ if entered => TaskState::EnteredByHand,
        Some(DeliveryState::BeingSent) => TaskState::BeingSent,
        Some(DeliveryState::OutcomeUnknown) => TaskState::OutcomeUnknown,
        Some(DeliveryState::Refused) => TaskState::Refused,
        Some(DeliveryState::SetAside) => TaskState::SetAside,
        Some(DeliveryState::OnHold) => TaskState::OnHold,
        Some(DeliveryState::Withdrawn) => TaskState::Withdrawn,
        Some(DeliveryState::Superseded) => TaskState::Superseded,
        Some(DeliveryState::Expired) => TaskState::Expired,
        Some(DeliveryState::Waiting) | None => match (intent, target) {
            (Intent::Superseded, _) => TaskState::Superseded,
            // Nobody else is told of a person's task, so taking it back needs no confirmation.
            (Intent::Withdraw, Target::Person) => TaskState::Withdrawn,
            (Intent::Withdraw, Target::Machine) | (Intent::Wanted | Intent::Again, _) => TaskState::Waiting,
        },
    }
}

const TASKS: Uuid = Uuid::from_u128(0x6d61_696e_7374_6179_8000_7461_736b_7301);

/// The id of a task that a rule makes: the same event, fired twice, makes the same record.
pub fn task_id(rule: &str, cause: ChangeId, target: Target) -> RecordId {
    let mut name = Vec::with_capacity(64);
    name.extend_from_slice(rule.as_bytes());
    name.push(0);
    name.extend_from_slice(&cause.0);
    name.push(target.code() as u8);
    RecordId(Uuid::new_v5(&TASKS, &name).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_firing_of_a_rule_is_the_same_task() {
        let cause = ChangeId([7; 16]);
        assert_eq!(
            task_id("register", cause, Target::Machine),
            task_id("register", cause, Target::Machine)
        );
        assert_ne!(
            task_id("register", cause, Target::Machine),
            task_id("register", cause, Target::Person)
        );
        assert_ne!(
            task_id("register", cause, Target::Machine),
            task_id("encounter", cause, Target::Machine)
        );
    }

    #[test]
    fn a_delivery_survives_storage() {
        let delivery = Delivery {
            state: DeliveryState::Refused,
            attempts: 3,
            class: ErrorClass::Validation,
            at_ms: 1_000,
            heeded: ChangeId([1; 16]),
            note: "HTTP 422".to_owned(),
        };
        assert_eq!(Delivery::from_raw(&delivery.to_raw()), Some(delivery));
    }
}
