//! What people do about tasks from a list: withdraw, send again, say who somebody at the partner is.

use axum::extract::Path;
use axum::response::Response;
use clinic::catalogue::task;
use clinic::task::Answer;
use sync_protocol::RecordId;

use super::desk::Acted;
use super::last_act::{About, LastAct};
use super::refusal::{Built, Refusal};
use super::sent::Sent;
use super::visits::record_id;
use crate::access::tasks;
use crate::store::{ReadTx, TxError};

pub(super) async fn withdraw(Path(id): Path<String>, sent: Sent) -> Response {
    let done = withdrawn(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn withdrawn(id: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(id)?;
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            tasks::withdraw(tx, by, id, now_ms)?;
            Ok(Acted::saying(said(tx, id, "task asked to be withdrawn", now_ms)?))
        })
        .await
}

pub(super) async fn retry(Path(id): Path<String>, sent: Sent) -> Response {
    let done = tried_again(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn tried_again(id: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(id)?;
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            tasks::try_again(tx, by, id, now_ms)?;
            Ok(Acted::saying(said(tx, id, "task sent again", now_ms)?))
        })
        .await
}

pub(super) async fn answer(Path(id): Path<String>, sent: Sent) -> Response {
    let done = answered(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn answered(id: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(id)?;
    let given = sent.fields.text("answer");
    let answer = match given.strip_prefix("same:") {
        Some(number) if !number.is_empty() => Answer::Attach(number.to_owned()),
        Some(_) => return Err(Refusal::NotOurForm),
        None if given == "none" => Answer::Create,
        None => return Err(Refusal::NotOurForm),
    };
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            tasks::answer(tx, by, id, &answer, now_ms)?;
            let what = match &answer {
                Answer::Attach(_) => "said to be the same person at the EHR",
                Answer::Create => "said to be new at the EHR",
            };
            Ok(Acted::saying(said(tx, id, what, now_ms)?))
        })
        .await
}

/// What was done about a task is said of its patient.
pub(super) fn said(tx: &ReadTx<'_>, id: RecordId, what: &str, at_ms: i64) -> Result<LastAct, TxError> {
    let patient = tx.state(id)?.and_then(|state| task::PATIENT.value(&state));
    Ok(LastAct {
        about: match patient {
            Some(patient) => About::Patient(patient),
            None => About::Thing("Task".to_owned()),
        },
        what: what.to_owned(),
        at_ms,
        undo: None,
    })
}
