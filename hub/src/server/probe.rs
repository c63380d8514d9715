//! The probe: small enough to be asked every two seconds, it tells the line, the hub and the EHR apart.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::App;
use super::caller::Caller;
use super::refusal::Refusal;
use crate::db::{self, Db};

#[derive(Serialize)]
pub(super) struct Probe {
    hub_ms: u64,
    ehr_reached: Option<bool>,
    reconnect_window_ms: u64,
}

pub(super) async fn probe(State(app): State<App>, caller: Caller) -> Result<Json<Probe>, Refusal> {
    let db = app.db_of(caller).await?;
    let (site, agents) = db
        .read(move |txn| Ok::<_, Refusal>((caller.site(txn)?, txn.enrolled_agents()?)))
        .await?;
    app.note_seen(&db, caller, site, false).await?;
    Ok(Json(Probe {
        hub_ms: db::now_ms(),
        ehr_reached: app.0.reach.now(),
        reconnect_window_ms: app.0.config.window_ms(agents),
    }))
}

impl App {
    /// Writes down that a site was heard of, if that is due or the request changes something by itself. With it the request's
    /// number is used up.
    pub(super) async fn note_seen(
        &self,
        db: &Db,
        caller: Caller,
        site: sync_protocol::ScopeId,
        changes: bool,
    ) -> Result<(), Refusal> {
        if !self.seen_is_due(site) && !changes {
            return Ok(());
        }
        db.write(move |txn| {
            caller.count(txn)?;
            txn.note_seen(site).map_err(Refusal::from)
        })
        .await
    }
}
