//! The probe: small enough to be asked every two seconds, it tells the line, the hub and the EHR apart.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::App;
use super::peer::Certificate;
use super::refusal::Refusal;
use crate::db::{self, Db};

#[derive(Serialize)]
pub(super) struct Probe {
    hub_ms: u64,
    ehr_reached: Option<bool>,
}

pub(super) async fn probe(State(app): State<App>, caller: Certificate) -> Result<Json<Probe>, Refusal> {
    let db = app.db_of(caller).await?;
    let site = db.read(move |txn| caller.site(txn)).await?;
    app.note_seen(&db, site).await?;
    Ok(Json(Probe {
        hub_ms: db::now_ms(),
        ehr_reached: app.0.reach.now(),
    }))
}

impl App {
    pub(super) async fn note_seen(&self, db: &Db, site: sync_protocol::ScopeId) -> Result<(), Refusal> {
        if !self.seen_is_due(site) {
            return Ok(());
        }
        db.write(move |txn| txn.note_seen(site).map_err(Refusal::from)).await
    }
}
