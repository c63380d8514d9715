//! On a patient's page: the other records of the same person, and those of whom somebody is to say whether they are.

use axum::extract::Path;
use axum::response::Response;
use clinic::catalogue::link;
use clinic::linking::{other_end, standing};
use clinic::policy::Permission;
use clinic::value::LinkStanding;
use sync_protocol::{RecordId, RecordState};

use super::desk::Acted;
use super::last_act::{About, LastAct};
use super::reading::{Reading, ids};
use super::refusal::{Built, Refusal, sentence};
use super::sent::Sent;
use super::views::{MaybeSame, PatientName};
use super::visits::record_id;
use crate::access::links;
use crate::store::TxError;

/// The other records of this person, of which this site may not have all.
pub(super) fn same_person(reading: &Reading<'_, '_>, id: RecordId) -> Result<Vec<PatientName>, TxError> {
    let others = links::cluster(reading.tx, id)?.into_iter().filter(|other| *other != id);
    others.map(|other| reading.patient(other)).collect()
}

/// Whoever may be this person: nobody has said, or people have said different things.
pub(super) fn maybe_same(reading: &Reading<'_, '_>, id: RecordId) -> Result<Vec<MaybeSame>, TxError> {
    let mut found = Vec::new();
    for stored in reading.tx.linked(id, link::KIND)? {
        let said = standing(&stored.state);
        let asks = said.is_open() || said.standing() == Some(&LinkStanding::Proposed);
        if let (true, Some(other)) = (asks, other_end(&stored.state, id)) {
            found.push(maybe(reading, &stored.state, other, said.is_open())?);
        }
    }
    Ok(found)
}

fn maybe(
    reading: &Reading<'_, '_>,
    link: &RecordState,
    other: RecordId,
    contradicts: bool,
) -> Result<MaybeSame, TxError> {
    let why = link::WHY.value(link);
    Ok(MaybeSame {
        other: other.to_string(),
        name: reading.patient(other)?,
        is_here: reading.state(other)?.is_some(),
        why: why
            .map(|why| why.expose().lines().map(str::to_owned).collect())
            .unwrap_or_default(),
        contradicts,
        shown: ids(&link.shown(link::STANDING.id)),
        may_decide: reading.may(Permission::DecideConflict),
    })
}

pub(super) async fn decide(Path((one, other)): Path<(String, String)>, sent: Sent) -> Response {
    let done = decided(&one, &other, &sent).await;
    sent.desk.answer(done).await
}

async fn decided(one: &str, other: &str, sent: &Sent) -> Built<Response> {
    let (one, other) = (record_id(one)?, record_id(other)?);
    let shown = sent.fields.changes("shown");
    let same = match sent.fields.text("same").as_str() {
        "yes" => true,
        "no" => false,
        _ => return Err(Refusal::Wrong(sentence("say whether they are the same person"))),
    };
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            links::decide(tx, by, (one, other), same, &shown, now_ms)?;
            let what = match same {
                true => "called the same person",
                false => "called two people",
            };
            Ok(Acted::saying(LastAct {
                about: About::Patient(one),
                what: what.to_owned(),
                at_ms: now_ms,
                undo: None,
            }))
        })
        .await
}
