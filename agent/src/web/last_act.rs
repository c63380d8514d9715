//! What was last done under a sign-in: said at the foot of the page until the next act, with its undo.

use std::collections::BTreeMap;

use sync_protocol::{ChangeId, Hash, RecordId};

use super::names::second_words;
use super::reading::{Reading, ids};
use super::views::{Toast, Undo};
use crate::store::TxError;
use clinic::catalogue::visit;
use clinic::flow;

#[derive(Clone)]
pub(super) struct LastAct {
    pub(super) about: About,
    /// "moved to Room 1"
    pub(super) what: String,
    pub(super) at_ms: i64,
    pub(super) undo: Option<UndoOf>,
}

#[derive(Clone)]
pub(super) enum About {
    Patient(RecordId),
    /// "Room 4", "Downtime"
    Thing(String),
}

/// A visit and the changes that moved it.
#[derive(Clone)]
pub(super) struct UndoOf {
    pub(super) visit: RecordId,
    pub(super) changes: Vec<ChangeId>,
}

/// Sign-ins whose last act is remembered; the one that acted longest ago goes first.
const KEPT_MAX: usize = 500;

impl LastAct {
    pub(super) fn keep(all: &mut BTreeMap<Hash, LastAct>, sign_in: Hash, said: Option<LastAct>) {
        match said {
            Some(said) => all.insert(sign_in, said),
            None => all.remove(&sign_in),
        };
        if all.len() > KEPT_MAX
            && let Some(oldest) = all.iter().min_by_key(|(_, act)| act.at_ms).map(|(id, _)| *id)
        {
            all.remove(&oldest);
        }
    }

    pub(super) fn toast(&self, reading: &Reading<'_, '_>) -> Result<Toast, TxError> {
        let subject = match &self.about {
            About::Patient(patient) => {
                let named = reading.patient(*patient)?;
                format!("{}, {}", named.name, second_words(&named.second))
            }
            About::Thing(thing) => thing.clone(),
        };
        Ok(Toast {
            subject,
            what: format!("{} by you, {}", self.what, reading.clock.at(self.at_ms)),
            undo: match &self.undo {
                Some(undo) if undo.still_stands(reading)? => Some(Undo {
                    action: format!("/visits/{}/undo", undo.visit),
                    shown: ids(&undo.changes),
                }),
                Some(_) | None => None,
            },
        })
    }
}

impl UndoOf {
    fn still_stands(&self, reading: &Reading<'_, '_>) -> Result<bool, TxError> {
        let state = reading.state(self.visit)?.filter(|state| state.kind == visit::KIND);
        let standing = state.and_then(|state| flow::standing(&state));
        Ok(standing.is_some_and(|standing| {
            let stands = |id: &ChangeId| standing.steps.iter().any(|step| step.change == *id);
            !self.changes.is_empty() && self.changes.iter().all(stands)
        }))
    }
}
