//! The board: every visit that is open, and those of today that have ended. A filter never hides a late patient without
//! saying so.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use clinic::catalogue::{allergy, patient, room, task, visit};
use clinic::flow::{self, Standing, VisitState};
use clinic::index::Facet;
use clinic::matching::Identity;
use clinic::value::{Role, RoomState};
use serde::Deserialize;
use sync_protocol::{RecordId, RecordState, rules};

use super::desk::{Desk, redirect};
use super::flow::{is_in_waiting_room, shown_room, shown_state, timer};
use super::frame::{shell, views_count};
use super::names::{are_mistakable, bare_room, is_temporary};
use super::reading::{Reading, ids};
use super::refusal::Built;
use super::task_rows::open_questions;
use super::views::{
    BoardGroup, BoardRow, BoardRows, BoardView, Choice, Mark, Move, MoveGroup, NextAct, ProviderLoad, RoomTile, Tab,
    Timer, Tone, VisitAct,
};
use crate::access::sign_in::staff_here;
use crate::store::TxError;

/// Visits on one board; a clinic site has a few dozen a day.
const VISITS_MAX: u32 = 500;
const ROOMS_MAX: u32 = 200;
/// Marks in one row: the two most urgent.
const MARKS_MAX: usize = 2;

#[derive(Deserialize)]
pub(super) struct BoardQuery {
    #[serde(default)]
    show: String,
    fragment: Option<String>,
}

pub(super) async fn home() -> Response {
    redirect("/board")
}

pub(super) async fn show(desk: Desk, Query(asked): Query<BoardQuery>) -> Response {
    let built = board(&desk, asked).await;
    desk.answer(built).await
}

async fn board(desk: &Desk, asked: BoardQuery) -> Built<Response> {
    if asked.fragment.is_some() {
        return desk
            .page(StatusCode::OK, move |reading| Ok(rows(reading, &asked.show)?))
            .await;
    }
    desk.page(StatusCode::OK, move |reading| {
        Ok(BoardView {
            shell: shell(reading, Some(Tab::Board))?,
            rows: rows(reading, &asked.show)?,
        })
    })
    .await
}

/// A visit with all that its row needs.
struct OnBoard {
    visit: Rc<RecordState>,
    standing: Standing,
    patient_id: RecordId,
    patient: Option<Rc<RecordState>>,
    provider: Option<RecordId>,
    timer: Option<Timer>,
}

impl OnBoard {
    fn tone(&self) -> Tone {
        self.timer.as_ref().map_or(Tone::Plain, |timer| timer.tone)
    }

    fn contradicts(&self) -> bool {
        self.standing.ends.len() > 1
    }

    fn needs(&self) -> bool {
        self.tone() == Tone::Act || self.contradicts()
    }

    fn is_late(&self) -> bool {
        matches!(self.tone(), Tone::Act | Tone::Watch)
    }
}

/// Which rows are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filter {
    All,
    Needs,
    Waiting,
    Provider(RecordId),
}

impl Filter {
    fn parse(show: &str) -> Filter {
        match show {
            "needs" => Filter::Needs,
            "waiting" => Filter::Waiting,
            other => RecordId::parse(other).map_or(Filter::All, Filter::Provider),
        }
    }

    fn href(self) -> String {
        match self {
            Filter::All => "/board".to_owned(),
            Filter::Needs => "/board?show=needs".to_owned(),
            Filter::Waiting => "/board?show=waiting".to_owned(),
            Filter::Provider(id) => format!("/board?show={id}"),
        }
    }

    fn takes(self, row: &OnBoard) -> bool {
        match self {
            Filter::All => true,
            Filter::Needs => row.needs(),
            Filter::Waiting => is_in_waiting_room(row.standing.state),
            Filter::Provider(id) => row.provider == Some(id),
        }
    }
}

