//! Rooms and providers of this site, as the board shows and offers them.

use std::collections::BTreeSet;
use std::rc::Rc;

use clinic::catalogue::room;
use clinic::value::{Role, RoomState};
use sync_protocol::{RecordId, RecordState};

use super::flow::shown_room;
use super::frame::views_count;
use super::names::bare_room;
use super::reading::{Reading, ids};
use super::views::{ProviderLoad, RoomTile};
use crate::access::sign_in::staff_here;
use crate::store::TxError;

const ROOMS_MAX: u32 = 200;

/// Rooms and providers, as they can be chosen.
pub(super) struct Places {
    rooms: Vec<(RecordId, String, Rc<RecordState>)>,
    pub(super) providers: Vec<(RecordId, String)>,
}

impl Places {
    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Providers of this site, and whoever else is `caring` for somebody.
    pub(super) fn read(reading: &Reading<'_, '_>, caring: &BTreeSet<RecordId>) -> Result<Places, TxError> {
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
        let providers = staff
            .into_iter()
            .filter(|person| person.role == Role::Provider || caring.contains(&person.staff))
            .map(|person| (person.staff, person.name))
            .collect();
        Ok(Places { rooms, providers })
    }

    pub(super) fn tiles(&self, reading: &Reading<'_, '_>) -> Vec<RoomTile> {
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

    /// `now` counts the patients a provider has.
    pub(super) fn load(&self, now: impl Fn(RecordId) -> usize) -> Vec<ProviderLoad> {
        let load = |(id, name): &(RecordId, String)| ProviderLoad {
            name: name.clone(),
            patients: views_count(now(*id) as u64),
        };
        self.providers.iter().map(load).collect()
    }

    pub(super) fn clean(&self) -> impl Iterator<Item = (RecordId, &str)> {
        let is_clean = |state: &RecordState| room::STATE.value(state).is_none_or(|now| now == RoomState::Clean);
        let clean = self.rooms.iter().filter(move |(_, _, state)| is_clean(state));
        clean.map(|(id, name, _)| (*id, name.as_str()))
    }

    pub(super) fn provider(&self, id: RecordId) -> Option<&str> {
        let mut named = self.providers.iter().filter(|(known, _)| *known == id);
        named.next().map(|(_, name)| name.as_str())
    }

    pub(super) fn room(&self, id: RecordId) -> Option<&str> {
        let mut named = self.rooms.iter().filter(|(known, ..)| *known == id);
        named.next().map(|(_, name, _)| name.as_str())
    }
}

/// "2" before "10", and names after numbers.
fn room_order(name: &str) -> (bool, u32, String) {
    let number = name.parse::<u32>();
    (number.is_err(), number.unwrap_or(0), name.to_lowercase())
}
