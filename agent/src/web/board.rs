//! The board: every visit that is open, and those of today that have ended. A filter never hides a late patient without
//! saying so.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use clinic::catalogue::{patient, visit};
use clinic::flow::{self, Standing, VisitState};
use clinic::index::Facet;
use clinic::matching::Identity;
use serde::Deserialize;
use sync_protocol::{RecordId, RecordState};

use super::bookings;
use super::desk::{Desk, redirect};
use super::flow::{ends_words, is_in_waiting_room, shown_state, timer};
use super::frame::{shell, views_count};
use super::moves::{next_act, other_moves};
use super::places::Places;
use super::reading::{Reading, ids};
use super::refusal::Built;
use super::remarks::Remarks;
use super::views::{BoardGroup, BoardRow, BoardRows, BoardView, Choice, Tab, Timer, Tone};
use crate::store::TxError;

/// Visits on one board; a clinic site has a few dozen a day.
const VISITS_MAX: u32 = 500;

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

    /// Of somebody who is here now.
    fn identity(&self) -> Option<(RecordId, Identity)> {
        let patient = self.patient.as_ref().filter(|_| !self.standing.state.is_end())?;
        Some((self.patient_id, Identity::of_patient(patient)))
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
    let caring = all.iter().filter_map(|row| row.provider).collect();
    let places = Places::read(reading, &caring)?;
    let here: Vec<(RecordId, Identity)> = all.iter().filter_map(OnBoard::identity).collect();
    let remarks = Remarks::of(reading, &here)?;
    let has_now = |id: RecordId| {
        let now = all.iter().filter(|row| row.provider == Some(id));
        now.filter(|row| !row.standing.state.is_end()).count()
    };
    let chosen: Vec<&OnBoard> = all.iter().filter(|row| filter.takes(row)).collect();
    let late = |rows: &[&OnBoard]| rows.iter().filter(|row| row.is_late()).count();
    let late_left_out = late(&all.iter().collect::<Vec<_>>()) - late(&chosen);
    let booked = bookings::today(reading)?;
    let mut booked_rows = Vec::new();
    if filter == Filter::All {
        for booking in &booked {
            booked_rows.extend(bookings::row(reading, booking, &places, &remarks)?);
        }
    }
    Ok(BoardRows {
        keys: reading.keys.clone(),
        fragment_url: match filter {
            Filter::All => "/board?fragment=rows".to_owned(),
            Filter::Needs | Filter::Waiting | Filter::Provider(_) => format!("{}&fragment=rows", filter.href()),
        },
        as_of: format!("Live, as of {}{}", reading.clock.now(), bookings::age(reading)),
        choices: choices(&all, &places, filter),
        late_left_out: views_count(late_left_out as u64),
        next_expected: bookings::next_of(reading, &booked),
        groups: groups(reading, &chosen, booked_rows, &places, &remarks)?,
        load: places.load(has_now),
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
    booked: Vec<BoardRow>,
    places: &Places,
    remarks: &Remarks,
) -> Result<Vec<BoardGroup>, TxError> {
    let (mut waiting, mut in_rooms, mut expected, mut gone) = (Vec::new(), Vec::new(), booked, Vec::new());
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
            format!("{clean} of {} rooms clean", places.rooms()),
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
    Ok(BoardRow {
        visit: visit.record.to_string(),
        action: format!("/visits/{}/move", visit.record),
        patient: reading.patient(row.patient_id)?,
        state: shown_state(state),
        state_label: row.contradicts().then(|| ends_words(&row.standing.ends)),
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
        marks: remarks.marks(reading, row.patient_id, row.patient.as_deref())?,
        needs: row.needs(),
        next: next_act(state, places),
        others: other_moves(state, visit, places),
        shown: ids(&shown),
    })
}
