//! How a visit flows. Our own machine decides; an HL7 event is only one of the things that ask for a move.

use sync_protocol::ChangeId;
use sync_protocol::cbor::Raw;
use sync_protocol::change::Act;
use sync_protocol::rules;
use sync_protocol::state::RecordState;

use crate::catalogue::visit;
use crate::value::{Value, coded};

coded! {
    /// A state of patient flow. The numbers are the order of the main way.
    VisitState {
        Expected = 0, "expected";
        Arrived = 1, "arrived";
        Registered = 2, "registered";
        Triaged = 3, "triaged";
        Roomed = 4, "roomed";
        WithProvider = 5, "with provider";
        AwaitingResults = 6, "awaiting results";
        ReadyToLeave = 7, "ready to leave";
        Discharged = 8, "discharged";
        LeftWithoutBeingSeen = 9, "left without being seen";
        Cancelled = 10, "cancelled";
    }
}

/// FHIR R4 Encounter.status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncounterStatus {
    Planned,
    Arrived,
    Triaged,
    InProgress,
    Finished,
    Cancelled,
}

impl EncounterStatus {
    pub fn code(self) -> &'static str {
        match self {
            EncounterStatus::Planned => "planned",
            EncounterStatus::Arrived => "arrived",
            EncounterStatus::Triaged => "triaged",
            EncounterStatus::InProgress => "in-progress",
            EncounterStatus::Finished => "finished",
            EncounterStatus::Cancelled => "cancelled",
        }
    }
}

impl VisitState {
    pub fn is_end(self) -> bool {
        matches!(
            self,
            VisitState::Discharged | VisitState::LeftWithoutBeingSeen | VisitState::Cancelled
        )
    }

    /// Before a provider has seen the patient.
    pub fn before_being_seen(self) -> bool {
        self < VisitState::WithProvider
    }

    /// Whether the graph leads from `self` on to `to`.
    pub fn leads_to(self, to: VisitState) -> bool {
        match to {
            VisitState::LeftWithoutBeingSeen => self.before_being_seen() && self != VisitState::Expected,
            VisitState::Cancelled => self.before_being_seen(),
            VisitState::Expected
            | VisitState::Arrived
            | VisitState::Registered
            | VisitState::Triaged
            | VisitState::Roomed
            | VisitState::WithProvider
            | VisitState::AwaitingResults
            | VisitState::ReadyToLeave
            | VisitState::Discharged => !self.is_end() && self < to,
        }
    }

    /// The next state on the main way; awaiting results is a detour that a person chooses.
    pub fn next(self) -> Option<VisitState> {
        match self {
            VisitState::Expected => Some(VisitState::Arrived),
            VisitState::Arrived => Some(VisitState::Registered),
            VisitState::Registered => Some(VisitState::Triaged),
            VisitState::Triaged => Some(VisitState::Roomed),
            VisitState::Roomed => Some(VisitState::WithProvider),
            VisitState::WithProvider | VisitState::AwaitingResults => Some(VisitState::ReadyToLeave),
            VisitState::ReadyToLeave => Some(VisitState::Discharged),
            VisitState::Discharged | VisitState::LeftWithoutBeingSeen | VisitState::Cancelled => None,
        }
    }

    /// Every state a person may move the visit to.
    pub fn moves(self) -> Vec<VisitState> {
        VisitState::ALL
            .iter()
            .copied()
            .filter(|to| self.leads_to(*to))
            .collect()
    }

    pub fn encounter_status(self) -> EncounterStatus {
        match self {
            VisitState::Expected => EncounterStatus::Planned,
            VisitState::Arrived | VisitState::Registered => EncounterStatus::Arrived,
            VisitState::Triaged | VisitState::Roomed => EncounterStatus::Triaged,
            VisitState::WithProvider | VisitState::AwaitingResults | VisitState::ReadyToLeave => {
                EncounterStatus::InProgress
            }
            VisitState::Discharged => EncounterStatus::Finished,
            VisitState::LeftWithoutBeingSeen | VisitState::Cancelled => EncounterStatus::Cancelled,
        }
    }
}

/// One step of a visit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    pub to: VisitState,
    pub change: ChangeId,
    pub event_ms: i64,
    pub entered_ms: i64,
    pub who: sync_protocol::RecordId,
}

/// Where a visit stands: the furthest state, and how it came there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    pub state: VisitState,
    /// Since when, by event time.
    pub since_ms: i64,
    /// Steps that were not taken back, in order.
    pub steps: Vec<Step>,
    /// More than one when two sides ended the visit in ways that exclude each other: a person decides.
    pub ends: Vec<VisitState>,
}

/// `None` for a visit without a step.
pub fn standing(state: &RecordState) -> Option<Standing> {
    let parse = |raw: &Raw| VisitState::from_raw(raw);
    let furthest = rules::furthest(
        state,
        visit::TRANSITION.id,
        |from, to| matches!((parse(from), parse(to)), (Some(from), Some(to)) if from.leads_to(to)),
    );
    let steps: Vec<Step> = furthest
        .transitions
        .iter()
        .filter_map(|(id, element)| {
            Some(Step {
                to: parse(&element.value)?,
                change: **id,
                event_ms: element.origin.happened_ms(),
                entered_ms: i64::try_from(element.origin.written().wall_ms).unwrap_or(i64::MAX),
                who: element.origin.actor.who,
            })
        })
        .collect();
    let ends: Vec<(VisitState, i64)> = furthest
        .ends
        .iter()
        .filter_map(|(_, e)| Some((parse(&e.value)?, e.origin.event_ms)))
        .collect();
    let (state, since_ms) = ends.iter().copied().max()?;
    Some(Standing {
        state,
        since_ms,
        steps,
        ends: ends.into_iter().map(|(state, _)| state).collect(),
    })
}

/// What an undo of the last step takes back: every element that says this state.
pub fn undo_names(state: &RecordState) -> Vec<ChangeId> {
    let Some(standing) = standing(state) else {
        return Vec::new();
    };
    if standing.steps.len() < 2 {
        return Vec::new();
    }
    let says_it = |value: &Raw| VisitState::from_raw(value) == Some(standing.state);
    let live = rules::unnamed(state, visit::TRANSITION.id, Act::Withdraw);
    live.into_iter()
        .filter(|(_, e)| says_it(&e.value))
        .map(|(id, _)| *id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_way_leads_from_arrival_to_discharge() {
        let mut at = VisitState::Expected;
        let mut seen = vec![at];
        while let Some(next) = at.next() {
            assert!(at.leads_to(next), "{at:?} {next:?}");
            at = next;
            seen.push(at);
        }

        assert_eq!(at, VisitState::Discharged);
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn ends_exclude_each_other() {
        for end in [
            VisitState::Discharged,
            VisitState::LeftWithoutBeingSeen,
            VisitState::Cancelled,
        ] {
            assert!(end.moves().is_empty());
        }
        assert!(!VisitState::WithProvider.leads_to(VisitState::LeftWithoutBeingSeen));
    }
}