fn rows(reading: &Reading<'_, '_>, show: &str) -> Result<BoardRows, TxError> {
    let filter = Filter::parse(show);
    let all = visits(reading)?;
    let places = Places::read(reading, &all)?;
    let remarks = Remarks::of(reading, &all)?;
    let chosen: Vec<&OnBoard> = all.iter().filter(|row| filter.takes(row)).collect();
    let late = |rows: &[&OnBoard]| rows.iter().filter(|row| row.is_late()).count();
    let late_left_out = late(&all.iter().collect::<Vec<_>>()) - late(&chosen);
    Ok(BoardRows {
        keys: reading.keys.clone(),
        fragment_url: match filter {
            Filter::All => "/board?fragment=rows".to_owned(),
            Filter::Needs | Filter::Waiting | Filter::Provider(_) => format!("{}&fragment=rows", filter.href()),
        },
        as_of: format!("Live, as of {}", reading.clock.now()),
        choices: choices(&all, &places, filter),
        late_left_out: views_count(late_left_out as u64),
        groups: groups(reading, &chosen, &places, &remarks)?,
        next_expected: String::new(),
        load: places.load(&all),
        rooms: places.tiles(reading),
    })
}

/// Open visits, and those that arrived today and have ended.
fn visits(reading: &Reading<'_, '_>) -> Result<Vec<OnBoard>, TxError> {
    let mut found: BTreeMap<RecordId, RecordState> = BTreeMap::new();
    let open = reading.tx.with_facet(Facet::VISIT_OPEN, VISITS_MAX)?;
    let contradicting = reading.tx.with_facet(Facet::VISIT_CONTRADICTS, VISITS_MAX)?;
    let today = reading
        .tx
        .records_since(visit::KIND, reading.clock.midnight_ms(), VISITS_MAX)?;
    for stored in open.into_iter().chain(contradicting).chain(today) {
        found.insert(stored.state.record, stored.state);
    }
    let mut all = Vec::new();
    for state in found.into_values() {
        let Some(standing) = flow::standing(&state) else {
            continue;
        };
        let patient_id = visit::PATIENT.value(&state).unwrap_or(RecordId::NIL);
        all.push(OnBoard {
            patient: reading.state(patient_id)?.filter(|state| state.kind == patient::KIND),
            timer: timer(&reading.clock, standing.state, standing.since_ms),
            provider: visit::PROVIDER.value(&state),
            visit: Rc::new(state),
            standing,
            patient_id,
        });
    }
    all.sort_by_key(|row| (row.standing.since_ms, row.visit.record));
    Ok(all)
}

/// Rooms and providers, as they can be chosen.
struct Places {
    rooms: Vec<(RecordId, String, Rc<RecordState>)>,
    providers: Vec<(RecordId, String)>,
}

impl Places {
    fn read(reading: &Reading<'_, '_>, all: &[OnBoard]) -> Result<Places, TxError> {
        let mut rooms = Vec::new();
        for stored in reading.tx.records_of_kind(room::KIND, ROOMS_MAX)? {
            let of_other = room::SITE
                .value(&stored.state)
                .is_some_and(|site| site != reading.site.id);
            if let (false, Some(name)) = (of_other, room::NAME.value(&stored.state)) {
                rooms.push((stored.state.record, bare_room(&name), Rc::new(stored.state)));
            }
        }
        rooms.sort_by_key(|(id, name, _)| (room_order(name), *id));
        let staff = staff_here(reading.tx)?;
        let seen: BTreeSet<RecordId> = all.iter().filter_map(|row| row.provider).collect();
        let providers = staff
            .into_iter()
            .filter(|person| person.role == Role::Provider || seen.contains(&person.staff))
            .map(|person| (person.staff, person.name))
            .collect();
        Ok(Places { rooms, providers })
    }

    fn tiles(&self, reading: &Reading<'_, '_>) -> Vec<RoomTile> {
        let tile = |(id, name, state): &(RecordId, String, Rc<RecordState>)| {
            let said = room::STATE.latest(state);
            let now = said.as_ref().map_or(RoomState::Clean, |said| said.value);
            RoomTile {
                room: id.to_string(),
                name: name.clone(),
                state: shown_room(now),
                since: match (now, said) {
                    (RoomState::Clean, _) | (_, None) => "free".to_owned(),
                    (RoomState::Occupied | RoomState::Dirty, Some(said)) => reading.clock.since(said.event_ms),
                },
                shown: ids(&state.shown(room::STATE.id)),
            }
        };
        self.rooms.iter().map(tile).collect()
    }

