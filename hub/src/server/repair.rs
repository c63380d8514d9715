//! Repair: a replica whose root differs asks where, and is told the rows of what does. What is found wrong in the hub's own
//! sums on the way is set right and told to the operator.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use sync_protocol::wire::RepairRequest;

use super::App;
use super::caller::Caller;
use super::exchange::cbor;
use super::refusal::Refusal;
use crate::proof;

pub(super) async fn repair(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Refusal> {
    let mut request = RepairRequest::decode(&app.wire_body(body).await?)?;
    request.bytes_max = request.bytes_max.min(app.0.config.page_max_bytes);
    let db = app.db_of(caller).await?;
    let (epoch, cursor) = (db.organisation().epoch, request.cursor);
    let compared = db
        .read(move |txn| {
            let site = caller.site(txn)?;
            Ok(txn.compare(site, &request)?)
        })
        .await
        .map_err(|refusal: Refusal| refusal.of_epoch(epoch))?;
    for bucket in compared.miscounted {
        proof::set_right(&db, cursor.scope, cursor.lane, bucket).await?;
    }
    let rows = compared.reply.page.rows.len();
    tracing::info!(
        agent = %caller.agent, lane = ?cursor.lane, buckets = compared.reply.parts.len(), rows,
        "a site compared its records with the hub's"
    );
    Ok(cbor(compared.reply.encode()))
}
