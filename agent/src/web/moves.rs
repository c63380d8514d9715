//! What may be done with a visit from the board: the act that most likely comes next, and the others.

use clinic::catalogue::visit;
use clinic::flow::VisitState;
use sync_protocol::{RecordId, RecordState};

use super::flow::shown_state;
use super::places::Places;
use super::views::{Move, MoveGroup, NextAct, VisitAct};

fn to(state: VisitState) -> Move {
    let shown = shown_state(state);
    Move {
        act: VisitAct::To(shown),
        label: shown.verb().to_owned(),
    }
}

pub(super) fn next_act(state: VisitState, places: &Places) -> NextAct {
    let Some(next) = state.next() else { return NextAct::None };
    let (label, moves): (&str, Vec<Move>) = match next {
        VisitState::Roomed => ("Room…", places.clean().map(|(id, name)| into_room(id, name)).collect()),
        VisitState::WithProvider => {
            let with = |(id, name): &(RecordId, String)| Move {
                act: VisitAct::With(id.to_string()),
                label: name.clone(),
            };
            ("Provider in…", places.providers.iter().map(with).collect())
        }
        VisitState::Expected
        | VisitState::Arrived
        | VisitState::Registered
        | VisitState::Triaged
        | VisitState::AwaitingResults
        | VisitState::ReadyToLeave
        | VisitState::Discharged
        | VisitState::LeftWithoutBeingSeen
        | VisitState::Cancelled => return NextAct::One(to(next)),
    };
    if moves.is_empty() {
        return NextAct::One(to(next));
    }
    NextAct::Choose {
        label: label.to_owned(),
        moves,
    }
}

fn into_room(id: RecordId, name: &str) -> Move {
    Move {
        act: VisitAct::Into(id.to_string()),
        label: format!("Room {name}"),
    }
}

pub(super) fn other_moves(state: VisitState, visit: &RecordState, places: &Places) -> Vec<MoveGroup> {
    let group = |title: &str, moves: Vec<Move>| MoveGroup {
        title: title.to_owned(),
        moves,
    };
    let (ends, on): (Vec<VisitState>, Vec<VisitState>) = state.moves().into_iter().partition(|to| to.is_end());
    let mut groups = vec![group("Move to", on.into_iter().map(to).collect())];
    if !state.is_end() && state != VisitState::Expected {
        let room = |(id, name): (RecordId, &str)| Move {
            act: if state < VisitState::Roomed {
                VisitAct::Into(id.to_string())
            } else {
                VisitAct::Room(id.to_string())
            },
            label: format!("Room {name}"),
        };
        groups.push(group("Room", places.clean().map(room).collect()));
        let now = visit::PROVIDER.value(visit);
        let provider = |(id, name): &(RecordId, String)| Move {
            act: VisitAct::Provider(id.to_string()),
            label: name.clone(),
        };
        let others = places.providers.iter().filter(|(id, _)| Some(*id) != now);
        groups.push(group("Provider", others.map(provider).collect()));
    }
    groups.push(group("Leaves", ends.into_iter().map(to).collect()));
    groups.retain(|group| !group.moves.is_empty());
    groups
}
