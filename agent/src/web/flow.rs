//! The board's words for states of flow, and how long a patient may be in each before somebody should look.

use clinic::flow::VisitState;
use clinic::value::RoomState;

use super::site_clock::SiteClock;
use super::views::{self, FlowState, Timer, Tone};
use crate::clock::{MINUTE_MS, span};

pub(super) fn shown_state(state: VisitState) -> FlowState {
    match state {
        VisitState::Expected => FlowState::Expected,
        VisitState::Arrived => FlowState::Arrived,
        VisitState::Registered => FlowState::Registered,
        VisitState::Triaged => FlowState::Triaged,
        VisitState::Roomed => FlowState::Roomed,
        VisitState::WithProvider => FlowState::WithProvider,
        VisitState::AwaitingResults => FlowState::AwaitingResults,
        VisitState::ReadyToLeave => FlowState::ReadyToLeave,
        VisitState::Discharged => FlowState::Discharged,
        VisitState::LeftWithoutBeingSeen => FlowState::LeftUnseen,
        VisitState::Cancelled => FlowState::Cancelled,
    }
}

pub(super) fn visit_state(shown: FlowState) -> VisitState {
    match shown {
        FlowState::Expected => VisitState::Expected,
        FlowState::Arrived => VisitState::Arrived,
        FlowState::Registered => VisitState::Registered,
        FlowState::Triaged => VisitState::Triaged,
        FlowState::Roomed => VisitState::Roomed,
        FlowState::WithProvider => VisitState::WithProvider,
        FlowState::AwaitingResults => VisitState::AwaitingResults,
        FlowState::ReadyToLeave => VisitState::ReadyToLeave,
        FlowState::Discharged => VisitState::Discharged,
        FlowState::LeftUnseen => VisitState::LeftWithoutBeingSeen,
        FlowState::Cancelled => VisitState::Cancelled,
    }
}

pub(super) fn shown_room(state: RoomState) -> views::RoomState {
    match state {
        RoomState::Clean => views::RoomState::Clean,
        RoomState::Occupied => views::RoomState::Occupied,
        RoomState::Dirty => views::RoomState::Dirty,
    }
}

pub(super) fn room_state(shown: views::RoomState) -> RoomState {
    match shown {
        views::RoomState::Clean => RoomState::Clean,
        views::RoomState::Occupied => RoomState::Occupied,
        views::RoomState::Dirty => RoomState::Dirty,
    }
}

/// "Discharged, or Left, not seen?": ends of one visit that exclude each other.
pub(super) fn ends_words(ends: &[VisitState]) -> String {
    let words: Vec<&str> = ends.iter().map(|end| shown_state(*end).label()).collect();
    format!("{}?", words.join(", or "))
}

const ARRIVED_MAX_MIN: i64 = 20;
const REGISTERED_MAX_MIN: i64 = 15;
const TRIAGED_MAX_MIN: i64 = 20;
const ROOMED_MAX_MIN: i64 = 15;
const WITH_PROVIDER_MAX_MIN: i64 = 40;
const AWAITING_RESULTS_MAX_MIN: i64 = 45;
const READY_TO_LEAVE_MAX_MIN: i64 = 15;
/// Past so many times its limit a wait needs somebody now.
const NEEDS_SOMEBODY_AT: i64 = 2;

/// After how many minutes in a state somebody should look; none where nobody waits.
pub(super) fn limit_min(state: VisitState) -> Option<i64> {
    match state {
        VisitState::Arrived => Some(ARRIVED_MAX_MIN),
        VisitState::Registered => Some(REGISTERED_MAX_MIN),
        VisitState::Triaged => Some(TRIAGED_MAX_MIN),
        VisitState::Roomed => Some(ROOMED_MAX_MIN),
        VisitState::WithProvider => Some(WITH_PROVIDER_MAX_MIN),
        VisitState::AwaitingResults => Some(AWAITING_RESULTS_MAX_MIN),
        VisitState::ReadyToLeave => Some(READY_TO_LEAVE_MAX_MIN),
        VisitState::Expected | VisitState::Discharged | VisitState::LeftWithoutBeingSeen | VisitState::Cancelled => {
            None
        }
    }
}

/// Whether the patient is somewhere in the clinic, waiting to be given a room.
pub(super) fn is_in_waiting_room(state: VisitState) -> bool {
    matches!(
        state,
        VisitState::Arrived | VisitState::Registered | VisitState::Triaged
    )
}

/// The time in a state, and how loud it is by now.
pub(super) fn timer(clock: &SiteClock, state: VisitState, since_ms: i64) -> Option<Timer> {
    if state.is_end() {
        return None;
    }
    let minutes = clock.minutes_since(since_ms);
    let label = span(minutes * MINUTE_MS);
    Some(match limit_min(state) {
        Some(limit) if minutes >= limit * NEEDS_SOMEBODY_AT => Timer {
            label,
            limit: Some(format!("limit {limit}")),
            tone: Tone::Act,
        },
        Some(limit) if minutes > limit => Timer {
            label,
            limit: Some(format!("over {limit}")),
            tone: Tone::Watch,
        },
        Some(_) | None => Timer::plain(label),
    })
}

/// What the button says that moves a visit to a state.
pub(super) fn what_was_done(to: VisitState) -> &'static str {
    match to {
        VisitState::Expected => "expected",
        VisitState::Arrived => "arrived",
        VisitState::Registered => "registered",
        VisitState::Triaged => "triaged",
        VisitState::Roomed => "moved to a room",
        VisitState::WithProvider => "provider in",
        VisitState::AwaitingResults => "waits for results",
        VisitState::ReadyToLeave => "ready to leave",
        VisitState::Discharged => "discharged",
        VisitState::LeftWithoutBeingSeen => "left without being seen",
        VisitState::Cancelled => "visit cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_grows_louder_with_its_limit() {
        let clock = SiteClock::new("UTC", 100 * MINUTE_MS);
        let tone = |minutes: i64| {
            timer(&clock, VisitState::Registered, (100 - minutes) * MINUTE_MS)
                .unwrap()
                .tone
        };

        assert_eq!(tone(15), Tone::Plain);
        assert_eq!(tone(16), Tone::Watch);
        assert_eq!(tone(30), Tone::Act);
        assert!(timer(&clock, VisitState::Discharged, 0).is_none());
    }

    #[test]
    fn every_state_has_one_word_on_the_board() {
        for state in VisitState::ALL {
            assert_eq!(visit_state(shown_state(*state)), *state);
        }
    }
}