    fn load(&self, all: &[OnBoard]) -> Vec<ProviderLoad> {
        let now = |id: RecordId| {
            all.iter()
                .filter(|row| row.provider == Some(id) && !row.standing.state.is_end())
                .count()
        };
        let load = |(id, name): &(RecordId, String)| ProviderLoad {
            name: name.clone(),
            patients: views_count(now(*id) as u64),
        };
        self.providers.iter().map(load).collect()
    }

    fn clean(&self) -> impl Iterator<Item = (RecordId, &str)> {
        let is_clean = |state: &RecordState| room::STATE.value(state).is_none_or(|now| now == RoomState::Clean);
        let clean = self.rooms.iter().filter(move |(_, _, state)| is_clean(state));
        clean.map(|(id, name, _)| (*id, name.as_str()))
    }

    fn provider(&self, id: RecordId) -> Option<&str> {
        let mut named = self.providers.iter().filter(|(known, _)| *known == id);
        named.next().map(|(_, name)| name.as_str())
    }

    fn room(&self, id: RecordId) -> Option<&str> {
        let mut named = self.rooms.iter().filter(|(known, ..)| *known == id);
        named.next().map(|(_, name, _)| name.as_str())
    }
}

/// "2" before "10", and names after numbers.
fn room_order(name: &str) -> (bool, u32, String) {
    let number = name.parse::<u32>();
    (number.is_err(), number.unwrap_or(0), name.to_lowercase())
}

/// What is to be marked beside a patient, by what was read once for all of them.
struct Remarks {
    asked_about: BTreeSet<RecordId>,
    mistakable: BTreeSet<RecordId>,
}

impl Remarks {
    fn of(reading: &Reading<'_, '_>, all: &[OnBoard]) -> Result<Remarks, TxError> {
        let asked = open_questions(reading)?;
        let asked_about = asked.iter().filter_map(|stored| task::PATIENT.value(&stored.state));
        let here: Vec<(RecordId, Identity)> = all
            .iter()
            .filter(|row| !row.standing.state.is_end())
            .filter_map(|row| Some((row.patient_id, Identity::of_patient(row.patient.as_ref()?))))
            .collect();
        let mut mistakable = BTreeSet::new();
        for (nth, (one, identity)) in here.iter().enumerate() {
            for (other, theirs) in &here[nth + 1..] {
                if one != other && are_mistakable(identity, theirs) {
                    mistakable.extend([*one, *other]);
                }
            }
        }
        Ok(Remarks {
            asked_about: asked_about.collect(),
            mistakable,
        })
    }

    /// The most urgent first.
    fn marks(&self, reading: &Reading<'_, '_>, row: &OnBoard) -> Result<Vec<Mark>, TxError> {
        let mut marks = Vec::new();
        if let Some(patient) = &row.patient {
            marks.extend(disputed(patient).map(Mark::two_values));
        }
        if self.asked_about.contains(&row.patient_id) {
            marks.push(Mark::unmatched());
        }
        if self.mistakable.contains(&row.patient_id) {
            marks.push(Mark::look_alike());
        }
        let allergies = active_allergies(reading, row.patient_id)?;
        if allergies > 0 {
            marks.push(Mark::allergies(allergies));
        }
        if row.patient.as_ref().is_some_and(|patient| is_temporary(patient)) {
            marks.push(Mark::temp());
        }
        marks.truncate(MARKS_MAX);
        Ok(marks)
    }
}

/// Labels of the fields that wait for a person's decision.
pub(super) fn disputed(patient: &RecordState) -> impl Iterator<Item = &'static str> {
    let open = [
        (patient::NAME.ask(patient).is_open(), "Name"),
        (patient::BIRTH_DATE.ask(patient).is_open(), "Birth date"),
        (patient::SEX.ask(patient).is_open(), "Sex"),
    ];
    open.into_iter().filter(|(open, _)| *open).map(|(_, label)| label)
}

fn active_allergies(reading: &Reading<'_, '_>, patient: RecordId) -> Result<usize, TxError> {
    if reading.tx.count_linked(patient, allergy::KIND)? == 0 {
        return Ok(0);
    }
    let all = reading.tx.linked(patient, allergy::KIND)?;
    let active = |state: &RecordState| rules::assertions(state, allergy::STATEMENT.id).active;
    Ok(all.iter().filter(|stored| active(&stored.state)).count())
}

