//! A task on its way out, and what a person may do with it. It refuses to offer "send again" where the outcome is unknown, and never
//! calls a withdrawal done before it is.

use super::parts::{Badge, PatientName, Timer, Tone};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskState {
    Waiting,
    OnHold,
    BeingSent,
    OutcomeUnknown,
    /// For a person target.
    ToEnterByHand,
    Refused,
    SetAside,
    /// A withdrawal is asked, the hub has not said yes.
    WithdrawalAsked,
    Delivered,
    EnteredByHand,
    Withdrawn,
    Expired,
    Superseded,
}

impl TaskState {
    pub fn label(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::OnHold => "On hold",
            Self::BeingSent => "Being sent",
            Self::OutcomeUnknown => "Sent, answer unknown",
            Self::ToEnterByHand => "To enter by hand",
            Self::Refused => "Refused",
            Self::SetAside => "Set aside",
            Self::WithdrawalAsked => "Withdrawal asked",
            Self::Delivered => "Delivered",
            Self::EnteredByHand => "Entered by hand",
            Self::Withdrawn => "Withdrawn",
            Self::Expired => "Expired",
            Self::Superseded => "Superseded",
        }
    }

    pub fn icon(self) -> &'static str {
        match self {
            Self::Waiting => "wait",
            Self::OnHold => "hold",
            Self::BeingSent => "send",
            Self::OutcomeUnknown => "unknown",
            Self::ToEnterByHand => "person",
            Self::Refused => "refused",
            Self::SetAside => "aside",
            Self::WithdrawalAsked | Self::Withdrawn => "cross",
            Self::Delivered | Self::EnteredByHand => "check",
            Self::Expired => "expired",
            Self::Superseded => "replaced",
        }
    }

    pub fn tone(self) -> Tone {
        match self {
            Self::Waiting | Self::OnHold | Self::Withdrawn | Self::Superseded => Tone::Plain,
            Self::BeingSent | Self::ToEnterByHand => Tone::Wait,
            Self::OutcomeUnknown | Self::WithdrawalAsked | Self::Expired => Tone::Watch,
            Self::Refused | Self::SetAside => Tone::Act,
            Self::Delivered | Self::EnteredByHand => Tone::Good,
        }
    }

    pub fn badge(self) -> Badge {
        Badge {
            icon: self.icon(),
            label: self.label().to_owned(),
            tone: self.tone(),
        }
    }

    pub fn needs_a_person(self) -> bool {
        match self {
            Self::Refused | Self::SetAside => true,
            Self::Waiting
            | Self::OnHold
            | Self::BeingSent
            | Self::OutcomeUnknown
            | Self::ToEnterByHand
            | Self::WithdrawalAsked
            | Self::Delivered
            | Self::EnteredByHand
            | Self::Withdrawn
            | Self::Expired
            | Self::Superseded => false,
        }
    }

    /// A withdrawal makes sense while the partner does not have it for sure.
    fn may_withdraw(self) -> bool {
        match self {
            Self::Waiting
            | Self::OnHold
            | Self::BeingSent
            | Self::OutcomeUnknown
            | Self::ToEnterByHand
            | Self::Refused
            | Self::SetAside => true,
            Self::WithdrawalAsked
            | Self::Delivered
            | Self::EnteredByHand
            | Self::Withdrawn
            | Self::Expired
            | Self::Superseded => false,
        }
    }

    /// Only where it is certain that the partner does not have it.
    fn may_retry(self) -> bool {
        self.needs_a_person()
    }
}

/// One task, on the work page and on its patient's page.
pub struct TaskRow {
    /// Record id of the task.
    pub task: String,
    pub state: TaskState,
    /// When it came into that state, "10:40"; or empty
    pub at: String,
    /// "Registration"
    pub kind: String,
    /// "EHR · due 11:50", "EHR, by a person"
    pub target: String,
    pub patient: PatientName,
    /// Bold: "The EHR does not know the insurer code “MHP-OLD”." May be empty.
    pub happened: String,
    /// "Choose the insurer from the list, then send again."
    pub todo: String,
    /// "Owner: Front desk", or empty
    pub owner: String,
    pub due: Option<Timer>,
    pub offers: TaskOffers,
    /// Ids of the changes that make the state shown, separated by spaces; sent as `shown`.
    pub shown: String,
}

/// What this person may do. What the state forbids is not shown whatever is set here.
#[derive(Clone, Copy, Default)]
pub struct TaskOffers {
    /// `POST /tasks/{id}/withdraw`
    pub withdraw: bool,
    /// `POST /tasks/{id}/retry`
    pub retry: bool,
    /// `GET /tasks/{id}`, the transcription screen
    pub transcribe: bool,
}

impl TaskRow {
    pub(super) fn offers_withdraw(&self) -> bool {
        self.offers.withdraw && self.state.may_withdraw()
    }

    pub(super) fn offers_retry(&self) -> bool {
        self.offers.retry && self.state.may_retry()
    }

    pub(super) fn offers_transcription(&self) -> bool {
        self.offers.transcribe && self.state == TaskState::ToEnterByHand
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_task_with_unknown_outcome_is_never_offered_to_be_sent_again() {
        let mut row = samples::task(TaskState::OutcomeUnknown);
        row.offers = TaskOffers {
            withdraw: true,
            retry: true,
            transcribe: true,
        };

        assert!(!row.offers_retry());
        assert!(row.offers_withdraw());
    }

    #[test]
    fn a_delivered_task_offers_nothing() {
        let mut row = samples::task(TaskState::Delivered);
        row.offers = TaskOffers {
            withdraw: true,
            retry: true,
            transcribe: true,
        };

        assert!(!row.offers_retry() && !row.offers_withdraw() && !row.offers_transcription());
    }
}
