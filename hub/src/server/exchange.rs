//! Push, pull, and what follows a restore: epoch and return. Each runs in one transaction; a pull that has nothing to say is
//! held until a commit touches the site's scope.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sync_protocol::hub::{Found, TakenBack};
use sync_protocol::wire::{BODY_MAX_BYTES, EpochRequest, Page, PullReply, PullRequest, PushRequest, ReturnRequest};
use sync_protocol::{Lane, ScopeId};
use tokio::time::Instant;

use super::App;
use super::body;
use super::caller::Caller;
use super::refusal::Refusal;
use crate::db::{self, Db, Woken};

pub(super) fn cbor(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/cbor")], body).into_response()
}

pub(super) async fn push(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Refusal> {
    let body = app.wire_body(body).await?;
    let turn = app.0.turns.take(caller.agent, body.len()).await?;
    let request = PushRequest::decode(&body)?;
    let db = app.db_of(caller).await?;
    let matcher = app.0.matcher.clone();
    let pushed = db.write(move |txn| {
        let _held_until_the_write_has_ended = &turn;
        let site = caller.site(txn)?;
        caller.count(txn)?;
        txn.note_seen(site)?;
        let pushed = txn.push(site, &request)?;
        matcher.consider(txn, &pushed.touched)?;
        Ok(pushed)
    });
    let pushed = of_this_epoch(&db, pushed.await).await?;
    if !pushed.reply.quarantined.is_empty() {
        tracing::warn!(
            agent = %caller.agent, count = pushed.reply.quarantined.len(), "changes were set aside"
        );
    }
    Ok(cbor(pushed.reply.encode()))
}

pub(super) async fn pull(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Refusal> {
    let mut request = PullRequest::decode(&app.wire_body(body).await?)?;
    request.bytes_max = request.bytes_max.min(app.0.config.page_max_bytes);
    let wait = Duration::from_millis(request.wait_ms).min(Duration::from_secs(app.0.config.long_poll_max_secs));
    let until = Instant::now() + wait;

    let db = app.db_of(caller).await?;
    let (site, series) = app.series(&db, caller, &request).await?;
    // Listening begins before the snapshot, so that no commit falls between them.
    let shared = db.organisation().scope();
    let woken = db.woken(&[site, shared]);
    forget(&db, caller, &request).await?;
    loop {
        let pages = pages(&db, caller, request.clone()).await?;
        if says_something(&pages, &request) || !app.wait(&woken, until).await {
            let at_rest = request.digest_of(&pages);
            let mut follows = db.follows(site);
            if at_rest.is_some() {
                let is_known =
                    |of: &(ScopeId, Lane)| request.cursors.iter().any(|known| (known.scope, known.lane) == *of);
                follows.retain(|of| !is_known(of));
            }
            let reply = PullReply {
                pages: if at_rest.is_some() { Vec::new() } else { pages },
                hub_ms: db::now_ms(),
                series,
                ehr_reached: app.0.reach.now(),
                ehr_polled_ms: db.read(|txn| txn.ehr_polled_ms()).await?,
                follows,
                at_rest,
            };
            return Ok(cbor(reply.encode()));
        }
    }
}

/// Whether any page moves its cursor.
fn says_something(pages: &[Page], request: &PullRequest) -> bool {
    pages.iter().any(|page| {
        let asked = request
            .cursors
            .iter()
            .find(|cursor| cursor.scope == page.scope && cursor.lane == page.lane);
        !page.rows.is_empty() || asked.is_some_and(|asked| asked.generation != page.generation)
    })
}

impl App {
    /// The store as the caller's organisation has it, by what the certificate names: what is asked can reach no other.
    pub(super) async fn db_of(&self, caller: Caller) -> Result<Db, Refusal> {
        self.organisation(caller.organisation).await
    }

    pub(super) async fn organisation(&self, organisation: [u8; 16]) -> Result<Db, Refusal> {
        if let Some(db) = self.0.db.of(organisation) {
            return Ok(db);
        }
        // Another process may have founded it since.
        self.0.db.organisations().await?;
        self.0.db.of(organisation).ok_or(Refusal::UnknownAgent)
    }

    pub(super) async fn wire_body(&self, body: Body) -> Result<Vec<u8>, Refusal> {
        body::read(
            body,
            BODY_MAX_BYTES,
            Duration::from_secs(self.0.config.body_timeout_secs),
        )
        .await
    }

    /// The caller's site, and the series of the incarnation's TEMP numbers, given to it if it has none.
    async fn series(&self, db: &Db, caller: Caller, request: &PullRequest) -> Result<(ScopeId, Option<u32>), Refusal> {
        let replica = request.replica;
        let known = db.read(move |txn| Ok::<_, Refusal>((caller.site(txn)?, txn.series(replica)?)));
        let (site, known) = known.await?;
        self.note_seen(db, caller, site, !request.willing.is_empty()).await?;
        if let Some(series) = known {
            return Ok((site, Some(series)));
        }
        // A question that would be refused is given no number.
        let nothing = PullRequest {
            cursors: Vec::new(),
            ..request.clone()
        };
        pages(db, caller, nothing).await?;
        let series = db
            .write(move |txn| {
                txn.note_incarnation(caller.agent.into_bytes())?;
                Ok::<_, Refusal>(txn.allot_series(replica, site)?)
            })
            .await?;
        if series.is_none() {
            tracing::warn!(
                "every series of TEMP numbers has been given: numbers are four characters longer from now on"
            );
        }
        tracing::info!(agent = %caller.agent, incarnation = %replica, series, "an agent goes on as a new incarnation");
        Ok((site, series))
    }

    /// Waits for a commit that concerns the caller. False when the time is up or the hub stops.
    async fn wait(&self, woken: &Woken, until: Instant) -> bool {
        tokio::select! {
            () = woken.again() => true,
            () = tokio::time::sleep_until(until) => false,
            () = self.0.stop.cancelled() => false,
        }
    }
}

/// Lets go what the replica is willing to forget, before the pages that will tell of it.
async fn forget(db: &Db, caller: Caller, request: &PullRequest) -> Result<(), Refusal> {
    if request.willing.is_empty() {
        return Ok(());
    }
    let request = request.clone();
    let gone = db.write(move |txn| {
        let site = caller.site(txn)?;
        Ok(txn.forget(site, &request)?)
    });
    let gone = of_this_epoch(db, gone.await).await?;
    tracing::info!(agent = %caller.agent, gone, "records left a site's scope");
    Ok(())
}

async fn pages(db: &Db, caller: Caller, request: PullRequest) -> Result<Vec<Page>, Refusal> {
    let pages = db.read(move |txn| {
        let site = caller.site(txn)?;
        Ok(txn.pull(site, &request)?)
    });
    of_this_epoch(db, pages.await).await
}

/// Names the hub's epoch to whoever is of another, or shows that the store has gone back: the next question is which it is.
pub(super) async fn of_this_epoch<T>(db: &Db, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
    match outcome {
        Err(refusal @ Refusal::OtherEpoch(_)) => Err(refusal.of_epoch(db.epoch().await?)),
        other => other,
    }
}

/// Which epoch it is; the agent shows what it was told, which may prove that the store has gone back.
pub(super) async fn epoch(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Refusal> {
    let request = EpochRequest::decode(&app.wire_body(body).await?)?;
    let db = app.db_of(caller).await?;
    let found: Found = db
        .write(move |txn| {
            let site = caller.site(txn)?;
            caller.count(txn)?;
            txn.note_seen(site)?;
            Ok::<_, Refusal>(txn.epoch_asked(site, &request)?)
        })
        .await?;
    if found.begun {
        tracing::warn!(
            agent = %caller.agent, epoch = %found.reply.epoch,
            "an agent shows what this store held and holds no more: it was put back to an older copy; a new epoch begins, \
             and every site returns what it has"
        );
    }
    Ok(cbor(found.reply.encode()))
}

/// Takes back the states that an agent was given in an earlier life of the store.
pub(super) async fn give_back(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Refusal> {
    let body = app.wire_body(body).await?;
    let turn = app.0.turns.take(caller.agent, body.len()).await?;
    let request = ReturnRequest::decode(&body)?;
    let db = app.db_of(caller).await?;
    let (matcher, states) = (app.0.matcher.clone(), request.states.len());
    let taken = db.write(move |txn| {
        let _held_until_the_write_has_ended = &turn;
        let site = caller.site(txn)?;
        caller.count(txn)?;
        txn.note_seen(site)?;
        let taken = txn.take_back(site, &request)?;
        matcher.consider(txn, &taken.touched)?;
        Ok(taken)
    });
    let taken: TakenBack = of_this_epoch(&db, taken.await).await?;
    tracing::info!(agent = %caller.agent, states, refused = taken.reply.refused, "states were returned");
    Ok(cbor(taken.reply.encode()))
}
