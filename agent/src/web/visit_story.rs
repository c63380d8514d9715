//! The visit of now with each of its steps, and the earlier ones.

use clinic::catalogue::visit;
use clinic::flow::{self, Standing};
use clinic::policy::Permission;
use sync_protocol::{ChangeId, Phi, RecordState};

use super::flow::shown_state;
use super::reading::{Reading, ids};
use super::views::{EarlierVisit, Undo, VisitStep, VisitStory};
use crate::clock::MINUTE_MS;
use crate::store::TxError;

const EARLIER_MAX: usize = 50;
/// An event entered later than this was not entered as it happened.
const ENTERED_LATER_MS: i64 = 5 * MINUTE_MS;

pub(super) fn visit_stories(
    reading: &Reading<'_, '_>,
    visits: Vec<RecordState>,
) -> Result<(Option<VisitStory>, Vec<EarlierVisit>), TxError> {
    let (mut now, mut earlier) = (None, Vec::new());
    for state in visits {
        let Some(standing) = flow::standing(&state) else {
            continue;
        };
        let is_of_now =
            !standing.state.is_end() || standing.ends.len() > 1 || reading.clock.is_today(standing.since_ms);
        if now.is_none() && is_of_now {
            now = Some(visit_story(reading, &state, &standing)?);
            continue;
        }
        let reason = visit::REASON.value(&state).map(Phi::into_exposed).unwrap_or_default();
        let began = standing.steps.first().map_or(standing.since_ms, |step| step.event_ms);
        earlier.push(EarlierVisit {
            date: reading.clock.day(began),
            what: format!("{reason} · {}", shown_state(standing.state).label()),
        });
    }
    earlier.truncate(EARLIER_MAX);
    Ok((now, earlier))
}

fn visit_story(reading: &Reading<'_, '_>, state: &RecordState, standing: &Standing) -> Result<VisitStory, TxError> {
    let room = match visit::ROOM.value(state) {
        Some(id) => reading.room_name(id)?.map(|name| format!("Room {name}")),
        None => None,
    };
    let provider = match visit::PROVIDER.value(state) {
        Some(id) => reading.staff_name(id)?,
        None => None,
    };
    let lasting = (!standing.state.is_end()).then(|| reading.clock.since(standing.since_ms));
    let reason = visit::REASON.value(state).map(Phi::into_exposed);
    let place: Vec<String> = [reason, room, provider, lasting]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    let undone = flow::undo_names(state);
    let mut steps = Vec::new();
    for step in &standing.steps {
        let later = step.entered_ms - step.event_ms > ENTERED_LATER_MS;
        let contradicts = standing.ends.len() > 1 && step.to.is_end();
        let is_last = undone.contains(&step.change);
        let names: Vec<ChangeId> = if contradicts { vec![step.change] } else { undone.clone() };
        steps.push(VisitStep {
            at: reading.clock.at(step.event_ms),
            state: shown_state(step.to),
            detail: place_of_step(reading, state, step.change)?,
            by: by_whom(reading, state, step.change)?,
            entered: if later {
                format!("entered {}", reading.clock.at(step.entered_ms))
            } else {
                String::new()
            },
            undo: (reading.may(Permission::MoveVisit) && (contradicts || is_last)).then(|| Undo {
                action: format!("/visits/{}/undo", state.record),
                shown: ids(&names),
            }),
        });
    }
    Ok(VisitStory {
        state: shown_state(standing.state),
        place: place.join(" · "),
        as_of: format!("live, as of {}", reading.clock.now()),
        steps,
    })
}

/// The room or provider that came with a step.
fn place_of_step(reading: &Reading<'_, '_>, state: &RecordState, change: ChangeId) -> Result<String, TxError> {
    if let Some(said) = visit::ROOM.latest(state).filter(|said| said.change == change) {
        return Ok(reading
            .room_name(said.value)?
            .map(|name| format!("Room {name}"))
            .unwrap_or_default());
    }
    if let Some(said) = visit::PROVIDER.latest(state).filter(|said| said.change == change) {
        return Ok(reading.staff_name(said.value)?.unwrap_or_default());
    }
    Ok(String::new())
}

fn by_whom(reading: &Reading<'_, '_>, state: &RecordState, change: ChangeId) -> Result<String, TxError> {
    let mut steps = state.elements(visit::TRANSITION.id).filter(|(id, _)| **id == change);
    match steps.next() {
        Some((_, element)) => reading.who(element.origin.actor),
        None => Ok(String::new()),
    }
}
