//! What waits for a decision about a patient. This page shows patients: that it was opened is logged, by whom.

use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Console;
use super::refusal::Built;
use super::session::Session;
use super::sites::{Done, foreign};
use super::views::{ConflictsView, Shell, Tab, rendered};
use crate::admin::{Command, ConflictCommand, ConflictDecision, ConflictReply, Reply};

pub(super) async fn list(
    State(console): State<Console>,
    session: Session,
    Query(done): Query<Done>,
) -> Built<Response> {
    let asked = Command::Conflict(ConflictCommand::List);
    let Reply::Conflict(ConflictReply::List { conflicts }) = console.carry_out(&session, asked).await? else {
        return Err(foreign());
    };
    tracing::info!(admin = %session.admin, shown = conflicts.len(), "patients were shown at the console: conflicts");
    let view = ConflictsView {
        shell: Shell::new(&session, Tab::Conflicts, done.done.as_deref()),
        conflicts,
    };
    rendered(StatusCode::OK, &view)
}

#[derive(Deserialize)]
pub(super) struct Decided {
    csrf: String,
    patient: String,
    field: String,
    keep: String,
    /// Separated by spaces.
    shown: String,
}

pub(super) async fn decide(
    State(console): State<Console>,
    session: Session,
    Form(decided): Form<Decided>,
) -> Built<Response> {
    session.check(&decided.csrf)?;
    let decision = ConflictDecision {
        patient: decided.patient,
        field: decided.field,
        keep: decided.keep,
        shown: decided.shown.split_whitespace().map(str::to_owned).collect(),
    };
    let command = Command::Conflict(ConflictCommand::Decide(decision));
    console.carry_out(&session, command).await?;
    Ok(Redirect::to("/conflicts?done=decided").into_response())
}
