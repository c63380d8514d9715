//! ADT A03: a visit has ended. It says nothing new of the patient, and ends only a visit that can be told for sure.

use clinic::flow::{self, VisitState};
use clinic::hl7::Admission;
use clinic::keeping::{self, Found};

use super::receipt::{Effect, Received};
use super::register::{BY, happened};
use super::visits::{self, FoundVisit};
use crate::access::ActError;
use crate::access::site::Site;
use crate::access::visits::{Move, move_visit};
use crate::store::WriteTx;

const NO_PATIENT: &str = "PID-3: no patient here carries one of these numbers with this name or birth date";
const NO_VISIT: &str = "PV1-19: the patient has no such visit open here";
const SEVERAL_VISITS: &str = "PV1-19: the patient has several open visits and no number tells which has ended";
const ENDED_BEFORE: &str = "PV1-19: the visit has ended already";

pub(super) fn discharge(tx: &mut WriteTx<'_>, received: &Received, admission: &Admission) -> Result<Effect, ActError> {
    let person = &admission.person;
    let found = keeping::find(&mut received.words(tx), &person.identity(), &person.wanted_numbers())?;
    let (patient, members) = match found {
        Found::One(state, members) => (state.record, members),
        Found::Nobody | Found::SomebodyElse | Found::Several => return Ok(Effect::unmatched(None, NO_PATIENT)),
    };
    let site = Site::of(tx)?.id;
    let state = match visits::find(tx, site, &members, admission.visit.number.as_ref())? {
        FoundVisit::Open(state) => state,
        FoundVisit::Ended(visit) => return Ok(Effect::accepted(Some(visit), Some(ENDED_BEFORE))),
        FoundVisit::None => return Ok(Effect::unmatched(Some(patient), NO_VISIT)),
        FoundVisit::Several => return Ok(Effect::unmatched(Some(patient), SEVERAL_VISITS)),
    };
    let leads = flow::standing(&state).is_some_and(|standing| standing.state.leads_to(VisitState::Discharged));
    if leads {
        let ended = Move {
            to: Some(VisitState::Discharged),
            event_ms: happened(tx, received, admission)?.ms,
            ..Move::default()
        };
        move_visit(tx, BY, state.record, &ended)?;
    }
    Ok(Effect::accepted(Some(state.record), None))
}
