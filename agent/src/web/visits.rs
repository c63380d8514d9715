//! Acts on the board: moving a visit on, taking a step back, rooms.

use axum::extract::Path;
use axum::response::Response;
use clinic::catalogue::{room, visit};
use sync_protocol::RecordId;

use super::desk::Acted;
use super::flow::{room_state, visit_state, what_was_done};
use super::last_act::{About, LastAct, UndoOf};
use super::names::bare_room;
use super::refusal::{Built, Refusal};
use super::sent::Sent;
use super::views::{FlowState, RoomState, VisitAct};
use crate::access::ActError;
use crate::access::visits::{self, Move};
use crate::store::{ReadTx, TxError};

pub(super) fn record_id(text: &str) -> Built<RecordId> {
    RecordId::parse(text).ok_or(Refusal::NotFound)
}

pub(super) async fn move_on(Path(id): Path<String>, sent: Sent) -> Response {
    let done = moved(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn moved(id: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(id)?;
    let act: VisitAct = sent.fields.text("act").parse().map_err(|_| Refusal::NotOurForm)?;
    let mut step = Move {
        shown: sent.fields.changes("shown"),
        ..Move::default()
    };
    match act {
        VisitAct::To(state) => step.to = Some(visit_state(state)),
        VisitAct::Into(room) => {
            step.to = Some(visit_state(FlowState::Roomed));
            step.room = Some(record_id(&room)?);
        }
        VisitAct::With(provider) => {
            step.to = Some(visit_state(FlowState::WithProvider));
            step.provider = Some(record_id(&provider)?);
        }
        VisitAct::Room(room) => step.room = Some(record_id(&room)?),
        VisitAct::Provider(provider) => step.provider = Some(record_id(&provider)?),
    }
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            let step = Move {
                event_ms: now_ms,
                ..step.clone()
            };
            let change = visits::move_visit(tx, by, id, &step)?;
            let patient = patient_of(tx, id)?;
            let undo = change.filter(|_| step.to.is_some()).map(|change| UndoOf {
                visit: id,
                changes: vec![change],
            });
            Ok(Acted::saying(LastAct {
                about: About::Patient(patient),
                what: what_moved(tx, &step)?,
                at_ms: now_ms,
                undo,
            }))
        })
        .await
}

fn patient_of(tx: &ReadTx<'_>, visit_id: RecordId) -> Result<RecordId, ActError> {
    let state = tx.state(visit_id)?.ok_or(ActError::NotFound("visit"))?;
    visit::PATIENT.value(&state).ok_or(ActError::NotFound("patient"))
}

fn provider_of(tx: &ReadTx<'_>, visit_id: RecordId) -> Result<Option<RecordId>, TxError> {
    Ok(tx.state(visit_id)?.and_then(|state| visit::PROVIDER.value(&state)))
}

fn what_moved(tx: &ReadTx<'_>, step: &Move) -> Result<String, TxError> {
    if let Some(room) = step.room {
        return Ok(format!("moved to {}", room_words(tx, room)?));
    }
    Ok(match step.to {
        Some(to) => what_was_done(to).to_owned(),
        None => "given to another provider".to_owned(),
    })
}

fn room_words(tx: &ReadTx<'_>, id: RecordId) -> Result<String, TxError> {
    let name = tx.state(id)?.and_then(|state| room::NAME.value(&state));
    Ok(format!("Room {}", bare_room(&name.unwrap_or_default())))
}

pub(super) async fn undo(Path(id): Path<String>, sent: Sent) -> Response {
    let done = undone(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn undone(id: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(id)?;
    let shown = sent.fields.changes("shown");
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            let had = provider_of(tx, id)?;
            visits::undo(tx, by, id, &shown, now_ms)?;
            let lost_provider = had.is_some() && provider_of(tx, id)?.is_none();
            let what = if lost_provider {
                "taken one step back, no provider now,"
            } else {
                "taken one step back"
            };
            Ok(Acted::saying(LastAct {
                about: About::Patient(patient_of(tx, id)?),
                what: what.to_owned(),
                at_ms: now_ms,
                undo: None,
            }))
        })
        .await
}

pub(super) async fn set_room(Path(id): Path<String>, sent: Sent) -> Response {
    let done = room_set(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn room_set(id: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(id)?;
    let to = RoomState::of_code(&sent.fields.text("to")).ok_or(Refusal::NotOurForm)?;
    let shown = sent.fields.changes("shown");
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            visits::set_room(tx, by, id, room_state(to), &shown, now_ms)?;
            Ok(Acted::saying(LastAct {
                about: About::Thing(room_words(tx, id)?),
                what: format!("marked {}", to.code()),
                at_ms: now_ms,
                undo: None,
            }))
        })
        .await
}