fn choices(all: &[OnBoard], places: &Places, current: Filter) -> Vec<Choice> {
    let choice = |filter: Filter, label: String| Choice {
        href: filter.href(),
        label,
        count: views_count(all.iter().filter(|row| filter.takes(row)).count() as u64),
        current: filter == current,
    };
    let mut choices = vec![
        choice(Filter::All, "All".to_owned()),
        choice(Filter::Needs, "Needs someone".to_owned()),
        choice(Filter::Waiting, "Waiting".to_owned()),
    ];
    for (id, name) in &places.providers {
        choices.push(choice(Filter::Provider(*id), family(name).to_owned()));
    }
    if let Filter::Provider(id) = current
        && places.provider(id).is_none()
    {
        choices.push(choice(current, "Another provider".to_owned()));
    }
    choices
}

/// "Okafor" of "Okafor, Chidi": what a filter has room for.
fn family(name: &str) -> &str {
    name.split(',').next().unwrap_or(name)
}

fn groups(
    reading: &Reading<'_, '_>,
    rows: &[&OnBoard],
    places: &Places,
    remarks: &Remarks,
) -> Result<Vec<BoardGroup>, TxError> {
    let (mut waiting, mut in_rooms, mut expected, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let state = row.standing.state;
        let group = if state.is_end() {
            &mut gone
        } else if state == VisitState::Expected {
            &mut expected
        } else if is_in_waiting_room(state) {
            &mut waiting
        } else {
            &mut in_rooms
        };
        group.push(board_row(reading, row, places, remarks)?);
    }
    let longest = rows
        .iter()
        .filter(|row| is_in_waiting_room(row.standing.state))
        .map(|row| row.standing.since_ms)
        .min();
    let clean = places.clean().count();
    let group = |title: &str, remark: String, rows| BoardGroup {
        title: title.to_owned(),
        remark,
        rows,
    };
    let longest = longest.map(|since_ms| format!("longest {}", reading.clock.since(since_ms)));
    Ok(vec![
        group("Waiting room", longest.unwrap_or_default(), waiting),
        group(
            "In rooms",
            format!("{clean} of {} rooms clean", places.rooms.len()),
            in_rooms,
        ),
        group("Expected", String::new(), expected),
        group("Gone today", String::new(), gone),
    ])
}

fn board_row(
    reading: &Reading<'_, '_>,
    row: &OnBoard,
    places: &Places,
    remarks: &Remarks,
) -> Result<BoardRow, TxError> {
    let state = row.standing.state;
    let visit = &row.visit;
    let shown: BTreeSet<_> = row
        .standing
        .steps
        .iter()
        .map(|step| step.change)
        .chain(visit.shown(visit::ROOM.id))
        .chain(visit.shown(visit::PROVIDER.id))
        .collect();
    let ends: Vec<&str> = row.standing.ends.iter().map(|end| shown_state(*end).label()).collect();
    Ok(BoardRow {
        visit: visit.record.to_string(),
        patient: reading.patient(row.patient_id)?,
        state: shown_state(state),
        state_label: row.contradicts().then(|| format!("{}?", ends.join(", or "))),
        timer: timer(&reading.clock, state, row.standing.since_ms),
        room: visit::ROOM
            .value(visit)
            .and_then(|id| places.room(id))
            .map(str::to_owned),
        provider: row.provider.and_then(|id| places.provider(id)).map(str::to_owned),
        reason: visit::REASON
            .value(visit)
            .map(|reason| reason.into_exposed())
            .unwrap_or_default(),
        marks: remarks.marks(reading, row)?,
        needs: row.needs(),
        next: next_act(state, places),
        others: other_moves(state, visit, places),
        shown: ids(&shown),
    })
}

fn to(state: VisitState) -> Move {
    let shown = shown_state(state);
    Move {
        act: VisitAct::To(shown),
        label: shown.verb().to_owned(),
    }
}

fn next_act(state: VisitState, places: &Places) -> NextAct {
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

fn other_moves(state: VisitState, visit: &RecordState, places: &Places) -> Vec<MoveGroup> {
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
