//! Snapshots: a site that is new or far behind is told the chunks of a lane, and fetches them by digest. Only for lanes that it
//! may pull, and only what a snapshot names that still stands.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sync_protocol::hub::answer_snapshot;
use sync_protocol::wire::SnapshotRequest;

use super::App;
use super::blob::name_of;
use super::caller::Caller;
use super::exchange::{cbor, of_this_epoch};
use super::refusal::Refusal;
use crate::db::Stands;

pub(super) async fn snapshot(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Refusal> {
    let request = SnapshotRequest::decode(&app.wire_body(body).await?)?;
    let db = app.db_of(caller).await?;
    let config = app.0.snapshots.clone();
    let found = db.read(move |txn| {
        let site = caller.site(txn)?;
        let head = txn.admit_snapshot(site, &request)?;
        let since_ms = config.useful_since_ms(txn.now_ms());
        let stands = txn.snapshot_after(&request.cursor, since_ms)?;
        let manifest = match &stands {
            Stands::Whole(snapshot) => Some(txn.signed_manifest(snapshot)?),
            Stands::BeingMade | Stands::Missing | Stands::NothingWaits => None,
        };
        Ok((stands, answer_snapshot(&request, &head, manifest), since_ms))
    });
    let (stands, reply, since_ms) = of_this_epoch(&db, found.await).await?;
    if stands == Stands::Missing {
        let cursor = request.cursor;
        let asked = db.write(move |txn| {
            caller.site(txn)?;
            Ok::<_, Refusal>(txn.ask_for_snapshot(&cursor, since_ms)?)
        });
        asked.await?;
        tracing::info!(agent = %caller.agent, lane = ?cursor.lane, "a snapshot of a lane was asked for");
        app.0.bell.ring();
    }
    Ok(cbor(reply.encode()))
}

pub(super) async fn chunk(
    State(app): State<App>,
    caller: Caller,
    Path(digest): Path<String>,
) -> Result<Response, Refusal> {
    let name = name_of(&digest)?;
    let db = app.db_of(caller).await?;
    let shared = db.organisation().scope();
    let chunk = db
        .read(move |txn| {
            let site = caller.site(txn)?;
            txn.snapshot_chunk(name, &[site, shared])?.ok_or(Refusal::NoSuchBlob)
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], chunk).into_response())
}
