//! ADT A04 and A08: somebody is here, or what is known of somebody has changed.

use clinic::catalogue::visit;
use clinic::flow::{self, VisitState};
use clinic::hl7::{Admission, EventTime, event_time};
use clinic::keeping::{self, Following, Kept};
use clinic::rules;
use clinic::write::{Action, Channel, Writing};
use formats::hl7::Sent;
use jiff::tz::TimeZone;
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, Phi, RecordId};

use super::receipt::{Effect, Received};
use super::visits::{self, FoundVisit};
use crate::access::site::Site;
use crate::access::visits::{Move, cause_tasks, move_visit};
use crate::access::{ActError, By};
use crate::store::{ReadTx, WriteTx};

pub(super) const DISPUTED: &str = "PID-3: a number of this message is known under another person here; look at both";
pub(super) const TIME_REPLACED: &str = "the time of the event lies more than a day ahead or thirty days back; \
                             the time of receipt stands for it";
const VISIT_ENDED: &str = "PV1-19: the visit of this number has ended; nothing was started again";
const SEVERAL_VISITS: &str = "PV1-19: the patient has several open visits and no number tells which is meant";

/// By what an interface acts.
pub(super) const BY: By<'_> = By::Interface(Channel::Hl7);

pub(super) fn happened(tx: &ReadTx<'_>, received: &Received, admission: &Admission) -> Result<EventTime, ActError> {
    let zone = TimeZone::get(&Site::of(tx)?.zone).unwrap_or(TimeZone::UTC);
    Ok(event_time(&admission.times, &zone, received.received_ms))
}

/// A04: the patient is here, so there is a visit, arrived at least.
pub(super) fn register(tx: &mut WriteTx<'_>, received: &Received, admission: &Admission) -> Result<Effect, ActError> {
    let at = happened(tx, received, admission)?;
    let kept = keep_person(tx, received, admission, at.ms)?;
    let site = Site::of(tx)?;
    let note = match visits::find(tx, site.id, &kept.members, admission.visit.number.as_ref())? {
        FoundVisit::Open(state) => {
            follow_visit(tx, received, admission, &state, at.ms)?;
            let expected = flow::standing(&state).is_some_and(|standing| standing.state == VisitState::Expected);
            if expected {
                let arrived = Move {
                    to: Some(VisitState::Arrived),
                    event_ms: at.ms,
                    ..Move::default()
                };
                move_visit(tx, BY, state.record, &arrived)?;
            }
            None
        }
        FoundVisit::None => {
            start_visit(tx, received, admission, &site, kept.id, at.ms)?;
            None
        }
        FoundVisit::Ended(_) => Some(VISIT_ENDED),
        FoundVisit::Several => Some(SEVERAL_VISITS),
    };
    Ok(effect(&kept, note, at))
}

/// A08: the patient, and the visit if there is one. It starts none.
pub(super) fn update(tx: &mut WriteTx<'_>, received: &Received, admission: &Admission) -> Result<Effect, ActError> {
    let at = happened(tx, received, admission)?;
    let kept = keep_person(tx, received, admission, at.ms)?;
    let site = Site::of(tx)?.id;
    let note = match visits::find(tx, site, &kept.members, admission.visit.number.as_ref())? {
        FoundVisit::Open(state) => {
            follow_visit(tx, received, admission, &state, at.ms)?;
            None
        }
        FoundVisit::Several => Some(SEVERAL_VISITS),
        FoundVisit::Ended(_) | FoundVisit::None => None,
    };
    Ok(effect(&kept, note, at))
}

fn effect(kept: &Kept, note: Option<&'static str>, at: EventTime) -> Effect {
    if kept.disputed {
        return Effect::unmatched(Some(kept.id), DISPUTED);
    }
    match note {
        // The patient is kept, and nothing on the board has moved: somebody has to know.
        Some(note) => Effect::unmatched(Some(kept.id), note),
        None => Effect::accepted(Some(kept.id), at.replaced.then_some(TIME_REPLACED)),
    }
}

fn keep_person(
    tx: &mut WriteTx<'_>,
    received: &Received,
    admission: &Admission,
    event_ms: i64,
) -> Result<Kept, ActError> {
    let words = &mut received.words(tx);
    let kept = keeping::keep(words, &admission.person, event_ms)?;
    keeping::keep_allergies(words, kept.id, &admission.allergies, event_ms)?;
    keeping::keep_coverages(words, kept.id, &admission.coverages, event_ms)?;
    Ok(kept)
}

fn start_visit(
    tx: &mut WriteTx<'_>,
    received: &Received,
    admission: &Admission,
    site: &Site,
    patient: RecordId,
    event_ms: i64,
) -> Result<(), ActError> {
    let id = tx.new_record_id()?;
    let writing = rules::arrive(id, patient, site.id, BY.actor(), event_ms);
    let cause = keep_visit(tx, received, admission, id, None, writing)?;
    match cause {
        Some(cause) => cause_tasks(tx, cause, id, None, event_ms),
        None => Ok(()),
    }
}

fn follow_visit(
    tx: &mut WriteTx<'_>,
    received: &Received,
    admission: &Admission,
    state: &RecordState,
    event_ms: i64,
) -> Result<(), ActError> {
    let writing = Writing::new(visit::KIND, state.record, Action::Message, BY.actor(), event_ms);
    keep_visit(tx, received, admission, state.record, Some(state), writing)?;
    Ok(())
}

fn keep_visit(
    tx: &mut WriteTx<'_>,
    received: &Received,
    admission: &Admission,
    id: RecordId,
    state: Option<&RecordState>,
    writing: Writing,
) -> Result<Option<ChangeId>, ActError> {
    let number = match &admission.visit.number {
        Some(number) => Sent::Value(Phi::new(number.clone())),
        None => Sent::Nothing,
    };
    let words = &mut received.words(tx);
    Following::new(id, state, writing)
        .say(words, visit::REASON, &admission.visit.reason, |a, b| a == b)?
        .say(words, visit::NUMBER, &number, |a, b| a == b)?
        .write(words)
}
